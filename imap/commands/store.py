"""STORE and UID STORE (RFC 9051 §6.4.6).

Invariants: the answer shows the flags as they are in the store, not as this session imagined them; with .SILENT a
message is told only when another session's change makes its flags other than the client has to believe.
"""

from __future__ import annotations

from typing import Final, Literal

from imap.lexer import Refused
from imap.session import Session
from imap.values import Store

_TOGETHER: Final = 2000
"""Messages changed in one transaction."""


async def store(session: Session, value: Store) -> bytes:
    view = session.selected
    places = view.places(value.ranges, uid=value.uid)
    if view.read_only:
        raise Refused("Le dossier est ouvert en lecture seule")
    operation: Literal["+", "-", "="] = "+" if value.operation == "+" else "-" if value.operation == "-" else "="
    listing = view.listing
    missing = False
    for start in range(0, len(places), _TOGETHER):
        some = [place for place in places[start : start + _TOGETHER] if not view.is_gone(place)]
        missing |= len(some) < len(places[start : start + _TOGETHER])
        before = [(listing.flags[place], listing.keywords_of(place)) for place in some]
        entries = await session.own.store_flags(
            view.folder_id, view.uids_at(some), operation, value.flags.bits, value.flags.keywords
        )
        missing |= len(entries) < len(some)
        view.put(entries)
        present = {entry.uid for entry in entries}
        told = []
        for place, (bits, keywords) in zip(some, before, strict=True):
            if listing.uids[place] not in present:
                continue
            expected = _applied(operation, bits, frozenset(keywords), value)
            if not value.silent or expected != (listing.flags[place], frozenset(listing.keywords_of(place))):
                told.append(place)
        session.tell_keywords(view)
        for place in told:
            session.tell_flags(view, place)
        await session.wire.breathe()
    if missing and not value.uid:
        raise Refused("Des messages ont ete supprimes entre-temps", "EXPUNGEISSUED")
    return b"OK STORE completed"


def _applied(operation: str, bits: int, keywords: frozenset[str], value: Store) -> tuple[int, frozenset[str]]:
    given = frozenset(value.flags.keywords)
    if operation == "+":
        return bits | value.flags.bits, keywords | given
    if operation == "-":
        return bits & ~value.flags.bits, keywords - given
    return value.flags.bits, given
