"""GETMETADATA and SETMETADATA (RFC 5464 §4.2, §4.3).

Invariants: entries that are not there are not told; names are compared without case (§3.1); of a mailbox that is lent
`r` is needed to read, `w` to change what is shared (§3.3).
"""

from __future__ import annotations

from imap.lexer import Refused
from imap.responses import astring, string
from imap.session import Session
from imap.values import GetMetadata, SetMetadata
from mssante.services.annotations import MAX_VALUE, SHARED
from mssante.services.mailboxes import Account, Folder


async def get_metadata(session: Session, value: GetMetadata) -> bytes:
    mail, folder = await _place(session, value.mailbox, "r")
    found = await mail.notes(folder)
    wanted = {name: note for name, note in found.items() if any(_within(name, one, value) for one in value.entries)}
    longest = max((len(note) for note in wanted.values()), default=0)
    limit = longest if value.max_size is None else value.max_size
    pairs = [astring(name.encode("ascii")) + b" " + _value(note) for name, note in wanted.items() if len(note) <= limit]
    if pairs:
        session.wire.write(b"* METADATA " + session.mailbox(value.mailbox) + b" (" + b" ".join(pairs) + b")\r\n")
    code = b"[METADATA LONGENTRIES %d] " % longest if longest > limit else b""
    return b"OK " + code + b"GETMETADATA completed"


def _within(name: str, asked: str, value: GetMetadata) -> bool:
    """Whether the entry is the one asked for, or below it as deep as wanted."""
    if name == asked:
        return True
    below = name.removeprefix(asked + "/")
    return below != name and (value.depth is None or below.count("/") < value.depth)


def _value(note: bytes) -> bytes:
    return b"~{%d}\r\n%b" % (len(note), note) if b"\0" in note else string(note)


async def set_metadata(session: Session, value: SetMetadata) -> None:
    if any(len(note or b"") > MAX_VALUE for _, note in value.notes):
        raise Refused("Une note est trop longue", f"METADATA MAXSIZE {MAX_VALUE}")
    shared = any(name.startswith(SHARED) for name, _ in value.notes)
    letters = "rw" if shared else "r"
    mail, folder = await _place(session, value.mailbox, letters)
    await mail.annotate(folder, dict(value.notes), letters)
    if session.watch is not None:
        session.watch.know(folder, dict(value.notes))


async def _place(session: Session, name: str, letters: str) -> tuple[Account, Folder | None]:
    """The mailbox and folder of a name; the empty name means the server (§4.2)."""
    if not name:
        return session.own, None
    mail, inner = await session.own.at(name, letters)
    return mail, await mail.folder(inner)
