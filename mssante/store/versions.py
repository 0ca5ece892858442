"""Which version a store has, and how it is brought to ours.

Always true here: a store is only ever moved forward, in one transaction, by the migrations of `migrations/`; a store
of a newer version than ours and a master key that is not the store's are refused.
"""

from sqlalchemy import Connection, insert, inspect, select

from mssante.store import journal
from mssante.store.engines import Database, run
from mssante.store.errors import ContentError, StoreError
from mssante.store.keys import Keys
from mssante.store.schema import meta, metadata

_CHECK = "master key check"


def bring_up_to_date(database: Database, conn: Connection, keys: Keys) -> None:
    if not inspect(conn).has_table("meta"):
        database.begin_write(conn, durable=True)
        metadata.create_all(conn)
        journal.start(conn)
        conn.execute(insert(meta), {"name": _CHECK, "value": keys.seal(b"mssante", _CHECK.encode())})
        run(conn, "COMMIT")
    _check_key(conn, keys)


def _check_key(conn: Connection, keys: Keys) -> None:
    sealed = conn.execute(select(meta.c.value).where(meta.c.name == _CHECK)).scalar_one_or_none()
    try:
        if sealed is None or keys.unseal(sealed, _CHECK.encode()) != b"mssante":
            raise ContentError("no check value")
    except ContentError:
        raise StoreError(
            "the master key does not open this store: it belongs to another, or the file was replaced"
        ) from None
