"""SEARCH and UID SEARCH (RFC 9051 §6.4.4, answered as RFC 3501 §7.2.5 does)."""

from __future__ import annotations

from imap.search import find
from imap.session import Session
from imap.values import Search


async def search(session: Session, value: Search) -> bytes:
    """What arrived meanwhile is found too."""
    if session.selected.stale:
        await session.sync(expunge=False)
    view = session.selected
    found = await find(view, session.own, value.key, session.wire.breathe)
    places = [place for place in found if not view.is_gone(place)]
    numbers = view.uids_at(places) if value.uid else [place + 1 for place in places]
    session.wire.write(b"* SEARCH" + b"".join([b" %d" % number for number in numbers]) + b"\r\n")
    return b"OK SEARCH completed"
