"""SORT, THREAD and their UID kin (RFC 5256 §3, §4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from imap.search import asks, find
from imap.search_keys import Key, ModSeq
from imap.session import Session
from imap.sort import Facts, by_references, by_subject, ordered, told
from imap.values import Sort, Thread
from mssante.services.messages import Message

_FEW: Final = 300
"""Messages that are put in order on the loop."""

Result = TypeVar("Result")


async def sort(session: Session, value: Sort) -> None:
    view = session.selected
    facts = await _facts(session, await _found(session, value.key))
    places = await _aside(partial(ordered, criteria=value.criteria), facts)
    numbers = view.uids_at(places) if value.uid else [place + 1 for place in places]
    modseqs = [view.listing.modseqs[place] for place in places] if asks(value.key, ModSeq) else []
    highest = b" (MODSEQ %d)" % max(modseqs) if modseqs else b""  # RFC 7162 §3.1.6
    session.wire.write(b"* SORT" + b"".join([b" %d" % number for number in numbers]) + highest + b"\r\n")


async def thread(session: Session, value: Thread) -> None:
    view = session.selected
    facts = await _facts(session, await _found(session, value.key))
    threads = await _aside(by_subject if value.algorithm == "ORDEREDSUBJECT" else by_references, facts)
    uids = view.listing.uids
    words = b"".join(told(one, lambda place: uids[place] if value.uid else place + 1) for one in threads)
    session.wire.write(b"* THREAD" + (b" " if words else b"") + words + b"\r\n")


async def _aside(work: Callable[[list[Facts]], Result], facts: list[Facts]) -> Result:
    """The work on many messages, where it holds no other session up."""
    return work(facts) if len(facts) < _FEW else await asyncio.to_thread(work, facts)


async def _found(session: Session, key: Key) -> list[int]:
    if session.selected.stale:
        await session.sync(expunge=False)
    view = session.selected
    if asks(key, ModSeq):
        session.use_condstore()
    found = await find(view, session.own, key, session.wire.breathe)
    return [place for place in found if not view.is_gone(place)]


async def _facts(session: Session, places: Sequence[int]) -> list[Facts]:
    view = session.selected
    facts: list[Facts] = []
    async for batch in session.own.messages.each(view.folder_id, view.listing, places):
        facts += [_facts_of(place, found.message) for place, found in batch if found is not None]
        await session.wire.breathe()
    return facts


def _facts_of(place: int, message: Message) -> Facts:
    card = message.card
    return Facts(
        place,
        message.internal_us if card.date_us is None else card.date_us,
        message.internal_us,
        message.size,
        card.subject,
        card.message_id,
        card.references or ((card.in_reply_to,) if card.in_reply_to else ()),
        card.envelope,
    )
