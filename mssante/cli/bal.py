"""`mssante bal`: the professionals' mailboxes."""

from collections.abc import Callable, Sequence
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
    from mssante.cli.bal_entry import Entry
    from mssante.config import Settings
    from mssante.store.accounts import Bal, NewBal

app = typer.Typer(help="The professionals' mailboxes (bal).", no_args_is_help=True)

AddressArgument = Annotated[str, typer.Argument(metavar="ADDRESS", help="The mailbox.")]


@app.command()
def create(
    context: typer.Context,
    address: AddressArgument,
    kind: Annotated[str, typer.Option("--type", metavar="PER|ORG|APP", help="A person, a structure, or its software.")],
    rpps: Annotated[str, typer.Option(metavar="N", help="RPPS of the professional.")] = "",
    adeli: Annotated[str, typer.Option(metavar="N", help="ADELI of the professional.")] = "",
    finess: Annotated[str, typer.Option(metavar="N", help="FINESS of the structure.")] = "",
    nom: Annotated[str, typer.Option(help="Name.")] = "",
    prenom: Annotated[str, typer.Option(help="First name.")] = "",
    profession: Annotated[str, typer.Option(metavar="CODE", help="Code of the profession.")] = "",
    liste_rouge: Annotated[bool, typer.Option("--liste-rouge", help="Not to be published in the annuaire.")] = False,
    password_stdin: PasswordStdin = False,
) -> None:
    """Open a mailbox. Without a password it receives, and nobody signs in."""
    from mssante.cli.bal_entry import Entry, read_entry

    settings = settings_of(context)
    fields = {"address": address, "type": kind, "rpps": rpps, "adeli": adeli, "finess": finess, "nom": nom}
    fields |= {"prenom": prenom, "profession": profession, "liste_rouge": "oui" if liste_rouge else ""}
    entry = read_entry(fields, settings.operator.domains)
    if not isinstance(entry, Entry):
        raise Failure([f"bal create: {fault}" for fault in entry], USAGE)
    if password_stdin:
        entry = entry._replace(password=password_of_stdin())
    _open(settings, [entry])
    say(f"{entry.address} opened")


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="UTF-8; a header line names the columns.")],
    as_json: Json = False,
) -> None:
    """Open the mailboxes of a CSV file, all or none; every faulty line is named.

    Columns: address, type, rpps, adeli, finess, nom, prenom, profession, liste_rouge, password.
    """
    from mssante.cli.bal_entry import read_file

    settings = settings_of(context)
    lines = read_file(file, settings.operator.domains)
    _refuse_taken(settings, file, lines)
    _open(settings, [entry for _, entry in lines])
    if as_json:
        details({"opened": len(lines)}, as_json)
    else:
        say(f"{len(lines)} opened")


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """All professional mailboxes, closed ones too."""
    from mssante.domain.bal import BalType
    from mssante.store.accounts import list_bals

    settings = settings_of(context)
    with open_store(settings) as store:
        bals = store.read_now(list_bals)
    listing([_row(bal) for bal in bals if bal.type is not BalType.PAT], as_json)


@app.command()
def show(context: typer.Context, address: AddressArgument, as_json: Json = False) -> None:
    """One mailbox: whose it is, its state and why, who may act on it."""
    from mssante.services.bals import bal_and_delegations

    settings = settings_of(context)
    wanted = address_of(address)
    with open_store(settings) as store:
        bal, delegations = store.read_now(bal_and_delegations, wanted)
    rights = [{"to": one.delegate, "right": one.right, "since": iso(one.since_us)} for one in delegations]
    details({**_row(bal), "motif": bal.motif, "delegations": rights}, as_json)


@app.command()
def suspend(context: typer.Context, address: AddressArgument, motif: Motif) -> None:
    """Nobody signs in until it reopens; open sessions end, mail waits."""
    from mssante.services import bals

    _change(context, bals.suspend, address, motif)
    say(f"{address} suspended")


@app.command()
def reopen(context: typer.Context, address: AddressArgument, motif: Motif = "") -> None:
    """End a suspension, or a closing under way."""
    from mssante.services import bals

    _change(context, bals.reopen, address, motif)
    say(f"{address} reopened")


@app.command()
def close(context: typer.Context, address: AddressArgument, motif: Motif) -> None:
    """Close for good: open sessions end, the address is never given again."""
    from mssante.services import bals

    _change(context, bals.close, address, motif)
    say(f"{address} closed")


@app.command()
def delegate(
    context: typer.Context,
    address: AddressArgument,
    to: Annotated[str, typer.Option(metavar="RPPS-or-ADDRESS", help="Who gets the right: a mailbox here, or an RPPS.")],
    right: Annotated[
        str,
        typer.Option(
            metavar="read|write|send",
            help="What he may do: read its folders, change them (write), or send under its address.",
        ),
    ],
    remove: Annotated[bool, typer.Option("--remove", help="Take the right back.")] = False,
) -> None:
    """Let another professional act on a mailbox, or no longer."""
    from mssante.services.bals import RIGHTS, give_right, take_right_back

    if right not in RIGHTS:
        raise Failure(f"--right {right}: one of {', '.join(RIGHTS)}", USAGE)
    whom = _delegate(to)
    _change(context, take_right_back if remove else give_right, address, whom, right)
    say(f"{whom} may {'no longer ' if remove else ''}{right} on {address}")


