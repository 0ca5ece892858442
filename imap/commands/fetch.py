"""FETCH and UID FETCH (RFC 9051 §6.4.5, §7.5.2; RFC 3501 for the RFC822 names).

Invariants:
- One reading of the store per batch of messages; a large content is streamed, a chunk at a time, at the client's pace.
- \\Seen is set before the content is sent, and the answer that carries the content shows it.
- A message that another session expunged is passed over and said in the tagged answer (RFC 2180 §4.1.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from imap import responses, sections
from imap.commands import octets
from imap.fetch_items import FLAGS, MODSEQ, SAVEDATE, Item, Kind, Text
from imap.fetch_items import UID as UID_ITEM
from imap.lexer import SyntaxFault
from imap.preview import preview
from imap.sections import Span
from imap.session import Session, gone
from imap.values import Fetch
from imap.view import View, compact, partial
from mssante.domain import flags
from mssante.mime.card import Summary
from mssante.services.messages import CHUNK, Loaded, Message

_FLAGS_BATCH: Final = 1000
_BINARY: Final = frozenset({Kind.BINARY, Kind.BINARY_SIZE})
_OF_HEADER: Final = frozenset({Text.HEADER, Text.FIELDS, Text.FIELDS_NOT})


def _save_date(view: View, place: int) -> bytes:
    """RFC 8514 §4.2"""
    saved_us = view.saved_on.get(view.listing.uids[place])
    return b"SAVEDATE " + (b"NIL" if saved_us is None else responses.date_time(saved_us))


_OF_VIEW: Final[dict[Kind, Callable[[View, int], bytes]]] = {
    Kind.UID: lambda view, place: b"UID %d" % view.listing.uids[place],
    Kind.FLAGS: lambda view, place: b"FLAGS " + view.flags_at(place),
    Kind.MODSEQ: lambda view, place: b"MODSEQ (%d)" % view.listing.modseqs[place],
    Kind.EMAILID: lambda view, place: b"EMAILID (%b)" % responses.message_id(view.listing.message_ids[place]),
    Kind.THREADID: lambda *_: b"THREADID NIL",  # threads are not kept (RFC 8474 §5.2)
    Kind.SAVEDATE: _save_date,
}
"""What needs nothing but the view."""
_CARDS: Final[dict[Kind, Callable[[Message, Summary], bytes]]] = {
    Kind.ENVELOPE: lambda _, card: b"ENVELOPE " + card.envelope,
    Kind.SIZE: lambda message, _: b"RFC822.SIZE %d" % message.size,
    Kind.INTERNALDATE: lambda message, _: b"INTERNALDATE " + responses.date_time(message.internal_us),
    Kind.BODYSTRUCTURE: lambda _, card: b"BODYSTRUCTURE " + card.bodystructure,
    Kind.BODY: lambda _, card: b"BODY " + card.body,
}
"""What needs the card and no content."""


class _Plan(msgspec.Struct, frozen=True):
    """What a FETCH needs, from its items."""

    items: tuple[Item, ...]
    message: bool
    header: bool
    content: bool
    seen: bool
    cards: bool


@lru_cache(maxsize=512)
def _plan(items: tuple[Item, ...], uid: bool) -> _Plan:
    rest = tuple(item for item in items if item != UID_ITEM)
    ordered = (UID_ITEM, *rest) if uid or len(rest) < len(items) else rest
    header = content = False
    for item in items:
        content |= item.kind is Kind.PREVIEW
        if item.section is not None:
            of_header = item.kind is Kind.SECTION and not item.section.part and item.section.text in _OF_HEADER
            header |= of_header
            content |= not of_header
    message = any(item.kind not in _OF_VIEW for item in items)
    cards = all(item.kind in _OF_VIEW or item.kind in _CARDS for item in items)
    return _Plan(ordered, message, header, content, any(item.seen for item in items), cards)


async def fetch(session: Session, value: Fetch) -> None:
    view = session.selected
    if value.vanished and "QRESYNC" not in session.enabled:
        raise SyntaxFault("ENABLE QRESYNC first")  # RFC 7162 §3.2.6
    places = view.places(value.ranges, uid=value.uid)
    items = value.items
    if value.changed_since is not None:
        items = (*items, MODSEQ) if MODSEQ not in items else items
        places = view.changed_since(places, value.changed_since)
    if value.partial is not None:
        places = partial(places, value.partial)
    if MODSEQ in items:
        session.use_condstore()
    if value.vanished and value.changed_since is not None:
        expunged = await session.own.expunged_since(view.folder_id, value.changed_since)
        vanished = view.vanished(expunged, value.ranges)
        if vanished:
            session.wire.write(responses.vanished(compact(vanished), earlier=True))
    plan = _plan(items, value.uid)
    present = [place for place in places if not view.is_gone(place)] if view.has_gone else places
    missing = len(present) < len(places)
    if plan.message:
        batches = session.own.messages.each(
            view.folder_id, view.listing, present, header=plan.header, content=plan.content
        )
        async for batch in batches:
            await _ask_dates(session, view, [place for place, _ in batch], plan)
            missing |= not await _tell_messages(session, view, batch, plan)
            await session.wire.breathe()
    else:
        for start in range(0, len(present), _FLAGS_BATCH):
            some = present[start : start + _FLAGS_BATCH]
            await _ask_dates(session, view, some, plan)
            _tell_flags(session, view, some, plan)
            await session.wire.breathe()
    if missing and not value.uid:
        raise gone()


async def _ask_dates(session: Session, view: View, places: Sequence[int], plan: _Plan) -> None:
    if SAVEDATE in plan.items:
        view.saved_on = await session.own.saved_dates(view.folder_id, view.uids_at(places))


def _tell_flags(session: Session, view: View, places: Sequence[int], plan: _Plan) -> None:
    """Answers that need nothing but the view."""
    uids, bits = view.listing.uids, view.listing.flags
    write = session.wire.write
    if plan.items == (UID_ITEM, FLAGS) and not view.listing.keywords:
        old, new, first = responses.SYSTEM_LISTS, responses.RECENT_LISTS, view.recent_from
        line = b"* %d FETCH (UID %d FLAGS %b)\r\n"
        write(b"".join([line % (n + 1, uids[n], (old if uids[n] < first else new)[bits[n]]) for n in places]))
        return
    for place in places:
        words = b" ".join([_OF_VIEW[item.kind](view, place) for item in plan.items])
        write(b"* %d FETCH (%b)\r\n" % (place + 1, words))


async def _tell_messages(session: Session, view: View, batch: Sequence[tuple[int, Loaded | None]], plan: _Plan) -> bool:
    """Answers that need the messages; False when some of them are gone."""
    listing, items = view.listing, plan.items
    if plan.cards:
        pairs = [(place, found.message) for place, found in batch if found is not None]
        session.wire.write(_card_lines(view, pairs, items))
        return len(pairs) == len(batch)
    newly_seen: set[int] = set()
    if plan.seen and not view.read_only:
        unseen = [place for place, _ in batch if not listing.flags[place] & flags.SEEN]
        if unseen:
            view.put(await session.there.store_flags(view.folder_id, view.uids_at(unseen), "+", flags.SEEN))
            newly_seen = {place for place in unseen if listing.flags[place] & flags.SEEN}
    complete = True
    for place, found in batch:
        if found is None:
            complete = False
            continue
        shown = items
        if place in newly_seen:
            shown += tuple(item for item in (FLAGS, MODSEQ)[: 1 + session.condstore] if item not in items)
        await _tell(session, view, place, found, shown)
        if session.wire.full:
            await session.wire.breathe()
    return complete


def _card_lines(view: View, pairs: Sequence[tuple[int, Message]], items: Sequence[Item]) -> bytes:
    """Answers that need nothing but view and cards, for many messages at once."""
    writers = [_CARDS.get(item.kind) for item in items]
    lines = []
    for place, message in pairs:
        card = message.summary
        words = [
            write(message, card) if write is not None else _OF_VIEW[item.kind](view, place)
            for write, item in zip(writers, items, strict=True)
        ]
        lines.append(b"* %d FETCH (%b)\r\n" % (place + 1, b" ".join(words)))
    return b"".join(lines)


async def _tell(session: Session, view: View, place: int, found: Loaded, items: tuple[Item, ...]) -> None:
    message = found.message
    for item in items:
        if item.kind in _BINARY:
            await octets.check_encoding(found, item)
    line = b"* %d FETCH (" % (place + 1)
    for item in items:
        kind = item.kind
        if kind in _OF_VIEW:
            line += _OF_VIEW[kind](view, place)
        elif kind is Kind.SECTION:
            line += item.label
            chosen = await octets.section(found, item)
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
                    await octets.stream(session, found, piece)
        elif kind in _BINARY:
            line = await octets.tell_binary(session, found, item, line + item.label)
        elif kind is Kind.PREVIEW:
            line += b"PREVIEW " + await preview(found, lazy=item.lazy)
        else:
            line += _CARDS[kind](message, message.summary)
        line += b" "
        if len(line) >= CHUNK:  # sections may be many times what the message is
            session.wire.write(line[:-1])
            line = b" "
            await session.wire.breathe(within=True)
    session.wire.write((line[:-1] if line.endswith(b" ") else line) + b")\r\n")
