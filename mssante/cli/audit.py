"""`mssante audit` and `mssante verify`: is what lasts as it was written?"""

from pathlib import Path
from typing import Annotated

import typer

from mssante.cli.frame import USAGE, Failure, Json, day_us, details, iso, open_store, say, settings_of

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


@app.command()
def export(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A new folder for the files, else ./journal-YYYYMMDD.")
    ] = None,
    since: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The first day (UTC).")] = "1970-01-01",
    until: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The last day (UTC), else today.")] = "",
    as_json: Json = False,
) -> None:
    """Write the journal, or some days of it, with a manifest that this operator's certificate signs."""
    from mssante.domain.clock import SystemClock
    from mssante.services.proof import ExportRefused, export_journal
    from tls.certificates import TlsError

    settings, now_us = settings_of(context), SystemClock().now_us()
    since_us, until_us = day_us("--since", since), day_us("--until", until, after=True) if until else now_us
    folder = out or Path(f"journal-{(iso(now_us) or '')[:10].replace('-', '')}")
    with open_store(settings) as store:
        try:
            manifest = export_journal(
                store,
                folder,
                since_us,
                until_us,
                operator=settings.operator.hostname,
                certificate=settings.tls.certificate,
                key=settings.tls.key,
                now_us=now_us,
            )
        except (ExportRefused, TlsError) as fault:
            raise Failure(str(fault), USAGE) from None
        except OSError as fault:
            raise Failure(f"{folder}: {fault.strerror}: name another place with --out", USAGE) from None
    details({"folder": str(folder), **manifest}, as_json)


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
