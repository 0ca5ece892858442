"""How the hints of one process reach the others that serve the same store.

Always true here: a process never hears its own hints this way; hints are written inside the transaction they tell of,
so none comes before its commit. SQLite: rows of `hint`, looked at only when the file's data version says that another
process has committed, and pruned after a minute. PostgreSQL: NOTIFY, heard on the connection of a listening thread.
"""

import json
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from mssante.store.engines import Database, discard, run, translated
from mssante.store.errors import StoreUnavailable
from mssante.store.hints import Hint
from mssante.store.schema import hint as hints_table

CHANNEL = "mssante_hints"
KEEP_US = 60_000_000
_PAYLOAD_BYTES = 7_500

_ADD = insert(hints_table).inline()
_LAST = select(func.coalesce(func.max(hints_table.c.id), 0))
_SINCE = (
    select(hints_table.c.id, hints_table.c.origin, hints_table.c.kind, hints_table.c.key)
    .where(hints_table.c.id > bindparam("last"))
    .order_by(hints_table.c.id)
)
_PRUNE = delete(hints_table).where(hints_table.c.at_us < bindparam("before"))


class SqliteHints:
    """Used by the writer thread only."""

    def __init__(self) -> None:
        self._origin = secrets.token_hex(8)
        self._version: int | None = None
        self._last = 0
        self._pruned_us = 0

    def publish(self, conn: Connection, hints: Sequence[Hint], now_us: int) -> None:
        rows = [{"origin": self._origin, "kind": kind, "key": key, "at_us": now_us} for kind, key in _places(hints)]
        conn.execute(_ADD, rows)
        if now_us - self._pruned_us > KEEP_US:
            conn.execute(_PRUNE, {"before": now_us - KEEP_US})
            self._pruned_us = now_us

    def foreign(self, conn: Connection) -> Sequence[Hint] | None:
        """What others have hinted since the last call; None when some hints were pruned unread."""
        driver: Any = conn.connection.driver_connection
        (version,) = driver.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return ()
        first, self._version = self._version is None, version
        if first:
            self._last = conn.execute(_LAST).scalar_one()
            return ()
        rows = conn.execute(_SINCE, {"last": self._last}).all()
        if not rows:
            return ()
        missed = rows[0].id > self._last + 1
        self._last = rows[-1].id
        if missed:
            return None
        return [Hint(row.kind, row.key) for row in rows if row.origin != self._origin]


class PostgresHints:
    """Made with the store, so that nothing is missed between its opening and the first subscription. `publish`
    belongs to the writer thread; `listen` starts a thread that ends with `close`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._origin = secrets.token_hex(8)
        self._conn = self._connected()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def _connected(self) -> Connection:
        conn = self._database.connect()
        run(conn, f"LISTEN {CHANNEL}")
        return conn

    def publish(self, conn: Connection, hints: Sequence[Hint], now_us: int) -> None:
        for payload in _payloads(self._origin, _places(hints)):
            conn.execute(select(func.pg_notify(CHANNEL, payload)))

    def foreign(self, conn: Connection) -> Sequence[Hint] | None:
        return ()

    def listen(self, heard: Callable[[Sequence[Hint] | None], None]) -> None:
        """Calls `heard` with the hints of others, and with None after the connection was lost and made anew."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, args=(heard,), name="store-listener", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        discard(self._conn)

    def _listen(self, heard: Callable[[Sequence[Hint] | None], None]) -> None:
        lost = False
        while not self._stopping.is_set():
            try:
                if lost:
                    discard(self._conn)
                    self._conn = self._connected()
                    lost = False
                    heard(None)
                self._pass_on(heard)
            except Exception as error:
                if translated(error) is None and not isinstance(error, StoreUnavailable):
                    raise
                lost = True
                self._stopping.wait(1.0)

    def _pass_on(self, heard: Callable[[Sequence[Hint] | None], None]) -> None:
        driver: Any = self._conn.connection.driver_connection
        while not self._stopping.is_set():
            for notify in driver.notifies(timeout=0.5, stop_after=1):
                origin, hints = json.loads(notify.payload)
                if origin != self._origin:
                    heard([Hint(kind, key) for kind, key in hints])


def _places(hints: Sequence[Hint]) -> list[tuple[str, str]]:
    """What travels: each kind and key once."""
    return list(dict.fromkeys((hint.kind, hint.key) for hint in hints))


def _payloads(origin: str, hints: list[tuple[str, str]]) -> list[str]:
    """The hints as JSON, cut so that each piece fits a NOTIFY (under 8000 bytes)."""
    payload = json.dumps([origin, hints], separators=(",", ":"))
    if len(payload) <= _PAYLOAD_BYTES or len(hints) == 1:
        return [payload]
    half = len(hints) // 2
    return _payloads(origin, hints[:half]) + _payloads(origin, hints[half:])
