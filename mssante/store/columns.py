"""What a folder holds, read in columns: arrays of small numbers, however many messages there are.

Always true here: columns are in uid order and of one length; they come a page at a time, never all at once, and each
as one text: making an object of each row, and handing the interpreter lock over for it, took three times as long.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Text, bindparam, cast, func, select

from mssante.domain.flags import DELETED, SEEN
from mssante.mime.card import Card, Summary
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
_OVERHEAD: Final = 600
"""What a message in memory costs besides its octets, about."""


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


class Outline(NamedTuple):
    """What SELECT tells of a folder's messages besides their number. `first_unseen`: the number of the first without
    \\Seen, 0 without any."""

    first_unseen: int
    keywords: frozenset[str]


_OF_FOLDER = entry.c.folder_id == bindparam("folder")
_PAGE_OF_FOLDER = (
    select(entry.c.uid, entry.c.flags, entry.c.modseq, entry.c.message_id, entry.c.keywords)
    .where(_OF_FOLDER, entry.c.uid > bindparam("above"))
    .order_by(entry.c.uid)
    .limit(_PAGE)
    .subquery()
)
_NUMBERS = list(_PAGE_OF_FOLDER.columns)[:4]
_COLUMNS = Prepared(
    select(
        *(func.aggregate_strings(cast(column, Text), ",") for column in _NUMBERS), func.max(_PAGE_OF_FOLDER.c.keywords)
    )
)
_KEYWORDS = Prepared(select(entry.c.uid, entry.c.keywords).where(_OF_FOLDER, entry.c.keywords != ""))
_WORDS = Prepared(select(entry.c.keywords).distinct().where(_OF_FOLDER, entry.c.keywords != ""))
_UNSEEN = Prepared(
    select(entry.c.uid).where(_OF_FOLDER, entry.c.flags.op("&")(SEEN) == 0).order_by(entry.c.uid).limit(1)
)
_COUNT = Prepared(
    select(func.count()).where(_OF_FOLDER, entry.c.uid >= bindparam("first"), entry.c.uid < bindparam("before"))
)
_COUNT_CHANGED = Prepared(select(func.count()).where(_OF_FOLDER, entry.c.modseq > bindparam("since")))
_numbers = msgspec.json.Decoder(list[int]).decode
_DELETED = entry.c.flags.op("&")(DELETED) != 0
_WEIGHT = (
    select(
        func.coalesce(func.sum(message.c.size), 0),
        func.count().filter(_DELETED),
        func.coalesce(func.sum(message.c.size).filter(_DELETED), 0),
    )
    .select_from(entry)
    .join(message, entry.c.message_id == message.c.id)
    .where(_OF_FOLDER)
)


def columns(conn: Connection, folder_id: int) -> Columns:
    """All of the folder's entries."""
    made = Columns(array("I"), bytearray(), array("q"), array("q"), {})
    page, words = _PAGE, False
    while page == _PAGE:
        where = {"folder": folder_id, "above": made.uids[-1] if made.uids else 0}
        [(*texts, keywords)] = _COLUMNS.rows(conn, where)
        uids, flags, modseqs, message_ids = (_numbers(f"[{text or ''}]") for text in texts)
        made.uids.extend(uids)
        made.flags.extend(flags)
        made.modseqs.extend(modseqs)
        made.message_ids.extend(message_ids)
        page, words = len(uids), words or bool(keywords)
    if words:
        made.keywords.update((uid, tuple(text.split())) for uid, text in _KEYWORDS.each(conn, {"folder": folder_id}))
    return made


def outline(conn: Connection, folder_id: int) -> Outline:
    """Without reading the rows."""
    words = {word for (keywords,) in _WORDS.rows(conn, {"folder": folder_id}) for word in keywords.split()}
    unseen = _UNSEEN.rows(conn, {"folder": folder_id})
    number = count(conn, folder_id, 0, unseen[0][0]) + 1 if unseen else 0
    return Outline(number, frozenset(words))


def count(conn: Connection, folder_id: int, first: int, before: int) -> int:
    """How many entries have a uid from `first` on and below `before`."""
    ((number,),) = _COUNT.rows(conn, {"folder": folder_id, "first": first, "before": before})
    return int(number)


def count_changed(conn: Connection, folder_id: int, modseq: int) -> int:
    """How many entries were changed after `modseq`."""
    ((number,),) = _COUNT_CHANGED.rows(conn, {"folder": folder_id, "since": modseq})
    return int(number)


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

_card = lru_cache(maxsize=2)(Card.decode)  # of thousands of parts each may be asked for by itself


class Message(msgspec.Struct, gc=False):
    """What is the same for all entries of a message. `internal_us`: when it arrived; `size`: octets of prepend and
    content; `encoded`: its card; `header`: the whole header block as a reader sees it, once it was asked for."""

    id: int
    internal_us: int
    size: int
    prepend: bytes
    encoded: bytes
    content: ContentRef
    header: bytes | None = None

    @property
    def card(self) -> Card:
        return _card(self.encoded)

    @property
    def summary(self) -> Summary:
        """The card's first fields, in half the time."""
        return Summary.decode(self.encoded)

    @property
    def octets(self) -> int:
        """What it takes in memory, about."""
        return _OVERHEAD + len(self.prepend) + len(self.encoded) + len(self.header or b"")


def messages(conn: Connection, folder_id: int, uids: Sequence[int]) -> Iterator[tuple[int, Message]]:
    """(uid, message) at these uids (ascending), those that are gone left out. Uids that lie close together are read in
    one run over the folder."""
    if len(uids) < _FEW or uids[-1] - uids[0] > 4 * len(uids):
        for one in rows(conn, folder_id, uids):
            yield one.uid, Message(one.message_id, one.internal_us, one.size, one.prepend, one.card, one.content)
        return
    keys, wanted = keys_of(conn), frozenset(uids)
    run = {"folder": folder_id, "first_uid": uids[0], "last_uid": uids[-1]}
    for uid, internal_us, message_id, _, size, sealed, *ref in _RUN.each(conn, run):
        if uid in wanted:
            content = ContentRef(*ref)
            facts = unseal_facts(keys, content.content_id, sealed)
            yield uid, Message(message_id, internal_us, size, *facts, content)


def weight(conn: Connection, folder_id: int) -> Weight:
    """Sums over the folder's entries (RFC 8438 §3.1 SIZE, RFC 9208 §4.1.4 DELETED and DELETED-STORAGE)."""
    octets, deleted, deleted_octets = conn.execute(_WEIGHT, {"folder": folder_id}).one()
    return Weight(int(octets), int(deleted), int(deleted_octets))
