"""`mssante regulateur`: abuse is looked at, accounts are closed and reopened, exceptions given."""

from functools import partial
from typing import Annotated

import typer

from mssante.cli.frame import (
    USAGE,
    Failure,
    Json,
    Motif,
    actor,
    address_of,
    day_us,
    details,
    iso,
    listing,
    open_store,
    pages,
    say,
    settings_of,
    shown,
)

app = typer.Typer(
    help="Abuse: reports, facts, closing and reopening accounts, exceptions to the limits.", no_args_is_help=True
)

AddressArgument = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="The account, a professional's or a citizen's.")
]
Author = Annotated[
    str, typer.Option("--author", metavar="NAME", help="Who decides, for the journal; default: this machine's account.")
]


@app.command()
def signalements(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Those that were answered too.")] = False,
    as_json: Json = False,
) -> None:
    """What users and the service itself reported: whom, how, when; nothing of any message."""
    from mssante.store import regulateur

    with open_store(settings_of(context)) as store:
        found = store.read_now(partial(regulateur.signalements, settled=every))
        names = store.read_now(regulateur.names, [one for row in found for one in (row.about, row.reporter)])
    rows = (
        {
            **shown(one, "id", "at_us"),
            "account": names.get(one.about, one.about),
            "kind": one.kind,
            "reporter": names.get(one.reporter, one.reporter),
            **shown(one, "settled_us"),
        }
        for one in found
    )
    listing(rows, as_json)


@app.command()
def examine(context: typer.Context, address: AddressArgument, as_json: Json = False) -> None:
    """Facts without content: what the account sends, how many of its recipients are new, who reported it."""
    from mssante.domain.clock import SystemClock
    from mssante.services import regulateur

    wanted = address_of(address)
    with open_store(settings_of(context)) as store:
        facts = store.read_now(regulateur.examine, wanted, SystemClock().now_us())
    times = {name: iso(facts.pop(f"{name}_us")) for name in ("opened", "exception_until")}
    details({"account": str(wanted), **facts, **times}, as_json)


@app.command()
def clore(context: typer.Context, address: AddressArgument, motif: Motif, author: Author = "") -> None:
    """Close an abusive account: sessions end, its mail stops, holder and reporters are told."""
    from mssante.domain.clock import SystemClock
    from mssante.services import regulateur

    settings, wanted = settings_of(context), address_of(address)
    with open_store(settings) as store:
        contents, prepared = regulateur.prepare_closing(store, wanted, motif, SystemClock().now_us())
        close = partial(regulateur.close, two_persons=settings.regulateur.two_persons)
        done = store.write_now(close, wanted, motif, _actor(author), prepared, contents=contents)
    if done.closed:
        say(f"closed: {done.stopped} queued recipients held, {done.told} people told")
    else:
        say("proposed: another person confirms it with the same command within seven days, rouvrir withdraws it")


@app.command()
def rouvrir(context: typer.Context, address: AddressArgument, motif: Motif = "", author: Author = "") -> None:
    """Reopen, to the same holder, what the regulator closed, its held mail goes on; or withdraw a proposal to close."""
    from mssante.domain.clock import SystemClock
    from mssante.services import regulateur

    wanted = address_of(address)
    with open_store(settings_of(context)) as store:
        contents, prepared = regulateur.prepare_reopening(store, wanted, SystemClock().now_us())
        released = store.write_now(regulateur.reopen, wanted, motif, _actor(author), prepared, contents=contents)
    say("withdrawn" if released is None else f"reopened: {released} queued recipients released")


@app.command()
def exception(
    context: typer.Context,
    address: AddressArgument,
    motif: Motif,
    until: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The last day on which it holds (UTC).")] = "",
    most: Annotated[int, typer.Option(metavar="N", min=1, help="Recipients that one text may reach.")] = 1000,
    end: Annotated[bool, typer.Option("--end", help="End the exception that the sender has.")] = False,
    author: Author = "",
) -> None:
    """Let a sender write one text to more recipients, until a date: a health alert, for example."""
    from mssante.services import regulateur

    wanted, until_us = address_of(address), 0 if end else day_us("--until", until, after=True) - 1
    with open_store(settings_of(context)) as store:
        if end:
            store.write_now(regulateur.end_exception, wanted, motif, _actor(author))
        else:
            store.write_now(regulateur.allow, wanted, most, until_us, motif, _actor(author))
    say("ended" if end else "allowed")


@app.command()
def exceptions(context: typer.Context, as_json: Json = False) -> None:
    """The exceptions that were given: to whom, by whom, why, until when."""
    from mssante.store import regulateur

    with open_store(settings_of(context)) as store:
        found = store.read_now(regulateur.exceptions)
        names = store.read_now(regulateur.names, [one.sender for one in found])
    told = ("most", "motif", "author", "since_us", "until_us")
    listing([{"sender": names.get(one.sender, one.sender), **shown(one, *told)} for one in found], as_json)


@app.command()
def journal(context: typer.Context, as_json: Json = False) -> None:
    """What the regulator did: when, to whom, why."""
    from mssante.services.bals import acts_as_regulator
    from mssante.store.journal import entries

    with open_store(settings_of(context)) as store:
        every = pages(store, lambda conn, last: entries(conn, after_seq=last), lambda entry: entry.seq)
        acts = (
            {
                **shown(entry, "at_us", "action"),
                "account": entry.object,
                "motif": entry.detail.get("motif", ""),
                **shown(entry, "actor", "seq"),
            }
            for entry in every
            if acts_as_regulator(entry)
        )
        listing(acts, as_json)


def _actor(author: str) -> str:
    from mssante.services.bals import REGULATOR

    if author and not (author.isprintable() and author.strip() == author and len(author) <= 64):
        raise Failure("--author: one name of printable characters, 64 at most", USAGE)
    return f"{REGULATOR}:{author}" if author else actor(REGULATOR)
