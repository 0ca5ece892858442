"""Which messages of the selected folder SEARCH finds (RFC 9051 §6.4.4).

Invariants:
- The answer is exact: what the view alone can tell is asked first, then texts of what is still in question, and only
  messages that neither could decide are read.
- Texts are compared decoded (RFC 2047, transfer encodings, charsets) and folded as the operator has set it; a substring
  anywhere counts.
- A message that is gone from the store is found by nothing but its flags and numbers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from enum import IntEnum
from typing import Final

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


class Cost(IntEnum):
    """What it takes to judge a key."""

    VIEW = 0
    TEXT = 1
    CARD = 2


def cost(key: Key) -> Cost:
    match key:
        case And(keys):
            return max(map(cost, keys))
        case Or(first, second):
            return max(cost(first), cost(second))
        case Not(inner):
            return cost(inner)
        case Size() | Day() | Within():
            return Cost.CARD
        case Header() | Body():
            return Cost.TEXT
    return Cost.VIEW


def asks(key: Key, kind: type[Key]) -> bool:
    """Whether a key of this kind is in it."""
    match key:
        case And(keys):
            return any(asks(one, kind) for one in keys)
        case Or(first, second):
            return asks(first, kind) or asks(second, kind)
        case Not(inner):
            return asks(inner, kind)
    return isinstance(key, kind)


async def find(view: View, own: Account, key: Key, breathe: Callable[[], Awaitable[None]]) -> list[int]:
    """Places of the messages that match, ascending. `breathe` is called between batches."""
    if asks(key, Saved):
        view.saved_on = await own.saved_dates(view.folder_id, view.listing.uids)
    places: Sequence[int] = range(len(view))
    dear: list[Key] = []
    for one in sorted(key.keys, key=cost) if isinstance(key, And) else [key]:
        known = await _without_texts(one, view, own, places)
        if cost(known) is Cost.VIEW:
            test = _view_test(known, view)
            places = [place for place in places if test(place)]
        else:
            dear.append(known)
    if not dear:
        return list(places)
    found: list[int] = []
    for start in range(0, len(places), _BATCH):
        some = places[start : start + _BATCH]
        ids = [view.listing.message_ids[place] for place in some]
        now_us = own.now_us()
        for place, loaded in zip(some, await own.messages.load(view.folder_id, view.uids_at(some), ids), strict=True):
            if loaded is not None and all(_judge(one, view, place, loaded.message, now_us) for one in dear):
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


def _view_test(key: Key, view: View) -> Callable[[int], bool]:
    flags, modseqs, message_ids = view.listing.flags, view.listing.modseqs, view.listing.message_ids
    match key:
        case Flag(bit):
            return lambda place: bool(flags[place] & bit)
        case Keyword(word):
            wanted = word.casefold()
            return lambda place: any(held.casefold() == wanted for held in view.listing.keywords_of(place))
        case Recent():
            return view.is_recent
        case Among(found):
            uids = view.listing.uids
            return lambda place: uids[place] in found
        case Numbers(ranges, uid):
            chosen = view.places(ranges, uid=uid)
            return (chosen if isinstance(chosen, range) else frozenset(chosen)).__contains__
        case Not(inner):
            test = _view_test(inner, view)
            return lambda place: not test(place)
        case Or(first, second):
            one, other = _view_test(first, view), _view_test(second, view)
            return lambda place: one(place) or other(place)
        case And(keys):
            tests = [_view_test(inner, view) for inner in keys]
            return lambda place: all(test(place) for test in tests)
        case All():
            return lambda place: True
        case Saved(when, day):
            dates, uids, wanted_day = view.saved_on, view.listing.uids, day.toordinal()
            return lambda place: uids[place] in dates and _falls(dates[uids[place]], when, wanted_day)
        case ModSeq(at_least):
            return lambda place: modseqs[place] >= at_least
        case ObjectId(wanted_id):
            return lambda place: message_id(message_ids[place]).decode("ascii") == wanted_id
    raise TypeError(key)


def _judge(key: Key, view: View, place: int, message: Message, now_us: int) -> bool:
    match key:
        case And(keys):
            return all(_judge(one, view, place, message, now_us) for one in keys)
        case Or(first, second):
            return _judge(first, view, place, message, now_us) or _judge(second, view, place, message, now_us)
        case Not(inner):
            return not _judge(inner, view, place, message, now_us)
        case Size(octets, larger):
            return message.size > octets if larger else message.size < octets
        case Day():
            return _on_day(key, message)
        case Within(seconds, older):
            age_us = now_us - message.internal_us
            return age_us >= seconds * 1_000_000 if older else age_us <= seconds * 1_000_000
    return _view_test(key, view)(place)


def _on_day(key: Day, message: Message) -> bool:
    """The date as it is written, without time and zone (RFC 9051 §6.4.4)."""
    if key.sent:
        if message.card.date_us is None:
            return False
        time_us = message.card.date_us + message.card.date_zone * 60_000_000
    else:
        time_us = message.internal_us
    return _falls(time_us, key.when, key.day.toordinal())


def _falls(time_us: int, when: When, wanted: int) -> bool:
    day = time_us // _DAY_US + _EPOCH
    if when is When.BEFORE:
        return day < wanted
    return day == wanted if when is When.ON else day >= wanted
