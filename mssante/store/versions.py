"""Which version a store has, and how it is brought to ours.

Always true here: a store is only ever moved forward, by the migrations of `migrations/`, in one transaction that no
other process can be in at the same time; a store of a newer version than ours and a master key that is not the
store's are refused, and nothing is changed; an empty database becomes a store only when asked to: one that was lost
is never replaced by an empty one, which would refuse the mail of all its bals for good.
"""

from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select, text

from mssante.store import journal
from mssante.store.engines import LOST, Database, run
from mssante.store.errors import ContentError, StoreError
from mssante.store.keys import Keys
from mssante.store.schema import meta

VERSION = "0012"
"""The newest revision of `migrations/`, known here so that an up-to-date store opens without loading alembic."""

MIGRATIONS = Path(__file__).parent / "migrations"
_CHECK = "master key check"


def bring_up_to_date(database: Database, conn: Connection, keys: Keys, *, fill: bool, forward: bool = True) -> None:
    """Makes an older store one of our version, unless not `forward`, which refuses it, and, with `fill`, a database
    without any table a store. Raises StoreError."""
    if _version(conn) != VERSION:
        database.begin_write(conn, durable=True)
        try:
            if not database.is_sqlite:
                conn.execute(text("SELECT pg_advisory_xact_lock(hashtext('mssante migrations'))"))
            version = _version(conn)
            if version is None and not (fill and not inspect(conn).get_table_names()):
                raise StoreError(_no_store(database))
            if version is not None and version < VERSION and not forward:
                raise StoreError(
                    f"the store is of an older version ({version}; this one knows {VERSION}), which may be serving it: "
                    "mssante serve of this version brings it up to date"
                )
            _migrate(conn, keys, version)
        except BaseException:
            database.rollback(conn)
            raise
        run(conn, "COMMIT")
    _check_key(conn, keys)


def _no_store(database: Database) -> str:
    first = "" if database.is_sqlite else "; a new operator's is filled when [store] contents is an empty folder"
    return f"the database {database.name} holds no store: {LOST}{first}"


def _version(conn: Connection) -> str | None:
    """The store's revision; None of an empty database."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(conn: Connection, keys: Keys, version: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = conn
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise StoreError(
            f"the store was written by a newer version ({version}; this one knows {VERSION}): upgrade mssante"
        )
    if version is not None:
        _check_key(conn, keys)
    command.upgrade(config, "head")
    if version is None:
        journal.start(conn)
        conn.execute(insert(meta), {"name": _CHECK, "value": keys.seal(b"mssante", _CHECK.encode())})


def _check_key(conn: Connection, keys: Keys) -> None:
    sealed = conn.execute(select(meta.c.value).where(meta.c.name == _CHECK)).scalar_one_or_none()
    try:
        if sealed is None or keys.unseal(sealed, _CHECK.encode()) != b"mssante":
            raise ContentError("no check value")
    except ContentError:
        raise StoreError(
            "the master key does not open this store: one of the two belongs to another operator"
        ) from None
