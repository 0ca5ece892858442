"""Faults of ours, of the disk and of the network never leave a caller waiting or a promise half kept."""

import asyncio
import errno
import os
import shutil
from pathlib import Path
from typing import Any

import psycopg
import pysqlite3
import pytest

from mssante.domain.address import parse_address
from mssante.store import ContentError, NotFound, Store, StoreError, StoreFull, StoreUnavailable, Tx
from mssante.store.engines import LostConnection, TryAgain, run, translated
from mssante.store.hints import Hint
from mssante.store.mail import NewMessage, add_message, deliver
from mssante.store.messages import load_message
from mssante.store.processes import KEEP_US, SqliteHints
from mssante.store.queue import QueueRecipient, enqueue
from mssante.store.verify import verify
from tests.mssante.store.made import accept, make_bals, open_store, pending
from tests.mssante.store.test_writer import grouped, mark, marks
from tests.support.clock import FakeClock


async def test_what_cannot_be_journalled_fails_alone(store: Store) -> None:
    def unspeakable(tx: Tx) -> None:
        tx._rows.append((1, "a", "b", "c", object()))  # type: ignore[arg-type]

    answers = await grouped(store, store.write(mark, "a"), store.write(unspeakable), store.write(mark, "b"))
    assert answers[0] == "a"
    assert isinstance(answers[1], TypeError)
    assert answers[2] == "b"
    assert marks(store) == {"a", "b"}


async def test_a_fault_of_the_writer_itself_is_answered(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (bal_id,) = make_bals(sqlite_store, "a")
    content = pending(sqlite_store, b"x")
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_store.contents, "settle", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await sqlite_store.write(accept, content, [bal_id], contents=(content,))
    assert "a group of writes has failed" in caplog.text
    assert await sqlite_store.write(mark, "life goes on") == "life goes on"


async def test_contents_that_cannot_be_synced_refuse_only_their_writes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bal_id,) = make_bals(store, "a")
    small, large = pending(store, b"x"), pending(store, b"x" * 1_000_000)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        answers = await asyncio.gather(
            store.write(accept, small, [bal_id], contents=(small,)),
            store.write(accept, large, [bal_id], contents=(large,)),
            store.write(mark, "a"),
            return_exceptions=True,
        )
    assert [type(answer) for answer in answers] == [StoreUnavailable, StoreUnavailable, str]
    found = verify(store)
    assert (found.messages, found.faults) == (0, [])
    assert not [name for name in store.contents.segments() if name.startswith("m")]


