"""Keeps what SEARCH is answered from beside the mail: behind it, never ahead of it.

Always true here:
- arriving costs nothing: texts are read and blocks made later, step by step (`step`), from what the tables say is not
  done yet, so a process that stops loses nothing but time;
- a block covers a run of uids of one folder of which none was expunged since; later messages have greater uids, so
  nothing can come into it. Expunging one takes, in the same transaction, the block's row and with it its key
  (`drop_blocks`); the parts that are left are noise, swept later. The other messages of the block go back to their
  texts until there is a new one;
- the text of a message goes with the message's row, in the same transaction;
- a folder's `read_uid` is only a place to go on from: up to it every entry has its text, and it goes back where a
  block was dropped.
"""

import os
import time
import zlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, and_, bindparam, delete, exists, func, insert, or_, select, update

from mssante.store.contents import Contents
from mssante.store.database import Store
from mssante.store.engines import keys_of
from mssante.store.errors import ContentError
from mssante.store.folders import lock_folder
from mssante.store.keys import seal_under
from mssante.store.prepared import Prepared, put
from mssante.store.schema import entry, folder, message, search_block, search_folder, search_part, search_text
from mssante.store.search import (
    BLOCK_KEY,
    BLOCKS,
    MESSAGES,
    Reading,
    kept_texts,
    parts_of,
    read_text,
    some_of,
    text_context,
)
from mssante.store.search_words import BLOCK, LISTS, UIDS, build, numbers
from mssante.store.writer import Tx

SMALLEST: Final = 64
"""Messages between two blocks from which on they become a block too."""
_LETTERS: Final = 8 * 1024 * 1024
_SECONDS: Final = 2.0
"""Letters of text and time from which on a step takes no more."""
_NO_UID: Final = 2**33

_BEHIND = (
    select(folder.c.id)
    .outerjoin(search_folder, and_(search_folder.c.folder_id == folder.c.id, search_folder.c.made == bindparam("made")))
    .where(folder.c.uidnext - 1 > func.coalesce(search_folder.c.read_uid, 0))
    .order_by(folder.c.id)
)


def behind(conn: Connection, reading: Reading, bal_id: int | None = None) -> list[int]:
    """Folders, of the bal or of all, in which there is something to do."""
    of_bal = _BEHIND if bal_id is None else _BEHIND.where(folder.c.bal_id == bal_id)
    return list(conn.execute(of_bal, {"made": reading.made}).scalars())


def newest(conn: Connection) -> int:
    """The number of the newest message."""
    return conn.execute(select(func.max(message.c.id))).scalar() or 0


def step(store: Store, folder_id: int, reading: Reading) -> bool:
    """Reads a few more messages of a folder, or makes a block of those that are read; False when nothing is left to
    do. May be stopped after any step, and run by several processes. Blocks for some tens of milliseconds."""
    first, last, rows = store.read_now(_read_some, store.contents, folder_id, reading)
    if last > first:
        store.write_now(_put_texts, folder_id, reading.made, first, last, rows, durable=False)
        return True
    run = store.read_now(_next_run, folder_id, reading)
    texts = store.read_now(_run_texts, [message_id for _, message_id in run], reading)
    if not texts:
        return False
    uids = [uid for uid, _ in run[: len(texts)]]
    store.write_now(_put_block, folder_id, reading.made, uids, build(uids, texts), durable=False)
    return True


def _read_some(
    conn: Connection, contents: Contents, folder_id: int, reading: Reading
) -> tuple[int, int, list[tuple[int, bytes]]]:
    """How far the folder was read, how far it is now, and (message id, sealed text) of what was read for that."""
    uidnext = conn.execute(select(folder.c.uidnext).where(folder.c.id == folder_id)).scalar()
    read_uid = _read_uid(conn, folder_id, reading.made)
    if uidnext is None or read_uid >= uidnext - 1:
        return 0, 0, []
    held = exists().where(search_text.c.message_id == entry.c.message_id, search_text.c.made == reading.made)
    unread = conn.execute(
        select(entry.c.uid, message.c.id, message.c.wrapped_key, message.c.content_id)
        .join(message, entry.c.message_id == message.c.id)
        .where(entry.c.folder_id == folder_id, entry.c.uid > read_uid, ~held)
        .order_by(entry.c.uid)
        .limit(MESSAGES)
    ).all()
    rows, letters, until = [], 0, time.monotonic() + _SECONDS
    for uid, message_id, wrapped_key, content_id in unread:
        octets = (read_text(conn, contents, message_id, reading) or "").encode("utf-8", "surrogatepass")
        cipher = AESGCM(keys_of(conn).unwrap(wrapped_key, content_id))
        rows.append((message_id, seal_under(cipher, zlib.compress(octets, 1), text_context(content_id))))
        letters += len(octets)
        if letters > _LETTERS or time.monotonic() > until:  # a PDF file may take seconds
            return read_uid, uid, rows
    return read_uid, unread[-1].uid if len(unread) == MESSAGES else uidnext - 1, rows


