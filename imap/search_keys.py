"""The keys of SEARCH and their grammar (RFC 9051 §6.4.4, §9 `search-key`).

Invariants: a key is a frozen value; AND is explicit; text is decoded to `str` here, so no charset is known further on.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import date
from enum import StrEnum
from typing import Final

import msgspec

from imap.lexer import MAX_NUMBER64, Lexer, Ranges, Refused, SyntaxFault, read_set
from mssante.domain import flags

MAX_KEYS: Final = 1000


class Key(msgspec.Struct, frozen=True):
    """A condition that a message meets or not."""

    @property
    def parts(self) -> tuple[Key, ...]:
        """The keys that it is made of."""
        return ()


class All(Key, frozen=True):
    pass


class And(Key, frozen=True):
    keys: tuple[Key, ...]

    @property
    def parts(self) -> tuple[Key, ...]:
        return self.keys


class Or(Key, frozen=True):
    first: Key
    second: Key

    @property
    def parts(self) -> tuple[Key, ...]:
        return self.first, self.second


class Not(Key, frozen=True):
    key: Key

    @property
    def parts(self) -> tuple[Key, ...]:
        return (self.key,)


class Flag(Key, frozen=True):
    """A system flag by its bit."""

    bit: int


class Keyword(Key, frozen=True):
    word: str


class Recent(Key, frozen=True):
    pass


class Numbers(Key, frozen=True):
    ranges: Ranges
    uid: bool


class Size(Key, frozen=True):
    """Larger (or smaller) than so many octets."""

    octets: int
    larger: bool


class When(StrEnum):
    BEFORE = "BEFORE"
    ON = "ON"
    SINCE = "SINCE"


class Day(Key, frozen=True):
    """The internal date, or the Date: field when `sent`; time and zone disregarded."""

    when: When
    day: date
    sent: bool


class Saved(Key, frozen=True):
    """The day on which the message came into this folder (RFC 8514 §4.3)."""

    when: When
    day: date


class Header(Key, frozen=True):
    """Substring of a field's decoded text; empty text: the field exists."""

    name: str
    text: str


class Body(Key, frozen=True):
    text: str
    header: bool
    """TEXT: the header counts too."""


class ModSeq(Key, frozen=True):
    """Changed at this modseq or later (RFC 7162 §3.1.5). The entry that a client names makes no difference: there is
    one modseq a message."""

    at_least: int


class Within(Key, frozen=True):
    """Arrived within the last `seconds`, or before that when `older` (RFC 5032 §3)."""

    seconds: int
    older: bool


class ObjectId(Key, frozen=True):
    """EMAILID (RFC 8474 §5.3); of THREADID, which no message has here, the id is empty."""

    id: str


class Among(Key, frozen=True):
    """What a search of texts has come to; no command says this."""

    uids: Container[int]


_FLAGS: Final[dict[bytes, Key]] = {
    b"ALL": All(),
    b"SAVEDATESUPPORTED": All(),
    b"RECENT": Recent(),
    b"OLD": Not(Recent()),
    b"NEW": And((Recent(), Not(Flag(flags.SEEN)))),
}
for _bit, _name in flags.NAMES.items():
    _FLAGS[_name[1:].upper().encode("ascii")] = Flag(_bit)
    _FLAGS[b"UN" + _name[1:].upper().encode("ascii")] = Not(Flag(_bit))
_FIELDS: Final = {b"BCC", b"CC", b"FROM", b"SUBJECT", b"TO"}
_CHARSETS: Final = {"US-ASCII", "ASCII", "UTF-8"}


def lex_charset(lexer: Lexer) -> None:
    """The charset of what is searched. `Refused` [BADCHARSET] for one that is not known."""
    if lexer.text().upper() not in _CHARSETS:
        raise Refused("Search texts may be in US-ASCII or UTF-8", "BADCHARSET (US-ASCII UTF-8)")
    lexer.space()


def lex_search(lexer: Lexer) -> Key:
    """The keys of a search, to the end of the command."""
    count = [0]
    keys = [_key(lexer, count)]
    while not lexer.at_end():
        lexer.space()
        if lexer.at_end():
            break
        keys.append(_key(lexer, count))
    return keys[0] if len(keys) == 1 else And(tuple(keys))


def _key(lexer: Lexer, count: list[int]) -> Key:
    count[0] += 1
    if count[0] > MAX_KEYS:
        raise SyntaxFault("too many search keys")
    lexer.nested()
    try:
        if lexer.next_is(b"("):
            keys = lexer.parenthesised(lambda: _key(lexer, count))
            return keys[0] if len(keys) == 1 else And(tuple(keys))
        word = lexer.word()
        if word[0] in b"0123456789*$":
            return Numbers(read_set(word), uid=False)
        return _named(lexer, word.upper(), count)
    finally:
        lexer.unnested()


def _named(lexer: Lexer, word: bytes, count: list[int]) -> Key:
    known = _FLAGS.get(word)
    if known is not None:
        return known
    lexer.space()
    if word == b"NOT":
        return Not(_key(lexer, count))
    if word == b"OR":
        first = _key(lexer, count)
        lexer.space()
        return Or(first, _key(lexer, count))
    if word in _FIELDS:
        return Header(word.decode("ascii").lower(), lexer.text())
    if word == b"HEADER":
        name = lexer.text().lower()
        lexer.space()
        return Header(name, lexer.text())
    if word in {b"TEXT", b"BODY"}:
        return Body(lexer.text(), header=word == b"TEXT")
    if word in {b"KEYWORD", b"UNKEYWORD"}:
        key = Keyword(lexer.atom())
        return key if word == b"KEYWORD" else Not(key)
    if word in {b"LARGER", b"SMALLER"}:
        return Size(lexer.number(MAX_NUMBER64), larger=word == b"LARGER")
    if word in {b"OLDER", b"YOUNGER"}:
        return Within(lexer.positive(), older=word == b"OLDER")
    if word == b"MODSEQ":
        if lexer.next_is(b'"'):
            lexer.string()
            lexer.space()
            if lexer.keyword() not in {"PRIV", "SHARED", "ALL"}:
                raise SyntaxFault("unknown entry type")
            lexer.space()
        return ModSeq(lexer.number(MAX_NUMBER64))
    if word in {b"EMAILID", b"THREADID"}:
        return ObjectId(lexer.text() if word == b"EMAILID" else "")
    if word == b"UID":
        return Numbers(lexer.sequence_set(), uid=True)
    sent, when = word.startswith(b"SENT"), word.removeprefix(b"SENT")
    if when in {b"BEFORE", b"ON", b"SINCE"}:
        return Day(When(when.decode("ascii")), lexer.date(), sent)
    if word in {b"SAVEDBEFORE", b"SAVEDON", b"SAVEDSINCE"}:
        return Saved(When(word[5:].decode("ascii")), lexer.date())
    raise SyntaxFault("unknown search key")