async def test_a_content_is_given_once(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    content = pending(store, b"x")
    await store.write(accept, content, [bal_id], contents=(content,))
    with pytest.raises(StoreError, match="given to a write already"):
        await store.write(accept, content, [bal_id], contents=(content,))


@pytest.mark.parametrize("size", [10, 100_000, 1_000_000])
def test_a_content_can_be_looked_at_before_it_is_settled(store: Store, size: int) -> None:
    body = os.urandom(size)
    content = pending(store, body)
    for start, length in ((0, size), (size // 2, 100), (size - 3, 10), (size, 5)):
        assert content.piece(start, length) == body[start : start + length]
    content.discard()


def test_a_message_that_is_gone(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    with pytest.raises(NotFound):
        store.read_now(load_message, 10_000)
    with pytest.raises(NotFound):
        store.write_now(deliver, 10_000, [bal_id])

    def queue_it(tx: Tx) -> None:
        enqueue(tx, 10_000, "", [QueueRecipient(parse_address("a@un.test"))], expires_us=1)

    with pytest.raises(StoreError):
        store.write_now(queue_it)
    assert store.write_now(deliver, 10_000, []) == []


def test_contents_that_were_lost_are_told_as_such(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    content = pending(store, b"x")
    store.write_now(accept, content, [bal_id], contents=(content,))
    store.contents.forget(content.ref.content_id)
    shutil.rmtree(store.contents.root)
    with pytest.raises(ContentError):
        store.contents.read(content.ref)


async def test_a_database_held_by_another_process_is_told(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite_store.write(mark, "a")
    holder = pysqlite3.connect(str(tmp_path / "data" / "mssante.db"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    conn = sqlite_store._writer._conn
    assert conn is not None
    conn.connection.driver_connection.execute("PRAGMA busy_timeout=10")  # type: ignore[union-attr]
    with pytest.raises(StoreUnavailable, match="another process"):
        await sqlite_store.write(mark, "b")
    holder.execute("ROLLBACK")
    holder.close()
    assert await sqlite_store.write(mark, "c") == "c"


def test_a_process_that_slept_learns_that_it_has_missed_hints(
    sqlite_store: Store, tmp_path: Path, clock: FakeClock
) -> None:
    other = open_store(tmp_path, "sqlite:///data/mssante.db", clock, publish=True)
    sleeper = SqliteHints()
    with sqlite_store._database.connect() as conn:
        assert sleeper.foreign(conn) == ()
        other.write_now(lambda tx: tx.hint("x", 1))
        assert sleeper.foreign(conn) == [Hint("x", "1")]
        for number in range(3):
            clock.advance(KEEP_US / 1_000_000 + 1)
            other.write_now(lambda tx, number=number: tx.hint("x", number))  # type: ignore[misc]
        assert sleeper.foreign(conn) is None
        assert sleeper.foreign(conn) == ()
    other.close()


async def test_those_who_may_have_missed_something_all_hear(sqlite_store: Store) -> None:
    heard: list[str] = []
    sqlite_store.hints.subscribe("folder", 1, lambda: heard.append("folder"))
    sqlite_store.hints.subscribe("queue", None, lambda: heard.append("queue"))
    sqlite_store.hints.fire(None)
    assert sorted(heard) == ["folder", "queue"]


def sqlstate(code: str) -> BaseException:
    return psycopg.errors.lookup(code)("told by the server")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pysqlite3.OperationalError("database or disk is full"), StoreFull),
        (pysqlite3.OperationalError("database is locked"), StoreUnavailable),
        (pysqlite3.OperationalError("disk I/O error"), StoreUnavailable),
        (pysqlite3.OperationalError("attempt to write a readonly database"), StoreUnavailable),
        (pysqlite3.DatabaseError("database disk image is malformed"), StoreError),
        (psycopg.OperationalError("the connection is lost"), LostConnection),
        (sqlstate("57P01"), LostConnection),
        (sqlstate("08006"), LostConnection),
        (sqlstate("40001"), TryAgain),
        (sqlstate("40P01"), TryAgain),
        (sqlstate("55P03"), TryAgain),
        (sqlstate("53100"), StoreFull),
        (sqlstate("53300"), StoreUnavailable),
        (sqlstate("58030"), StoreUnavailable),
        (sqlstate("23505"), StoreError),
        (psycopg.ProgrammingError("cannot adapt type"), StoreError),
        (ValueError("not of the database"), type(None)),
    ],
)
def test_what_the_drivers_say_has_its_word(error: BaseException, kind: type) -> None:
    assert type(translated(error)) is kind


async def test_a_commit_whose_outcome_is_unknown_is_not_repeated(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes while COMMIT is under way: the caller hears "unavailable", the write is not run again."""
    ran: list[str] = []

    def cut(conn: Any, statement: str) -> None:
        if statement == "COMMIT":
            monkeypatch.setattr("mssante.store.writer.run", run)
            raise LostConnection("gone")
        run(conn, statement)

    def note(tx: Tx) -> None:
        ran.append("ran")

    await store.write(mark, "before")
    monkeypatch.setattr("mssante.store.writer.run", cut)
    with pytest.raises(StoreUnavailable, match="during the commit"):
        await store.write(note)
    assert ran == ["ran"]
    assert await store.write(mark, "after") == "after"


async def test_a_connection_lost_before_the_commit_is_made_anew(store: Store) -> None:
    ran: list[str] = []

    def lose_once(tx: Tx) -> str:
        ran.append("ran")
        if len(ran) == 1:
            raise psycopg.OperationalError("the connection is lost")
        return mark(tx, "second time")

    assert await store.write(lose_once) == "second time"
    assert marks(store) == {"second time"}


async def test_adding_a_message_without_naming_its_content(store: Store) -> None:
    content = pending(store, b"x")
    with pytest.raises(StoreError, match="contents="):
        await store.write(lambda tx: add_message(tx, NewMessage(content, 1, b"", b"")))
    content.discard()
