"""`mssante audit` and `mssante verify`: is what lasts as it was written?"""

from typing import Annotated

import typer

from mssante.cli.frame import Failure, Json, details, open_store, say, settings_of

app = typer.Typer(help="The tamper-evident journal.", no_args_is_help=True)


@app.callback()
def audit() -> None:
    """The tamper-evident journal."""


@app.command()
def verify(context: typer.Context, as_json: Json = False) -> None:
    """Walk the journal from its first entry to its head: nothing changed, removed, moved or cut."""
    from mssante.store.journal import verify_chain

    settings = settings_of(context)
    with open_store(settings) as store:
        fault = store.read_now(verify_chain)
    if as_json:
        details({"whole": fault is None, "fault": fault}, as_json)
    if fault is not None:
        raise Failure(f"journal: {fault}: tampered with, or partly lost: keep the store and its backups as they are")
    if not as_json:
        say("the journal is whole")


def verify_store(
    context: typer.Context,
    as_json: Json = False,
    reindex: Annotated[
        bool, typer.Option("--reindex", help="Forget the search index of folders where it is wrong: it is made anew.")
    ] = False,
) -> None:
    """Walk the store both ways: every message has its content, every content its message."""
    from mssante.store.search_upkeep import forget
    from mssante.store.verify import verify as walk

    settings = settings_of(context)
    with open_store(settings) as store:
        found = walk(store)
        for folder_id in sorted({folder_id for folder_id, _ in found.search}) if reindex else ():
            store.write_now(forget, folder_id)
    facts = {"messages": found.messages, "segments": found.segments, "orphans": found.orphans}
    search = [f"search index of folder {folder_id}: {fault}" for folder_id, fault in found.search]
    if as_json:
        details({"whole": not found.faults, **facts, "faults": found.faults, "search": search}, as_json)
    if found.faults:
        last = "verify: restore these from a backup, and keep the store as it is for the inquiry"
        raise Failure([*(f"verify: {fault}" for fault in found.faults), last])
    if search and not reindex:
        last = "verify: mssante verify --reindex has it made anew; answers are right all the same, but slower"
        raise Failure([*(f"verify: {fault}" for fault in search), last])
    if not as_json:
        details({"whole": True, **facts}, as_json)
