"""NOTIFY (RFC 5465): what a client hears of without asking.

Invariants: a NOTIFY that is refused leaves the one before as it was; no session watches more than `notify_mailboxes`
folders; a change between two looks at the store is told by the second.
"""

from __future__ import annotations

from typing import Final

from imap.commands.list import attributes_of
from imap.commands.mailboxes import tell_status
from imap.lexer import Refused
from imap.notify import Events, News, Place, Watch
from imap.responses import astring
from imap.session import Session
from imap.values import List, Notify, StatusItem
from mssante.services.mailboxes import MailboxRefused

_TELL: Final = List("", (), extended=True, subscribed=True)
_COUNTERS: Final = (StatusItem.MESSAGES, StatusItem.UIDNEXT, StatusItem.UIDVALIDITY, StatusItem.UNSEEN)


async def notify(session: Session, value: Notify) -> None:
    """What happened in the selected folder is told first, as by NOOP (§3.1)."""
    if session.view is not None and (session.view.stale or session.view.has_gone):
        await session.sync(expunge=True)
    watch = Watch(value.groups)
    if watch.elsewhere:
        await _look(session, watch)
        if len(watch.counted()) > session.server.settings.notify_mailboxes:
            raise Refused("Trop de dossiers a surveiller", "NOTIFICATIONOVERFLOW")
        _listen(session, watch)
    if session.watch is not None:
        session.watch.end()
    session.watch, session.wire.meanwhile = watch, session.meanwhile
    if value.status:
        for place in watch.counted():
            if session.view is None or place.key != session.view.folder_id:
                await _tell_counters(session, place)


async def tell_news(session: Session, watch: Watch) -> None:
    """What other folders have to tell, of one moment: what comes while it is told waits for the next occasion, and so
    no answer waits for a store that never rests. Who watches too many by now is told of none any more (§5.8)."""
    watch.stale = False
    try:
        news = await _look(session, watch)
    except MailboxRefused as refused:
        watch.stale = True  # asked again after the next command
        session.wire.leave(str(refused), refused.cause)
        return
    if len(watch.counted()) > session.server.settings.notify_mailboxes:
        session.wire.write(b"* OK [NOTIFICATIONOVERFLOW] Trop de dossiers a surveiller\r\n")
        watch.end()
        session.watch = Watch()
        return
    for place, old in news.named:
        _tell_name(session, place, old)
        await session.wire.breathe()
    for place in news.counted:
        await _tell_counters(session, place)
    for place, names in news.noted:
        entries = b" ".join(astring(name.encode("ascii")) for name in names)
        session.wire.write(b"* METADATA %b %b\r\n" % (session.mailbox(place.name), entries))
        await session.wire.breathe()
    _listen(session, watch)


async def _look(session: Session, watch: Watch) -> News:
    listed = await session.own.listed()
    kept = await session.own.subscribed_names()
    notes = await session.own.note_marks() if watch.notes else {}
    selected = session.view.folder_id if session.view is not None else 0
    return watch.look([(not mail.access.lent, folder) for mail, folder in listed], kept, selected, notes)


def _listen(session: Session, watch: Watch) -> None:
    """Hear of what is of interest now, and of nothing else. What happened before a hint was asked for is looked for
    once more."""

    def changed() -> None:
        watch.stale = True
        session.wire.wake()

    own = session.own
    wanted = {("folder", place.key) for place in watch.counted()} | {("folders", id_) for id_ in watch.bals(own.bal_id)}
    for gone in watch.listening.keys() - wanted:
        watch.listening.pop(gone)()
    for kind, id_ in wanted - watch.listening.keys():
        if kind == "folder":
            watch.listening[kind, id_] = own.watch(id_, lambda _: changed())
        else:
            watch.listening[kind, id_] = own.watch_names(id_, changed)
        changed()


async def _tell_counters(session: Session, place: Place) -> None:
    """STATUS; HIGHESTMODSEQ for who enabled CONDSTORE, and where nothing else could tell of a flag (§5.1)."""
    modseq = session.condstore or bool(place.events & Events.FLAGS)
    items = (*_COUNTERS, StatusItem.HIGHESTMODSEQ) if modseq else _COUNTERS
    if place.folder is not None:
        await tell_status(session, session.own, place.folder, place.name, items)
    await session.wire.breathe()


def _tell_name(session: Session, place: Place, old: str) -> None:
    """LIST with all attributes as they are now (§5.4, §5.5)."""
    attributes = attributes_of(place.folder, place.parent, _TELL)
    if place.folder is None and place.subscribed:
        attributes.append(b"\\Subscribed")
    former = b' ("OLDNAME" (%b))' % session.mailbox(old) if old else b""
    session.wire.write(b'* LIST (%b) "/" %b%b\r\n' % (b" ".join(attributes), session.mailbox(place.name), former))
