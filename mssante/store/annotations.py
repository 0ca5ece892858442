"""What clients note of a folder, or of nothing in particular (folder 0) (RFC 5464).

Always true here: a name that begins with `/private/` belongs to the bal of who noted it, one with `/shared/` to the bal
whose folder it is; notes go with their folder; each change hints "folders" of that bal.
"""

from collections.abc import Collection

from sqlalchemy import Connection, delete, select

from mssante.store.prepared import put
from mssante.store.schema import annotation
from mssante.store.writer import Tx

KEPT = "/private/vendor/mssante/"
"""Names that begin so are the store's own: never read as notes."""

_NOTED = ~annotation.c.name.startswith(KEPT, autoescape=True)


def notes_of(conn: Connection, bal_id: int, folder_id: int, names_like: str) -> dict[str, bytes]:
    """The notes of this bal on the folder whose names begin with `names_like`, by name."""
    query = (
        select(annotation.c.name, annotation.c.value)
        .where(annotation.c.bal_id == bal_id, annotation.c.folder_id == folder_id)
        .where(annotation.c.name.startswith(names_like, autoescape=True), _NOTED)
        .order_by(annotation.c.name)
    )
    return {name: bytes(value) for name, value in conn.execute(query)}


def marks(conn: Connection, bal_id: int, others: Collection[int], names_like: str) -> dict[int, dict[str, int]]:
    """A mark of each note of this bal, and of those of the others whose names begin with `names_like`, by folder and
    name; within one process the mark is another when the value is."""
    theirs = annotation.c.bal_id.in_(others) & annotation.c.name.startswith(names_like, autoescape=True)
    query = select(annotation.c.folder_id, annotation.c.name, annotation.c.value)
    found: dict[int, dict[str, int]] = {}
    for folder_id, name, value in conn.execute(query.where(_NOTED, (annotation.c.bal_id == bal_id) | theirs)):
        found.setdefault(folder_id, {})[name] = hash(bytes(value))
    return found


def annotate(tx: Tx, bal_id: int, folder_id: int, name: str, value: bytes | None) -> None:
    """Sets a note, or takes it away with None."""
    place = {"bal_id": bal_id, "folder_id": folder_id, "name": name}
    if value is None:
        tx.conn.execute(delete(annotation).filter_by(**place))
    else:
        put(tx.conn, annotation, {**place, "value": value})
    tx.hint("folders", bal_id)
