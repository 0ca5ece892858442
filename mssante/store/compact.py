"""Gives back the space of erased messages.

Always true here: a segment is looked at only under its lock, which its writer holds until its last commit, so what
has no live content then never will; a segment that is mostly dead is copied record by record (still encrypted, the
keys do not change) into the active one, and its file goes at the next pass, when nobody can hold an old reference any
more.
"""

import asyncio
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, bindparam, func, select, update

from mssante.store.contents import HEADER, SHARED, TAG, ContentRef, Contents, PendingContent
from mssante.store.database import Store
from mssante.store.errors import ContentError
from mssante.store.schema import message
from mssante.store.writer import Tx

BATCH_BYTES = 1024 * 1024


class Compaction(msgspec.Struct):
    """What a pass did: segments removed, segments emptied (to be removed by the next pass), bytes given back."""

    removed: int = 0
    emptied: int = 0
    freed_bytes: int = 0


_LIVE = select(func.count(), func.coalesce(func.sum(message.c.length), 0)).where(
    message.c.segment == bindparam("segment")
)
_REFS = (
    select(
        message.c.id, message.c.segment, message.c.offset, message.c.length, message.c.wrapped_key, message.c.content_id
    )
    .where(message.c.segment == bindparam("segment"))
    .order_by(message.c.offset)
)
_MOVE = (
    update(message)
    .where(message.c.id == bindparam("of_message"), message.c.segment == bindparam("old_segment"))
    .values(segment=bindparam("new_segment"), offset=bindparam("new_offset"))
)


async def compact(store: Store, *, live_share: float = 0.5) -> Compaction:
    """One pass over all segments; those with less than `live_share` live bytes are emptied. Runs beside everything
    else."""
    done = Compaction()
    for segment in await asyncio.to_thread(lambda: list(store.contents.segments())):
        share = await store.read(_remove_if_dead, store.contents, segment, done)
        if share is not None and 0 < share < live_share and segment.startswith(SHARED):
            await _empty(store, segment)
            done.emptied += 1
    await asyncio.to_thread(store.flush_log)
    return done


def _remove_if_dead(conn: Connection, contents: Contents, segment: str, done: Compaction) -> float | None:
    """Removes the segment when nothing in it lives. The live share of one that stays, None of one in use or removed."""
    share: float | None = None

    def look() -> None:
        nonlocal share
        size = contents.path(segment).stat().st_size
        count, length = _live(conn, segment)
        if count == 0:
            contents.remove(segment)
            done.removed += 1
            done.freed_bytes += size
        else:
            share = (length + count * (HEADER + TAG)) / max(size, 1)

    contents.if_unused(segment, look)
    return share


def _live(conn: Connection, segment: str) -> tuple[int, int]:
    count, length = conn.execute(_LIVE, {"segment": segment}).one()
    return count, int(length)


def _refs(conn: Connection, segment: str) -> list[tuple[int, ContentRef]]:
    return [(row[0], ContentRef(*row[1:])) for row in conn.execute(_REFS, {"segment": segment})]


async def _empty(store: Store, segment: str) -> None:
    batch: list[tuple[int, PendingContent]] = []
    size = 0
    for message_id, ref in await store.read(_refs, segment):
        try:
            batch.append((message_id, await asyncio.to_thread(store.contents.pending_copy, ref)))
        except ContentError:
            continue  # damaged: it stays where it is, for `verify` to report
        size += ref.length
        if size >= BATCH_BYTES:
            await store.write(_move, segment, batch, contents=[content for _, content in batch])
            batch, size = [], 0
    if batch:
        await store.write(_move, segment, batch, contents=[content for _, content in batch])


def _move(tx: Tx, old_segment: str, batch: Sequence[tuple[int, PendingContent]]) -> None:
    for message_id, content in batch:
        where = {"of_message": message_id, "old_segment": old_segment}
        tx.conn.execute(_MOVE, where | {"new_segment": content.ref.segment, "new_offset": content.ref.offset})
        content.used = True
