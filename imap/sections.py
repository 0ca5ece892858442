"""Octets of BODY[...] (RFC 9051 §6.4.5): which ones, before any is read.

Invariants: a reader's message is what we prepend followed by the content; a `Span` counts octets of the content; the
octets announced in a literal are exactly those sent.
"""

from __future__ import annotations

from typing import NamedTuple

from imap.fetch_items import Section, Text
from mssante.mime.headers import header_fields
from mssante.services.messages import Message


class Span(NamedTuple):
    """Octets [start, end) of a message's content."""

    start: int
    end: int


Piece = bytes | Span


def whole_header(message: Message) -> bytes:
    """The header block that was loaded with the message."""
    if message.header is None:
        raise ValueError("the message was loaded without its header")
    return message.header


def pieces(message: Message, section: Section) -> list[Piece] | None:
    """What a section consists of; None when the message has no such section. Of the two FIELDS texts the header block
    to choose from."""
    card, length = message.card, message.content.length
    if not section.part:
        if section.text is Text.ALL:
            return [message.prepend, Span(0, length)] if message.prepend else [Span(0, length)]
        if section.text is Text.TEXT:
            return [Span(card.header_length, length)]
        return [whole_header(message)]
    what = Text.HEADER if section.text in {Text.FIELDS, Text.FIELDS_NOT} else section.text
    found = card.section(section.part, what.value)
    return None if found is None else [Span(*found)]


def choose_fields(header: bytes, section: Section) -> bytes:
    """HEADER.FIELDS or HEADER.FIELDS.NOT of a header block."""
    return header_fields(header, section.fields, negate=section.text is Text.FIELDS_NOT)


def cut(whole: list[Piece], partial: tuple[int, int]) -> list[Piece]:
    """`count` octets from `first` on, fewer at the end, none beyond it."""
    first, count = partial
    chosen: list[Piece] = []
    for piece in whole:
        size = size_of(piece)
        low, high = min(first, size), min(first + count, size)
        if low < high:
            chosen.append(Span(piece.start + low, piece.start + high) if isinstance(piece, Span) else piece[low:high])
        first, count = max(0, first - size), count - (high - low)
    return chosen


def size_of(piece: Piece) -> int:
    return piece.end - piece.start if isinstance(piece, Span) else len(piece)
