"""The single writer thread of a store: waiting writes are committed in groups that share one sync.

Always true here:
- contents synced, then commit, then answer; a caller is answered only after the commit that holds its write;
- a write that fails takes nothing of its group with it, and its error goes to its caller alone: the group is run again
  with a savepoint for each write (savepoints for all, always, would cost every message two statements);
- a group that fails as a whole (full disk, deadlock) is run again one write at a time, each in its own transaction;
- so write functions may be run more than once, and must touch nothing but their `Tx`;
- a write whose caller was cancelled is carried out all the same.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection

from mssante.store import journal
from mssante.store.contents import Contents, PendingContent
from mssante.store.engines import Database, LostConnection, TryAgain, discard, run, translated
from mssante.store.errors import StoreError, StoreFull, StoreUnavailable
from mssante.store.hints import Hint, Hints
from mssante.store.keys import Keys

if TYPE_CHECKING:
    from mssante.store.messages import StoredMessage

GROUP = 256
POLL_SECONDS = 0.2
ATTEMPTS = 5
JOURNAL_AT_ONCE = 5000
"""Entries that a transaction keeps for its end, where the journal's head is locked least: large imports have more."""

_log = logging.getLogger(__name__)


class Clock(Protocol):
    def now_us(self) -> int: ...


class Tx:
    """A write transaction as a write function sees it. `conn` may be given to every function that reads; never commit
    it."""

    __slots__ = ("_hints", "_rows", "_unlinked", "conn", "fresh", "keys", "now_us")

    def __init__(self, conn: Connection, keys: Keys, now_us: int) -> None:
        self.conn, self.keys, self.now_us = conn, keys, now_us
        self._rows: list[journal.Row] = []
        self._hints: list[Hint] = []
        self._unlinked: list[tuple[bytes, str | None]] = []
        self.fresh: dict[int, StoredMessage] = {}
        """The messages added in this transaction, so that they need not be read back."""

    def journal(self, action: str, *, actor: str, object: str, **detail: object) -> None:
        """Adds an entry to the journal. A patient's address among the values is replaced by its trace name."""
        name = self.trace_name
        self._rows.append(journal.row_of(self.now_us, action, name(actor), name(object), self.keys.traceable(detail)))
        if len(self._rows) == JOURNAL_AT_ONCE:
            journal.append(self.conn, self._rows)
            self._rows.clear()

    def trace_name(self, address: str) -> str:
        """What logs and journal may show of the address."""
        return self.keys.trace_name(address)

    def hint(self, kind: str, key: object = "", news: object = None) -> None:
        """Tells subscribers, in every process, once this transaction is committed. `news`: see `Hint`."""
        self._hints.append(Hint(kind, str(key), news))

    def erased(self, content_id: bytes, own_segment: str | None) -> None:
        """Called when a message row goes: after the commit its own segment file goes too."""
        self._unlinked.append((content_id, own_segment))


class Write:
    """One queued write and where its outcome goes."""

    __slots__ = ("args", "contents", "durable", "error", "fn", "future", "loop", "result", "tx")

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        contents: Sequence[PendingContent],
        durable: bool,
        loop: asyncio.AbstractEventLoop | None,
        future: asyncio.Future[Any] | Future[Any],
    ) -> None:
        self.fn, self.args, self.contents, self.durable, self.loop, self.future = (
            fn,
            args,
            contents,
            durable,
            loop,
            future,
        )
        self.result: Any = None
        self.error: BaseException | None = None
        self.tx: Tx | None = None


class _Spoilt(Exception):
    """A write of a group failed where nothing marks what it did: the whole transaction goes."""


class CrossProcess(Protocol):
    """How hints travel between processes (see `exchange of hints` in database.py)."""

    def publish(self, conn: Connection, hints: Sequence[Hint], now_us: int) -> None: ...

    def foreign(self, conn: Connection) -> Sequence[Hint] | None: ...


