"""`mssante bal load`, `fetch` and `export`: a mailbox's mail brought in, and taken away."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

import typer

from mssante.cli.bal_access import AddressArgument
from mssante.cli.frame import (
    UNREACHABLE,
    USAGE,
    Failure,
    PasswordStdin,
    actor,
    address_of,
    open_store,
    password_of_stdin,
    say,
    settings_of,
)

if TYPE_CHECKING:
    from imap.source import Source
    from mssante.services.loading import Archived
    from mssante.store import Store
    from mssante.store.accounts import Bal

_NOT_INTO = "nothing is brought into it"


def load(
    context: typer.Context,
    address: AddressArgument,
    source: Annotated[Path, typer.Option("--from", metavar="PATH", help="A Maildir, or an mbox file.")],
) -> None:
    """Bring an existing Maildir (with its subfolders) or mbox into the mailbox; loading it twice stores it twice."""
    from imap.mailbox_names import NameFault, decode
    from mssante.services.bals import living_bal
    from mssante.services.loading import ArchiveError, load_archive, read_archive
    from mssante.services.searching import reading_of

    settings, wanted = settings_of(context), address_of(address)
    reading = reading_of(settings.imap.search, pdf=settings.imap.search_pdf)
    with open_store(settings) as store:
        bal = store.read_now(living_bal, wanted, _NOT_INTO)
        try:
            _tell(load_archive(store, bal, read_archive(source, decode), actor(), reading))
        except (ArchiveError, NameFault) as fault:
            raise Failure(f"{fault}: correct it, or load the rest from elsewhere", USAGE) from None


def fetch(
    context: typer.Context,
    address: AddressArgument,
    source: Annotated[
        str, typer.Option("--from", metavar="imaps://USER@HOST[:PORT]", help="The mailbox at the other operator.")
    ],
    roots: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="The authorities to believe for that server, else those of this machine."),
    ] = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Bring a mailbox over from another operator, by IMAP: folders, flags and dates. Run again, it brings what is
    new."""
    from imap.source import Source
    from mssante.services.bals import living_bal
    from mssante.services.loading import ArchiveError, OutOfReach, load_archive
    from mssante.services.searching import reading_of
    from tls.certificates import TlsError
    from tls.contexts import https_client

    settings, wanted = settings_of(context), address_of(address)
    reading = reading_of(settings.imap.search, pdf=settings.imap.search_pdf)
    host, port, user = _imaps(source)
    if not password_stdin:
        raise Failure("the password comes by --password-stdin, on the first line of stdin", USAGE)
    password = password_of_stdin()
    with open_store(settings) as store:
        bal = store.read_now(living_bal, wanted, _NOT_INTO)
        try:
            there = Source(host, port, https_client(roots))
            try:
                there.sign_in(user, password)
                _tell(load_archive(store, bal, _arriving(store, bal, there, f"{user}@{host}"), actor(), reading))
            finally:
                there.close()
        except TlsError as fault:
            raise Failure(f"--roots: {fault}", USAGE) from None
        except OutOfReach as fault:
            raise Failure(f"{fault}: run it again, it goes on where it stopped", UNREACHABLE) from None
        except ArchiveError as fault:
            raise Failure(f"{fault}: correct it and run it again") from None


def export(
    context: typer.Context,
    address: AddressArgument,
    target: Annotated[Path, typer.Option("--to", metavar="FILE.zip", help="The file to write.")],
    form: Annotated[str, typer.Option("--form", metavar="mbox|maildir", help="What is in it.")] = "mbox",
) -> None:
    """Write a whole mailbox into a zip file, for its holder: Thunderbird and others read mbox, bal load both."""
    from imap.mailbox_names import encode
    from mssante.services.bals import known_bal
    from mssante.services.exporting import ExportRefused, Form, export_mailbox

    settings, wanted = settings_of(context), address_of(address)
    if form not in list(Form):
        raise Failure(f"--form {form}: one of {', '.join(Form)}", USAGE)
    with open_store(settings) as store:
        bal = store.read_now(known_bal, wanted)
        try:
            _tell(export_mailbox(store, bal, target, Form(form), encode, actor()))
        except ExportRefused as fault:
            raise Failure(str(fault), USAGE) from None
        except OSError as fault:
            raise Failure(f"{target}: {fault.strerror}: name a place with room for it", USAGE) from None


def _tell(done: Counter[str]) -> None:
    for folder, count in sorted(done.items()):
        say(f"{folder}: {count} messages")
    if not done:
        say("no new message")


def _imaps(url: str) -> tuple[str, int, str]:
    """Host, port and user of an imaps URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or 993
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme != "imaps" or not parts.hostname or not parts.username or parts.password:
        raise Failure(f"--from {url}: such as imaps://anne%40autre.mssante.fr@imap.autre.fr, without a password", USAGE)
    return parts.hostname, port, unquote(parts.username)


def _arriving(store: "Store", bal: "Bal", there: "Source", source: str) -> "Iterator[Archived]":
    """The messages of every folder that are not here yet; folders of one use go together, whatever their names."""
    from imap.mailbox_names import NameFault, check_new
    from mssante.services.loading import ArchiveError
    from mssante.store.fetched import last_fetched
    from mssante.store.mail import INBOX, folder_by_name, folders

    uses = {folder.special_use: folder.name for folder in store.read_now(folders, bal.id) if folder.special_use}
    for remote in there.folders():
        try:
            into = INBOX if remote.name == INBOX else uses.get(remote.special_use) or check_new(remote.name)
        except NameFault as fault:
            raise ArchiveError(f"folder {remote.name!r}: {fault}") from fault
        mark = f"{source}/{remote.name}"

        def known(into: str = into, mark: str = mark) -> tuple[int, int]:
            here = store.read_now(folder_by_name, bal.id, into)
            return store.read_now(last_fetched, here.id, mark) if here is not None else (0, 0)

        yield from there.messages(remote, into, mark, known)
