"""An existing Maildir or mbox brought into a mailbox, by the command line.

Always true here: every message keeps its octets but for its line ends, which become CRLF (RFC 5322 §2.3), its flags and
the time it was received; messages are stored in groups, each on stable storage and journalled before the next is read,
so that memory does not grow with the archive; nothing of the archive is changed.
"""

import calendar
import mailbox
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from mssante.domain.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from mssante.mime.headers import header_fields
from mssante.mime.scanner import HeaderTooLarge, Scanner
from mssante.services.searching import Reading, catch_up
from mssante.store import PendingContent, Store, Tx
from mssante.store.accounts import Bal
from mssante.store.fetched import set_fetched
from mssante.store.mail import INBOX, NewMessage, append, create_folder, folder_by_name

GROUP_MESSAGES = 200
GROUP_BYTES = 8 * 1024 * 1024
_MAILDIR_FLAGS = {"S": SEEN, "R": ANSWERED, "F": FLAGGED, "T": DELETED, "D": DRAFT}
_STATUS_FLAGS = {"R": SEEN, "A": ANSWERED, "F": FLAGGED, "D": DELETED, "T": DRAFT}

_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
"""RFC 4155 leaves it open; this is mboxrd, which quotes so that it can be undone."""


class ArchiveError(ValueError):
    """What was named is no archive, or one of its messages cannot be read; the text says which."""


class OutOfReach(ArchiveError):
    """The server that it comes from does not answer, or no longer."""


class Archived(msgspec.Struct, frozen=True):
    """A message of an archive; ``received_us`` None when the archive does not tell. ``origin`` names it in errors.
    ``fetched``: of a mailbox elsewhere, its folder's name there, UIDVALIDITY and UID."""

    folder: str
    octets: bytes
    flags: int
    received_us: int | None
    origin: str
    fetched: tuple[str, int, int] | None = None


def read_archive(path: Path, folder_name: Callable[[bytes], str]) -> Iterator[Archived]:
    """The messages of an mbox, or of a Maildir with its Maildir++ subfolders, whose names ``folder_name`` decodes."""
    if (path / "cur").is_dir():
        yield from _maildir(path, INBOX)
        for sub in sorted(path.glob(".?*/cur")):
            name = sub.parent.name[1:].replace(".", "/")
            yield from _maildir(sub.parent, folder_name(name.encode("utf-8", "surrogateescape")))
    elif path.is_file():
        yield from _mbox(path)
    else:
        raise ArchiveError(f"{path}: neither a Maildir (a folder with cur/ and new/) nor an mbox file")


def load_archive(
    store: Store, bal: Bal, messages: Iterable[Archived], actor: str, reading: Reading | None = None
) -> Counter[str]:
    """Stores the messages and reads them for search; how many went into each folder. Raises ArchiveError, StoreError:
    the groups before stay."""
    done: Counter[str] = Counter()
    group: list[tuple[Archived, PendingContent, bytes, int | None]] = []
    size = 0

    def store_group() -> None:
        store.write_now(_append_all, bal, tuple(group), actor, contents=tuple(pending for _, pending, _, _ in group))
        done.update(one.folder for one, _, _, _ in group)
        group.clear()

    try:
        for one in messages:
            scanner, writer = Scanner(), store.contents.begin()
            try:
                scanner.feed(one.octets)
                card = scanner.finish()
            except HeaderTooLarge as fault:
                writer.abort()
                raise ArchiveError(f"{one.origin}: {fault}; {done.total()} messages were loaded before it") from fault
            writer.write(one.octets)
            group.append((one, writer.finish(), card.encode(), card.date_us))
            size += len(one.octets)
            if len(group) == GROUP_MESSAGES or size >= GROUP_BYTES:
                store_group()
                size = 0
    except ArchiveError:
        for _, pending, _, _ in group:
            pending.discard()
        raise
    if group:
        store_group()
    catch_up(store, reading or Reading(), bal.id)
    return done


def _append_all(
    tx: Tx, bal: Bal, group: tuple[tuple[Archived, PendingContent, bytes, int | None], ...], actor: str
) -> None:
    folders: dict[str, int] = {}
    for one, pending, card, date_us in group:
        if one.folder not in folders:
            known = folder_by_name(tx.conn, bal.id, one.folder)
            folders[one.folder] = known.id if known else create_folder(tx, bal.id, one.folder)
        received_us = one.received_us if one.received_us is not None else date_us or tx.now_us
        append(tx, folders[one.folder], NewMessage(pending, received_us, b"", card), one.flags)
        if one.fetched is not None:
            set_fetched(tx, bal.id, folders[one.folder], *one.fetched)
    tx.journal("bal.loaded", actor=actor, object=bal.address, messages=len(group))


def _maildir(path: Path, folder: str) -> Iterator[Archived]:
    for file in sorted([*(path / "new").glob("[!.]*"), *(path / "cur").glob("[!.]*")], key=lambda file: file.name):
        _, _, info = file.name.rpartition(":2,")
        flags = sum(_MAILDIR_FLAGS.get(letter, 0) for letter in set(info)) if ":2," in file.name else 0
        try:
            octets, received_us = file.read_bytes(), file.stat().st_mtime_ns // 1000
        except OSError as fault:
            raise ArchiveError(f"{file}: {fault.strerror}") from fault
        yield Archived(folder, crlf(octets), flags, received_us, str(file))


def _mbox(path: Path) -> Iterator[Archived]:
    try:
        with path.open("rb") as file:
            begins = file.read(1024).lstrip(b"\r\n")
    except OSError as fault:
        raise ArchiveError(f"{path}: {fault.strerror}") from fault
    if begins and not begins.startswith(b"From "):
        raise ArchiveError(f"{path}: no mbox: a message must begin with a line From ; a zip file is unpacked first")
    box = mailbox.mbox(path, create=False)
    try:
        for number, key in enumerate(box.keys(), 1):
            first, _, octets = box.get_bytes(key, from_=True).partition(b"\n")
            octets = crlf(_QUOTED.sub(rb"\1", octets))
            header = octets.partition(b"\r\n\r\n")[0] + b"\r\n"
            status = header_fields(header, ("status", "x-status")).decode("ascii", "replace")
            letters = {letter for line in status.splitlines() for letter in line.rpartition(":")[2]}
            flags = sum(bit for letter, bit in _STATUS_FLAGS.items() if letter in letters)
            yield Archived(INBOX, octets, flags, _from_line_us(first), f"{path}: message {number}")
    finally:
        box.close()


def _from_line_us(line: bytes) -> int | None:
    """The time of ``From sender Mon Nov  3 09:00:00 2025``, which is UTC (RFC 4155)."""
    try:
        return calendar.timegm(time.strptime(" ".join(line.decode("ascii").split()[-5:]))) * 1_000_000
    except ValueError:
        return None


def crlf(octets: bytes) -> bytes:
    """With CRLF at the end of every line."""
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
