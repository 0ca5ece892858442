"""SELECT, EXAMINE, CLOSE, UNSELECT (RFC 9051 §6.3.2, §6.3.3, §6.4.1, §6.4.2; RFC 3501 for RECENT and UNSEEN).

Invariant: whatever becomes of the command, the folder selected before is no longer selected (§6.3.2).
"""

from __future__ import annotations

from typing import Final

from imap import responses
from imap.lexer import SyntaxFault
from imap.responses import folder_id
from imap.session import Session
from imap.values import Plain, Resync, Select
from imap.view import NOTHING_RECENT, View, compact
from mssante.domain import flags

WRITING: Final = frozenset("swite")
"""Who has one of these rights selects to write (RFC 4314 §5.2)."""


async def select(session: Session, value: Select) -> bytes:
    if value.resync is not None and "QRESYNC" not in session.enabled:
        raise SyntaxFault("ENABLE QRESYNC first")  # RFC 7162 §3.2.5
    if session.view is not None:
        session.unselect()
        session.wire.write(b"* OK [CLOSED] Previous mailbox closed\r\n")
    mail, name = await session.own.at(value.mailbox, "r")
    read_only = value.read_only or not mail.access.letters & WRITING
    opened = await mail.open(name, read_only=read_only)
    folder = opened.folder
    recent_from = NOTHING_RECENT if session.rev2 else opened.recent_from
    full_name = mail.access.prefix + folder.name
    view = View.of(opened, full_name, recent_from=recent_from, read_only=read_only)
    await session.select(view, mail)
    view.hear()  # what was committed between reading the folder and watching it
    words = responses.flag_words(view.keywords)
    permanent = b"" if read_only else words + b" \\*"
    wire = session.wire
    wire.write(b"* FLAGS (" + words + b")\r\n* OK [PERMANENTFLAGS (" + permanent + b")] Flags kept\r\n")
    wire.write(responses.exists(folder.messages))
    if not session.rev2:
        wire.write(responses.recent(opened.recent))
        if opened.outline.first_unseen:
            wire.write(b"* OK [UNSEEN %d] First unseen\r\n" % opened.outline.first_unseen)
    wire.write(
        b"* OK [UIDVALIDITY %d] UIDs valid\r\n* OK [UIDNEXT %d] Next UID\r\n" % (folder.uidvalidity, folder.uidnext)
    )
    wire.write(b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % folder.highestmodseq)  # RFC 7162 §3.1.2.1
    wire.write(b"* OK [MAILBOXID (%b)] Kept by RENAME\r\n" % folder_id(folder.id))  # RFC 8474 §4.2
    if session.rev2:
        wire.write(b'* LIST () "/" %b\r\n' % session.mailbox(full_name))  # RFC 9051 §6.3.2
    if value.condstore or value.resync is not None:
        session.enabled.add("CONDSTORE")
    resync = value.resync
    if resync is not None and resync.uidvalidity == folder.uidvalidity and resync.modseq < folder.highestmodseq:
        await _resync(session, view, resync)
    access = b"[READ-ONLY]" if read_only else b"[READ-WRITE]"
    return b"OK %b %b completed" % (access, b"EXAMINE" if value.read_only else b"SELECT")


async def _resync(session: Session, view: View, resync: Resync) -> None:
    """What happened since the client was last here (RFC 7162 §3.2.5.1), UIDs gone first."""
    await session.read_rows()
    expunged = await session.own.expunged_since(view.folder_id, resync.modseq)
    vanished = view.vanished(expunged, resync.known)
    if vanished:
        session.wire.write(responses.vanished(compact(vanished), earlier=True))
    places = range(len(view)) if resync.known is None else view.places(resync.known, uid=True)
    for place in view.changed_since(places, resync.modseq):
        session.tell_flags(view, place)
        await session.wire.breathe()


async def close(session: Session, _: Plain) -> None:
    """Expunges without a word, unless the folder was examined only."""
    view = session.selected
    if not view.read_only:
        await session.read_rows()
        listing = view.listing
        deleted = [uid for uid, bits in zip(listing.uids, listing.flags, strict=True) if bits & flags.DELETED]
        await session.there.expunge(view.folder_id, deleted)
        session.own.messages.forget(listing.message_ids[listing.place(uid)] for uid in deleted)
    session.unselect()


async def unselect(session: Session, _: Plain) -> None:
    """RFC 3691"""
    session.unselect()
