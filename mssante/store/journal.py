"""The tamper-evident journal: who did what to which object, each row chained to the one before it (ECO.4.1.1).

Always true here: hash = SHA-256(previous hash ‖ canonical JSON of the row); the head (last seq and hash) stands in a
row of its own, authenticated with a key derived from the master key, so that a changed, removed, reordered or added
row and a cut tail are all found. Rows whose time is over go from the beginning alone (`prune`); the last of them stands
in a row like the head's, so that what is left still hangs on it. No content and no patient address is ever journalled.
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from mssante.store.engines import keys_of
from mssante.store.prepared import Prepared, put
from mssante.store.schema import journal, journal_head

FIRST = bytes(32)
_HEAD_ID, _BASE_ID = 1, 2


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


_MARK = select(journal_head.c.seq, journal_head.c.hash, journal_head.c.mac)
_HEAD = _MARK.where(journal_head.c.id == _HEAD_ID)
_BASE = _MARK.where(journal_head.c.id == _BASE_ID)
_LOCKED_HEAD = Prepared(_HEAD.with_for_update())
_APPEND = Prepared(insert(journal).inline())
_MOVE_HEAD = Prepared(
    update(journal_head)
    .where(
        journal_head.c.id == _HEAD_ID,
        journal_head.c.seq == bindparam("old_seq"),
        journal_head.c.hash == bindparam("old_hash"),
    )
    .values(seq=bindparam("new_seq"), hash=bindparam("new_hash"), mac=bindparam("new_mac"))
)
PRUNED_AT_ONCE = 10_000
_encode = msgspec.json.Encoder(order="deterministic").encode

Row = tuple[int, str, str, str, str]
"""(at_us, action, actor, object, detail as canonical JSON), ready to be chained."""
_FACTS = ("at_us", "action", "actor", "object", "detail")
_Head = tuple[int, bytes]
"""The last row's seq and hash."""
_REMEMBERED = "journal head"
"""In `Connection.info`: the head as this connection left it, so that it need not be asked for again."""


def row_of(at_us: int, action: str, actor: str, object_: str, detail: dict[str, object]) -> Row:
    return at_us, action, actor, object_, _encode(detail).decode()


def append(conn: Connection, rows: Sequence[Row]) -> None:
    """Chains the rows and moves the head; the last thing a transaction does, because the head's row lock orders all
    writing processes."""
    remembered: _Head | None = conn.info.get(_REMEMBERED)
    if remembered is None or not _extend(conn, remembered, rows):
        ((seq, digest, _),) = _LOCKED_HEAD.rows(conn)
        _extend(conn, (seq, digest), rows)


def _extend(conn: Connection, head: _Head, rows: Sequence[Row]) -> bool:
    """False when this is not the head: another process has moved it, or this one's last transaction was undone."""
    seq, digest = head
    chain = []
    for row in rows:
        seq += 1
        digest = _chained(digest, seq, row)
        chain.append(dict(zip(_FACTS, row, strict=True), seq=seq, hash=digest))
    new = {"new_seq": seq, "new_hash": digest, "new_mac": keys_of(conn).journal_mac(_head_bytes(seq, digest))}
    if not _MOVE_HEAD.count(conn, {"old_seq": head[0], "old_hash": head[1], **new}):
        return False
    _APPEND.many(conn, chain)
    conn.info[_REMEMBERED] = seq, digest
    return True


def start(conn: Connection) -> None:
    """Writes the head of an empty journal."""
    mac = keys_of(conn).journal_mac(_head_bytes(0, FIRST))
    conn.execute(insert(journal_head), {"id": _HEAD_ID, "seq": 0, "hash": FIRST, "mac": mac})


def prune(conn: Connection, before_us: int) -> int:
    """Removes the oldest rows, up to the first that is not older than `before_us` and `PRUNED_AT_ONCE` at most; how
    many. The entry that tells of it is the caller's."""
    conn.execute(_HEAD.with_for_update())
    first, last = conn.execute(select(func.min(journal.c.seq), func.max(journal.c.seq))).one()
    if first is None:
        return 0
    young = conn.execute(select(func.min(journal.c.seq)).where(journal.c.at_us >= before_us)).scalar()
    until = min(first + PRUNED_AT_ONCE - 1, last if young is None else young - 1)
    if until < first:
        return 0
    digest = conn.execute(select(journal.c.hash).where(journal.c.seq == until)).scalar_one()
    mac = keys_of(conn).journal_mac(_base_bytes(until, digest))
    conn.execute(delete(journal).where(journal.c.seq <= until))
    put(conn, journal_head, {"id": _BASE_ID, "seq": until, "hash": digest, "mac": mac})
    return int(until - first + 1)


