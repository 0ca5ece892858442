"""What FETCH may ask for (RFC 9051 §6.4.5, §9 `fetch-att`, RFC 3501 for the RFC822 names).

Invariants: an `Item` carries the very label its answer has; macros are expanded here and nowhere else; reading is a
pure function of the octets, so the same request is read once (`read_items` remembers).
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from imap.framer import Command
from imap.lexer import MAX_DEPTH, MAX_NUMBER, MAX_NUMBER64, Lexer, SyntaxFault

MAX_FIELDS: Final = 200
"""Header names in one HEADER.FIELDS list."""


class Text(StrEnum):
    """What of a part a section means."""

    ALL = ""
    HEADER = "HEADER"
    FIELDS = "HEADER.FIELDS"
    FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"


class Section(msgspec.Struct, frozen=True):
    """`part` () is the message itself; `fields` as given, in capitals."""

    part: tuple[int, ...] = ()
    text: Text = Text.ALL
    fields: tuple[bytes, ...] = ()


class Kind(StrEnum):
    FLAGS = "FLAGS"
    UID = "UID"
    INTERNALDATE = "INTERNALDATE"
    SIZE = "RFC822.SIZE"
    ENVELOPE = "ENVELOPE"
    BODY = "BODY"
    BODYSTRUCTURE = "BODYSTRUCTURE"
    SECTION = "BODY[]"
    MODSEQ = "MODSEQ"
    EMAILID = "EMAILID"
    THREADID = "THREADID"
    PREVIEW = "PREVIEW"
    SAVEDATE = "SAVEDATE"
    BINARY = "BINARY[]"
    BINARY_SIZE = "BINARY.SIZE[]"


class Item(msgspec.Struct, frozen=True):
    """`partial`: (first octet, count) or None; `seen`: fetching it sets \\Seen; `lazy`: only when it costs little."""

    kind: Kind
    label: bytes
    section: Section | None = None
    partial: tuple[int, int] | None = None
    seen: bool = False
    lazy: bool = False


def _plain(kind: Kind) -> Item:
    return Item(kind, kind.encode("ascii"))


_PLAIN: Final = {kind.encode("ascii"): _plain(kind) for kind in Kind if not kind.endswith("[]")}
FLAGS, UID, MODSEQ, SAVEDATE = (_PLAIN[name] for name in (b"FLAGS", b"UID", b"MODSEQ", b"SAVEDATE"))
_LAZY_PREVIEW: Final = Item(Kind.PREVIEW, b"PREVIEW", lazy=True)
_RFC822: Final = {
    b"RFC822": Item(Kind.SECTION, b"RFC822", Section(), None, True),
    b"RFC822.HEADER": Item(Kind.SECTION, b"RFC822.HEADER", Section(text=Text.HEADER)),
    b"RFC822.TEXT": Item(Kind.SECTION, b"RFC822.TEXT", Section(text=Text.TEXT), None, True),
}
_FAST: Final = (_PLAIN[b"FLAGS"], _PLAIN[b"INTERNALDATE"], _PLAIN[b"RFC822.SIZE"])
_MACROS: Final = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, _PLAIN[b"ENVELOPE"]),
    b"FULL": (*_FAST, _PLAIN[b"ENVELOPE"], _PLAIN[b"BODY"]),
}
_SECTION = re.compile(
    rb"BODY(\.PEEK)?\[((?:[1-9][0-9]{0,5}(?:\.|(?=\]|$)))*)([A-Z.]*)(\](?:<([0-9]{1,19})\.([0-9]{1,10})>)?)?"
)
_CLOSE = re.compile(rb"\](?:<([0-9]{1,19})\.([0-9]{1,10})>)?")
_BINARY = re.compile(
    rb"BINARY(\.PEEK|\.SIZE)?\[((?:[1-9][0-9]{0,5}(?:\.[1-9][0-9]{0,5})*)?)\](?:<([0-9]{1,19})\.([0-9]{1,10})>)?"
)
_FIELD_NAME = re.compile(rb"[!-9;-~]+")


@lru_cache(maxsize=512)
def read_items(text: bytes) -> tuple[Item, ...]:
    """The items that the last argument of FETCH, given without literals, asks for."""
    lexer = Lexer(Command((text,)))
    items = lex_items(lexer)
    lexer.end()
    return items


def lex_items(lexer: Lexer) -> tuple[Item, ...]:
    """As `read_items`, from where the lexer stands."""
    if lexer.next_is(b"("):
        items = tuple(lexer.parenthesised(lambda: _item(lexer, lexer.word().upper())))
    else:
        word = lexer.word().upper()
        items = _MACROS.get(word) or (_item(lexer, word),)
    return tuple(dict.fromkeys(items))


def _item(lexer: Lexer, word: bytes) -> Item:
    found = _PLAIN.get(word) or _RFC822.get(word)
    if found is not None:
        return _preview(lexer, found) if found.kind is Kind.PREVIEW else found
    if word.startswith(b"BINARY"):
        return _binary(word)
    shape = _SECTION.fullmatch(word)
    if shape is None:
        raise SyntaxFault("unknown FETCH item")
    numbers = shape[2].rstrip(b".")
    part = tuple(int(number) for number in numbers.split(b".")) if numbers else ()
    if len(part) > MAX_DEPTH:
        raise SyntaxFault("part number is too deep")
    if shape[2] and shape[2].endswith(b".") != bool(shape[3]):
        raise SyntaxFault("unknown section")
    try:
        text = Text(shape[3].decode("ascii"))
    except ValueError:
        raise SyntaxFault("unknown section") from None
    if text is Text.MIME and not part:
        raise SyntaxFault("MIME needs a part number")
    fields: tuple[bytes, ...] = ()
    first, count = shape[5], shape[6]
    if text in {Text.FIELDS, Text.FIELDS_NOT}:
        if shape[4]:
            raise SyntaxFault("a list of header names is missing")
        lexer.space()
        fields = tuple(name.upper() for name in lexer.parenthesised(lexer.astring))
        if len(fields) > MAX_FIELDS or not all(_FIELD_NAME.fullmatch(name) for name in fields):
            raise SyntaxFault("bad header name")
        close = _CLOSE.fullmatch(lexer.word())
        if close is None:
            raise SyntaxFault("] expected")
        first, count = close[1], close[2]
    elif not shape[4]:
        raise SyntaxFault("] expected")
    return _section_item(Section(part, text, fields), bool(shape[1]), first, count)


def _preview(lexer: Lexer, plain: Item) -> Item:
    """PREVIEW with its modifiers (RFC 8970 §3.1)."""
    if not (lexer.next_is(b" (LAZY)") or lexer.next_is(b" (lazy)")):
        return plain
    lexer.space()
    lexer.parenthesised(lexer.keyword)
    return _LAZY_PREVIEW


def _binary(word: bytes) -> Item:
    """BINARY, BINARY.PEEK, BINARY.SIZE (RFC 3516 §4.2)."""
    shape = _BINARY.fullmatch(word)
    if shape is None:
        raise SyntaxFault("unknown section")
    part = tuple(int(number) for number in shape[2].split(b".")) if shape[2] else ()
    if len(part) > MAX_DEPTH:
        raise SyntaxFault("part number is too deep")
    if shape[1] == b".SIZE":
        if shape[3] is not None:
            raise SyntaxFault("a size has no partial")
        return Item(Kind.BINARY_SIZE, b"BINARY.SIZE[" + shape[2] + b"]", Section(part))
    partial, label = _partial(shape[3], shape[4])
    return Item(Kind.BINARY, b"BINARY[" + shape[2] + b"]" + label, Section(part), partial, not shape[1])


def _partial(first: bytes | None, count: bytes | None) -> tuple[tuple[int, int] | None, bytes]:
    """`<first.count>` and how the answer's label says it."""
    if first is None or count is None:
        return None, b""
    if int(first) > MAX_NUMBER64 or not 0 < int(count) <= MAX_NUMBER:
        raise SyntaxFault("partial is out of range")
    return (int(first), int(count)), b"<%d>" % int(first)


def _section_item(section: Section, peek: bool, first: bytes | None, count: bytes | None) -> Item:
    label = b".".join(
        [*(b"%d" % number for number in section.part), *([section.text.encode("ascii")] if section.text else [])]
    )
    if section.fields:
        label += b" (" + b" ".join(section.fields) + b")"
    partial, origin = _partial(first, count)
    return Item(Kind.SECTION, b"BODY[" + label + b"]" + origin, section, partial, not peek)