def _read_uid(conn: Connection, folder_id: int, made: int) -> int:
    where = search_folder.c.folder_id == folder_id, search_folder.c.made == made
    return conn.execute(select(search_folder.c.read_uid).where(*where)).scalar() or 0


def _put_texts(tx: Tx, folder_id: int, made: int, first: int, last: int, rows: Sequence[tuple[int, bytes]]) -> None:
    lock_folder(tx, folder_id)
    ids = [message_id for message_id, _ in rows]
    query = select(message.c.id).where(message.c.id.in_(ids)).order_by(message.c.id).with_for_update()
    there = set(tx.conn.execute(query).scalars())
    texts = ({"message_id": id_, "made": made, "sealed": sealed} for id_, sealed in rows if id_ in there)
    put(tx.conn, search_text, *texts)
    if _read_uid(tx.conn, folder_id, made) == first:  # else a block was dropped meanwhile, further back
        put(tx.conn, search_folder, {"folder_id": folder_id, "made": made, "read_uid": last})


_RUN = Prepared(
    select(entry.c.uid, entry.c.message_id)
    .where(entry.c.folder_id == bindparam("folder"), entry.c.uid > bindparam("above"), entry.c.uid < bindparam("below"))
    .order_by(entry.c.uid)
    .limit(BLOCK)
)


def _next_run(conn: Connection, folder_id: int, reading: Reading) -> list[tuple[int, int]]:
    """(uid, message id) of messages without a block that shall have one: what is left of one that was dropped, or as
    many new ones as a block takes."""
    blocks = BLOCKS.rows(conn, {"folder": folder_id, "made": reading.made})
    above = 0
    for least, first, last in (*((SMALLEST, first, last) for _, first, last, *_ in blocks), (BLOCK, _NO_UID, 0)):
        run = _RUN.rows(conn, {"folder": folder_id, "above": above, "below": first})
        if len(run) >= least:
            return run
        above = last
    return []


def _run_texts(conn: Connection, message_ids: Sequence[int], reading: Reading) -> list[str]:
    """The texts of the first of the messages, as far as they are kept and memory goes."""
    texts: list[str] = []
    letters = 0
    for some in some_of(message_ids):
        held = dict(kept_texts(conn, some, reading.made))
        for message_id in some:
            if message_id not in held or letters > _LETTERS:
                return texts
            texts.append(held[message_id])
            letters += len(texts[-1])
    return texts


def _put_block(tx: Tx, folder_id: int, made: int, uids: Sequence[int], parts: Mapping[int, bytes]) -> None:
    """Nothing when one of the messages is gone: it takes another step."""
    lock_folder(tx, folder_id)
    first, last = uids[0], uids[-1]
    of_run = entry.c.folder_id == folder_id, entry.c.uid.between(first, last)
    if tx.conn.execute(select(func.count()).select_from(entry).where(*of_run)).scalar_one() != len(uids):
        return
    meets = and_(search_block.c.first_uid <= last, search_block.c.last_uid >= first)
    old = delete(search_block).where(search_block.c.folder_id == folder_id, or_(search_block.c.made != made, meets))
    tx.conn.execute(old)
    key = os.urandom(32)
    values = {
        "folder_id": folder_id,
        "first_uid": first,
        "last_uid": last,
        "messages": len(uids),
        "made": made,
        "sealed_key": tx.keys.seal(key, BLOCK_KEY),
    }
    block_id = tx.conn.execute(insert(search_block).returning(search_block.c.id), values).scalar_one()
    cipher = AESGCM(key)
    tx.conn.execute(
        insert(search_part),
        [
            {
                "block_id": block_id,
                "part": number,
                "sealed": seal_under(cipher, zlib.compress(octets, 1) if number >= LISTS else octets, b"%d" % number),
            }
            for number, octets in parts.items()
        ],
    )


