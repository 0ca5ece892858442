"""FETCH and UID FETCH (RFC 9051 §6.4.5, §7.5.2; RFC 3501 for the RFC822 names).

Invariants:
- One reading of the store per batch of messages; a large content is streamed, a chunk at a time, at the client's pace.
- \\Seen is set before the content is sent, and the answer that carries the content shows it.
- A message that another session expunged is passed over and said in the tagged answer (RFC 2180 §4.1.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from imap import responses, sections
from imap.fetch_items import FLAGS, Item, Kind, Text
from imap.fetch_items import UID as UID_ITEM
from imap.lexer import Refused
from imap.sections import Piece, Span
from imap.session import Session
from imap.values import Fetch
from imap.view import View
from mssante.domain import flags
from mssante.services.messages import CHUNK, Loaded, Message

_FLAGS_BATCH: Final = 1000
_CARDS_BATCH: Final = 250
_CONTENTS_BATCH: Final = 32


class _Plan(msgspec.Struct, frozen=True):
    """What a FETCH needs, from its items."""

    items: tuple[Item, ...]
    message: bool
    header: bool
    content: bool
    seen: bool

    @property
    def batch(self) -> int:
        return _CONTENTS_BATCH if self.content else _CARDS_BATCH if self.message else _FLAGS_BATCH


@lru_cache(maxsize=512)
def _plan(items: tuple[Item, ...], uid: bool) -> _Plan:
    rest = tuple(item for item in items if item != UID_ITEM)
    ordered = (UID_ITEM, *rest) if uid or len(rest) < len(items) else rest
    header = content = False
    for item in items:
        if item.section is not None:
            of_header = not item.section.part and item.section.text in {Text.HEADER, Text.FIELDS, Text.FIELDS_NOT}
            header |= of_header
            content |= not of_header
    message = any(item.kind not in {Kind.UID, Kind.FLAGS} for item in items)
    return _Plan(ordered, message, header, content, any(item.seen for item in items))


async def fetch(session: Session, value: Fetch) -> bytes:
    view = session.selected
    places = view.places(value.ranges, uid=value.uid)
    plan = _plan(value.items, value.uid)
    missing = False
    for start in range(0, len(places), plan.batch):
        batch = places[start : start + plan.batch]
        if view.has_gone:
            present = [place for place in batch if not view.is_gone(place)]
            missing |= len(present) < len(batch)
            batch = present
        if plan.message:
            missing |= not await _tell_messages(session, view, batch, plan)
        else:
            _tell_flags(session, view, batch, plan)
        await session.wire.breathe()
    if missing and not value.uid:
        raise Refused("Des messages ont ete supprimes entre-temps", "EXPUNGEISSUED")
    return b"OK FETCH completed"


def _tell_flags(session: Session, view: View, places: Sequence[int], plan: _Plan) -> None:
    """Answers that need nothing but the view."""
    uids, bits = view.listing.uids, view.listing.flags
    write = session.wire.write
    if plan.items == (UID_ITEM, FLAGS) and not view.listing.keywords and not view.recent:
        lists = responses.SYSTEM_LISTS
        write(b"".join([b"* %d FETCH (UID %d FLAGS %b)\r\n" % (n + 1, uids[n], lists[bits[n]]) for n in places]))
        return
    for place in places:
        words = b" ".join([_small(view, place, item) for item in plan.items])
        write(b"* %d FETCH (%b)\r\n" % (place + 1, words))


def _small(view: View, place: int, item: Item) -> bytes:
    if item.kind is Kind.UID:
        return b"UID %d" % view.listing.uids[place]
    listing = view.listing
    return b"FLAGS " + responses.flag_list(
        listing.flags[place], listing.keywords_of(place), recent=view.is_recent(place)
    )


async def _tell_messages(session: Session, view: View, places: Sequence[int], plan: _Plan) -> bool:
    """Answers that need the messages; False when some of them are gone."""
    own, listing = session.own, view.listing
    items = plan.items
    newly_seen: set[int] = set()
    if plan.seen and not view.read_only:
        unseen = [place for place in places if not listing.flags[place] & flags.SEEN]
        if unseen:
            view.put(await own.store_flags(view.folder_id, view.uids_at(unseen), "+", flags.SEEN))
            newly_seen = {place for place in unseen if listing.flags[place] & flags.SEEN}
    uids = [listing.uids[place] for place in places]
    ids = [listing.message_ids[place] for place in places]
    loaded = await own.load(view.folder_id, uids, ids, header=plan.header, content=plan.content)
    complete = True
    for place, found in zip(places, loaded, strict=True):
        if found is None:
            complete = False
            continue
        shown = (*items, FLAGS) if place in newly_seen and FLAGS not in items else items
        await _tell(session, view, place, found, shown)
        if session.wire.full:
            await session.wire.breathe()
    return complete


async def _tell(session: Session, view: View, place: int, found: Loaded, items: tuple[Item, ...]) -> None:
    message = found.message
    line = b"* %d FETCH (" % (place + 1)
    for item in items:
        kind = item.kind
        if kind is Kind.UID or kind is Kind.FLAGS:
            line += _small(view, place, item)
        elif kind is Kind.SECTION:
            line += item.label
            chosen = await _section(session, view, place, found, item)
            if chosen is None:
                line += b" NIL "
                continue
            line += b" {%d}\r\n" % sum(map(sections.size_of, chosen))
            for piece in chosen:
                if not isinstance(piece, Span):
                    line += piece
                elif found.content is not None:
                    line += found.content[piece.start : piece.end]
                else:
                    session.wire.write(line)
                    line = b""
                    await _stream(session, view, place, message, piece)
        elif kind is Kind.ENVELOPE:
            line += b"ENVELOPE " + message.card.envelope
        elif kind is Kind.SIZE:
            line += b"RFC822.SIZE %d" % message.size
        elif kind is Kind.INTERNALDATE:
            line += b"INTERNALDATE " + responses.date_time(message.internal_us)
        elif kind is Kind.BODYSTRUCTURE:
            line += b"BODYSTRUCTURE " + message.card.bodystructure
        else:
            line += b"BODY " + message.card.body
        line += b" "
    session.wire.write((line[:-1] if line.endswith(b" ") else line) + b")\r\n")


async def _section(session: Session, view: View, place: int, found: Loaded, item: Item) -> list[Piece] | None:
    section = item.section
    if section is None:
        return None
    whole = sections.pieces(found.message, section)
    if whole is None:
        return None
    if section.fields:
        header = b"".join([await _octets(session, view, place, found, piece) for piece in whole])
        whole = [sections.choose_fields(header, section)]
    return sections.cut(whole, item.partial) if item.partial is not None else whole


async def _octets(session: Session, view: View, place: int, found: Loaded, piece: Piece) -> bytes:
    if not isinstance(piece, Span):
        return piece
    if found.content is not None:
        return found.content[piece.start : piece.end]
    uid = view.listing.uids[place]
    return await session.own.read(view.folder_id, uid, found.message, piece.start, piece.end - piece.start)


async def _stream(session: Session, view: View, place: int, message: Message, span: Span) -> None:
    """A literal's octets, already announced: from here on nothing else may be written, so a content that is lost in
    the middle ends the connection."""
    uid = view.listing.uids[place]
    for start in range(span.start, span.end, CHUNK):
        length = min(CHUNK, span.end - start)
        octets = await session.wire.or_cut(session.own.read(view.folder_id, uid, message, start, length))
        session.wire.write(octets)
        await session.wire.flush()
