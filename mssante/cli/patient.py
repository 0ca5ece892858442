"""`mssante patient`: the citizens' mailboxes, where this operator hosts them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mssante.cli.frame import (
    USAGE,
    Failure,
    Json,
    Motif,
    PasswordStdin,
    actor,
    details,
    iso,
    listing,
    open_store,
    pages,
    password_of_stdin,
    say,
    settings_of,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mssante.config import Settings
    from mssante.domain.address import Address
    from mssante.domain.patient import Authority
    from mssante.store import Conn
    from mssante.store.accounts import Bal
    from mssante.store.patients import Patient

app = typer.Typer(help="The citizens' mailboxes.", no_args_is_help=True)

InsArgument = Annotated[str, typer.Argument(metavar="INS", help="The matricule INS, 15 characters.")]
Autorite = Annotated[
    str, typer.Option(metavar="NIR|NIA|TEST|DEMO", help="Which number it is: the OID follows from it.")
]
Email = Annotated[
    str, typer.Option(metavar="EMAIL", help='The citizen\'s own e-mail address, to be told of new mail; "" for none.')
]


@app.command()
def create(
    context: typer.Context,
    ins: InsArgument,
    nom: Annotated[str, typer.Option(help="Name at birth.")],
    prenoms: Annotated[str, typer.Option(help="First names at birth, separated by spaces.")],
    naissance: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Date of birth.")],
    sexe: Annotated[str, typer.Option(metavar="F|M", help="Sex.")],
    lieu: Annotated[str, typer.Option(metavar="INSEE", help="INSEE code of the place of birth, 5 characters.")],
    autorite: Autorite = "NIR",
    opposition: Annotated[bool, typer.Option("--opposition", help="He does not want a mailbox.")] = False,
    notify: Email = "",
    password_stdin: PasswordStdin = False,
) -> None:
    """Open the citizen's mailbox INS@<citizens' domain>, a child's as well as an adult's."""
    from mssante.cli.passwords import hash_of, with_hash
    from mssante.cli.patient_entry import read_patient
    from mssante.domain.clock import SystemClock
    from mssante.services.patients import register
    from mssante.store import AlreadyExists

    settings = settings_of(context)
    traits = {"ins": ins, "nom": nom, "prenoms": prenoms, "naissance": naissance, "sexe": sexe, "lieu": lieu}
    more = {"autorite": autorite, "notify": notify, "opposition": "oui" if opposition else ""}
    entry = read_patient(traits | more, _domain(settings), SystemClock().now_us())
    if isinstance(entry, list):
        raise Failure([f"patient create: {_option(fault)}" for fault in entry], USAGE)
    hashed = hash_of(settings, entry.address, password_of_stdin()) if password_stdin else None
    with open_store(settings) as store:
        try:
            store.write_now(register, [with_hash(entry.new, hashed)], actor())
        except AlreadyExists:
            raise Failure("a mailbox for this INS exists already: see mssante patient show") from None
    say("the citizen's mailbox is opened")


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="UTF-8; a header line names the columns.")],
    as_json: Json = False,
) -> None:
    """Open the mailboxes of the citizens in a CSV file, all or none; every faulty line is named.

    Columns: ins, nom, prenoms, naissance, sexe, lieu, autorite, opposition (oui or non), notify, password.
    """
    from mssante.cli.csv_entries import Form, open_all
    from mssante.cli.patient_entry import COLUMNS, REQUIRED, read_patient
    from mssante.domain.clock import SystemClock
    from mssante.services.patients import register

    settings = settings_of(context)
    domain, now_us = _domain(settings), SystemClock().now_us()
    form = Form(
        columns=COLUMNS,
        required=REQUIRED,
        read=lambda fields: read_patient(fields, domain, now_us),
        taken=lambda _: "ins: has a mailbox already",
        register=register,
    )
    open_all(settings, file, form, as_json=as_json)


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """All citizens' mailboxes, closed ones too."""
    from mssante.store.patients import patients

    with open_store(settings_of(context)) as store:
        listing(map(_row, pages(store, patients, lambda patient: patient.bal.id)), as_json)


@app.command()
def show(context: typer.Context, ins: InsArgument, as_json: Json = False) -> None:
    """One citizen's mailbox: the identity it was opened for, his earlier matricules, his parents."""
    settings = settings_of(context)
    with open_store(settings) as store:
        found, earlier, parents = store.read_now(_everything, _address(settings, ins))
    identity = found.identity
    details(
        {
            **_row(found),
            **shown(identity, "naissance", "sexe", "lieu", "notify"),
            "autorite": identity.authority.name,
            "oid": str(identity.authority),
            "motif": found.bal.motif,
            "earlier": [{"address": address, "until": iso(until_us)} for address, until_us in earlier],
            "parents": [{"address": bal.address, "until": iso(until_us)} for bal, until_us in parents],
        },
        as_json,
    )


