"""Connections to the two databases, and what differs between them.

Always true here: SQLAlchemy connections run in the driver's autocommit mode and the store itself says BEGIN, SAVEPOINT
and COMMIT; a writing SQLite transaction begins IMMEDIATE, in WAL mode, with a SQLite that has no WAL-reset fault
(3.51.3 or later); every connection carries the keys, so that functions which get one can seal and find; connecting
never makes a SQLite file: one that is lost stays lost, and is told.
"""

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pysqlite3
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from mssante.store.errors import StoreError, StoreFull, StoreUnavailable
from mssante.store.keys import Keys

SQLITE_AT_LEAST: Final = (3, 51, 3)
BUSY_MS: Final = 30_000
LOST: Final = "mount its disk, bring a copy back, or name the right one in [store] database"


class LostConnection(StoreUnavailable):
    """The database went away before the commit was asked for: the group may be run again."""


class TryAgain(StoreUnavailable):
    """Another process was in the way (deadlock, serialization): the group may be run again."""


def keys_of(conn: Connection) -> Keys:
    """The keys of the store that the connection belongs to."""
    keys: Keys = conn.get_execution_options()["keys"]
    return keys


class Database:
    """Opens connections and knows the words of its database. Safe to share between threads. `create` makes the SQLite
    file and its folder where there is none; else a missing one is refused. `name` is for messages: no password in it.
    """

    def __init__(self, url: str, base: Path, keys: Keys, *, create: bool = False) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise StoreError("the database URL must be sqlite:///path or postgresql+psycopg://user@host/name") from None
        self.is_sqlite = parsed.drivername == "sqlite"
        if self.is_sqlite:
            self.name = str(base / (parsed.database or ""))
            self.engine = _sqlite(parsed, base, keys, create)
        elif parsed.drivername == "postgresql+psycopg":
            self.name = parsed.render_as_string(hide_password=True)
            self.engine = _postgresql(parsed, keys)
        else:
            raise StoreError(f"the store knows sqlite and postgresql+psycopg, not {parsed.drivername}")

    def connect(self) -> Connection:
        """A new connection, to be used by one thread at a time. Raises StoreUnavailable."""
        try:
            return self.engine.connect()
        except DBAPIError as error:
            raise StoreUnavailable(f"the database cannot be reached: {_first_line(error.orig)}") from error

    def connect_reader(self) -> Connection:
        """A new connection that cannot write."""
        conn = self.connect()
        if self.is_sqlite:
            run(conn, "PRAGMA query_only=ON")
        return conn

    def flush_log(self) -> None:
        """SQLite: empties the write-ahead log into the file, so that erased rows leave the log as well. Skipped while
        anybody is in the way."""
        if self.is_sqlite:
            conn = self.connect()
            try:
                run(conn, "PRAGMA busy_timeout=0")
                run(conn, "PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                discard(conn)

    def begin_write(self, conn: Connection, *, durable: bool) -> None:
        """Starts a write transaction; without `durable` its commit keeps order but may lose the last moments."""
        if self.is_sqlite:
            if conn.info.get("durable", True) != durable:
                run(conn, f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                conn.info["durable"] = durable
            run(conn, "BEGIN IMMEDIATE")
        else:
            run(conn, "BEGIN")
            if not durable:
                run(conn, "SET LOCAL synchronous_commit=off")

    def begin_read(self, conn: Connection) -> None:
        """Starts a read transaction that sees one moment of the store until `end_read`."""
        run(conn, "BEGIN" if self.is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    def rollback(self, conn: Connection) -> None:
        """Ends the transaction, also one that the database has ended itself (SQLite does on a full disk)."""
        driver = conn.connection.driver_connection
        if not self.is_sqlite or (driver is not None and driver.in_transaction):
            run(conn, "ROLLBACK")


def discard(conn: Connection) -> None:
    """Closes the connection, also one whose other end is gone; a second time it does nothing."""
    if not conn.closed:
        conn.invalidate()
        conn.close()


def run(conn: Connection, statement: str) -> None:
    """A statement of transaction control, straight to the driver (about 1 µs instead of 10)."""
    driver: Any = conn.connection.driver_connection
    driver.execute(statement)


def translated(error: BaseException) -> StoreError | None:
    """The store's word for a driver's error: StoreFull, TryAgain, LostConnection, StoreUnavailable or StoreError;
    None for an error that does not come from the database. The text names no parameter."""
    driver = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(driver, pysqlite3.Error):
        return _of_sqlite(driver)
    if any(kind.__name__ == "Error" and kind.__module__.startswith("psycopg") for kind in type(driver).__mro__):
        return _of_postgresql(driver)
    return None


def _of_sqlite(error: BaseException) -> StoreError:
    text = _first_line(error)
    lowered = text.lower()
    if "is full" in lowered:
        return StoreFull("no room left for the database")
    if "locked" in lowered:
        return StoreUnavailable("the database is busy: another process holds it")
    if any(sign in lowered for sign in ("disk i/o", "unable to open", "readonly")):
        return StoreUnavailable(f"the database cannot be used: {text}")
    return StoreError(f"{type(error).__name__}: {text}")


def _of_postgresql(error: BaseException | None) -> StoreError:
    """By SQLSTATE; psycopg gives none when the connection itself has failed."""
    state: str | None = getattr(error, "sqlstate", None)
    kind = type(error).__name__
    if state in ("40001", "40P01", "55P03"):
        return TryAgain("another process was in the way")
    if state == "53100":
        return StoreFull("no room left for the database")
    if (state is None and kind == "OperationalError") or (state or "").startswith(("08", "57P")):
        return LostConnection(f"the database went away: {_first_line(error)}")
    if state is not None and state.startswith(("53", "58")):
        return StoreUnavailable(f"the database cannot be used: {_first_line(error)}")
    return StoreError(f"{kind} {state or ''}".rstrip())


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _sqlite(url: URL, base: Path, keys: Keys, create: bool) -> Engine:
    if pysqlite3.sqlite_version_info < SQLITE_AT_LEAST:
        needed = ".".join(map(str, SQLITE_AT_LEAST))
        raise StoreError(
            f"SQLite {pysqlite3.sqlite_version} can corrupt a database (WAL-reset fault):"
            f" install a pysqlite3 built with SQLite {needed} or later"
        )
    if not url.database:
        raise StoreError("the database URL must name a file: sqlite:///data/mssante.db")
    path = (base / url.database).absolute()
    try:
        if create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
        found = path.is_file()
    except OSError as error:
        raise StoreUnavailable(f"the database {path} cannot be reached: {error.strerror}") from error
    if not found:
        raise StoreError(f"the database {path} is missing: {LOST}")
    engine = create_engine(
        url.set(database=f"file:{quote(str(path))}", query={**url.query, "mode": "rw", "uri": "true"}),
        module=pysqlite3,
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        pool_reset_on_return=None,
        execution_options={"keys": keys},
        connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False, "cached_statements": 256},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",
            "cache_size=-16384",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _postgresql(url: URL, keys: Keys) -> Engine:
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        pool_reset_on_return=None,
        execution_options={"keys": keys},
        connect_args={"connect_timeout": 10, "tcp_user_timeout": BUSY_MS},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.execute(f"SET lock_timeout = {BUSY_MS}")

    return engine
