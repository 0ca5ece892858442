"""`mssante regulateur`: the regulator closes and reopens accounts."""

from functools import partial
from typing import Annotated, Any

import typer

from mssante.cli.frame import Json, Motif, actor, address_of, iso, listing, open_store, say, settings_of

app = typer.Typer(help="Abuse: closing and reopening accounts.", no_args_is_help=True)

AddressArgument = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="The account, a professional's or a citizen's.")
]


@app.command()
def clore(context: typer.Context, address: AddressArgument, motif: Motif) -> None:
    """Close an abusive account: its open sessions end at once."""
    from mssante.services import bals

    _act(context, bals.close, address, motif)
    say("closed")


@app.command()
def rouvrir(context: typer.Context, address: AddressArgument, motif: Motif = "") -> None:
    """Reopen, to the same holder, an account that the regulator closed."""
    from mssante.services import bals

    _act(context, bals.reopen_by_regulator, address, motif)
    say("reopened")


@app.command()
def journal(context: typer.Context, as_json: Json = False) -> None:
    """What the regulator did: when, to whom, why."""
    from mssante.services.bals import acts_as_regulator
    from mssante.store.journal import entries

    settings = settings_of(context)
    rows: list[dict[str, Any]] = []
    last = 0
    with open_store(settings) as store:
        while page := store.read_now(partial(entries, after_seq=last)):
            last = page[-1].seq
            rows += [
                {
                    "at": iso(entry.at_us),
                    "action": entry.action,
                    "account": entry.object,
                    "motif": entry.detail.get("motif", ""),
                    "actor": entry.actor,
                    "seq": entry.seq,
                }
                for entry in page
                if acts_as_regulator(entry)
            ]
    listing(rows, as_json)


def _act(context: typer.Context, step: Any, address: str, motif: str) -> None:
    from mssante.services.bals import REGULATOR

    settings = settings_of(context)
    wanted = address_of(address)
    with open_store(settings) as store:
        store.write_now(step, wanted, motif, actor(REGULATOR))
