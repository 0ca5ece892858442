"""`mssante conversation`: who may write to whom."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mssante.cli.frame import (
    USAGE,
    Failure,
    Json,
    actor,
    address_of,
    details,
    listing,
    open_store,
    say,
    settings_of,
    shown,
)

if TYPE_CHECKING:
    from mssante.config import Settings
    from mssante.store import Store
    from mssante.store.exchanges import Exchange

app = typer.Typer(help="The exchanges between professionals and citizens.", no_args_is_help=True)

BalArgument = Annotated[str, typer.Argument(metavar="BAL", help="The professional's mailbox.")]


@app.command("list")
def list_(
    context: typer.Context,
    bal: Annotated[str, typer.Option(metavar="A", help="Only those of this professional's mailbox.")] = "",
    patient: Annotated[str, typer.Option(metavar="INS", help="Only those of this citizen.")] = "",
    as_json: Json = False,
) -> None:
    """Who may write to whom: open or ended, since when, by which message, through whom."""
    from mssante.store.exchanges import list_exchanges

    settings = settings_of(context)
    professional = str(address_of(bal)) if bal else None
    with open_store(settings) as store:
        addresses = _addresses(settings, store, patient) if patient else [None]
        found = [one for address in addresses for one in store.read_now(list_exchanges, professional, address)]
    listing(map(_row, found), as_json)


@app.command()
def show(
    context: typer.Context,
    bal: BalArgument,
    ins: Annotated[str, typer.Argument(metavar="INS", help="The citizen's matricule.")],
    as_json: Json = False,
) -> None:
    """One citizen and one mailbox: whether he may write to it, and why."""
    from mssante.domain.exchange import patient_may_write
    from mssante.store.exchanges import list_exchanges, relation, welcoming

    settings = settings_of(context)
    professional = str(address_of(bal))
    with open_store(settings) as store:
        first = professional in store.read_now(welcoming)
        addresses = _addresses(settings, store, ins)
        found = [one for address in addresses for one in store.read_now(list_exchanges, professional, address)]
        may = any(patient_may_write(store.read_now(relation, professional, address)) for address in addresses)
    if not found and not first:
        raise Failure("no exchange between these two: the professional has not written")
    told = {"professional": professional, "may_write": may, "writes_first": first}
    details({**told, "exchanges": [_row(one) for one in found]}, as_json)


@app.command()
def accueil(
    context: typer.Context,
    bal: Annotated[str, typer.Argument(metavar="[BAL]", help="A professional's mailbox; none: which they are.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="From now on only who was written to.")] = False,
    as_json: Json = False,
) -> None:
    """Let citizens write to this mailbox first, as to a pharmacy that takes prescriptions."""
    from mssante.services.exchanges import welcome
    from mssante.store.exchanges import welcoming

    with open_store(settings_of(context)) as store:
        if bal:
            store.write_now(welcome, address_of(bal), not remove, actor())
            say(f"citizens may {'no longer ' if remove else ''}write to {bal} first")
        else:
            listing([{"bal": one} for one in store.read_now(welcoming)], as_json)


def _addresses(settings: "Settings", store: "Store", ins: str) -> list[str]:
    """The citizen's address in each citizens' domain; here his present one, whichever of his matricules is given."""
    from mssante.domain.ins import InsError, parse_ins
    from mssante.store.accounts import find_bal

    try:
        matricule = parse_ins(ins.partition("@")[0]).matricule
    except InsError as error:
        raise Failure(f"INS: {error}: 13 characters and their key of two digits", USAGE) from None
    found = [str(address_of(f"{matricule}@{domain}")) for domain in settings.operator.patient_domains]
    return [bal.address if (bal := store.read_now(find_bal, one)) else one for one in found]


def _row(one: "Exchange") -> dict[str, Any]:
    row = shown(one, "professional", "patient", "state", "since_us", "message_id")
    return row | {"through": one.through or None}
