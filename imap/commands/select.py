"""SELECT, EXAMINE, CLOSE, UNSELECT (RFC 9051 §6.3.2, §6.3.3, §6.4.1, §6.4.2; RFC 3501 for RECENT and UNSEEN).

Invariant: whatever becomes of the command, the folder selected before is no longer selected (§6.3.2).
"""

from __future__ import annotations

from imap import responses
from imap.session import Session
from imap.values import Plain, Select
from imap.view import View
from mssante.domain import flags


async def select(session: Session, value: Select) -> bytes:
    if session.view is not None:
        session.unselect()
        session.wire.write(b"* OK [CLOSED] Previous mailbox closed\r\n")
    opened = await session.own.open(value.mailbox, read_only=value.read_only)
    folder = opened.folder
    view = View(folder.id, folder.name, opened.listing, recent_from=opened.recent_from, read_only=value.read_only)
    session.select(view)
    view.stale = True  # what was committed between reading the folder and watching it
    words = responses.flag_words(view.keywords)
    permanent = b"" if value.read_only else words + b" \\*"
    unseen = view.first_unseen()
    wire = session.wire
    wire.write(b"* FLAGS (" + words + b")\r\n* OK [PERMANENTFLAGS (" + permanent + b")] Flags kept\r\n")
    wire.write(responses.exists(len(view)) + responses.recent(view.recent))
    if unseen:
        wire.write(b"* OK [UNSEEN %d] First unseen\r\n" % unseen)
    wire.write(
        b"* OK [UIDVALIDITY %d] UIDs valid\r\n* OK [UIDNEXT %d] Next UID\r\n" % (folder.uidvalidity, folder.uidnext)
    )
    if value.read_only:
        return b"OK [READ-ONLY] EXAMINE completed"
    return b"OK [READ-WRITE] SELECT completed"


async def close(session: Session, _: Plain) -> bytes:
    """Expunges without a word, unless the folder was examined only."""
    view = session.selected
    if not view.read_only:
        listing = view.listing
        deleted = [uid for uid, bits in zip(listing.uids, listing.flags, strict=True) if bits & flags.DELETED]
        await session.own.expunge(view.folder_id, deleted)
        session.own.forget(listing.message_ids[listing.place(uid)] for uid in deleted)
    session.unselect()
    return b"OK CLOSE completed"


async def unselect(session: Session, _: Plain) -> bytes:
    """RFC 3691"""
    session.unselect()
    return b"OK UNSELECT completed"
