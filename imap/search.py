"""Which messages of the selected folder SEARCH finds (RFC 9051 §6.4.4).

Invariants:
- The answer is exact: what the view alone can tell is asked first, and only messages still in question are read.
- Texts are compared decoded (RFC 2047, transfer encodings, charsets), NFC, without case; a substring anywhere counts.
- A message that is gone from the store is found by nothing but its flags and numbers.
"""

from __future__ import annotations

import asyncio
import binascii
import quopri
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from enum import IntEnum
from typing import Final

from imap.responses import message_id
from imap.search_keys import (
    All,
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
from imap.sections import whole_header
from imap.view import View
from mssante.mime.card import LEAF, Part
from mssante.mime.content import ContentType, parse_content_type
from mssante.mime.headers import decode_text, split_fields
from mssante.services.mailboxes import Account
from mssante.services.messages import CHUNK, Loaded, Message

_BATCH: Final = 100
_DAY_US: Final = 86_400_000_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
MAX_TEXT: Final = 8 * 1024 * 1024
"""Octets of one text part that are looked at."""


class Cost(IntEnum):
    """What it takes to judge a key."""

    VIEW = 0
    CARD = 1
    HEADER = 2
    CONTENT = 3


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
        case Header():
            return Cost.HEADER
        case Body():
            return Cost.CONTENT
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


def fold(text: str) -> str:
    """Text as it is compared."""
    return unicodedata.normalize("NFC", text).casefold()


async def find(view: View, own: Account, key: Key, breathe: Callable[[], Awaitable[None]]) -> list[int]:
    """Places of the messages that match, ascending. `breathe` is called between batches."""
    keys = sorted(key.keys, key=cost) if isinstance(key, And) else [key]
    cheap = [one for one in keys if cost(one) is Cost.VIEW]
    if asks(key, Saved):
        view.saved_on = await own.saved_dates(view.folder_id, view.listing.uids)
    places: Sequence[int] = range(len(view))
    for one in cheap:
        test = _view_test(one, view)
        places = [place for place in places if test(place)]
    rest = keys[len(cheap) :]
    if not rest:
        return list(places)
    dear = max(map(cost, rest))
    found: list[int] = []
    for start in range(0, len(places), _BATCH):
        some = places[start : start + _BATCH]
        uids = view.uids_at(some)
        ids = [view.listing.message_ids[place] for place in some]
        loaded = await own.load(view.folder_id, uids, ids, header=dear >= Cost.HEADER, content=dear is Cost.CONTENT)
        for place, uid, message in zip(some, uids, loaded, strict=True):
            if message is not None:
                candidate = _Candidate(view, own, place, uid, message)
                if await _all(rest, candidate):
                    found.append(place)
        await breathe()
    return found


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


class _Candidate:
    """A message in question, its texts read when first asked for."""

    __slots__ = ("_texts", "loaded", "own", "place", "uid", "view")

    def __init__(self, view: View, own: Account, place: int, uid: int, loaded: Loaded) -> None:
        self.view, self.own, self.place, self.uid, self.loaded = view, own, place, uid, loaded
        self._texts: list[str] | None = None

    @property
    def message(self) -> Message:
        return self.loaded.message

    def field_values(self, name: str) -> list[str]:
        wanted = name.encode("utf-8")
        fields = split_fields(whole_header(self.message), frozenset({wanted}))
        return [fold(decode_text(value)) for value in fields.get(wanted, ())]

    async def texts(self) -> list[str]:
        """The text parts' contents, decoded and folded."""
        if self._texts is None:
            self._texts = [await self._text(header, body) for header, body in text_parts(self.message.card.root)]
        return self._texts

    async def _text(self, header: tuple[int, int], body: tuple[int, int]) -> str:
        fields = split_fields(await self._octets(*header), frozenset({b"content-type", b"content-transfer-encoding"}))
        kind = parse_content_type(fields.get(b"content-type", [b""])[0])
        if kind.type.lower() != b"text":
            return ""
        octets = await self._octets(body[0], min(body[1], body[0] + MAX_TEXT))
        encoding = fields.get(b"content-transfer-encoding", [b""])[0].lower()
        charset = charset_of(kind)
        if len(octets) > CHUNK:
            return await asyncio.to_thread(decode_part, octets, encoding, charset)
        return decode_part(octets, encoding, charset)

    async def _octets(self, start: int, end: int) -> bytes:
        if self.loaded.content is not None:
            return self.loaded.content[start:end]
        pieces = [
            await self.own.read(self.view.folder_id, self.uid, self.message, at, min(CHUNK, end - at))
            for at in range(start, end, CHUNK)
        ]
        return b"".join(pieces)


def text_parts(root: Part) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """(header span, body span) of every leaf, those of messages within included."""
    spans = []
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.kind == LEAF:
            spans.append(((part.header_start, part.body_start), (part.body_start, part.body_end)))
        waiting.extend(reversed(part.parts))
    return spans


def decode_part(octets: bytes, encoding: bytes, charset: bytes) -> str:
    """The folded text of a part."""
    return fold(part_text(octets, encoding, charset))


def charset_of(kind: ContentType) -> bytes:
    return next((value for name, value in kind.parameters if name.lower() == b"charset"), b"utf-8")


def part_text(octets: bytes, encoding: bytes, charset: bytes) -> str:
    """The text of a part; damaged encodings give what can be read."""
    if encoding == b"base64":
        digits = octets.translate(None, b"\r\n \t")
        try:
            octets = binascii.a2b_base64(digits[: len(digits) // 4 * 4])
        except binascii.Error:
            octets = b""
    elif encoding == b"quoted-printable":
        octets = quopri.decodestring(octets)
    try:
        return octets.decode(charset.decode("ascii", "replace"), "replace")
    except (LookupError, ValueError):
        return octets.decode("utf-8", "replace")


async def _all(keys: Sequence[Key], candidate: _Candidate) -> bool:
    for key in keys:
        if not await _judge(key, candidate):
            return False
    return True


async def _judge(key: Key, candidate: _Candidate) -> bool:
    match key:
        case And(keys):
            return await _all(sorted(keys, key=cost), candidate)
        case Or(first, second):
            return await _judge(first, candidate) or await _judge(second, candidate)
        case Not(inner):
            return not await _judge(inner, candidate)
        case Size(octets, larger):
            return candidate.message.size > octets if larger else candidate.message.size < octets
        case Day():
            return _on_day(key, candidate.message)
        case Within(seconds, older):
            age_us = candidate.own.now_us() - candidate.message.internal_us
            return age_us >= seconds * 1_000_000 if older else age_us <= seconds * 1_000_000
        case Header(name, text):
            values = candidate.field_values(name)
            return any(fold(text) in value for value in values)
        case Body(text, header):
            wanted = fold(text)
            if header and wanted in fold(decode_text(whole_header(candidate.message))):
                return True
            return any(wanted in part for part in await candidate.texts())
    return _view_test(key, candidate.view)(candidate.place)


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
