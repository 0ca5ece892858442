"""Erasing a message destroys the only copy of its key: nothing on the disk opens the content any more."""

import stat
from pathlib import Path

from mssante.store import Store
from mssante.store.compact import compact
from mssante.store.mail import deliver, expunge, rows, store_flags
from tests.mssante.store.made import arrive, inbox_of, make_bals


def on_disk(base: Path) -> bytes:
    return b"".join(path.read_bytes() for path in base.rglob("*") if path.is_file())


async def test_the_key_of_an_erased_message_is_nowhere(sqlite_store: Store, tmp_path: Path) -> None:
    (bal_id,) = make_bals(sqlite_store, "a")
    inbox = inbox_of(sqlite_store, bal_id)
    for number in range(50):
        arrive(sqlite_store, b"secret %d" % number, [bal_id])
    found = sqlite_store.read_now(rows, inbox, range(1, 51))
    keys = {row.uid: row.content.wrapped_key for row in found}
    assert all(key in on_disk(tmp_path) for key in keys.values())
    sqlite_store.write_now(store_flags, inbox, [7], "+", 1, ())
    sqlite_store.write_now(expunge, inbox, range(1, 26))
    await compact(sqlite_store)
    left = on_disk(tmp_path)
    assert [uid for uid, key in keys.items() if key in left] == list(range(26, 51))


def test_only_the_operator_may_read_the_files(sqlite_store: Store, tmp_path: Path) -> None:
    (bal_id,) = make_bals(sqlite_store, "a")
    arrive(sqlite_store, b"small", [bal_id])
    arrive(sqlite_store, b"large" * 100_000, [bal_id])
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_message_stored_earlier_is_delivered_later(store: Store) -> None:
    first, second = make_bals(store, "first", "second")
    arrive(store, b"x", [first])
    (row,) = store.read_now(rows, inbox_of(store, first), [1])
    (one,) = store.write_now(deliver, row.message_id, [second])
    (again,) = store.read_now(rows, one.folder_id, [one.uid])
    assert (again.message_id, again.content, again.internal_us) == (row.message_id, row.content, row.internal_us)
