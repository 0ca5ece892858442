"""STORE and UID STORE (RFC 9051 §6.4.6).

Invariants: the answer shows the flags as they are in the store, not as the client imagined them; with .SILENT a
message is told only when another session's change makes its flags other than the client has to believe; a client that
wants modseqs is told those of every message that it changed (RFC 7162 §3.1.3).
"""

from __future__ import annotations

from typing import Final

from imap.session import Session, gone
from imap.values import Store
from imap.view import compact

_TOGETHER: Final = 2000
"""Messages changed in one transaction."""


async def store(session: Session, value: Store) -> bytes | None:
    view = session.writable
    places = view.places(value.ranges, uid=value.uid)
    if value.unchanged_since is not None:
        session.use_condstore()
    listing = view.listing
    missing, modified = False, list[int]()
    for start in range(0, len(places), _TOGETHER):
        some = [place for place in places[start : start + _TOGETHER] if not view.is_gone(place)]
        missing |= len(some) < len(places[start : start + _TOGETHER])
        before = [(listing.flags[place], listing.keywords_of(place)) for place in some]
        change = (view.folder_id, view.uids_at(some), value.operation, value.flags.bits, value.flags.keywords)
        if value.unchanged_since is None:
            entries, others = await session.there.store_flags(*change), list[int]()
        else:
            entries, others = await session.there.store_unchanged(*change, value.unchanged_since)
        missing |= len(entries) + len(others) < len(some)
        modified += others
        view.put(entries)
        present = {entry.uid for entry in entries}
        told = []
        for place, (bits, keywords) in zip(some, before, strict=True):
            if listing.uids[place] not in present:
                continue
            expected = _applied(value, bits, frozenset(keywords))
            if not value.silent or expected != (listing.flags[place], frozenset(listing.keywords_of(place))):
                told.append(place)
            elif session.condstore:
                session.tell_modseq(view, place)
        session.tell_keywords(view)
        for place in told:
            session.tell_flags(view, place)
        await session.wire.breathe()
    if modified:
        view.hear()  # what they are now is told with this answer
        numbers = modified if value.uid else [listing.place(uid) + 1 for uid in modified]
        status = b"NO" if missing and not value.uid else b"OK"
        return status + b" [MODIFIED " + compact(numbers) + b"] Conditional STORE failed"
    if missing and not value.uid:
        raise gone()
    return None


def _applied(value: Store, bits: int, keywords: frozenset[str]) -> tuple[int, frozenset[str]]:
    given = frozenset(value.flags.keywords)
    if value.operation == "+":
        return bits | value.flags.bits, keywords | given
    if value.operation == "-":
        return bits & ~value.flags.bits, keywords - given
    return value.flags.bits, given
