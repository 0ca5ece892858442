"""What lies in folders: arrival, flags, copies, removal. Folders themselves are in `folders.py`, stored messages in
`messages.py`; their public names may be had from here.

Always true here:
- in a folder each new entry gets a uid, and each change a modseq, greater than any given before (RFC 9051 §2.3.1.1,
  RFC 7162 §3.1); a uid is never given twice;
- the folder's counters (messages, unseen) and the bal's used_bytes always agree with the entries, in the same commit;
- the folder's row is locked before its entries are looked at, so that every commit shows a folder's changes in modseq
  order.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, literal_column, select, update

from mssante.domain.bal import BalState
from mssante.domain.flags import ALL, SEEN
from mssante.store.contents import ContentRef
from mssante.store.engines import keys_of
from mssante.store.errors import AlreadyExists, NotFound, StoreError
from mssante.store.folders import (
    INBOX,
    SPECIAL,
    USES,
    Folder,
    claim_recent,
    create_folder,
    folder_by_id,
    folder_by_name,
    folders,
    lock_folder,
    set_special_use,
    set_subscribed,
)
from mssante.store.keys import Keys
from mssante.store.messages import (
    MESSAGE_COLUMNS,
    NewMessage,
    StoredMessage,
    add_message,
    forget_unreferenced,
    load_message,
    size_of,
    total_size,
    unseal_facts,
)
from mssante.store.prepared import Prepared, chunks
from mssante.store.schema import annotation, bal, entry, expunged, folder, message
from mssante.store.search_upkeep import drop_blocks
from mssante.store.writer import Tx

__all__ = [
    "INBOX",
    "RECEIVING",
    "SPECIAL",
    "USES",
    "BalRefused",
    "Delivered",
    "Entry",
    "Folder",
    "MessageRow",
    "NewMessage",
    "StoredMessage",
    "add_message",
    "append",
    "claim_recent",
    "copy",
    "create_folder",
    "delete_folder",
    "deliver",
    "entries",
    "expunge",
    "expunged_since",
    "folder_by_id",
    "folder_by_name",
    "folders",
    "load_message",
    "move",
    "rename_folder",
    "rows",
    "saved_dates",
    "set_special_use",
    "set_subscribed",
    "store_flags",
]

RECEIVING = frozenset({BalState.ACTIVE, BalState.SUSPENDED})
_HELD = [BalState.ACTIVE.value, BalState.SUSPENDED.value, BalState.CLOSING.value]
"""The states in which the holder's own folders may still grow, by APPEND or COPY."""


class BalRefused(StoreError):
    """Some of the bals no longer accept mail; `bal_ids` says which. Nothing was delivered."""

    def __init__(self, bal_ids: Iterable[int]) -> None:
        self.bal_ids = tuple(sorted(bal_ids))
        super().__init__(f"no mail accepted any more by bal {', '.join(map(str, self.bal_ids))}")


class Delivered(msgspec.Struct, frozen=True):
    bal_id: int
    folder_id: int
    uid: int
    modseq: int


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A message's place in a folder: `flags` as bits of `domain.flags`, keywords sorted."""

    uid: int
    flags: int
    keywords: tuple[str, ...]
    modseq: int
    message_id: int


class News(NamedTuple):
    """The news of a folder's hint: all that its modseq stands for is this entry, whose message is new."""

    entry: Entry
    message: StoredMessage


class MessageRow(msgspec.Struct, frozen=True):
    """All that a FETCH needs except the content itself."""

    uid: int
    flags: int
    keywords: tuple[str, ...]
    modseq: int
    internal_us: int
    message_id: int
    size: int
    card: bytes
    prepend: bytes
    content: ContentRef


# Arrival