@app.command()
def notify(context: typer.Context, ins: InsArgument, email: Email) -> None:
    """Say where the citizen is told that he has new mail."""
    from mssante.cli.patient_entry import read_notify
    from mssante.services import patients

    faults: list[str] = []
    address = read_notify(email, faults)
    if faults:
        raise Failure(faults, USAGE)
    _change(context, ins, patients.set_notify, address, actor())
    if address and not settings_of(context).patient_notices.host:
        say("noted; nobody is told of new mail as long as [patient_notices] names no host")
    else:
        say("the citizen will be told of new mail" if address else "the citizen will not be told of new mail")


@app.command()
def matricule(
    context: typer.Context,
    ins: InsArgument,
    nouveau: Annotated[str, typer.Option(metavar="INS", help="The matricule that he has from now on.")],
    motif: Motif,
    autorite: Autorite = "NIR",
) -> None:
    """Change the citizen's matricule, as when a NIR follows a NIA. Mail to the earlier one still arrives."""
    from mssante.cli.patient_entry import read_authority
    from mssante.services import patients

    faults: list[str] = []
    authority: Authority = read_authority(autorite, faults)
    if faults:
        raise Failure(faults, USAGE)
    new = _address(settings_of(context), nouveau)
    _change(context, ins, patients.change_matricule, new, authority, motif, actor())
    say("the citizen's matricule is changed")


@app.command()
def parent(
    context: typer.Context,
    ins: InsArgument,
    parent: Annotated[str, typer.Option(metavar="INS", help="The parent's own matricule.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the right back.")] = False,
) -> None:
    """Let a parent open the mailbox of a child, until the child is of age."""
    from mssante.services import patients

    _change(context, ins, patients.give_parent, _address(settings_of(context), parent), actor(), remove)
    say("the parent may no longer open it" if remove else "the parent may open the child's mailbox")


@app.command()
def opposition(context: typer.Context, ins: InsArgument, motif: Motif) -> None:
    """The citizen wants no mailbox: nothing arrives any more, he may take his mail away."""
    _stand(context, ins, "OPPOSED", motif)
    say("the citizen's opposition is noted")


@app.command()
def close(context: typer.Context, ins: InsArgument, motif: Motif) -> None:
    """Close the citizen's mailbox as he wishes."""
    _stand(context, ins, "CLOSED", motif)
    say("the citizen's mailbox is closed")


@app.command()
def deces(context: typer.Context, ins: InsArgument, motif: Motif) -> None:
    """The citizen has died: the mailbox closes, senders are told so."""
    _stand(context, ins, "DECEASED", motif)
    say("the death is noted, the mailbox is closed")


@app.command()
def reopen(context: typer.Context, ins: InsArgument, motif: Motif) -> None:
    """End an opposition, undo a closing or a death that was noted by mistake."""
    _stand(context, ins, "OPEN", motif)
    say("the citizen's mailbox is open")


@app.command()
def purge(context: typer.Context, ins: InsArgument, motif: Motif) -> None:
    """Destroy what a closed mailbox holds, and the citizen's traits; senders are still told why it is closed."""
    from mssante.services import patients

    _change(context, ins, patients.purge, motif, actor())
    say("the citizen's mailbox is purged")


def _stand(context: typer.Context, ins: str, standing: str, motif: str) -> None:
    from mssante.domain.patient import Standing
    from mssante.services import patients

    _change(context, ins, patients.stand, Standing[standing], motif, actor())


def _change(context: typer.Context, ins: str, change: "Callable[..., None]", *args: object) -> None:
    settings = settings_of(context)
    with open_store(settings) as store:
        store.write_now(change, _address(settings, ins), *args)


def _everything(conn: "Conn", address: "Address") -> "tuple[Patient, list[tuple[str, int]], list[tuple[Bal, int]]]":
    from mssante.services.patients import known_patient
    from mssante.store import patients

    found = known_patient(conn, address)
    return found, patients.earlier(conn, found.bal.id), patients.parents(conn, found.bal.id)


def _domain(settings: "Settings") -> str:
    domain = settings.operator.patient_domain
    if not domain:
        raise Failure(
            "this operator hosts no citizens: name [operator] patient_domain, or ask the one that does", USAGE
        )
    return domain


def _address(settings: "Settings", ins: str) -> "Address":
    from mssante.cli.patient_entry import matricule_address

    faults: list[str] = []
    address = matricule_address(ins, _domain(settings), faults)
    if address is None:
        raise Failure(faults, USAGE)
    return address


def _option(fault: str) -> str:
    return fault if fault.startswith("INS") else f"--{fault}"


def _row(patient: "Patient") -> dict[str, Any]:
    bal, identity = patient.bal, patient.identity
    row = {"ins": identity.ins, **shown(bal, "address", "state"), "standing": patient.standing}
    return {**row, **shown(identity, "nom", "prenoms"), **shown(bal, "used_bytes", "quota_bytes", "created_us")}
