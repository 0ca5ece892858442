"""Folders of a bal: their names, numbers and counters.

Always true here: a folder's uidvalidity is unlike that of any folder its bal has ever had, and a later one is greater
(RFC 9051 §2.3.1.1); INBOX is always there; whoever changes what is in a folder locks its row first (`lock_folder`).
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from mssante.store.errors import AlreadyExists, NotFound
from mssante.store.prepared import Prepared
from mssante.store.schema import bal, folder
from mssante.store.writer import Tx

INBOX = "INBOX"
SPECIAL = (
    (INBOX, ""),
    ("Brouillons", "\\Drafts"),
    ("Envoyés", "\\Sent"),
    ("Corbeille", "\\Trash"),
    ("Indésirables", "\\Junk"),
    ("Archives", "\\Archive"),
)
"""The folders that every bal is born with, and their special use (RFC 6154)."""


class Folder(msgspec.Struct, frozen=True):
    """A folder as of one moment. `recent_from`: the first uid that no session has been told of as \\Recent."""

    id: int
    bal_id: int
    name: str
    special_use: str
    uidvalidity: int
    uidnext: int
    highestmodseq: int
    messages: int
    unseen: int
    recent_from: int
    subscribed: bool


_FOLDER = select(*(folder.c[name] for name in Folder.__struct_fields__))
_FOLDERS = Prepared(_FOLDER.where(folder.c.bal_id == bindparam("bal_id")).order_by(folder.c.name))
_FOLDER_BY_NAME = Prepared(_FOLDER.where(folder.c.bal_id == bindparam("bal_id"), folder.c.name == bindparam("name")))
_FOLDER_BY_ID = Prepared(_FOLDER.where(folder.c.id == bindparam("id")))
_LOCKED = Prepared(_FOLDER.where(folder.c.id == bindparam("id")).with_for_update())
_ADD_FOLDER = insert(folder).returning(folder.c.id)


def folders(conn: Connection, bal_id: int) -> list[Folder]:
    return [_folder(row) for row in _FOLDERS.rows(conn, {"bal_id": bal_id})]


def folder_by_name(conn: Connection, bal_id: int, name: str) -> Folder | None:
    found = _FOLDER_BY_NAME.rows(conn, {"bal_id": bal_id, "name": name})
    return _folder(found[0]) if found else None


def folder_by_id(conn: Connection, folder_id: int) -> Folder | None:
    found = _FOLDER_BY_ID.rows(conn, {"id": folder_id})
    return _folder(found[0]) if found else None


def _folder(row: Sequence[Any]) -> Folder:
    values = [*row[:-1], bool(row[-1])]
    return Folder(*values)


def first_folders(bal_id: int, now_us: int) -> tuple[list[dict[str, object]], int]:
    """The rows of the folders a bal is born with, and the last uidvalidity they use."""
    first = now_us // 1_000_000
    rows = [_new_folder(bal_id, name, use, first + number, True) for number, (name, use) in enumerate(SPECIAL)]
    return rows, first + len(SPECIAL) - 1


def _new_folder(bal_id: int, name: str, special_use: str, uidvalidity: int, subscribed: bool) -> dict[str, object]:
    return {
        "bal_id": bal_id,
        "name": name,
        "special_use": special_use,
        "uidvalidity": uidvalidity,
        "uidnext": 1,
        "highestmodseq": 1,
        "messages": 0,
        "unseen": 0,
        "recent_from": 1,
        "subscribed": subscribed,
    }


def create_folder(tx: Tx, bal_id: int, name: str, special_use: str = "") -> int:
    """The new folder's id; its uidvalidity is greater than any the bal has used. Raises AlreadyExists."""
    last = tx.conn.execute(
        select(bal.c.last_uidvalidity).where(bal.c.id == bal_id).with_for_update()
    ).scalar_one_or_none()
    if last is None:
        raise NotFound(f"no bal {bal_id}")
    if folder_by_name(tx.conn, bal_id, name) is not None:
        raise AlreadyExists("a folder of this name exists")
    uidvalidity = max(last + 1, tx.now_us // 1_000_000)
    tx.conn.execute(update(bal).where(bal.c.id == bal_id).values(last_uidvalidity=uidvalidity))
    tx.hint("folders", bal_id)
    return int(tx.conn.execute(_ADD_FOLDER, _new_folder(bal_id, name, special_use, uidvalidity, False)).scalar_one())


USES = {
    use.lower(): use for use in ("", "\\Archive", "\\Drafts", "\\Flagged", "\\Important", "\\Junk", "\\Sent", "\\Trash")
}
"""The special uses that a folder can have (RFC 6154 §2, RFC 8457), and none, by their names in small letters."""


def set_special_use(tx: Tx, folder_id: int, special_use: str) -> None:
    tx.conn.execute(update(folder).where(folder.c.id == folder_id).values(special_use=special_use))


def set_subscribed(tx: Tx, folder_id: int, subscribed: bool) -> None:
    tx.conn.execute(update(folder).where(folder.c.id == folder_id).values(subscribed=subscribed))


def claim_recent(tx: Tx, folder_id: int, before: int | None = None) -> int:
    """The first uid that is \\Recent for the session that asks; the next to ask gets only later ones. With `before`,
    only uids below it are taken."""
    found = lock_folder(tx, folder_id)
    until = found.uidnext if before is None else before
    if found.recent_from < until:
        tx.conn.execute(update(folder).where(folder.c.id == folder_id).values(recent_from=until))
    return found.recent_from


def lock_folder(tx: Tx, folder_id: int) -> Folder:
    found = _LOCKED.rows(tx.conn, {"id": folder_id})
    if not found:
        raise NotFound("the folder is gone")
    return _folder(found[0])
