"""Octets of a message on their way to the client, whole or without their transfer encoding.

Invariants: the octets announced in a literal are exactly those sent; a large content is never held whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from imap import binary, sections
from imap.fetch_items import Item, Kind, Section, Text
from imap.lexer import Refused
from imap.sections import Piece, Span
from imap.session import Session
from mssante.mime.card import LEAF
from mssante.mime.headers import split_fields
from mssante.services.messages import CHUNK, Loaded

_HELD: Final = 262_144
"""Decoded octets that are kept between measuring and sending; what is larger is read twice."""


async def section(found: Loaded, item: Item) -> list[Piece] | None:
    """What BODY[...] consists of, None when the message has no such section."""
    if item.section is None:
        return None
    whole = sections.pieces(found.message, item.section)
    if whole is None:
        return None
    if item.section.fields:
        header = b"".join([await octets(found, piece) for piece in whole])
        whole = [sections.choose_fields(header, item.section)]
    return sections.cut(whole, item.partial) if item.partial is not None else whole


async def octets(found: Loaded, piece: Piece) -> bytes:
    return await found.octets(*piece) if isinstance(piece, Span) else piece


async def stream(session: Session, found: Loaded, span: Span) -> None:
    """A literal's octets, already announced: from here on nothing else may be written, so a content that is lost in
    the middle ends the connection."""
    for start in range(span.start, span.end, CHUNK):
        session.wire.write(await session.wire.or_cut(found.octets(start, min(start + CHUNK, span.end))))
        await session.wire.flush()


async def tell_binary(session: Session, found: Loaded, item: Item, line: bytes) -> bytes:
    """BINARY or BINARY.SIZE (RFC 3516 §4.2, §4.3) after what `line` holds already; what is left to be written.
    A literal8 is used only where NUL has to go through. The encoding was found to be known (`check_encoding`)."""
    whole = None if item.section is None else sections.pieces(found.message, item.section)
    if whole is None or item.section is None:
        return line + (b" 0" if item.kind is Kind.BINARY_SIZE else b" NIL")
    encoding = await session.wire.or_cut(_encoding(found, item.section))
    first, count = item.partial or (0, 2**63)
    size, nul, held = 0, False, list[bytes]()
    total = 0
    chunks = _decoded(found, whole, encoding)
    while (chunk := await session.wire.or_cut(anext(chunks, None))) is not None:
        chosen = chunk[max(0, first - total) : max(0, first + count - total)]
        total += len(chunk)
        size += len(chosen)
        nul |= b"\0" in chosen
        if size <= _HELD:
            held.append(chosen)
    if item.kind is Kind.BINARY_SIZE:
        return line + b" %d" % total
    line += b" %b{%d}\r\n" % (b"~" if nul else b"", size)
    if size <= _HELD:
        return line + b"".join(held)
    session.wire.write(line)
    at = 0
    chunks = _decoded(found, whole, encoding)
    while (chunk := await session.wire.or_cut(anext(chunks, None))) is not None:
        session.wire.write(chunk[max(0, first - at) : max(0, first + count - at)])
        at += len(chunk)
        await session.wire.flush()
    return b""


async def check_encoding(found: Loaded, item: Item) -> None:
    """Refused when a part's transfer encoding is not known (RFC 3516 §4.3): asked before anything of the message is
    written."""
    if item.section is not None and binary.decoder(await _encoding(found, item.section)) is None:
        raise Refused("Codage de transfert inconnu", "UNKNOWN-CTE")


async def _encoding(found: Loaded, wanted: Section) -> bytes:
    """The transfer encoding of a part; that of what has parts within is none (RFC 2045 §6.4)."""
    card = found.message.card
    part = card.part(wanted.part) if wanted.part else None
    span = card.section(wanted.part, Text.MIME.value) if part is not None and part.kind == LEAF else None
    if span is None:
        return b""
    header = await found.octets(*span)
    fields = split_fields(header, frozenset({b"content-transfer-encoding"}))
    return fields.get(b"content-transfer-encoding", [b""])[0].strip().lower()


async def _decoded(found: Loaded, whole: list[Piece], encoding: bytes) -> AsyncIterator[bytes]:
    decoder = binary.decoder(encoding) or binary.Identity()
    for piece in whole:
        for start in range(0, sections.size_of(piece), CHUNK):
            [some] = sections.cut([piece], (start, CHUNK))
            yield decoder.feed(await octets(found, some))
    yield decoder.finish()