@app.command()
def load(
    context: typer.Context,
    address: AddressArgument,
    source: Annotated[Path, typer.Option("--from", metavar="PATH", help="A Maildir, or an mbox file.")],
) -> None:
    """Bring an existing Maildir (with its subfolders) or mbox into the mailbox; loading it twice stores it twice."""
    from imap.mailbox_names import NameFault, decode
    from mssante.services.bals import known_bal
    from mssante.services.loading import ArchiveError, load_archive, read_archive

    settings, wanted = settings_of(context), address_of(address)
    with open_store(settings) as store:
        bal = store.read_now(known_bal, wanted)
        try:
            done = load_archive(store, bal, read_archive(source, decode), actor())
        except (ArchiveError, NameFault) as fault:
            raise Failure(f"{fault}: correct it, or load the rest from elsewhere", USAGE) from None
    for folder, count in sorted(done.items()):
        say(f"{folder}: {count} messages")


@app.command()
def password(context: typer.Context, address: AddressArgument, password_stdin: PasswordStdin = False) -> None:
    """Set the password: new sign-ins with the old one are refused at once; open sessions end by themselves."""
    from mssante.services.bals import change_password

    settings = settings_of(context)
    if not password_stdin:
        raise Failure("the password comes by --password-stdin, on the first line of stdin", USAGE)
    wanted, hashed = address_of(address), hashes(settings, [password_of_stdin()])[0]
    with open_store(settings) as store:
        store.write_now(change_password, wanted, str(hashed), actor())
    say(f"{address}: password changed")


def hashes(settings: "Settings", passwords: Sequence[str]) -> list[str | None]:
    """The argon2 hash of each password, None for "". Two at a time, as argon2 lets the other cores go."""
    from concurrent.futures import ThreadPoolExecutor

    from mssante.services.passwords import PasswordCost, Passwords

    hasher = Passwords(PasswordCost(settings.passwords.memory_kib, settings.passwords.passes))
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda text: hasher.hash(text) if text else None, passwords))


def _open(settings: "Settings", entries: Sequence["Entry"]) -> None:
    from mssante.services.bals import open_bals

    hashed = hashes(settings, [entry.password for entry in entries])
    new = [_new_bal(entry, password_hash) for entry, password_hash in zip(entries, hashed, strict=True)]
    with open_store(settings) as store:
        store.write_now(open_bals, new, actor())


def _refuse_taken(settings: "Settings", file: Path, lines: Sequence[tuple[int, "Entry"]]) -> None:
    """Before the passwords are hashed, which takes seconds. Raises Failure with every address that is taken."""
    from mssante.store.accounts import find_bals

    with open_store(settings) as store:
        taken = store.read_now(find_bals, [entry.address for _, entry in lines])
    faults = [
        f"{file}:{line}: address: {entry.address} is taken" for line, entry in lines if str(entry.address) in taken
    ]
    if faults:
        raise Failure([*faults, f"{file}: nothing was imported: correct these lines"])


def _new_bal(entry: "Entry", password_hash: str | None) -> "NewBal":
    from mssante.store.accounts import NewBal

    return NewBal(
        address=str(entry.address),
        type=entry.type,
        rpps=entry.rpps,
        adeli=entry.adeli,
        finess=entry.finess,
        nom=entry.nom,
        prenom=entry.prenom,
        profession=entry.profession,
        liste_rouge=entry.liste_rouge,
        password_hash=password_hash,
    )


def _change(context: typer.Context, step: Callable[..., None], address: str, *said: str) -> None:
    """One use-case on one mailbox, by the operator."""
    settings = settings_of(context)
    wanted, who = address_of(address), actor()
    with open_store(settings) as store:
        store.write_now(lambda tx: step(tx, wanted, *said, who))


def _delegate(text: str) -> str:
    from mssante.domain.identifiers import IdentifierError, parse_rpps

    if "@" in text:
        return str(address_of(text))
    try:
        return parse_rpps(text).number
    except IdentifierError as error:
        raise Failure(f"--to {text}: {error}: an address or an RPPS", USAGE) from None


def _row(bal: "Bal") -> dict[str, Any]:
    return {
        "address": bal.address,
        "type": str(bal.type),
        "state": str(bal.state),
        "rpps": bal.rpps,
        "adeli": bal.adeli,
        "finess": bal.finess,
        "nom": bal.nom,
        "prenom": bal.prenom,
        "profession": bal.profession,
        "liste_rouge": bal.liste_rouge,
        "used_bytes": bal.used_bytes,
        "quota_bytes": bal.quota_bytes,
        "created": iso(bal.created_us),
    }
