"""Several processes on one store: their hints reach each other, their writes do not collide."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mssante.domain.bal import BalState
from mssante.store import Store, StoreUnavailable, Tx
from mssante.store.accounts import list_bals, set_state
from mssante.store.journal import verify_chain
from mssante.store.processes import CHANNEL, _payloads
from mssante.store.verify import verify
from tests.mssante.store.made import arrive, make_bals, open_store
from tests.support.clock import FakeClock
from tests.support.postgres import Postgres


@pytest.fixture
def second(store: Store, database_url: str, tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    """The same store as another process sees it (SQLite tells connections apart, not processes)."""
    second = open_store(tmp_path, database_url, clock, publish=True)
    yield second
    second.close()


async def test_a_commit_of_another_process_is_heard(store: Store, second: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    heard, everything = asyncio.Event(), asyncio.Event()
    store.hints.subscribe("bal", bal_id, heard.set)
    store.hints.subscribe("accounts", None, everything.set)
    await second.write(set_state, bal_id, BalState.SUSPENDED)
    await asyncio.wait_for(heard.wait(), 30)
    await asyncio.wait_for(everything.wait(), 30)


async def test_nobody_hears_himself_twice(store: Store, second: Store) -> None:
    here: list[bool] = []
    barrier = asyncio.Event()
    second.hints.subscribe("own", None, lambda: here.append(True))
    second.hints.subscribe("barrier", None, barrier.set)
    await second.write(lambda tx: tx.hint("own"))
    await announce(store, "barrier")
    await asyncio.wait_for(barrier.wait(), 30)
    assert here == [True], "hints come in order: an echo would have been before the barrier"


async def announce(store: Store, kind: str) -> None:
    """A hint that other processes hear although this one does not publish."""
    publishing = store._writer._publish
    store._writer._publish = True
    await store.write(lambda tx: tx.hint(kind))
    store._writer._publish = publishing


async def test_two_processes_write_side_by_side(store: Store, second: Store) -> None:
    bals = make_bals(store, "a", "b", "c")
    await asyncio.gather(
        *(asyncio.to_thread(arrive, one, b"x", order) for one, order in ((store, bals), (second, bals[::-1])) * 15)
    )
    assert verify(store).faults == []
    assert verify(second).messages == 30


WRITER = """
import sys
from pathlib import Path
from mssante.domain.clock import SystemClock
from tests.mssante.store.made import make_bals, open_store
store = open_store(Path(sys.argv[1]), sys.argv[2], SystemClock(), publish=True)
for number in range(20):
    make_bals(store, f"cli{number}")
store.close()
"""


async def test_a_command_beside_the_server(store: Store, database_url: str, tmp_path: Path) -> None:
    heard = asyncio.Event()
    store.hints.subscribe("accounts", None, heard.set)
    command = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(tmp_path), database_url)
    (bal_id,) = make_bals(store, "server")
    while command.returncode is None:
        await asyncio.to_thread(arrive, store, b"x", [bal_id])
        await asyncio.wait({asyncio.ensure_future(command.wait())}, timeout=0.01)
    assert command.returncode == 0
    await asyncio.wait_for(heard.wait(), 30)
    assert len(await store.read(list_bals)) == 21
    assert await store.read(verify_chain) is None
    assert verify(store).faults == []


def test_notices_fit_what_postgresql_takes() -> None:
    hints = [("folder", str(number)) for number in range(5000)]
    payloads = _payloads("origin", hints)
    assert all(len(payload) < 8000 for payload in payloads)
    assert sum(payload.count("folder") for payload in payloads) == 5000


async def test_a_lost_connection_is_replaced(postgres: Postgres, postgres_template: str, tmp_path: Path) -> None:
    name = postgres.new_database(postgres_template)
    store = open_store(tmp_path, postgres.url(name), FakeClock())
    try:
        make_bals(store, "a")
        heard = asyncio.Event()
        store.hints.subscribe("accounts", None, heard.set)
        await store.read(list_bals)
        kill = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        await asyncio.to_thread(postgres.execute, kill)
        await asyncio.to_thread(make_bals, store, "b")
        assert len(await store.read(list_bals)) == 2
        heard.clear()
        while not heard.is_set():
            notice = f"""NOTIFY {CHANNEL}, '["other", [["accounts", ""]]]'"""
            await asyncio.to_thread(postgres.execute, notice, name)
            await asyncio.wait({asyncio.ensure_future(heard.wait())}, timeout=0.5)
    finally:
        await asyncio.to_thread(store.close)
        postgres.drop(name)


async def test_a_database_that_is_away_is_told(postgres: Postgres, postgres_template: str, tmp_path: Path) -> None:
    name = postgres.new_database(postgres_template)
    store = open_store(tmp_path, postgres.url(name), FakeClock())
    try:
        make_bals(store, "a")
        postgres.drop(name)
        with pytest.raises(StoreUnavailable):
            await store.write(lambda tx: tx.hint("x"))
        with pytest.raises(StoreUnavailable):
            await store.read(list_bals)
    finally:
        await asyncio.to_thread(store.close)


async def test_a_deadlock_is_settled_by_trying_again(
    postgres: Postgres, postgres_template: str, tmp_path: Path
) -> None:
    """Two processes lock the same two rows in opposite orders."""
    name = postgres.new_database(postgres_template)
    one, two = (open_store(tmp_path, postgres.url(name), FakeClock()) for _ in range(2))
    try:
        first, second = make_bals(one, "first", "second")
        barrier = asyncio.Event()
        tries: list[int] = []

        def cross(tx: Tx, near: int, far: int) -> None:
            set_state(tx, near, BalState.SUSPENDED)
            tries.append(near)
            while len(tries) < 2:
                assert not barrier.is_set()
            set_state(tx, far, BalState.SUSPENDED)

        await asyncio.gather(one.write(cross, first, second), two.write(cross, second, first))
        assert len(tries) >= 3, "one of the two was rolled back and ran again"
        assert {bal.state for bal in await one.read(list_bals)} == {BalState.SUSPENDED}
    finally:
        await asyncio.to_thread(one.close)
        await asyncio.to_thread(two.close)
        postgres.drop(name)