_RECEIVING = bal.c.id.in_(bindparam("ids", expanding=True)) & bal.c.state.in_(bindparam("accepting", expanding=True))
_CHARGE = Prepared(update(bal).where(_RECEIVING).values(used_bytes=bal.c.used_bytes + bindparam("bytes")))
_ACCEPTING = Prepared(select(bal.c.id).where(_RECEIVING))
_GROWN = {
    "uidnext": folder.c.uidnext + bindparam("added"),
    "highestmodseq": folder.c.highestmodseq + 1,
    "messages": folder.c.messages + bindparam("added"),
    "unseen": folder.c.unseen + bindparam("added_unseen"),
}
_INBOXES = folder.c.bal_id.in_(bindparam("ids", expanding=True)) & (folder.c.name == INBOX)
_GROW_INBOXES = Prepared(
    update(folder)
    .where(_INBOXES)
    .values(_GROWN)
    .returning(folder.c.bal_id, folder.c.id, folder.c.uidnext, folder.c.highestmodseq)
)
_FILL_INBOXES = Prepared(
    insert(entry).from_select(
        ["folder_id", "uid", "modseq", "message_id", "flags", "keywords", "internal_us", "saved_us"],
        select(
            folder.c.id,
            folder.c.uidnext - 1,
            folder.c.highestmodseq,
            bindparam("message_id", type_=entry.c.message_id.type),
            bindparam("flags", type_=entry.c.flags.type),
            literal_column("''"),
            bindparam("internal_us", type_=entry.c.internal_us.type),
            bindparam("saved_us", type_=entry.c.saved_us.type),
        ).where(_INBOXES),
    )
)
_GROW = Prepared(
    update(folder)
    .where(folder.c.id == bindparam("of_folder"))
    .values(_GROWN)
    .returning(folder.c.bal_id, folder.c.uidnext, folder.c.highestmodseq)
)
_ADD_ENTRIES = Prepared(insert(entry).inline())


def deliver(
    tx: Tx,
    message_id: int,
    bal_ids: Sequence[int],
    flags: int = 0,
    accepting: Iterable[BalState] = RECEIVING,
) -> list[Delivered]:
    """Puts the message in the INBOX of each bal. Raises BalRefused when the state of any is not in `accepting` now: the
    state is asked here, inside the transaction, whatever was true at RCPT."""
    wanted = sorted(set(bal_ids))
    if not wanted:
        return []
    size, received_us = size_of(tx, message_id)
    states = [state.value for state in accepting]
    if _CHARGE.count(tx.conn, {"ids": wanted, "accepting": states, "bytes": size}) < len(wanted):
        still = _ACCEPTING.rows(tx.conn, {"ids": wanted, "accepting": states})
        raise BalRefused(set(wanted).difference(bal_id for (bal_id,) in still))
    grown = _GROW_INBOXES.rows(tx.conn, {"ids": wanted, "added": 1, "added_unseen": 0 if flags & SEEN else 1})
    filled = {"message_id": message_id, "flags": flags, "internal_us": received_us, "saved_us": tx.now_us}
    _FILL_INBOXES.count(tx.conn, {"ids": wanted, **filled})
    fresh = tx.fresh.get(message_id)
    for _, folder_id, uidnext, modseq in grown:
        news = fresh and News(Entry(uidnext - 1, flags, (), modseq, message_id), fresh)
        tx.hint("folder", folder_id, news)
    return [Delivered(bal_id, folder_id, uidnext - 1, modseq) for bal_id, folder_id, uidnext, modseq in grown]


def append(
    tx: Tx,
    folder_id: int,
    new: NewMessage,
    flags: int = 0,
    keywords: Sequence[str] = (),
    internal_us: int | None = None,
) -> int:
    """Stores the message and puts it in the folder (IMAP APPEND); its uid there."""
    message_id = add_message(tx, new)
    when = new.received_us if internal_us is None else internal_us
    size = tx.fresh[message_id].size
    return _place(tx, folder_id, [(message_id, flags, _keywords_text(keywords), when)], size)[0]


def _place(tx: Tx, folder_id: int, items: Sequence[tuple[int, int, str, int]], size: int) -> list[int]:
    """Adds entries (message id, flags, keywords, internal date) in their order; the uids they got."""
    unseen = sum(1 for _, flags, _, _ in items if not flags & SEEN)
    grown = _GROW.rows(tx.conn, {"of_folder": folder_id, "added": len(items), "added_unseen": unseen})
    if not grown:
        raise NotFound("the folder is gone")
    ((bal_id, uidnext, modseq),) = grown
    if not _CHARGE.count(tx.conn, {"ids": [bal_id], "accepting": _HELD, "bytes": size}):
        raise BalRefused([bal_id])
    uids = list(range(uidnext - len(items), uidnext))
    _ADD_ENTRIES.many(
        tx.conn,
        [
            {
                "folder_id": folder_id,
                "uid": uid,
                "modseq": modseq,
                "message_id": message_id,
                "flags": flags,
                "keywords": keywords,
                "internal_us": internal_us,
                "saved_us": tx.now_us,
            }
            for uid, (message_id, flags, keywords, internal_us) in zip(uids, items, strict=True)
        ],
    )
    tx.hint("folder", folder_id)
    return uids


