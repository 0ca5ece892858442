"""COPY, UID COPY, MOVE, UID MOVE (RFC 9051 §6.4.7, §6.4.8; COPYUID RFC 4315 §3).

Invariants: all of the messages or none; a moved message is in one of the two folders at every moment, never in none.
"""

from __future__ import annotations

from imap.session import Session, gone, missing_may_be_created
from imap.values import Copy
from imap.view import View, compact
from mssante.services.mailboxes import Copied


async def copy(session: Session, value: Copy) -> bytes:
    copied = await _copy(session, session.selected, value, move=False)
    if copied is None:
        return b"OK No messages"
    return b"OK " + _code(copied) + b" COPY completed"


async def move(session: Session, value: Copy) -> bytes:
    copied = await _copy(session, session.writable, value, move=True)
    if copied is None:
        return b"OK No messages"
    session.wire.write(b"* OK " + _code(copied) + b" Moved\r\n")
    return await session.expunged([uid for uid, _ in copied.pairs], "MOVE")


async def _copy(session: Session, view: View, value: Copy, *, move: bool) -> Copied | None:
    places = view.places(value.ranges, uid=value.uid)
    present = [place for place in places if not view.is_gone(place)]
    if len(present) < len(places) and not value.uid:
        raise gone()
    if not present:
        return None
    with missing_may_be_created():
        into, name = await session.own.at(value.mailbox, "i")
        copied = await session.there.copy(view.folder_id, view.uids_at(present), name, into=into, move=move)
    return copied if copied.pairs else None


def _code(copied: Copied) -> bytes:
    sources, targets = compact(uid for uid, _ in copied.pairs), compact(uid for _, uid in copied.pairs)
    return b"[COPYUID %d %b %b]" % (copied.uidvalidity, sources, targets)
