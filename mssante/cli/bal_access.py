"""`mssante bal password`, `certificate` and `delegate`: who and what opens a mailbox.

What must always hold: a secret is read from stdin or shown once, by the command that made it; nothing shows it again.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mssante.cli.frame import (
    USAGE,
    Failure,
    Json,
    PasswordStdin,
    actor,
    address_of,
    iso,
    listing,
    open_store,
    password_of_stdin,
    say,
    settings_of,
)
from mssante.cli.passwords import hash_of

if TYPE_CHECKING:
    from mssante.config import Settings
    from mssante.domain.address import Address

AddressArgument = Annotated[str, typer.Argument(metavar="ADDRESS", help="The mailbox.")]


def password(
    context: typer.Context,
    address: AddressArgument,
    device: Annotated[str, typer.Option(metavar="NAME", help="A password of its own for this device.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="The device signs in no longer.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="The devices that have a password of their own.")] = False,
    password_stdin: PasswordStdin = False,
    as_json: Json = False,
) -> None:
    """Set the password of the mailbox, or that of a device, which is made up and shown once unless it comes by stdin.

    What it replaces or revokes is refused at once, and the sessions that it opened end.
    """
    from mssante.services.bals import change_password
    from mssante.services.credentials import allow_device
    from mssante.store.credentials import Kind

    if list_ and (device or revoke or password_stdin):
        raise Failure("--list shows the devices and changes nothing: give it alone", USAGE)
    if revoke and password_stdin:
        raise Failure("--revoke and --password-stdin: choose one", USAGE)
    settings, wanted = settings_of(context), address_of(address)
    if list_:
        _list(settings, wanted, Kind.DEVICE, as_json)
        return
    if revoke:
        _revoke(settings, wanted, Kind.DEVICE, device)
        return
    if not device and not password_stdin:
        raise Failure("the password comes by --password-stdin, on the first line of stdin", USAGE)
    if device and (not device.isprintable() or len(device) > 60):
        raise Failure("--device: a name of 60 printable characters at most", USAGE)
    text = password_of_stdin() if password_stdin else _made_up()
    hashed = str(hash_of(settings, wanted, text))
    if device:
        change(settings, allow_device, wanted, device, text, hashed)
    else:
        change(settings, change_password, wanted, hashed)
    say(f"{address}: password {'of ' + device if device else 'changed'}" if password_stdin else text)


def certificate(
    context: typer.Context,
    address: AddressArgument,
    add: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of a certificate ORG AUTH_CLI: its name may sign in.")
    ] = None,
    revoke: Annotated[str, typer.Option(metavar="NAME", help="This name signs in no longer.")] = "",
    as_json: Json = False,
) -> None:
    """The certificates with which software opens a mailbox of type APP (SASL EXTERNAL); without options: a list.

    The name (CN, OU, O) counts, so a renewed certificate opens the mailbox like the one before.
    """
    from mssante.services.credentials import bind_certificate
    from mssante.store.credentials import Kind

    if add is not None and revoke:
        raise Failure("--add and --revoke: choose one", USAGE)
    settings, wanted = settings_of(context), address_of(address)
    if add is not None:
        change(settings, bind_certificate, wanted, der_of(add))
        say(f"{address}: certificate added")
    elif revoke:
        _revoke(settings, wanted, Kind.CERTIFICATE, revoke)
    else:
        _list(settings, wanted, Kind.CERTIFICATE, as_json)


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
    step = take_right_back if remove else give_right
    change(settings_of(context), step, address_of(address), whom, right)
    say(f"{whom} may {'no longer ' if remove else ''}{right} on {address}")


def change(settings: "Settings", step: Callable[..., Any], address: "Address", *said: object) -> None:
    """One use-case on one mailbox, by the operator."""
    with open_store(settings) as store:
        store.write_now(lambda tx: step(tx, address, *said, actor()))


def der_of(file: Path) -> bytes:
    """The first certificate of a file. Raises Failure."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from tls.certificates import TlsError, load_certificates

    try:
        return load_certificates(file)[0].public_bytes(Encoding.DER)
    except TlsError as fault:
        raise Failure(f"{fault}: name the PEM file of a certificate", USAGE) from None


def _made_up() -> str:
    """100 bits, in groups that are read out and typed without mistake."""
    letters = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(20))
    return "-".join(letters[start : start + 5] for start in range(0, 20, 5))


def _list(settings: "Settings", address: "Address", kind: str, as_json: bool) -> None:
    from mssante.services.credentials import openings

    with open_store(settings) as store:
        found = store.read_now(openings, address)
    listing([{"name": one.name, "since": iso(one.created_us)} for one in found if one.kind == kind], as_json)


def _revoke(settings: "Settings", address: "Address", kind: str, name: str) -> None:
    from mssante.services.credentials import revoke

    if not name:
        raise Failure("--revoke: name the device with --device", USAGE)
    change(settings, revoke, address, kind, name)
    say(f"{address}: {kind} {name} revoked")


def _delegate(text: str) -> str:
    from mssante.domain.identifiers import IdentifierError, Rpps

    if "@" in text:
        return str(address_of(text))
    try:
        return Rpps.parse(text).number
    except IdentifierError as error:
        raise Failure(f"--to {text}: {error}: an address or an RPPS", USAGE) from None
