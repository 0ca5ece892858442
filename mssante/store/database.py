"""The one door to all that lasts: `Store`.

Always true here: writes go through one writer thread (`writer.py`), reads run in a few reader threads, each read sees
one moment of the store; no SQL ever runs on the event loop. A store of a newer version, or another operator's master
key, is refused at the door; so is a database or a contents folder that is missing. Closing the store first carries out
what was queued.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from sqlalchemy import Connection

from mssante.store.contents import ContentRef, Contents, PendingContent, disk_errors
from mssante.store.engines import Database, LostConnection, discard, translated
from mssante.store.errors import StoreError
from mssante.store.hints import Hint, Hints
from mssante.store.keys import Keys
from mssante.store.processes import PostgresHints, SqliteHints
from mssante.store.versions import bring_up_to_date
from mssante.store.writer import Clock, Tx, Write, Writer

Args = TypeVarTuple("Args")
T = TypeVar("T")


class Store:
    """Made by `Store.open`. `hints` for news of commits, `contents` for message bytes, `keys` for trace names."""

    def __init__(
        self, database: Database, contents: Contents, keys: Keys, clock: Clock, *, publish: bool, readers: int
    ) -> None:
        self._database, self.contents, self.keys = database, contents, keys
        self._listener = None if database.is_sqlite else PostgresHints(database)
        self.hints = Hints(self._listen)
        self._readers = ThreadPoolExecutor(readers, "store-reader")
        self._connections = threading.local()
        self._opened: list[Connection] = []
        self._writer = Writer(
            database,
            contents,
            keys,
            clock,
            self.hints,
            self._listener or SqliteHints(),
            publish=publish or not database.is_sqlite,
        )

    @classmethod
    def open(
        cls,
        database_url: str,
        contents_url: str,
        master_key: bytes,
        *,
        clock: Clock,
        base: Path,
        patient_domains: frozenset[str] = frozenset(),
        publish: bool = False,
        readers: int = 4,
        cache_bytes: int = 4 * 1024 * 1024,
        create: bool = False,
        forward: bool = True,
    ) -> "Store":
        """Opens the store and brings its schema up to date. Relative URLs start at `base`. `publish`: other processes
        serve this SQLite file and shall hear of our commits. `create`: an empty or missing database becomes a store;
        without it that is refused, except that an empty PostgreSQL database is filled while the contents folder is
        there and empty (an operator's first start on PostgreSQL). `forward` False: a store of an older version is
        refused. Blocks; raises StoreError.
        """
        if not contents_url.startswith("file:"):
            raise StoreError("contents must be file:folder")
        keys = Keys(master_key, patient_domains)
        database = Database(database_url, base, keys, create=create)
        folder = base / contents_url.removeprefix("file:")
        if not create:
            _refuse_missing(folder)
        conn = database.connect()
        try:
            fill = create or (not database.is_sqlite and _is_empty(folder))
            bring_up_to_date(database, conn, keys, fill=fill, forward=forward)
        finally:
            discard(conn)
        contents = Contents(folder, keys, cache_bytes=cache_bytes)
        return cls(database, contents, keys, clock, publish=publish, readers=readers)

    async def write(
        self, fn: Callable[[Tx, *Args], T], *args: *Args, contents: Sequence[PendingContent] = (), durable: bool = True
    ) -> T:
        """The result of `fn(tx, *args)`, once it is committed together with the contents it names.

        `fn` runs in the writer thread, perhaps more than once, and must touch nothing but `tx`. Its exceptions come
        back and undo its work alone; the contents of a failed write are discarded. `durable=False` promises order,
        not that the last moments survive a power cut. Cancelling the caller does not cancel the write.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._writer.put(Write(fn, args, contents, durable, loop, future))
        return await future

    def write_now(
        self, fn: Callable[[Tx, *Args], T], *args: *Args, contents: Sequence[PendingContent] = (), durable: bool = True
    ) -> T:
        """`write` for callers without an event loop; blocks."""
        future: Future[T] = Future()
        self._writer.put(Write(fn, args, contents, durable, None, future))
        return future.result()

    async def read(self, fn: Callable[[Connection, *Args], T], *args: *Args) -> T:
        """The result of `fn(conn, *args)`, run in a reader thread on one moment of the store."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_now, fn, *args)

    def read_now(self, fn: Callable[[Connection, *Args], T], *args: *Args) -> T:
        """`read` for callers without an event loop; blocks."""
        try:
            return self._read(fn, args)
        except LostConnection:
            return self._read(fn, args)

    def _read(self, fn: Callable[[Connection, *Args], T], args: tuple[*Args]) -> T:
        conn = self._reading_connection()
        try:
            self._database.begin_read(conn)
            result = fn(conn, *args)
            self._database.rollback(conn)
        except Exception as error:
            known = translated(error)
            self._recover(conn)
            if known is None:
                raise
            raise known from error
        return result

    async def read_content(self, ref: ContentRef, start: int = 0, length: int | None = None) -> bytes:
        """`contents.read`, from memory at once or else in a reader thread."""
        if self.contents.cached(ref):
            return self.contents.read(ref, start, length)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.contents.read, ref, start, length)

    def close(self) -> None:
        """Carries out the queued writes, then closes everything. Blocks for as long as they take."""
        self._writer.close()
        if self._listener is not None:
            self._listener.close()
        self._readers.shutdown(wait=True)
        for conn in self._opened:
            discard(conn)
        self.contents.close()
        self._database.engine.dispose()

    def flush_log(self) -> None:
        """See `Database.flush_log`."""
        self._database.flush_log()

    def _reading_connection(self) -> Connection:
        conn: Connection | None = getattr(self._connections, "conn", None)
        if conn is None:
            conn = self._connections.conn = self._database.connect_reader()
            self._opened.append(conn)
        return conn

    def _recover(self, conn: Connection) -> None:
        """Ends a failed read; a connection that cannot do that is dropped, and the thread's next read opens another."""
        try:
            self._database.rollback(conn)
        except Exception as error:
            if translated(error) is None:
                raise
            self._connections.conn = None
            self._opened.remove(conn)
            discard(conn)

    def _listen(self) -> None:
        """From the first subscription on, hear what other processes commit (for SQLite the writer thread looks)."""
        if self._listener is not None:
            self._listener.listen(self._heard)

    def _heard(self, hints: Sequence[Hint] | None) -> None:
        loop = self.hints.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self.hints.fire, hints)


def _refuse_missing(folder: Path) -> None:
    """A contents folder that is not there is one that was lost: new mail would hide below its mount point."""
    with disk_errors():
        found = folder.is_dir()
    if not found:
        raise StoreError(
            f"the contents folder {folder} is missing: mount its disk, bring a copy back, or name the right one in"
            " [store] contents"
        )


def _is_empty(folder: Path) -> bool:
    with disk_errors():
        return not any(folder.iterdir())