# Reading

_ENTRY_COLUMNS = (entry.c.uid, entry.c.flags, entry.c.keywords, entry.c.modseq, entry.c.message_id)
_ENTRIES = Prepared(
    select(*_ENTRY_COLUMNS)
    .where(entry.c.folder_id == bindparam("folder"), entry.c.modseq > bindparam("since"))
    .order_by(entry.c.uid)
)
_ALL_ENTRIES = Prepared(select(*_ENTRY_COLUMNS).where(entry.c.folder_id == bindparam("folder")).order_by(entry.c.uid))
_SAVED = Prepared(
    select(entry.c.uid, entry.c.saved_us).where(
        entry.c.folder_id == bindparam("folder"), entry.c.uid.in_(bindparam("uids", expanding=True))
    )
)
_EXPUNGED = Prepared(
    select(expunged.c.uid)
    .where(expunged.c.folder_id == bindparam("folder"), expunged.c.modseq > bindparam("since"))
    .order_by(expunged.c.uid)
)
_ROWS = Prepared(
    select(entry.c.uid, entry.c.flags, entry.c.keywords, entry.c.modseq, entry.c.internal_us, *MESSAGE_COLUMNS)
    .join_from(entry, message, entry.c.message_id == message.c.id)
    .where(entry.c.folder_id == bindparam("folder"), entry.c.uid.in_(bindparam("uids", expanding=True)))
    .order_by(entry.c.uid)
)


def entries(conn: Connection, folder_id: int, since_modseq: int = 0) -> list[Entry]:
    """The folder's entries by uid; with `since_modseq` only those changed after it."""
    if since_modseq:
        rows = _ENTRIES.rows(conn, {"folder": folder_id, "since": since_modseq})
    else:
        rows = _ALL_ENTRIES.rows(conn, {"folder": folder_id})
    return [_entry(row) for row in rows]


def saved_dates(conn: Connection, folder_id: int, uids: Sequence[int]) -> dict[int, int]:
    """When each entry came into this folder (µs), by uid (RFC 8514)."""
    pages = (_SAVED.rows(conn, {"folder": folder_id, "uids": some}) for some in chunks(uids))
    return {uid: saved_us for rows in pages for uid, saved_us in rows}


def expunged_since(conn: Connection, folder_id: int, modseq: int) -> list[int]:
    """The uids expunged after `modseq`, each once (RFC 7162 §3.2.10 VANISHED)."""
    return [uid for (uid,) in _EXPUNGED.rows(conn, {"folder": folder_id, "since": modseq})]


def rows(conn: Connection, folder_id: int, uids: Sequence[int]) -> list[MessageRow]:
    """What a FETCH of these uids needs, by uid; uids that are gone are left out. Cards and prepends are decrypted."""
    keys = keys_of(conn)
    return [
        _message_row(keys, row)
        for some in chunks(uids)
        for row in _ROWS.rows(conn, {"folder": folder_id, "uids": some})
    ]


def _message_row(keys: Keys, row: Sequence[Any]) -> MessageRow:
    uid, flags, keywords, modseq, internal_us, message_id, _, size, sealed, *ref = row
    content = ContentRef(*ref)
    prepend, card = unseal_facts(keys, content.content_id, sealed)
    words = tuple(keywords.split()) if keywords else ()
    return MessageRow(uid, flags, words, modseq, internal_us, message_id, size, card, prepend, content)


def _entry(row: Sequence[Any]) -> Entry:
    uid, flags, keywords, modseq, message_id = row
    return Entry(uid, flags, tuple(keywords.split()) if keywords else (), modseq, message_id)


def _keywords_text(keywords: Iterable[str]) -> str:
    return " ".join(sorted(set(keywords)))


# Changes

