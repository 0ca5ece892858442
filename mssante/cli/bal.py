"""`mssante bal`: the professionals' mailboxes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mssante.cli.bal_access import (
    AddressArgument,
    certificate,
    change,
    delegate,
    der_of,
    password,
)
from mssante.cli.bal_archive import export, fetch, load
from mssante.cli.frame import (
    USAGE,
    Failure,
    Json,
    Motif,
    PasswordStdin,
    actor,
    address_of,
    details,
    listing,
    open_store,
    pages,
    password_of_stdin,
    say,
    settings_of,
    shown,
)
from mssante.cli.passwords import hash_of, with_hash

if TYPE_CHECKING:
    from mssante.store import Tx
    from mssante.store.accounts import Bal

app = typer.Typer(help="The professionals' mailboxes (bal).", no_args_is_help=True)

Rpps = Annotated[
    str, typer.Option(metavar="N", help="RPPS of the professional; of who answers for it when it is a structure's.")
]
Adeli = Annotated[str, typer.Option(metavar="N", help="ADELI of a professional who has no RPPS yet.")]
Finess = Annotated[str, typer.Option(metavar="N", help="FINESS of the structure.")]
Siret = Annotated[str, typer.Option(metavar="N", help="SIRET of the structure.")]
Responsable = Annotated[
    str, typer.Option(metavar="TEXT", help="Name of who answers for a structure's mailbox, for the annuaire.")
]


@app.command()
def create(
    context: typer.Context,
    address: AddressArgument,
    kind: Annotated[str, typer.Option("--type", metavar="PER|ORG|APP", help="A person, a structure, or its software.")],
    rpps: Rpps = "",
    adeli: Adeli = "",
    finess: Finess = "",
    siret: Siret = "",
    responsable: Responsable = "",
    nom: Annotated[str, typer.Option(help="Name.")] = "",
    prenom: Annotated[str, typer.Option(help="First name.")] = "",
    profession: Annotated[str, typer.Option(metavar="CODE", help="Code of the profession.")] = "",
    liste_rouge: Annotated[bool, typer.Option("--liste-rouge", help="Not to be published in the annuaire.")] = False,
    draft: Annotated[
        bool, typer.Option("--draft", help="Prepared only: nothing arrives until it is reopened.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of the certificate its software signs in with (APP).")
    ] = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Open a mailbox. Without a password it receives, and nobody signs in but by Pro Santé Connect or certificate."""
    from mssante.cli.bal_entry import read_entry
    from mssante.services.bals import open_bals
    from mssante.services.credentials import bind_certificate

    settings = settings_of(context)
    der = der_of(certificate) if certificate is not None else None
    fields = {"address": address, "type": kind, "rpps": rpps, "adeli": adeli, "finess": finess, "nom": nom}
    fields |= {"prenom": prenom, "profession": profession, "liste_rouge": "oui" if liste_rouge else ""}
    fields |= {"siret": siret, "responsable": responsable, "draft": "oui" if draft else ""}
    entry = read_entry(fields, settings.operator.domains)
    if isinstance(entry, list):
        raise Failure([f"bal create: {fault}" for fault in entry], USAGE)
    hashed = hash_of(settings, entry.address, password_of_stdin()) if password_stdin else None

    def opened(tx: "Tx") -> None:
        open_bals(tx, [with_hash(entry.new, hashed)], actor())
        if der is not None:
            bind_certificate(tx, entry.address, der, actor())

    with open_store(settings) as store:
        store.write_now(opened)
    say(f"{entry.address} {'prepared: mssante bal reopen opens it' if draft else 'opened'}")


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="UTF-8; a header line names the columns.")],
    as_json: Json = False,
) -> None:
    """Open the mailboxes of a CSV file, all or none; every faulty line is named.

    Columns: address, type, rpps, adeli, finess, siret, responsable, nom, prenom, profession, liste_rouge, draft,
    password.
    """
    from mssante.cli.bal_entry import COLUMNS, read_entry
    from mssante.cli.csv_entries import Form, open_all
    from mssante.services.bals import open_bals

    settings = settings_of(context)
    form = Form(
        columns=COLUMNS,
        required=("address", "type"),
        read=lambda fields: read_entry(fields, settings.operator.domains),
        taken=lambda address: f"address: {address} is taken",
        register=open_bals,
    )
    open_all(settings, file, form, as_json=as_json)


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """All professional mailboxes, closed ones too."""
    from mssante.store.accounts import bals_after

    with open_store(settings_of(context)) as store:
        listing((_row(bal) for bal in pages(store, bals_after, lambda bal: bal.id)), as_json)


