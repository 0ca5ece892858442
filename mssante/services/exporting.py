"""A mailbox written out for its holder: a zip of a Maildir, or of mbox files, that other programs read.

Always true here: one message is in memory at a time; what we prepended (trace, results) stands before each message, as
IMAP shows it; nothing is overwritten, and a file that is not whole does not stay.
"""

import io
import os
import re
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

from mssante.domain.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from mssante.store import Conn, Store, Tx
from mssante.store.accounts import Bal
from mssante.store.mail import INBOX, Folder, MessageRow, entries, folders, rows

_PAGE: Final = 200
_MAILDIR: Final = ((DRAFT, "D"), (FLAGGED, "F"), (ANSWERED, "R"), (SEEN, "S"), (DELETED, "T"))
_FROM_LINE: Final = re.compile(rb"^(>*From )", re.MULTILINE)


class ExportRefused(ValueError):
    """Nothing was exported; the text says why."""


class Form(StrEnum):
    MAILDIR = "maildir"
    MBOX = "mbox"


def export_mailbox(
    store: Store, bal: Bal, target: Path, form: Form, folder_name: Callable[[str], bytes], actor: str
) -> Counter[str]:
    """Writes ``target``, a zip file readable by its owner alone; how many messages of each folder. ``folder_name``
    encodes the names of a Maildir's subfolders. Raises ExportRefused, StoreError, OSError."""
    done: Counter[str] = Counter()
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ExportRefused(f"{target} exists: name another file with --to") from None
    whole = False
    try:
        with os.fdopen(descriptor, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for folder in store.read_now(folders, bal.id):
                    messages = _messages(store, folder)
                    if form is Form.MBOX:
                        done[folder.name] = _write_mbox(archive, folder, messages)
                    else:
                        done[folder.name] = _write_maildir(archive, _maildir(folder, folder_name), messages)
            file.flush()
            os.fsync(file.fileno())
        store.write_now(_note, bal, done.total(), actor)
        whole = True
    finally:
        if not whole:
            target.unlink()
    return done


def _note(tx: Tx, bal: Bal, messages: int, actor: str) -> None:
    tx.journal("bal.exported", actor=actor, object=bal.address, messages=messages)


def _messages(store: Store, folder: Folder) -> Iterator[tuple[MessageRow, bytes]]:
    uids = [one.uid for one in store.read_now(entries, folder.id)]

    def page(conn: Conn, some: list[int]) -> list[MessageRow]:
        return rows(conn, folder.id, some)

    for start in range(0, len(uids), _PAGE):
        for row in store.read_now(page, uids[start : start + _PAGE]):
            yield row, row.prepend + store.contents.read(row.content)


def _maildir(folder: Folder, folder_name: Callable[[str], bytes]) -> str:
    """Maildir++: subfolders beside cur, their levels joined by dots, which no name may hold then."""
    if folder.name == INBOX:
        return ""
    return "." + folder_name(folder.name.replace(".", "_")).decode("ascii").replace("/", ".") + "/"


def _write_maildir(archive: zipfile.ZipFile, where: str, messages: Iterator[tuple[MessageRow, bytes]]) -> int:
    count = 0
    for name in ("cur", "new", "tmp"):
        archive.writestr(zipfile.ZipInfo(f"{where}{name}/"), b"")
    for row, octets in messages:
        letters = "".join(letter for bit, letter in _MAILDIR if row.flags & bit)
        name = f"{where}cur/{row.internal_us // 1_000_000}.{row.uid}.mssante:2,{letters}"
        archive.writestr(_member(name, row.internal_us), octets)
        count += 1
    return count


def _write_mbox(archive: zipfile.ZipFile, folder: Folder, messages: Iterator[tuple[MessageRow, bytes]]) -> int:
    """RFC 4155, lines that begin like a separator quoted (mboxrd), flags as Status and X-Status."""
    count = 0
    with archive.open(zipfile.ZipInfo(f"{folder.name}.mbox"), "w", force_zip64=True) as file:
        for row, octets in messages:
            buffer = io.BytesIO()
            when = time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(row.internal_us // 1_000_000))
            buffer.write(f"From MAILER-DAEMON {when}\n".encode())
            buffer.write(b"Status: %b\n" % (b"RO" if row.flags & SEEN else b"O"))
            states = "".join(
                letter
                for bit, letter in ((ANSWERED, "A"), (FLAGGED, "F"), (DRAFT, "T"), (DELETED, "D"))
                if row.flags & bit
            )
            buffer.write(b"X-Status: %b\n" % states.encode())
            buffer.write(_FROM_LINE.sub(rb">\1", octets.replace(b"\r\n", b"\n")))
            buffer.write(b"\n" if octets.endswith(b"\n") else b"\n\n")
            file.write(buffer.getvalue())
            count += 1
    return count


def _member(name: str, time_us: int) -> zipfile.ZipInfo:
    when = time.localtime(max(time_us // 1_000_000, 315_619_200))  # zip files know no time before 1980
    member = zipfile.ZipInfo(name, when[:6])
    member.compress_type = zipfile.ZIP_DEFLATED
    return member
