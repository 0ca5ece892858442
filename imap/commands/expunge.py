"""EXPUNGE and UID EXPUNGE (RFC 9051 §6.4.3; RFC 4315 §2.1).

Invariant: a message goes only when the store says, in the same transaction, that it is \\Deleted.
"""

from __future__ import annotations

from imap.session import Session
from imap.values import Expunge
from mssante.domain import flags


async def expunge(session: Session, value: Expunge) -> bytes:
    view = session.writable
    if view.stale:
        await session.sync(expunge=True)
    places = range(len(view)) if value.ranges is None else view.places(value.ranges, uid=True)
    deleted = [place for place in places if view.listing.flags[place] & flags.DELETED and not view.is_gone(place)]
    return await session.expunged(await session.there.expunge(view.folder_id, view.uids_at(deleted)), "EXPUNGE")