@app.command()
def show(context: typer.Context, address: AddressArgument, as_json: Json = False) -> None:
    """One mailbox: whose it is, its state and why, who may act on it, what opens it beside its password."""
    from mssante.services.bals import bal_and_delegations
    from mssante.services.credentials import openings

    settings = settings_of(context)
    wanted = address_of(address)
    with open_store(settings) as store:
        bal, delegations = store.read_now(bal_and_delegations, wanted)
        opened_by = [shown(one, "kind", "name") for one in store.read_now(openings, wanted)]
    rights = [{"to": one.delegate, **shown(one, "right", "since_us")} for one in delegations]
    details({**_row(bal), "motif": bal.motif, "delegations": rights, "opened_by": opened_by}, as_json)


@app.command()
def identify(
    context: typer.Context,
    address: AddressArgument,
    rpps: Rpps = "",
    adeli: Adeli = "",
    finess: Finess = "",
    siret: Siret = "",
    responsable: Responsable = "",
) -> None:
    """Complete what the mailbox is known by: an ADELI becomes an RPPS, another answers for a structure."""
    from mssante.cli.bal_entry import read_holder
    from mssante.services import bals

    typed = {"rpps": rpps, "adeli": adeli, "finess": finess, "siret": siret, "responsable": responsable}
    faults: list[str] = []
    holder = {name: value for name, value in read_holder(typed, faults).items() if value}
    if faults or not holder:
        raise Failure([f"bal identify: {fault}" for fault in faults] or "bal identify: say what has changed", USAGE)
    change(settings_of(context), bals.identify, address_of(address), holder)
    say(f"{address} identified")


@app.command()
def suspend(context: typer.Context, address: AddressArgument, motif: Motif) -> None:
    """Nobody signs in until it reopens; open sessions end, mail waits."""
    from mssante.services import bals

    change(settings_of(context), bals.suspend, address_of(address), motif)
    say(f"{address} suspended")


@app.command()
def reopen(context: typer.Context, address: AddressArgument, motif: Motif = "") -> None:
    """End a draft, a suspension, or a closing under way."""
    from mssante.services import bals

    change(settings_of(context), bals.reopen, address_of(address), motif)
    say(f"{address} reopened")


@app.command()
def close(
    context: typer.Context,
    address: AddressArgument,
    motif: Motif,
    begin: Annotated[
        bool, typer.Option("--begin", help="Nothing arrives any more; the holder may still take his mail away.")
    ] = False,
) -> None:
    """Close for good: open sessions end, the address is never given again."""
    from mssante.services import bals

    change(settings_of(context), bals.begin_closing if begin else bals.close, address_of(address), motif)
    say(f"{address} {'closing' if begin else 'closed'}")


@app.command()
def purge(context: typer.Context, address: AddressArgument, motif: Motif) -> None:
    """Destroy what a closed mailbox holds, for good; its address stays taken."""
    from mssante.services import bals

    change(settings_of(context), bals.purge, address_of(address), motif)
    say(f"{address} purged")


@app.command()
def quota(
    context: typer.Context,
    address: AddressArgument,
    megabytes: Annotated[int, typer.Option(metavar="N", min=0, help="Megabytes it may hold; 0: no limit.")],
) -> None:
    """Limit what a mailbox may hold: when it is full, mail for it is put off (452 4.2.2)."""
    from mssante.services.bals import limit

    settings, wanted = settings_of(context), address_of(address)
    with open_store(settings) as store:
        store.write_now(limit, wanted, megabytes * 1_000_000 or None, actor())
    say(f"{wanted}: {megabytes} MB" if megabytes else f"{wanted}: no limit")


for command in (delegate, password, certificate, load, fetch, export):
    app.command()(command)


def _row(bal: "Bal") -> dict[str, Any]:
    row = shown(bal, "address", "type", "state", "rpps", "adeli", "finess", "siret", "responsable", "nom", "prenom")
    row |= shown(bal, "profession", "liste_rouge", "used_bytes", "quota_bytes", "created_us", "purged_us")
    return row | {"responsable": bal.responsable or None}
