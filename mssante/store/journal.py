"""The tamper-evident journal: who did what to which object, each row chained to the one before it (ECO.4.1.1).

Always true here: hash = SHA-256(previous hash ‖ canonical JSON of the row); the head (last seq and hash) stands in a
row of its own, authenticated with a key derived from the master key, so that a changed, removed, reordered or added
row and a cut tail are all found. No content and no patient address is ever journalled.
"""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from mssante.store.engines import keys_of
from mssante.store.prepared import Prepared
from mssante.store.schema import journal, journal_head

FIRST = bytes(32)


class JournalEntry(msgspec.Struct, frozen=True):
    """One act: when (µs), what, by whom, on what, and further facts."""

    seq: int
    at_us: int
    action: str
    actor: str
    object: str
    detail: dict[str, Any]

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.at_us / 1e6, UTC)


_HEAD = select(journal_head.c.seq, journal_head.c.hash, journal_head.c.mac)
_LOCKED_HEAD = Prepared(_HEAD.with_for_update())
_APPEND = Prepared(insert(journal).inline())
_MOVE_HEAD = Prepared(
    update(journal_head).values(seq=bindparam("new_seq"), hash=bindparam("new_hash"), mac=bindparam("new_mac"))
)
_encode = msgspec.json.Encoder(order="deterministic").encode

Row = tuple[int, str, str, str, str]
"""(at_us, action, actor, object, detail as canonical JSON), ready to be chained."""


def row_of(at_us: int, action: str, actor: str, object_: str, detail: dict[str, object]) -> Row:
    return at_us, action, actor, object_, _encode(detail).decode()


def append(conn: Connection, rows: Iterable[Row]) -> None:
    """Chains the rows and moves the head; the last thing a transaction does, because the head's row lock orders all
    writing processes."""
    keys = keys_of(conn)
    ((seq, digest, _),) = _LOCKED_HEAD.rows(conn)
    added = []
    for row in rows:
        seq += 1
        digest = _chained(digest, seq, row)
        at_us, action, actor, object_, detail = row
        added.append(
            {
                "seq": seq,
                "at_us": at_us,
                "action": action,
                "actor": actor,
                "object": object_,
                "detail": detail,
                "hash": digest,
            }
        )
    if added:
        _APPEND.many(conn, added)
        mac = keys.journal_mac(_head_bytes(seq, digest))
        _MOVE_HEAD.count(conn, {"new_seq": seq, "new_hash": digest, "new_mac": mac})


def start(conn: Connection) -> None:
    """Writes the head of an empty journal."""
    mac = keys_of(conn).journal_mac(_head_bytes(0, FIRST))
    conn.execute(insert(journal_head), {"id": 1, "seq": 0, "hash": FIRST, "mac": mac})


def verify_chain(conn: Connection) -> str | None:
    """What is wrong with the journal, in words, or None when every row and the head are as they were written."""
    digest, expected = FIRST, 1
    with conn.execute(select(journal).order_by(journal.c.seq), execution_options={"yield_per": 1000}) as rows:
        for row in rows:
            if row.seq != expected:
                return f"rows {expected} to {row.seq - 1} are missing"
            digest = _chained(digest, row.seq, (row.at_us, row.action, row.actor, row.object, row.detail))
            if not hmac.compare_digest(digest, row.hash):
                return f"row {row.seq} was changed, or one before it removed or moved"
            expected += 1
    head = conn.execute(_HEAD).one_or_none()
    if head is None:
        return "the head of the journal is missing"
    if not hmac.compare_digest(head.mac, keys_of(conn).journal_mac(_head_bytes(head.seq, head.hash))):
        return "the head of the journal was not written by this operator"
    if (head.seq, head.hash) != (expected - 1, digest):
        return f"the journal ends at row {expected - 1}, its head says {head.seq}"
    return None


def entries(
    conn: Connection, *, object: str | None = None, since_us: int = 0, limit: int = 1000, after_seq: int = 0
) -> list[JournalEntry]:
    """Journal entries in order, at most `limit`, after row `after_seq`; `object` may be an address."""
    query = (
        select(journal)
        .where(journal.c.seq > after_seq, journal.c.at_us >= since_us)
        .order_by(journal.c.seq)
        .limit(limit)
    )
    if object is not None:
        query = query.where(journal.c.object == keys_of(conn).trace_name(object))
    return [
        JournalEntry(row.seq, row.at_us, row.action, row.actor, row.object, msgspec.json.decode(row.detail))
        for row in conn.execute(query)
    ]


def _chained(previous: bytes, seq: int, row: Row) -> bytes:
    return hashlib.sha256(previous + _encode((seq, *row))).digest()


def _head_bytes(seq: int, digest: bytes) -> bytes:
    return seq.to_bytes(8, "big") + digest
