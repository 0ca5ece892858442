"""The words of the IMAP grammar (RFC 9051 §9) read from a command whose end is already known.

Invariants:
- Nothing here waits or looks past the command; a fault is a `SyntaxFault` with a public text, never another exception.
- Depth is counted: nothing recurses deeper than `MAX_DEPTH`.
- A text value never holds NUL; only quoted strings and literals may hold octets above 127.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Final, TypeVar

from imap import mailbox_names
from imap.framer import Command

MAX_DEPTH: Final = 50
MAX_NUMBER: Final = 2**32 - 1
MAX_NUMBER64: Final = 2**63 - 1
STAR: Final = 0
"""`*` in a sequence set; no message has this number."""

SAVED: Final = ((-1, -1),)
"""`$`, the messages that the last SEARCH RETURN (SAVE) found (RFC 5182 §2.1), in place of a sequence set."""

_WORD = re.compile(rb"[^\x00-\x20(){\"\x7f-\xff]+")
_QUOTED = re.compile(rb'"((?:[^"\\\x00\r\n]|\\["\\])*)"')
_ESCAPE = re.compile(rb"\\(.)")
_TAG = re.compile(rb"[^\x00-\x20(){%*\"\\+\x7f-\xff]{1,100}")
_ATOM = re.compile(rb"[^\x00-\x20(){%*\"\\\]\x7f-\xff]+")
_ASTRING = re.compile(rb"[^\x00-\x20(){%*\"\\\x7f-\xff]+")
_LIST_WORD = re.compile(rb"[^\x00-\x20(){\"\\\x7f-\xff]+")
_NUMBER = re.compile(rb"[0-9]{1,19}")
_SET = re.compile(
    rb"(?:\*|[1-9][0-9]{0,9})(?::(?:\*|[1-9][0-9]{0,9}))?(?:,(?:\*|[1-9][0-9]{0,9})(?::(?:\*|[1-9][0-9]{0,9}))?)*"
)
_PARTIAL = re.compile(rb"(-?)([1-9][0-9]{0,9}):\1([1-9][0-9]{0,9})")
_DATE = re.compile(rb"([ 0-9]?[0-9])-([A-Za-z]{3})-([0-9]{4})")
_DATE_TIME = re.compile(
    rb"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"
)
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999 in UTC, in which INTERNALDATE is told."""
_MONTHS = dict(zip(b"JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), range(1, 13), strict=True))

Ranges = tuple[tuple[int, int], ...]
"""A sequence set as written: inclusive (first, last) pairs, `STAR` for `*`, in the order given."""

Read = TypeVar("Read")


class SyntaxFault(ValueError):
    """What is wrong with a command; public text, answered with BAD."""


class Refused(ValueError):
    """A command that is well formed and still refused; public text, answered with NO and a response code."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class Lexer:
    """A cursor over a command's texts and literals."""

    __slots__ = ("_depth", "_index", "_literals", "_position", "_text", "_texts", "uid", "utf8")

    def __init__(self, command: Command, *, utf8: bool = False) -> None:
        self._texts = command.texts
        self._literals = command.literals
        self._index = 0
        self._position = 0
        self._text = command.texts[0]
        self._depth = 0
        self.uid = False  # the command is one of those by UID
        self.utf8 = utf8  # ENABLE UTF8=ACCEPT or IMAP4rev2: mailbox names are UTF-8

    # -- marks

    def space(self) -> None:
        if self._text[self._position : self._position + 1] != b" ":
            raise SyntaxFault("space expected" if self._position < len(self._text) else "arguments are missing")
        self._position += 1

    def take(self, mark: bytes) -> bool:
        """Step over one given character if it is next."""
        if self._text[self._position : self._position + 1] != mark:
            return False
        self._position += 1
        return True

    def expect(self, mark: bytes) -> None:
        if not self.take(mark):
            raise SyntaxFault(f"{mark.decode()} expected")

    def at_end(self) -> bool:
        return self._position >= len(self._text) and self._index >= len(self._literals)

    def end(self) -> None:
        """Nothing may follow but spaces."""
        if self._index < len(self._literals) or self._text[self._position :].strip(b" "):
            raise SyntaxFault("unexpected text after the arguments")

    def next_is(self, mark: bytes) -> bool:
        return self._text.startswith(mark, self._position)

    def rest(self) -> bytes | None:
        """All that is left, stepped over; None (and nothing stepped over) when literals are left."""
        if self._index < len(self._literals):
            return None
        rest = self._text[self._position :]
        self._position = len(self._text)
        return rest

    # -- strings

    def _match(self, shape: re.Pattern[bytes]) -> bytes | None:
        found = shape.match(self._text, self._position)
        if found is None:
            return None
        self._position = found.end()
        return found[0]

    def word(self) -> bytes:
        """A run without space, parentheses, quotes: fetch items, search keys, flags; its meaning is the caller's."""
        word = self._match(_WORD)
        if word is None:
            raise SyntaxFault("a word is missing")
        return word

    def keyword(self) -> str:
        """An atom in upper case."""
        return self.atom().upper()

    def atom(self) -> str:
        atom = self._match(_ATOM)
        if atom is None:
            raise SyntaxFault("an atom is missing")
        return atom.decode("ascii")

    def tag(self) -> bytes:
        tag = self._match(_TAG)
        if tag is None:
            raise SyntaxFault("a tag is missing")
        return tag

    def _string(self) -> bytes | None:
        if self.next_is(b'"'):
            found = _QUOTED.match(self._text, self._position)
            if found is None:
                raise SyntaxFault("unfinished quoted string")
            self._position = found.end()
            return _ESCAPE.sub(rb"\1", found[1]) if b"\\" in found[1] else found[1]
        if self._index < len(self._literals) and self._text[self._position :] in {b"", b"~"}:
            value = self._literals[self._index]
            self._index += 1
            self._text, self._position = self._texts[self._index], 0
            if b"\x00" in value:
                raise SyntaxFault("NUL in a literal")
            return value
        return None

    def string(self) -> bytes:
        value = self._string()
        if value is None:
            raise SyntaxFault("a string is missing")
        return value

    def astring(self) -> bytes:
        value = self._string()
        if value is None:
            value = self._match(_ASTRING)
        if value is None:
            raise SyntaxFault("a string is missing")
        return value

    def nstring(self) -> bytes | None:
        value = self._string()
        if value is None and self.atom().upper() != "NIL":
            raise SyntaxFault("a string or NIL is missing")
        return value

    def text(self) -> str:
        """An astring as UTF-8 text."""
        return decode_text(self.astring())

    # -- mailboxes

    def mailbox(self) -> str:
        return mailbox_names.canonical(self._name(self.astring()))

    def list_mailbox(self) -> str:
        """A pattern of LIST: an astring that may hold wildcards."""
        value = self._string()
        if value is None:
            value = self._match(_LIST_WORD)
        if value is None:
            raise SyntaxFault("a mailbox pattern is missing")
        return self._name(value)

    def _name(self, value: bytes) -> str:
        if self.utf8:
            return decode_text(value)
        try:
            name = mailbox_names.decode(value)
        except mailbox_names.NameFault as fault:
            raise SyntaxFault(str(fault)) from None
        if "\0" in name:  # written in modified UTF-7
            raise SyntaxFault("NUL in a mailbox name")
        return name

    # -- numbers, sets, dates

    def number(self, largest: int = MAX_NUMBER) -> int:
        digits = self._match(_NUMBER)
        if digits is None or int(digits) > largest:
            raise SyntaxFault("a number is missing or out of range")
        return int(digits)

    def positive(self, largest: int = MAX_NUMBER) -> int:
        """`nz-number`"""
        number = self.number(largest)
        if not number:
            raise SyntaxFault("0 is no such number")
        return number

    def sequence_set(self) -> Ranges:
        return read_set(self.word())

    def partial(self) -> tuple[int, int]:
        """`partial-range` (RFC 9394 §4): first and last, both from 1, or both from -1
        backwards; the first is the one nearer to its end."""
        found = _PARTIAL.fullmatch(self.word())
        if found is None or max(int(found[2]), int(found[3])) > MAX_NUMBER:
            raise SyntaxFault("not a partial range")
        sign = -1 if found[1] else 1
        low, high = sorted((int(found[2]), int(found[3])))
        return sign * low, sign * high

    def date(self) -> date:
        """`date` of SEARCH, quoted or not."""
        quoted = self.take(b'"')
        found = _DATE.match(self._text, self._position)
        if found is None:
            raise SyntaxFault("a date is missing")
        self._position = found.end()
        if quoted:
            self.expect(b'"')
        return _date(found[1], found[2], found[3])

    def date_time(self) -> int:
        """`date-time` (RFC 9051 §9), quoted; microseconds since the epoch."""
        found = _DATE_TIME.fullmatch(self.string())
        if found is None:
            raise SyntaxFault("a date-time is missing")
        day = _date(found[1], found[2], found[3])
        hour, minute, second, zone_hour, zone_minute = (int(found[n]) for n in (4, 5, 6, 8, 9))
        if hour > 23 or minute > 59 or second > 60 or zone_hour > 23 or zone_minute > 59:
            raise SyntaxFault("a date-time is out of range")
        seconds = (day.toordinal() - date(1970, 1, 1).toordinal()) * 86400 + hour * 3600 + minute * 60 + second
        offset = (zone_hour * 60 + zone_minute) * 60
        seconds -= offset if found[7] == b"+" else -offset
        if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
            raise SyntaxFault("a date-time is out of range")
        return seconds * 1_000_000

    # -- lists

    def nested(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SyntaxFault("nested too deeply")

    def unnested(self) -> None:
        self._depth -= 1

    def parenthesised(self, read: Callable[[], Read], *, empty: bool = False) -> list[Read]:
        """`"(" item *(SP item) ")"`."""
        self.expect(b"(")
        self.nested()
        items: list[Read] = []
        if not (empty and self.next_is(b")")):
            items.append(read())
            while self.take(b" "):
                items.append(read())
        self.expect(b")")
        self.unnested()
        return items


def _date(day: bytes, month: bytes, year: bytes) -> date:
    number = _MONTHS.get(month.upper())
    try:
        return date(int(year), number or 0, int(day))
    except ValueError:
        raise SyntaxFault("no such date") from None


def read_set(text: bytes) -> Ranges:
    """`sequence-set` as one word."""
    if text == b"$":
        return SAVED
    if _SET.fullmatch(text) is None:
        raise SyntaxFault("not a sequence set")
    ranges: list[tuple[int, int]] = []
    for part in text.split(b","):
        first, colon, last = part.partition(b":")
        low = STAR if first == b"*" else int(first)
        high = (STAR if last == b"*" else int(last)) if colon else low
        if low > MAX_NUMBER or high > MAX_NUMBER:
            raise SyntaxFault("a number is out of range")
        ranges.append((low, high))
    return tuple(ranges)


def decode_text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxFault("text is not in UTF-8") from None
