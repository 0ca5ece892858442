"""`mssante patient`: the citizens' mailboxes, where this operator hosts them."""

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mssante.cli.frame import (
    USAGE,
    Failure,
    Json,
    Motif,
    PasswordStdin,
    actor,
    address_of,
    details,
    iso,
    listing,
    open_store,
    password_of_stdin,
    say,
    settings_of,
)

if TYPE_CHECKING:
    from mssante.config import Settings
    from mssante.domain.address import Address
    from mssante.store import Conn
    from mssante.store.accounts import Patient

app = typer.Typer(help="The citizens' mailboxes.", no_args_is_help=True)

InsArgument = Annotated[str, typer.Argument(metavar="INS", help="The matricule INS, 15 characters.")]

_INSEE = re.compile(r"([0-9]{2}|2[AB])[0-9]{3}")


@app.command()
def create(
    context: typer.Context,
    ins: InsArgument,
    nom: Annotated[str, typer.Option(help="Name at birth.")],
    prenoms: Annotated[str, typer.Option(help="First names at birth, separated by spaces.")],
    naissance: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Date of birth.")],
    sexe: Annotated[str, typer.Option(metavar="F|M", help="Sex.")],
    lieu: Annotated[str, typer.Option(metavar="INSEE", help="INSEE code of the place of birth, 5 characters.")],
    notify: Annotated[str, typer.Option(metavar="EMAIL", help="The citizen's own e-mail address, for notices.")] = "",
    password_stdin: PasswordStdin = False,
) -> None:
    """Open the citizen's mailbox INS@<citizens' domain>."""
    from mssante.cli.bal import hashes
    from mssante.domain.clock import SystemClock
    from mssante.services.bals import open_patient
    from mssante.store import AlreadyExists
    from mssante.store.accounts import Identity

    settings = settings_of(context)
    address = _address(settings, ins)
    faults = _trait_faults(nom, prenoms, naissance, sexe, lieu, now_us=SystemClock().now_us())
    if faults:
        raise Failure([f"patient create: {fault}" for fault in faults], USAGE)
    identity = Identity(
        ins=address.local.upper(),
        nom=nom.strip(),
        prenoms=prenoms.strip(),
        naissance=naissance,
        sexe=sexe.upper(),
        lieu=lieu.upper(),
        notify=str(address_of(notify)) if notify else None,
    )
    hashed = hashes(settings, [password_of_stdin()])[0] if password_stdin else None
    with open_store(settings) as store:
        try:
            store.write_now(open_patient, address, identity, hashed, actor())
        except AlreadyExists:
            raise Failure("a mailbox for this INS exists already: see mssante patient show") from None
    say("the citizen's mailbox is opened")


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """All citizens' mailboxes, closed ones too."""
    from mssante.store.accounts import patients

    settings = settings_of(context)
    with open_store(settings) as store:
        found = store.read_now(patients)
    listing([_row(one) for one in found], as_json)


@app.command()
def show(context: typer.Context, ins: InsArgument, as_json: Json = False) -> None:
    """One citizen's mailbox, with the identity it was opened for."""
    settings = settings_of(context)
    address = _address(settings, ins)
    with open_store(settings) as store:
        found = store.read_now(_patient, address)
    if found is None:
        raise Failure("no mailbox for this INS: see mssante patient list")
    identity = found.identity
    traits = {"naissance": identity.naissance, "sexe": identity.sexe, "lieu": identity.lieu, "notify": identity.notify}
    details({**_row(found), **traits, "motif": found.bal.motif}, as_json)


@app.command()
def close(context: typer.Context, ins: InsArgument, motif: Motif) -> None:
    """Close the citizen's mailbox for good."""
    from mssante.services import bals

    settings = settings_of(context)
    address = _address(settings, ins)
    with open_store(settings) as store:
        store.write_now(bals.close, address, motif, actor())
    say("the citizen's mailbox is closed")


def _patient(conn: "Conn", address: "Address") -> "Patient | None":
    from mssante.store import accounts

    bal = accounts.find_bal(conn, address)
    return None if bal is None else accounts.patient(conn, bal.id)


def _address(settings: "Settings", ins: str) -> "Address":
    """The citizen's address here. `INS@domain` is taken for INS."""
    from mssante.domain.ins import InsError, parse_ins

    domain = settings.operator.patient_domain
    if not domain:
        raise Failure(
            "this operator hosts no citizens: name [operator] patient_domain, or ask the one that does", USAGE
        )
    try:
        matricule = parse_ins(ins.removesuffix(f"@{domain}")).matricule
    except InsError as error:
        raise Failure(f"INS: {error}: 13 characters and their key of two digits", USAGE) from None
    return address_of(f"{matricule}@{domain}")


def _trait_faults(nom: str, prenoms: str, naissance: str, sexe: str, lieu: str, *, now_us: int) -> list[str]:
    # It may already be tomorrow where the citizen was born: 14 hours before UTC at most.
    today = datetime.fromtimestamp(now_us // 1_000_000 + 14 * 3600, UTC).date()
    faults = [
        f"--{name}: must be printable text of 200 characters at most"
        for name, text in (("nom", nom), ("prenoms", prenoms))
        if not text.strip() or not text.isprintable() or len(text) > 200
    ]
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", naissance) or date.fromisoformat(naissance).year < 1850:
            raise ValueError
        if date.fromisoformat(naissance) > today:
            faults.append(f"--naissance {naissance}: is still to come")
    except ValueError:
        faults.append(f"--naissance {naissance}: a date like 1980-05-31")
    if sexe.upper() not in ("F", "M"):
        faults.append(f"--sexe {sexe}: F or M")
    if not _INSEE.fullmatch(lieu.upper()):
        faults.append(f"--lieu {lieu}: five characters, like 75115, 2A004 or 99100")
    return faults


def _row(patient: "Patient") -> dict[str, Any]:
    bal, identity = patient.bal, patient.identity
    return {
        "ins": identity.ins,
        "address": bal.address,
        "state": str(bal.state),
        "nom": identity.nom,
        "prenoms": identity.prenoms,
        "used_bytes": bal.used_bytes,
        "quota_bytes": bal.quota_bytes,
        "created": iso(bal.created_us),
    }
