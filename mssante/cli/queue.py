"""`mssante queue`: the mail that goes to other operators."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mssante.cli.frame import (
    USAGE,
    Failure,
    Json,
    actor,
    details,
    iso,
    listing,
    open_store,
    pages,
    say,
    settings_of,
    show_json,
    shown,
)

if TYPE_CHECKING:
    from mssante.services.delivery_journal import Line
    from mssante.store.queue import QueueItem

app = typer.Typer(help="The mail that goes to other operators.", no_args_is_help=True)

_NUMBER = re.compile(r"[0-9]{1,15}")
"""Of an item; identifiers of messages have sixteen digits."""

_LAST = 10**15 - 1
"""The highest number that is looked for: far beyond any queue, and within what both databases can compare."""

Id = Annotated[int, typer.Argument(metavar="ID", max=_LAST, help="Number of the item, as queue list shows it.")]


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """What waits to be delivered, one line a recipient."""
    from mssante.store.queue import listing as unfinished

    with open_store(settings_of(context)) as store:
        found = pages(store, lambda conn, last: unfinished(conn, after_id=last), lambda item: item.id)
        listing(map(_row, found), as_json)


@app.command()
def show(
    context: typer.Context,
    item: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Number of the item, or the identifier of the message: in its Received field and its 250.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """What became of one item, or of a message for each recipient elsewhere: finished ones too, step by step."""
    from mssante.services.delivery_journal import line_of, lines_of
    from mssante.store.queue import show as one

    if not re.fullmatch(r"[0-9a-f]+", item):
        raise Failure(f"queue show: {item!r} is neither a number nor an identifier: see mssante queue list", USAGE)
    settings = settings_of(context)
    with open_store(settings) as store:
        if not _NUMBER.fullmatch(item):
            accepted, lines = store.read_now(lines_of, item)
        else:
            line = store.read_now(lambda conn: line_of(conn, one(conn, int(item))))
    if _NUMBER.fullmatch(item):
        found = line.item
        more = shown(found, "lease_owner", "envid", "ret", "orcpt", "changed_us", "message_id", "accepted_as")
        record = {**_row(found), **more, "outcome": line.outcome}
        details({**record, "history": _history(line)} if as_json else record, as_json)
        if not as_json:
            say("")
            listing(_history(line), as_json)
        return
    local = accepted.detail.get("local", 0)
    head = {
        "accepted_as": item,
        "accepted": iso(accepted.at_us),
        "sender": accepted.detail.get("sender"),
        "here": local,
    }
    if as_json:
        show_json({**head, "recipients": [{**_short(line), "history": _history(line)} for line in lines]})
        return
    details(head, as_json)
    say("")
    listing([_short(line) for line in lines], as_json)


@app.command()
def retry(
    context: typer.Context,
    item: Annotated[int | None, typer.Argument(metavar="ID", max=_LAST, help="Number of the item.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that waits.")] = False,
) -> None:
    """Try again at once."""
    from mssante.store import queue

    if (item is None) is not everything:
        raise Failure("queue retry: one ID, or --all", USAGE)
    settings = settings_of(context)
    with open_store(settings) as store:
        done = store.write_now(queue.retry, None if item is None else [item])
    if item is not None and not done:
        raise Failure(f"queue: no item {item} that waits: see mssante queue list")
    say(f"{done} due now")


@app.command()
def hold(context: typer.Context, item: Id) -> None:
    """Keep back until it is released."""
    from mssante.store import queue

    _done(_act(context, item, queue.hold), item, "is unfinished", "held")


@app.command()
def release(context: typer.Context, item: Id) -> None:
    """Let a held item go, at once."""
    from mssante.store import queue

    _done(_act(context, item, queue.release), item, "is held", "released")


@app.command()
def drop(
    context: typer.Context,
    item: Id,
    motif: Annotated[str, typer.Option("--motif", metavar="TEXT", help="Why, for the journal.")],
) -> None:
    """Give an item up; its sender gets no notice."""
    from mssante.store import queue

    _done(_act(context, item, queue.drop, motif), item, "is unfinished", "dropped")


def _act(context: typer.Context, item: int, step: Callable[..., int], *said: str) -> int:
    """One step on one item, with its journal entry."""
    from mssante.store import Tx

    who = actor()

    def journalled(tx: Tx) -> int:
        done = step(tx, [item], *said)
        if done:
            tx.journal(f"queue.{step.__name__}", actor=who, object=f"queue:{item}", motif=" ".join(said))
        return done

    settings = settings_of(context)
    with open_store(settings) as store:
        return store.write_now(journalled)


def _done(done: int, item: int, needed: str, said: str) -> None:
    if not done:
        raise Failure(f"queue: no item {item} that {needed}: see mssante queue list")
    say(f"{item} {said}")


def _row(item: "QueueItem") -> dict[str, Any]:
    names = ("id", "sender", "recipient", "state", "attempts", "due_us", "created_us", "expires_us", "last_reply")
    return shown(item, *names)


def _short(line: "Line") -> dict[str, Any]:
    item = line.item
    changed = iso(line.history[-1].at_us if line.history else item.changed_us)
    progress = {"outcome": line.outcome, "attempts": item.attempts, "changed": changed}
    return {**shown(item, "id", "recipient"), **progress, "last_reply": item.last_reply}


def _history(line: "Line") -> list[dict[str, Any]]:
    return [shown(event, "at_us", "what", "status", "why", "peer") for event in line.history]
