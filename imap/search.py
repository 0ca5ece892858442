"""Which messages of the selected folder SEARCH finds (RFC 9051 §6.4.4).

Invariants:
- The answer is exact: what the view alone can tell is asked first, then texts of what is still in question, and only
  messages that neither could decide are read.
- Texts are compared decoded (RFC 2047, transfer encodings, charsets) and folded as the operator has set it; a substring
  anywhere counts.
- A message that is gone from the store is found by nothing but its flags and numbers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import date
from enum import IntEnum
from typing import Any, Final

from imap.responses import message_id
from imap.search_keys import (
    All,
    Among,
    And,
    Body,
    Day,
    Flag,
    Header,
    Key,
    Keyword,
    ModSeq,
    Not,
    Numbers,
    ObjectId,
    Or,
    Recent,
    Saved,
    Size,
    When,
    Within,
)
from imap.view import View
from mssante.services.mailboxes import Account
from mssante.services.messages import Message

_BATCH: Final = 100
_DAY_US: Final = 86_400_000_000
_EPOCH: Final = date(1970, 1, 1).toordinal()


Test = Callable[[int, Message], bool]
"""Whether the message at a place is meant."""
_UNREAD: Final[Any] = None
"""In place of a message where the view decides alone."""


class Cost(IntEnum):
    """What it takes to judge a key."""

    VIEW = 0
    TEXT = 1
    CARD = 2


_COSTS: Final[dict[type[Key], Cost]] = {
    Header: Cost.TEXT,
    Body: Cost.TEXT,
    Size: Cost.CARD,
    Day: Cost.CARD,
    Within: Cost.CARD,
}


def _every(key: Key) -> Iterator[Key]:
    """The key and those it is made of."""
    yield key
    for part in key.parts:
        yield from _every(part)


def cost(key: Key) -> Cost:
    return max(_COSTS.get(type(one), Cost.VIEW) for one in _every(key))


def asks(key: Key, kind: type[Key]) -> bool:
    """Whether a key of this kind is in it."""
    return any(isinstance(one, kind) for one in _every(key))


async def find(view: View, own: Account, key: Key, breathe: Callable[[], Awaitable[None]]) -> list[int]:
    """Places of the messages that match, ascending. `breathe` is called between batches."""
    if asks(key, Saved):
        view.saved_on = await own.saved_dates(view.folder_id, view.listing.uids)
    places: Sequence[int] = range(len(view))
    dear: list[Test] = []
    now_us = own.now_us()
    for one in sorted(key.keys, key=cost) if isinstance(key, And) else [key]:
        known = await _without_texts(one, view, own, places)
        if cost(known) is Cost.VIEW:
            test = _test(known, view, now_us)
            places = [place for place in places if test(place, _UNREAD)]
        else:
            dear.append(_test(known, view, now_us))
    if not dear:
        return list(places)
    found: list[int] = []
    for start in range(0, len(places), _BATCH):
        some = places[start : start + _BATCH]
        ids = [view.listing.message_ids[place] for place in some]
        for place, loaded in zip(some, await own.messages.load(view.folder_id, view.uids_at(some), ids), strict=True):
            if loaded is not None and all(test(place, loaded.message) for test in dear):
                found.append(place)
        await breathe()
    return found


async def _without_texts(key: Key, view: View, own: Account, places: Sequence[int]) -> Key:
    """The key with what it says about texts looked up, for these places."""
    match key:
        case And(keys):
            return And(tuple([await _without_texts(one, view, own, places) for one in keys]))
        case Or(first, second):
            return Or(await _without_texts(first, view, own, places), await _without_texts(second, view, own, places))
        case Not(inner):
            return Not(await _without_texts(inner, view, own, places))
        case Header() | Body():
            uids: Sequence[int] = view.listing.uids
            ids: Sequence[int] = view.listing.message_ids
            if len(places) < len(view):
                uids, ids = view.uids_at(places), [ids[place] for place in places]
            if isinstance(key, Header):
                return Among(await own.texts.find(view.folder_id, uids, ids, key.text, field=key.name))
            return Among(await own.texts.find(view.folder_id, uids, ids, key.text, whole=key.header))
    return key


def _test(key: Key, view: View, now_us: int) -> Test:
    listing = view.listing
    uids, flags, modseqs, message_ids = listing.uids, listing.flags, listing.modseqs, listing.message_ids
    match key:
        case And(keys):
            tests = [_test(inner, view, now_us) for inner in keys]
            return lambda place, message: all(test(place, message) for test in tests)
        case Or(first, second):
            one, other = _test(first, view, now_us), _test(second, view, now_us)
            return lambda place, message: one(place, message) or other(place, message)
        case Not(inner):
            test = _test(inner, view, now_us)
            return lambda place, message: not test(place, message)
        case All():
            return lambda *_: True
        case Flag(bit):
            return lambda place, _: bool(flags[place] & bit)
        case Keyword(word):
            wanted = word.casefold()
            return lambda place, _: any(held.casefold() == wanted for held in listing.keywords_of(place))
        case Recent():
            return lambda place, _: view.is_recent(place)
        case Among(found):
            return lambda place, _: uids[place] in found
        case Numbers(ranges, uid):
            places = view.places(ranges, uid=uid)
            chosen = places if isinstance(places, range) else frozenset(places)
            return lambda place, _: place in chosen
        case Saved(when, day):
            dates = view.saved_on
            return lambda place, _: uids[place] in dates and _falls(dates[uids[place]], when, day)
        case ModSeq(at_least):
            return lambda place, _: modseqs[place] >= at_least
        case ObjectId(wanted_id):
            return lambda place, _: message_id(message_ids[place]).decode("ascii") == wanted_id
        case Size(octets, larger):
            return lambda _, message: message.size > octets if larger else message.size < octets
        case Within(seconds, older):
            since_us = now_us - seconds * 1_000_000
            return lambda _, message: message.internal_us <= since_us if older else message.internal_us >= since_us
        case Day(when, day, sent):
            date_of = _sent_us if sent else _arrived_us
            return lambda _, message: (time_us := date_of(message)) is not None and _falls(time_us, when, day)
    raise TypeError(key)


def _arrived_us(message: Message) -> int:
    return message.internal_us


def _sent_us(message: Message) -> int | None:
    """The date as it is written, whatever its zone (RFC 9051 §6.4.4)."""
    card = message.card
    return None if card.date_us is None else card.date_us + card.date_zone * 60_000_000


def _falls(time_us: int, when: When, wanted: date) -> bool:
    number, day = time_us // _DAY_US + _EPOCH, wanted.toordinal()
    if when is When.BEFORE:
        return number < day
    return number == day if when is When.ON else number >= day
