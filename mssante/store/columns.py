"""What a folder holds, read in columns: arrays of small numbers, however many messages there are.

Always true here: columns are in uid order and of one length; rows are held a page at a time, never all at once.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, func, select

from mssante.domain.flags import DELETED
from mssante.store.contents import ContentRef
from mssante.store.engines import keys_of
from mssante.store.mail import rows
from mssante.store.messages import MESSAGE_COLUMNS, unseal_facts
from mssante.store.prepared import Prepared
from mssante.store.schema import entry, message

_FEW: Final = 16
"""Messages from which on a run is worth it."""
_PAGE: Final = 10_000
"""Rows that are held at once."""


@dataclass(slots=True)
class Columns:
    """`flags`: one byte a message, bits of `domain.flags`; `keywords`: by uid, of the messages that have any."""

    uids: "array[int]"
    flags: bytearray
    modseqs: "array[int]"
    message_ids: "array[int]"
    keywords: dict[int, tuple[str, ...]]


class Weight(msgspec.Struct, frozen=True):
    """Octets of a folder's messages, and number and octets of those that are \\Deleted."""

    octets: int
    deleted: int
    deleted_octets: int


_ENTRIES = Prepared(
    select(entry.c.uid, entry.c.flags, entry.c.modseq, entry.c.message_id, entry.c.keywords)
    .where(entry.c.folder_id == bindparam("folder"), entry.c.uid > bindparam("above"))
    .order_by(entry.c.uid)
    .limit(_PAGE)
)
_DELETED = entry.c.flags.op("&")(DELETED) != 0
_WEIGHT = (
    select(
        func.coalesce(func.sum(message.c.size), 0),
        func.count().filter(_DELETED),
        func.coalesce(func.sum(message.c.size).filter(_DELETED), 0),
    )
    .select_from(entry)
    .join(message, entry.c.message_id == message.c.id)
    .where(entry.c.folder_id == bindparam("folder"))
)


def columns(conn: Connection, folder_id: int) -> Columns:
    """All of the folder's entries."""
    made = Columns(array("I"), bytearray(), array("q"), array("q"), {})
    above = 0
    while True:
        rows = _ENTRIES.rows(conn, {"folder": folder_id, "above": above})
        if rows:
            uids, flags, modseqs, message_ids, keywords = zip(*rows, strict=True)
            made.uids.extend(uids)
            made.flags.extend(flags)
            made.modseqs.extend(modseqs)
            made.message_ids.extend(message_ids)
            if any(keywords):
                made.keywords.update(
                    (uid, tuple(words.split())) for uid, words in zip(uids, keywords, strict=True) if words
                )
            above = uids[-1]
        if len(rows) < _PAGE:
            return made


_RUN = Prepared(
    select(entry.c.uid, entry.c.internal_us, *MESSAGE_COLUMNS)
    .join_from(entry, message, entry.c.message_id == message.c.id)
    .where(
        entry.c.folder_id == bindparam("folder"),
        entry.c.uid >= bindparam("first_uid"),
        entry.c.uid <= bindparam("last_uid"),
    )
    .order_by(entry.c.uid)
)


class Stored(NamedTuple):
    """What is the same for all entries of a message; prepend and card are decrypted."""

    message_id: int
    internal_us: int
    size: int
    prepend: bytes
    card: bytes
    content: ContentRef


def messages(conn: Connection, folder_id: int, uids: Sequence[int]) -> list[Stored]:
    """The messages at these uids (ascending), those that are gone left out. Uids that lie close together are read in
    one run over the folder."""
    if len(uids) < _FEW or uids[-1] - uids[0] > 4 * len(uids):
        found = rows(conn, folder_id, uids)
        return [Stored(one.message_id, one.internal_us, one.size, one.prepend, one.card, one.content) for one in found]
    keys, wanted = keys_of(conn), frozenset(uids)
    made = []
    run = {"folder": folder_id, "first_uid": uids[0], "last_uid": uids[-1]}
    for uid, internal_us, message_id, _, size, sealed, *ref in _RUN.rows(conn, run):
        if uid in wanted:
            content = ContentRef(*ref)
            made.append(Stored(message_id, internal_us, size, *unseal_facts(keys, content.content_id, sealed), content))
    return made


def weight(conn: Connection, folder_id: int) -> Weight:
    """Sums over the folder's entries (RFC 8438 §3.1 SIZE, RFC 9208 §4.1.4 DELETED and DELETED-STORAGE)."""
    octets, deleted, deleted_octets = conn.execute(_WEIGHT, {"folder": folder_id}).one()
    return Weight(int(octets), int(deleted), int(deleted_octets))
