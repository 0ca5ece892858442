"""Group commit: what it promises to each caller, whoever shares the group."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from sqlalchemy import select, text

from mssante.store import Store, StoreError, StoreFull, Tx
from mssante.store.accounts import find_bal, list_bals, set_quota
from mssante.store.mail import entries
from mssante.store.schema import meta
from mssante.store.verify import verify
from tests.mssante.store.made import accept, arrive, inbox_of, make_bals, pending


class Gate:
    """Keeps the writer thread busy inside a first write, so that the next ones wait together and form one group."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def hold(self, tx: Tx) -> None:
        self.entered.set()
        assert self.opened.wait(30)


async def grouped(store: Store, *writes: Coroutine[Any, Any, object]) -> list[object]:
    """Runs the given coroutines so that their writes are committed in one group; their results or exceptions."""
    gate = Gate()
    first = asyncio.ensure_future(store.write(gate.hold))
    await asyncio.to_thread(gate.entered.wait, 30)
    tasks = [asyncio.ensure_future(write) for write in writes]
    await asyncio.sleep(0)
    gate.opened.set()
    await first
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def mark(tx: Tx, name: str) -> str:
    tx.conn.execute(meta.insert(), {"name": name, "value": b""})
    tx.journal("mark", actor="test", object=name)
    tx.hint("mark", name)
    return name


def mark_and_fail(tx: Tx, name: str) -> None:
    mark(tx, name)
    raise ValueError(name)


def marks(store: Store) -> set[str]:
    found = store.read_now(lambda conn: set(conn.execute(select(meta.c.name)).scalars()))
    return found - {"master key check"}


async def test_each_caller_gets_his_own_answer(store: Store) -> None:
    answers = await grouped(store, *(store.write(mark, f"m{number}") for number in range(50)))
    assert answers == [f"m{number}" for number in range(50)]
    assert marks(store) == set(map(str, answers))


async def test_one_that_fails_undoes_itself_alone(store: Store) -> None:
    heard: list[str] = []
    for name in "abc":
        store.hints.subscribe("mark", name, lambda name=name: heard.append(name))  # type: ignore[misc]
    answers = await grouped(store, store.write(mark, "a"), store.write(mark_and_fail, "b"), store.write(mark, "c"))
    assert answers[0] == "a"
    assert answers[2] == "c"
    assert isinstance(answers[1], ValueError)
    assert marks(store) == {"a", "c"}
    assert heard == ["a", "c"]
    journalled = store.read_now(
        lambda conn: list(conn.execute(text("SELECT object FROM journal ORDER BY seq")).scalars())
    )
    assert journalled == ["a", "c"]
    assert verify(store).faults == []


async def test_one_that_fails_alone_undoes_itself(store: Store) -> None:
    with pytest.raises(ValueError, match="x"):
        await store.write(mark_and_fail, "x")
    assert marks(store) == set()
    assert await store.write(mark, "y") == "y"


async def test_a_broken_constraint_is_a_store_error_and_harms_nobody(store: Store) -> None:
    answers = await grouped(store, store.write(mark, "a"), store.write(mark, "a"), store.write(mark, "b"))
    assert answers[0] == "a"
    assert answers[2] == "b"
    assert isinstance(answers[1], StoreError)
    assert marks(store) == {"a", "b"}


async def test_the_answer_comes_after_the_commit(store: Store) -> None:
    await store.write(mark, "a")
    assert "a" in await asyncio.to_thread(marks, store)


async def test_hints_come_after_the_commit_and_before_the_caller_goes_on(store: Store) -> None:
    order: list[str] = []
    unsubscribe = store.hints.subscribe(
        "mark", "a", lambda: order.append("hint" if "a" in marks(store) else "too early")
    )
    await store.write(mark, "a")
    order.append("answer")
    assert order == ["hint", "answer"]
    unsubscribe()
    unsubscribe()
    await store.write(lambda tx: tx.hint("mark", "a"))
    assert order == ["hint", "answer"]


async def test_a_subscriber_that_fails_is_reported_and_the_others_hear(store: Store) -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    heard: list[bool] = []

    def fail() -> None:
        raise ValueError("subscriber")

    store.hints.subscribe("mark", "a", fail)
    store.hints.subscribe("mark", None, lambda: heard.append(True))
    await store.write(mark, "a")
    assert heard == [True]
    assert [str(error) for error in reported] == ["subscriber"]


async def test_a_cancelled_caller_cancels_nothing(store: Store) -> None:
    gate = Gate()
    task = asyncio.ensure_future(store.write(gate.hold))
    after = asyncio.ensure_future(store.write(mark, "after"))
    await asyncio.to_thread(gate.entered.wait, 30)
    task.cancel()
    after.cancel()
    gate.opened.set()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    await store.write(mark, "last")
    assert marks(store) == {"after", "last"}


