"""The space of erased messages comes back; what lives stays."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssante.store import Store
from mssante.store.compact import compact
from mssante.store.mail import expunge, rows
from mssante.store.verify import verify
from tests.mssante.store.made import arrive, inbox_of, make_bals, open_store
from tests.support.clock import FakeClock


@pytest.fixture
def reopened(store: Store, database_url: str, tmp_path: Path) -> Iterator[Store]:
    """The store as a second process sees it while `store` still writes to its own active segment."""
    second = open_store(tmp_path, database_url, FakeClock())
    yield second
    second.close()


def bodies(store: Store, bal_id: int) -> dict[int, bytes]:
    found = store.read_now(rows, inbox_of(store, bal_id), range(1, 100))
    for row in found:
        store.contents.forget(row.content.content_id)
    return {row.uid: store.contents.read(row.content) for row in found}


async def test_a_segment_in_use_is_left_alone(store: Store, reopened: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    arrive(store, b"x", [bal_id])
    store.write_now(expunge, inbox_of(store, bal_id), [1])
    for one in (store, reopened):
        done = await compact(one)
        assert (done.removed, done.emptied) == (0, 0)
    assert len(list(store.contents.segments())) == 1


async def test_a_dead_segment_is_removed_once_its_writer_is_gone(store: Store, reopened: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    arrive(store, b"x" * 1000, [bal_id])
    store.write_now(expunge, inbox_of(store, bal_id), [1])
    store.contents.close()
    done = await compact(reopened)
    assert done.removed == 1
    assert done.freed_bytes > 1000
    assert list(reopened.contents.segments()) == []


async def test_a_mostly_dead_segment_is_emptied_and_removed_at_the_next_pass(store: Store, reopened: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    for number in range(10):
        arrive(store, bytes([number]) * 10_000, [bal_id])
    inbox = inbox_of(store, bal_id)
    stale = store.read_now(rows, inbox, [3])[0].content
    store.write_now(expunge, inbox, [1, 2, 5, 6, 7, 8, 9])
    store.contents.close()
    before = bodies(reopened, bal_id)
    done = await compact(reopened)
    assert (done.removed, done.emptied) == (0, 1)
    assert reopened.contents.read(stale) == b"\2" * 10_000, "an old reference is still good"
    assert bodies(reopened, bal_id) == before == {uid: bytes([uid - 1]) * 10_000 for uid in (3, 4, 10)}
    assert (await compact(reopened)).removed == 1
    assert bodies(reopened, bal_id) == before
    assert len(list(reopened.contents.segments())) == 1
    assert verify(reopened).faults == []


async def test_a_mostly_live_segment_stays(store: Store, reopened: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    for _ in range(10):
        arrive(store, b"x" * 10_000, [bal_id])
    store.write_now(expunge, inbox_of(store, bal_id), [1])
    store.contents.close()
    done = await compact(reopened)
    assert (done.removed, done.emptied) == (0, 0)


async def test_a_damaged_record_stays_for_verify_to_report(store: Store, reopened: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    for _ in range(3):
        arrive(store, b"x" * 10_000, [bal_id])
    store.write_now(expunge, inbox_of(store, bal_id), [1, 2])
    store.contents.close()
    (segment,) = reopened.contents.segments()
    path = reopened.contents.path(segment)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 10)
    await compact(reopened)
    await compact(reopened)
    assert path.exists()
    assert [fault.partition(":")[0] for fault in verify(reopened).faults] == ["message 3"]


async def test_what_a_crash_left_of_a_large_content_is_removed(store: Store, reopened: Store) -> None:
    writer = store.contents.begin()
    writer.write(b"x" * 1_000_000)
    assert (await compact(reopened)).removed == 0
    content = writer.finish()
    content.release()  # the lock goes with the process
    assert (await compact(reopened)).removed == 1