def verify_chain(conn: Connection) -> str | None:
    """What is wrong with the journal, in words, or None when every row and the head are as they were written."""
    base = conn.execute(_BASE).one_or_none()
    if base is not None and not hmac.compare_digest(
        base.mac, keys_of(conn).journal_mac(_base_bytes(base.seq, base.hash))
    ):
        return "the journal's beginning was not written by this operator"
    digest, expected = (base.hash, base.seq + 1) if base is not None else (FIRST, 1)
    for seq, row, held in _in_order(conn):
        if seq != expected:
            return f"rows {expected} to {seq - 1} are missing"
        digest = _chained(digest, seq, row)
        if not hmac.compare_digest(digest, held):
            return f"row {seq} was changed, or one before it removed or moved"
        expected += 1
    head = conn.execute(_HEAD).one_or_none()
    if head is None:
        return "the head of the journal is missing"
    if not hmac.compare_digest(head.mac, keys_of(conn).journal_mac(_head_bytes(head.seq, head.hash))):
        return "the head of the journal was not written by this operator"
    if (head.seq, head.hash) != (expected - 1, digest):
        return f"the journal ends at row {expected - 1}, its head says {head.seq}"
    return None


class Chained(msgspec.Struct, frozen=True):
    """A journal row as it is chained, for whoever checks it elsewhere: `hash` is that of `previous` and the row."""

    previous: bytes
    seq: int
    row: Row
    hash: bytes


def chained(conn: Connection, since_us: int, until_us: int) -> Iterator[Chained]:
    """The rows from the first that is not older than `since_us` to the last that is older than `until_us`, without a
    gap: the chain can be followed from each to the next."""
    bounds = select(func.min(journal.c.seq), func.max(journal.c.seq)).where(
        journal.c.at_us >= since_us, journal.c.at_us < until_us
    )
    first, last = conn.execute(bounds).one()
    if first is None:
        return
    base = conn.execute(_BASE).one_or_none()
    before = conn.execute(select(journal.c.hash).where(journal.c.seq == first - 1)).scalar()
    previous = before if before is not None else (base.hash if base is not None else FIRST)
    for seq, row, digest in _in_order(conn, journal.c.seq.between(first, last)):
        yield Chained(previous, seq, row, digest)
        previous = digest


def details_of(conn: Connection, action: str, since_us: int, until_us: int) -> Iterator[dict[str, Any]]:
    """What the entries of one action tell, in order, from `since_us` to before `until_us`."""
    when = journal.c.at_us >= since_us, journal.c.at_us < until_us
    for _, (*_, detail), _ in _in_order(conn, journal.c.action == action, *when):
        yield msgspec.json.decode(detail)


def _in_order(conn: Connection, *where: ColumnElement[bool]) -> Iterator[tuple[int, Row, bytes]]:
    """(seq, row, hash), a thousand in memory at once."""
    query = select(journal).where(*where).order_by(journal.c.seq)
    with conn.execute(query, execution_options={"yield_per": 1000}) as rows:
        for seq, at_us, action, actor, object_, detail, digest in rows:
            yield seq, (at_us, action, actor, object_, detail), digest


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
        JournalEntry(seq, at_us, action, actor, object_, msgspec.json.decode(detail))
        for seq, at_us, action, actor, object_, detail, _ in conn.execute(query)
    ]


def _chained(previous: bytes, seq: int, row: Row) -> bytes:
    return hashlib.sha256(previous + _encode((seq, *row))).digest()


def _head_bytes(seq: int, digest: bytes) -> bytes:
    return seq.to_bytes(8, "big") + digest


def _base_bytes(seq: int, digest: bytes) -> bytes:
    return b"base" + _head_bytes(seq, digest)
