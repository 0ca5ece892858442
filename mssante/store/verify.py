"""Walks the store both ways: every row has its content, every content its row, every counter its entries.

Always true here: nothing is changed; what other processes erase meanwhile is not reported as missing. A content
without a row (an orphan: the process stopped between sync and commit, or the message was erased) is harmless and only
counted.
"""

import msgspec
from sqlalchemy import Connection, Integer, and_, case, exists, func, or_, select

from mssante.domain.flags import SEEN
from mssante.store import journal, search_upkeep
from mssante.store.contents import ContentRef
from mssante.store.database import Store
from mssante.store.errors import ContentError
from mssante.store.messages import UNFINISHED
from mssante.store.schema import bal, entry, folder, message, queue_item

_PIECE = 1024 * 1024
_BATCH = 500


class Findings(msgspec.Struct):
    """`faults` says in words what is wrong; empty means that all is well. `search`: (folder id, what is wrong) with
    what SEARCH is answered from, which can be made anew."""

    messages: int = 0
    segments: int = 0
    orphans: int = 0
    faults: list[str] = msgspec.field(default_factory=list)
    search: list[tuple[int, str]] = msgspec.field(default_factory=list)


def verify(store: Store) -> Findings:
    """Blocks for as long as reading all contents takes; may run while the store serves."""
    found = Findings()
    _rows_have_contents(store, found)
    _contents_have_rows(store, found)
    found.faults += store.read_now(_counters)
    found.search = search_upkeep.faults(store)
    fault = store.read_now(journal.verify_chain)
    if fault is not None:
        found.faults.append(f"journal: {fault}")
    return found


_REFS = select(
    message.c.id, message.c.segment, message.c.offset, message.c.length, message.c.wrapped_key, message.c.content_id
)


def _refs_after(conn: Connection, message_id: int) -> list[tuple[int, ContentRef]]:
    query = _REFS.where(message.c.id > message_id).order_by(message.c.id).limit(_BATCH)
    return [(row[0], ContentRef(*row[1:])) for row in conn.execute(query)]


def _ref_of(conn: Connection, message_id: int) -> ContentRef | None:
    row = conn.execute(_REFS.where(message.c.id == message_id)).first()
    return ContentRef(*row[1:]) if row else None


def _rows_have_contents(store: Store, found: Findings) -> None:
    last = 0
    while batch := store.read_now(_refs_after, last):
        for last, ref in batch:
            found.messages += 1
            fault = _content_fault(store, ref)
            if fault is not None:
                now = store.read_now(_ref_of, last)
                fault = None if now is None else _content_fault(store, now)
            if fault is not None:
                found.faults.append(f"message {last}: {fault}")


def _content_fault(store: Store, ref: ContentRef) -> str | None:
    try:
        store.contents.check(ref, _PIECE)
    except ContentError as error:
        return str(error)
    return None


def _contents_have_rows(store: Store, found: Findings) -> None:
    for segment in store.contents.segments():
        found.segments += 1
        try:
            stored = {content_id for _, content_id, _ in store.contents.records(segment)}
        except FileNotFoundError:
            continue  # erased meanwhile
        found.orphans += len(stored - store.read_now(_content_ids, segment))


def _content_ids(conn: Connection, segment: str) -> set[bytes]:
    return set(conn.execute(select(message.c.content_id).where(message.c.segment == segment)).scalars())


def _counters(conn: Connection) -> list[str]:
    return [*_folder_faults(conn), *_bal_faults(conn), *_unreferenced(conn)]


def _folder_faults(conn: Connection) -> list[str]:
    unseen = func.sum(case((entry.c.flags.op("&", return_type=Integer())(SEEN) == 0, 1), else_=0))
    counted = (
        select(
            entry.c.folder_id,
            func.count().label("messages"),
            unseen.label("unseen"),
            func.max(entry.c.uid).label("uid"),
            func.max(entry.c.modseq).label("modseq"),
        )
        .group_by(entry.c.folder_id)
        .subquery()
    )
    wrong = or_(
        folder.c.messages != func.coalesce(counted.c.messages, 0),
        folder.c.unseen != func.coalesce(counted.c.unseen, 0),
        folder.c.uidnext <= func.coalesce(counted.c.uid, 0),
        folder.c.highestmodseq < func.coalesce(counted.c.modseq, 0),
    )
    query = (
        select(folder.c.id).outerjoin(counted, counted.c.folder_id == folder.c.id).where(wrong).order_by(folder.c.id)
    )
    return [f"folder {id_}: its counters do not agree with its messages" for id_ in conn.execute(query).scalars()]


def _bal_faults(conn: Connection) -> list[str]:
    used = (
        select(folder.c.bal_id, func.sum(message.c.size).label("bytes"))
        .join_from(entry, message, entry.c.message_id == message.c.id)
        .join(folder, folder.c.id == entry.c.folder_id)
        .group_by(folder.c.bal_id)
        .subquery()
    )
    query = (
        select(bal.c.id)
        .outerjoin(used, used.c.bal_id == bal.c.id)
        .where(bal.c.used_bytes != func.coalesce(used.c.bytes, 0))
        .order_by(bal.c.id)
    )
    return [f"bal {id_}: used_bytes does not agree with its messages" for id_ in conn.execute(query).scalars()]


def _unreferenced(conn: Connection) -> list[str]:
    query = (
        select(message.c.id)
        .where(
            ~exists().where(entry.c.message_id == message.c.id),
            ~exists().where(and_(queue_item.c.message_id == message.c.id, queue_item.c.state.in_(UNFINISHED))),
        )
        .order_by(message.c.id)
    )
    return [f"message {id_}: nothing refers to it" for id_ in conn.execute(query).scalars()]
