"""How far a folder was filled from a mailbox elsewhere, kept beside the annotations of the folder, unseen by clients.

Always true here: it moves in the transaction that stores the messages, so that a fetch that was cut, or run again,
brings each message once.
"""

from sqlalchemy import Connection, select

from mssante.store.annotations import KEPT
from mssante.store.prepared import put
from mssante.store.schema import annotation
from mssante.store.writer import Tx

_PREFIX = f"{KEPT}fetched/"


def last_fetched(conn: Connection, folder_id: int, source: str) -> tuple[int, int]:
    """(UIDVALIDITY, last UID) of `source`, a name of the folder there; (0, 0) before the first fetch."""
    query = select(annotation.c.value).where(annotation.c.folder_id == folder_id, annotation.c.name == _PREFIX + source)
    value = conn.execute(query).scalar()
    if value is None:
        return 0, 0
    uidvalidity, uid = bytes(value).split()
    return int(uidvalidity), int(uid)


def set_fetched(tx: Tx, bal_id: int, folder_id: int, source: str, uidvalidity: int, uid: int) -> None:
    place = {"bal_id": bal_id, "folder_id": folder_id, "name": _PREFIX + source}
    put(tx.conn, annotation, {**place, "value": b"%d %d" % (uidvalidity, uid)})