_DROP = Prepared(delete(search_block).where(search_block.c.id.in_(bindparam("ids", expanding=True))))
_GO_BACK = Prepared(
    update(search_folder)
    .where(search_folder.c.folder_id == bindparam("of_folder"), search_folder.c.read_uid > bindparam("to_uid"))
    .values(read_uid=bindparam("to_uid"))
)
_MET = Prepared(
    select(search_block.c.id, search_block.c.first_uid, search_block.c.last_uid)
    .where(
        search_block.c.folder_id == bindparam("folder"),
        search_block.c.last_uid >= bindparam("first"),
        search_block.c.first_uid <= bindparam("last"),
    )
    .order_by(search_block.c.first_uid)
)


def drop_blocks(tx: Tx, folder_id: int, uids: Sequence[int]) -> None:
    """For the transaction that expunges these uids (ascending): the blocks that cover any of them cannot be read any
    more."""
    met = [
        (block_id, first)
        for block_id, first, last in _MET.rows(tx.conn, {"folder": folder_id, "first": uids[0], "last": uids[-1]})
        if (at := bisect_left(uids, first)) < len(uids) and uids[at] <= last
    ]
    if met:
        _DROP.count(tx.conn, {"ids": [block_id for block_id, _ in met]})
        _GO_BACK.count(tx.conn, {"of_folder": folder_id, "to_uid": met[0][1] - 1})


def sweep(tx: Tx) -> None:
    """Takes away the parts of blocks that are no more."""
    tx.conn.execute(delete(search_part).where(~exists().where(search_block.c.id == search_part.c.block_id)))


def forget(tx: Tx, folder_id: int) -> None:
    """Takes away all that is kept for searching a folder; it is made anew."""
    messages = select(entry.c.message_id).where(entry.c.folder_id == folder_id)
    tx.conn.execute(delete(search_block).where(search_block.c.folder_id == folder_id))
    tx.conn.execute(delete(search_text).where(search_text.c.message_id.in_(messages)))
    tx.conn.execute(delete(search_folder).where(search_folder.c.folder_id == folder_id))


def faults(store: Store) -> list[tuple[int, str]]:
    """What is kept for search and cannot be read, or does not agree with the messages: (folder id, in words). Blocks
    for as long as reading it all takes."""
    told = []
    for folder_id, block_id in store.read_now(_all_blocks):
        try:
            store.read_now(_check_block, block_id)
        except ContentError as fault:
            told.append((folder_id, f"block {block_id}: {fault}"))
    for folder_id in store.read_now(_all_folders):
        uid = 0
        while uid >= 0:
            uid, bad = store.read_now(_check_texts, folder_id, uid)
            told += [(folder_id, f"the text of message {message_id} is missing or altered") for message_id in bad]
    return told


def _all_blocks(conn: Connection) -> list[tuple[int, int]]:
    query = select(search_block.c.folder_id, search_block.c.id).order_by(search_block.c.id)
    return [(folder_id, block_id) for folder_id, block_id in conn.execute(query)]


def _all_folders(conn: Connection) -> list[int]:
    return list(conn.execute(select(search_folder.c.folder_id).order_by(search_folder.c.folder_id)).scalars())


def _check_block(conn: Connection, block_id: int) -> None:
    found = conn.execute(select(search_block).where(search_block.c.id == block_id)).first()
    if found is None:
        return  # dropped meanwhile
    run = entry.c.folder_id == found.folder_id, entry.c.uid.between(found.first_uid, found.last_uid)
    there = list(conn.execute(select(entry.c.uid).where(*run).order_by(entry.c.uid)).scalars())
    parts = parts_of(conn, block_id, found.sealed_key)
    if there != list(memoryview(parts(UIDS)).cast("I")) or len(there) != found.messages:
        raise ContentError("it covers other messages than the folder has there")
    for number in numbers(parts):
        parts(number)


def _check_texts(conn: Connection, folder_id: int, above: int) -> tuple[int, list[int]]:
    """The uid to go on from (-1 at the end), and the messages without a text that can be read."""
    row = conn.execute(select(search_folder).where(search_folder.c.folder_id == folder_id)).first()
    if row is None:
        return -1, []
    run = _RUN.rows(conn, {"folder": folder_id, "above": above, "below": row.read_uid + 1})
    ids = [message_id for _, message_id in run]
    held = {message_id for some in some_of(ids) for message_id, _ in kept_texts(conn, some, row.made)}
    return run[-1][0] if run else -1, [message_id for message_id in ids if message_id not in held]