async def test_a_cancelled_caller_with_a_large_content_cancels_nothing(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    content = pending(store, b"x" * 1_000_000)
    task = asyncio.ensure_future(store.write(accept, content, [bal_id], contents=(content,)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(store.close)
    assert content.ref.length == 1_000_000
    store.contents.check(content.ref, 1_000_000)


async def test_unsynced_writes_keep_their_order_with_synced_ones(store: Store) -> None:
    await store.write(mark, "a", durable=False)
    await store.write(mark, "b")
    answers = await grouped(store, store.write(mark, "c", durable=False), store.write(mark, "d"))
    assert answers == ["c", "d"]
    assert marks(store) == {"a", "b", "c", "d"}


async def test_a_content_that_no_row_uses_is_discarded(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    contents = [pending(store, b"x" * 500_000) for _ in range(3)]
    answers = await grouped(
        store,
        store.write(accept, contents[0], [bal_id], contents=contents[:1]),
        store.write(accept, contents[1], [10_000], contents=contents[1:2]),
        store.write(lambda tx: "refused", contents=contents[2:]),
    )
    assert isinstance(answers[1], StoreError)
    assert answers[2] == "refused"
    assert len(list(store.contents.segments())) == 1
    assert verify(store).faults == []


async def test_a_full_database_refuses_what_does_not_fit_and_keeps_the_rest(sqlite_store: Store) -> None:
    def limit(tx: Tx, more: int) -> None:
        pages = tx.conn.execute(text("PRAGMA page_count")).scalar_one()
        tx.conn.execute(text(f"PRAGMA max_page_count={pages + more}"))

    def fill(tx: Tx, name: str) -> str:
        tx.conn.execute(meta.insert(), {"name": name, "value": bytes(400_000)})
        return mark(tx, name + "!")

    await sqlite_store.write(limit, 20)
    answers = await grouped(
        sqlite_store, sqlite_store.write(mark, "a"), sqlite_store.write(fill, "big"), sqlite_store.write(mark, "b")
    )
    assert answers[0] == "a"
    assert isinstance(answers[1], StoreFull)
    assert answers[2] == "b"
    assert marks(sqlite_store) == {"a", "b"}
    with pytest.raises(StoreFull):
        await sqlite_store.write(fill, "big")
    await sqlite_store.write(limit, 1000)
    assert await sqlite_store.write(fill, "big") == "big!"
    assert verify(sqlite_store).faults == []


async def test_writes_from_threads_and_tasks_together(store: Store) -> None:
    bals = make_bals(store, *(f"u{number}" for number in range(5)))
    await asyncio.gather(*(asyncio.to_thread(arrive, store, b"x" * number, bals) for number in range(20)))
    for bal_id in bals:
        found = await store.read(entries, inbox_of(store, bal_id))
        assert [entry.uid for entry in found] == list(range(1, 21))
        assert [entry.modseq for entry in found] == list(range(2, 22))
    assert verify(store).faults == []


async def test_a_read_sees_one_moment(store: Store) -> None:
    make_bals(store, "a")
    started, go_on = threading.Event(), threading.Event()

    def twice(conn: object) -> tuple[int, int]:
        first = len(list_bals(conn))  # type: ignore[arg-type]
        started.set()
        assert go_on.wait(30)
        return first, len(list_bals(conn))  # type: ignore[arg-type]

    reading = asyncio.ensure_future(store.read(twice))
    await asyncio.to_thread(started.wait, 30)
    await asyncio.to_thread(make_bals, store, "b")
    go_on.set()
    assert await reading == (1, 1)
    assert len(await store.read(list_bals)) == 2


async def test_a_failing_read_leaves_the_reader_usable(store: Store) -> None:
    def fail(conn: object) -> None:
        raise ValueError("reader")

    for _ in range(10):
        with pytest.raises(ValueError, match="reader"):
            await store.read(fail)
        with pytest.raises(StoreError):
            await store.read(lambda conn: conn.execute(text("SELECT nothing FROM nowhere")).all())
    assert await store.read(find_bal, "nobody@cabinet.mssante.fr") is None


async def test_readers_cannot_write(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    with pytest.raises(StoreError):
        await store.read(lambda conn: conn.execute(text(f"UPDATE bal SET motif = 'x' WHERE id = {bal_id}")).rowcount)


async def test_closing_carries_out_what_waits(store: Store) -> None:
    tasks = [asyncio.ensure_future(store.write(mark, f"m{number}")) for number in range(10)]
    await asyncio.sleep(0)
    await asyncio.to_thread(store.close)
    assert await asyncio.gather(*tasks) == [f"m{number}" for number in range(10)]
    with pytest.raises(StoreError, match="closed"):
        await store.write(mark, "late")


async def test_reading_a_content_from_memory_and_from_disk(store: Store) -> None:
    content = pending(store, b"recent")
    (bal_id,) = make_bals(store, "a")
    await store.write(accept, content, [bal_id], contents=(content,))
    assert store.contents.cached(content.ref)
    assert await store.read_content(content.ref, 1, 3) == b"ece"
    store.contents.forget(content.ref.content_id)
    assert await store.read_content(content.ref) == b"recent"


def test_a_quota_is_only_a_number_to_the_store(store: Store) -> None:
    """Whether a full bal takes more is decided at RCPT; a delivery under way is not torn apart by it."""
    (bal_id,) = make_bals(store, "a")
    store.write_now(set_quota, bal_id, 1)
    assert len(arrive(store, b"x" * 100, [bal_id])) == 1
    bal = store.read_now(find_bal, "a@cabinet.mssante.fr")
    assert bal is not None
    assert bal.full