class Writer:
    def __init__(
        self,
        database: Database,
        contents: Contents,
        keys: Keys,
        clock: Clock,
        hints: Hints,
        cross: CrossProcess,
        *,
        publish: bool,
    ) -> None:
        self._database, self._contents, self._keys, self._clock = database, contents, keys, clock
        self._hints, self._cross, self._publish = hints, cross, publish
        self._waiting: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._conn: Connection | None = None
        self._syncers = ThreadPoolExecutor(4, "content-sync")
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def put(self, write: Write) -> None:
        """Queues a write; own segment files are synced first, in a thread of their own."""
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            for content in write.contents:
                content.take()
            if any(content.own_segment for content in write.contents):
                self._syncers.submit(self._sync_then_queue, write)
            else:
                self._waiting.put(write)

    def _sync_then_queue(self, write: Write) -> None:
        try:
            for content in write.contents:
                content.sync()
        except StoreError as error:
            write.error = error
        self._waiting.put(write)

    def close(self) -> None:
        """Carries out what is queued, then ends the thread."""
        with self._lock:
            self._closed = True
        self._syncers.shutdown(wait=True)
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        self._hear()
        going = True
        while going:
            try:
                write = self._waiting.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self._hear()
                continue
            group: list[Write] = []
            while True:
                if write is None:
                    going = False
                else:
                    group.append(write)
                if len(group) == GROUP or self._waiting.empty():
                    break
                write = self._waiting.get()
            if group:
                self._carry_out(group)
                self._hear()
        if self._conn is not None:
            discard(self._conn)

    def _carry_out(self, group: list[Write]) -> None:
        try:
            self._settle(group)
            self._commit_all([write for write in group if write.error is None])
        except Exception as error:  # noqa: BLE001 - a fault of ours: logged, and nobody waits for ever
            _log.exception("a group of writes has failed")
            for write in group:
                write.error = write.error or error
        self._answer(group)

    def _settle(self, group: list[Write]) -> None:
        contents = [content for write in group if write.error is None for content in write.contents]
        if not contents:
            return
        try:
            self._contents.settle(contents)
        except StoreError as error:
            for write in group:
                if write.contents and write.error is None:
                    write.error = error

    def _commit_all(self, writes: list[Write]) -> None:
        """Together; when that fails for another reason than a database out of reach, one by one."""
        if not writes:
            return
        try:
            self._commit_again_if_lost(writes)
        except Exception as error:  # noqa: BLE001 - it goes to the callers
            out_of_reach = isinstance(error, StoreUnavailable) and not isinstance(error, TryAgain)
            if out_of_reach or (len(writes) == 1 and not isinstance(error, TryAgain)):
                for write in writes:
                    write.error = error
            else:
                for write in writes:
                    self._commit_alone(write)

    def _commit_alone(self, write: Write) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            write.error = None
            try:
                self._commit_again_if_lost([write])
            except TryAgain as error:
                write.error = error
                _log.info("another process was in the way of a write: attempt %d of %d", attempt, ATTEMPTS)
            except Exception as error:  # noqa: BLE001 - it goes to the caller
                write.error = error
                return
            else:
                return

    def _commit_again_if_lost(self, group: list[Write]) -> None:
        try:
            self._commit_each(group)
        except LostConnection:
            self._commit_each(group)

    def _commit_each(self, group: list[Write]) -> None:
        try:
            self._commit(group, savepoints=False)
        except _Spoilt:
            self._commit(group, savepoints=True)

    def _commit(self, group: list[Write], *, savepoints: bool) -> None:
        """One transaction. Leaves each write's result or error on it; raises when the group as a whole has failed, and
        _Spoilt when a write of several has failed without savepoints."""
        conn = self._connection()
        committing = False
        try:
            self._database.begin_write(conn, durable=any(write.durable for write in group))
            now_us = self._clock.now_us()
            for write in group:
                self._run(write, conn, now_us, savepoints)
                if write.error is not None and not savepoints and len(group) > 1:
                    raise _Spoilt
            done = [write.tx for write in group if write.error is None and write.tx is not None]
            if not done:
                self._database.rollback(conn)
                return
            rows = [row for tx in done for row in tx._rows]
            if rows:
                journal.append(conn, rows)
            if self._publish:
                hints = [hint for tx in done for hint in tx._hints]
                if hints:
                    self._cross.publish(conn, hints, now_us)
            committing = True
            run(conn, "COMMIT")
        except Exception as error:
            known = translated(error) or (error if isinstance(error, StoreError) else None)
            self._give_up(conn, known)
            if known is None:
                raise
            if committing and isinstance(known, LostConnection):
                raise StoreUnavailable("the database went away during the commit") from error
            raise known from error

    def _run(self, write: Write, conn: Connection, now_us: int, savepoints: bool) -> None:
        write.error = None
        for content in write.contents:
            content.used = False
        write.tx = tx = Tx(conn, self._keys, now_us)
        if savepoints:
            run(conn, "SAVEPOINT one")
        try:
            write.result = write.fn(tx, *write.args)
        except Exception as error:
            known = translated(error)
            if isinstance(known, StoreUnavailable | StoreFull):
                raise known from error
            write.error = _caused(known, error) if known is not None else error
            if savepoints:
                run(conn, "ROLLBACK TO one")
        if savepoints:
            run(conn, "RELEASE one")

    def _connection(self) -> Connection:
        if self._conn is None:
            self._conn = self._database.connect()
        return self._conn

    def _give_up(self, conn: Connection, why: StoreError | None) -> None:
        """Rolls back; a connection that cannot even do that is replaced by a new one."""
        try:
            if isinstance(why, LostConnection):
                raise why
            self._database.rollback(conn)
        except Exception as error:  # noqa: BLE001 - the first error is the one to tell; this one only ends the connection
            _log.warning("a database connection is replaced: %s", error)
            self._conn = None
            discard(conn)

    def _answer(self, group: list[Write]) -> None:
        """Resolves the futures, one call into each loop, then fires the hints."""
        hints: list[Hint] = []
        by_loop: dict[asyncio.AbstractEventLoop, list[Write]] = {}
        for write in group:
            try:
                self._clean_up(write)
            except OSError as error:
                _log.warning("a segment file stays until the next compaction: %s", error)
            if write.error is None and write.tx is not None:
                hints.extend(write.tx._hints)
            if write.loop is not None:
                by_loop.setdefault(write.loop, []).append(write)
        listening = self._hints.loop
        if hints and listening is not None:
            by_loop.setdefault(listening, [])
        for loop, writes in by_loop.items():
            _call(loop, _resolve, writes, self._hints if loop is listening else None, hints)
        for write in group:
            if write.loop is None:
                _resolve_one(write)

    def _clean_up(self, write: Write) -> None:
        """After the commit or the failure: unused contents and the files of erased messages go."""
        for content in write.contents:
            if write.error is None and content.used:
                content.release()
            else:
                content.discard()
        if write.error is None and write.tx is not None:
            for content_id, segment in write.tx._unlinked:
                self._contents.forget(content_id)
                if segment is not None:
                    self._contents.remove(segment)

    def _hear(self) -> None:
        """Passes on what other processes have committed."""
        try:
            hints = self._cross.foreign(self._connection())
        except Exception as error:  # noqa: BLE001 - the next write meets and reports the same trouble
            _log.warning("hints of other processes cannot be read: %s", translated(error) or error)
            if self._conn is not None:
                self._give_up(self._conn, translated(error))
            return
        listening = self._hints.loop
        if hints != () and listening is not None:
            _call(listening, self._hints.fire, hints)


def _caused(known: StoreError, error: Exception) -> StoreError:
    known.__cause__ = error
    return known


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> None:
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        _log.info("a loop ended before it could be told of a commit")


def _resolve(writes: list[Write], subscribers: Hints | None, hints: list[Hint]) -> None:
    for write in writes:
        _resolve_one(write)
    if subscribers is not None and hints:
        subscribers.fire(hints)


def _resolve_one(write: Write) -> None:
    future = write.future
    if future.done():
        return
    if write.error is None:
        future.set_result(write.result)
    else:
        future.set_exception(write.error)