_OF_FOLDER = (entry.c.folder_id == bindparam("folder")) & entry.c.uid.in_(bindparam("uids", expanding=True))
_SOME_ENTRIES = Prepared(select(*_ENTRY_COLUMNS).where(_OF_FOLDER).order_by(entry.c.uid))
_TO_COPY = Prepared(
    select(entry.c.uid, entry.c.message_id, entry.c.flags, entry.c.keywords, entry.c.internal_us)
    .where(_OF_FOLDER)
    .order_by(entry.c.uid)
)
_DELETE_ENTRIES = Prepared(delete(entry).where(_OF_FOLDER).returning(entry.c.uid, entry.c.flags, entry.c.message_id))
_RUN = (entry.c.folder_id == bindparam("in_folder")) & entry.c.uid.between(bindparam("first"), bindparam("last"))
_RUN_OF_ENTRIES = Prepared(select(*_ENTRY_COLUMNS).where(_RUN).order_by(entry.c.uid))
_CHANGE_RUN = Prepared(
    update(entry)
    .where(_RUN)
    .values(
        flags=entry.c.flags.op("&")(bindparam("kept")).op("|")(bindparam("added")),
        keywords=bindparam("new_keywords"),
        modseq=bindparam("new_modseq"),
    )
)
_CLOSE = 4
"""So many times as many uids as are wanted: they are read in one run."""
_BUMP = Prepared(
    update(folder)
    .where(folder.c.id == bindparam("of_folder"))
    .values(
        highestmodseq=folder.c.highestmodseq + 1,
        messages=folder.c.messages - bindparam("gone"),
        unseen=folder.c.unseen + bindparam("unseen_change"),
    )
    .returning(folder.c.highestmodseq)
)
_ADD_EXPUNGED = Prepared(insert(expunged).inline())
_REFUND = Prepared(
    update(bal).where(bal.c.id == bindparam("of_bal")).values(used_bytes=bal.c.used_bytes - bindparam("bytes"))
)

Operation = Literal["+", "-", "="]


def store_flags(
    tx: Tx, folder_id: int, uids: Sequence[int], op: Operation, flags: int = 0, keywords: Sequence[str] = ()
) -> list[Entry]:
    """Adds (+), removes (-) or replaces (=) flags and keywords; the entries as they now are. Those that really change
    share one new modseq; when none does the folder's modseq stays (RFC 7162 §3.1)."""
    lock_folder(tx, folder_id)
    before = [_entry(row) for some in chunks(uids) for row in _entries(tx, folder_id, some)]
    after = [_applied(one, op, flags, keywords) for one in before]
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    if not changed:
        return before
    unseen_change = sum((old.flags & SEEN) - (new.flags & SEEN) for old, new in changed)
    modseq = _bump(tx, folder_id, gone=0, unseen_change=unseen_change)
    kept, added = (ALL, flags) if op == "+" else (ALL & ~flags, 0) if op == "-" else (0, flags)
    runs: list[dict[str, object]] = []
    last, words = 0, tuple[str, ...]()
    for _, new in changed:
        if not runs or new.uid != last + 1 or new.keywords != words:
            words = new.keywords
            values = {"kept": kept, "added": added, "new_keywords": " ".join(words), "new_modseq": modseq}
            runs.append({"in_folder": folder_id, "first": new.uid, **values})
        runs[-1]["last"] = last = new.uid
    _CHANGE_RUN.many(tx.conn, runs)
    return [
        new if old == new else msgspec.structs.replace(new, modseq=modseq)
        for old, new in zip(before, after, strict=True)
    ]


def _applied(one: Entry, op: Operation, flags: int, keywords: Sequence[str]) -> Entry:
    bits = one.flags | flags if op == "+" else one.flags & ~flags if op == "-" else flags
    held = one.keywords
    if keywords or op == "=":
        words = set(keywords)
        held = tuple(sorted({"+": words.union(held), "-": set(held) - words, "=": words}[op]))
    return Entry(one.uid, bits, held, one.modseq, one.message_id)


def _entries(tx: Tx, folder_id: int, uids: list[int]) -> list[Any]:
    """Rows of these uids (ascending)."""
    if uids[-1] - uids[0] > _CLOSE * len(uids):
        return _SOME_ENTRIES.rows(tx.conn, {"folder": folder_id, "uids": uids})
    wanted, run = frozenset(uids), {"in_folder": folder_id, "first": uids[0], "last": uids[-1]}
    return [row for row in _RUN_OF_ENTRIES.rows(tx.conn, run) if row[0] in wanted]


def _some(tx: Tx, statement: Prepared, folder_id: int, uids: Sequence[int]) -> list[Any]:
    return [row for some in chunks(uids) for row in statement.rows(tx.conn, {"folder": folder_id, "uids": some})]


def _bump(tx: Tx, folder_id: int, *, gone: int, unseen_change: int) -> int:
    values = {"of_folder": folder_id, "gone": gone, "unseen_change": unseen_change}
    ((modseq,),) = _BUMP.rows(tx.conn, values)
    tx.hint("folder", folder_id)
    return int(modseq)


def expunge(tx: Tx, folder_id: int, uids: Sequence[int]) -> list[int]:
    """Removes the entries; the uids that were there. Messages that nothing refers to any more are erased."""
    found = lock_folder(tx, folder_id)
    gone = _some(tx, _DELETE_ENTRIES, folder_id, uids)
    if not gone:
        return []
    modseq = _bump(tx, folder_id, gone=len(gone), unseen_change=-sum(not flags & SEEN for _, flags, _ in gone))
    _ADD_EXPUNGED.many(tx.conn, [{"folder_id": folder_id, "modseq": modseq, "uid": uid} for uid, _, _ in gone])
    uids = sorted(uid for uid, _, _ in gone)
    drop_blocks(tx, folder_id, uids)
    messages = [message_id for _, _, message_id in gone]
    _discharge(tx, found.bal_id, messages)
    forget_unreferenced(tx, messages)
    return uids


def copy(tx: Tx, source: int, uids: Sequence[int], target: int) -> list[tuple[int, int]]:
    """Copies entries with flags, keywords and internal date into the folder `target` of the same or another bal:
    [(uid in source, uid in target)] (RFC 4315 COPYUID)."""
    lock_folder(tx, min(source, target))
    lock_folder(tx, max(source, target))
    found = _some(tx, _TO_COPY, source, uids)
    if not found:
        return []
    new = _place(tx, target, [tuple(items) for _, *items in found], total_size(tx, [row[1] for row in found]))
    return list(zip([row[0] for row in found], new, strict=True))


def move(tx: Tx, source: int, uids: Sequence[int], target: int) -> list[tuple[int, int]]:
    """`copy`, then removal from the source, as one change (RFC 6851)."""
    pairs = copy(tx, source, uids, target)
    expunge(tx, source, [uid for uid, _ in pairs])
    return pairs


def _discharge(tx: Tx, bal_id: int, message_ids: Sequence[int]) -> None:
    _REFUND.count(tx.conn, {"of_bal": bal_id, "bytes": total_size(tx, message_ids)})


def delete_folder(tx: Tx, folder_id: int) -> None:
    """Removes the folder with its messages; its children stay. INBOX cannot be deleted (RFC 9051 §6.3.5)."""
    found = lock_folder(tx, folder_id)
    if found.name == INBOX:
        raise StoreError("INBOX cannot be deleted")
    gone = (
        tx.conn.execute(delete(entry).where(entry.c.folder_id == folder_id).returning(entry.c.message_id))
        .scalars()
        .all()
    )
    _discharge(tx, found.bal_id, gone)
    tx.conn.execute(delete(annotation).where(annotation.c.folder_id == folder_id))
    tx.conn.execute(delete(folder).where(folder.c.id == folder_id))
    forget_unreferenced(tx, gone)
    tx.hint("folder", folder_id)
    tx.hint("folders", found.bal_id)


def rename_folder(tx: Tx, folder_id: int, new_name: str) -> None:
    """Renames the folder and those below it (separator `/`). Renaming INBOX moves its messages to a new folder and
    leaves INBOX empty (RFC 9051 §6.3.6). Raises AlreadyExists."""
    found = lock_folder(tx, folder_id)
    tx.hint("folders", found.bal_id)
    if found.name == INBOX:
        target = create_folder(tx, found.bal_id, new_name)
        move(tx, folder_id, [item.uid for item in entries(tx.conn, folder_id)], target)
        return
    for one in folders(tx.conn, found.bal_id):
        if one.id == folder_id or one.name.startswith(found.name + "/"):
            name = new_name + one.name[len(found.name) :]
            if folder_by_name(tx.conn, found.bal_id, name) is not None:
                raise AlreadyExists("a folder of this name exists")
            tx.conn.execute(update(folder).where(folder.c.id == one.id).values(name=name))
