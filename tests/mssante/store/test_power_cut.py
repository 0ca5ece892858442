"""kill -9 at any moment: what was acknowledged is there, what is there is whole.

A child process writes under load and prints each acknowledgement; it is killed while it does. (The page cache
survives a killed process: that the order of syncs is right as well is shown by `test_the_order_of_syncs`.)
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mssante.store import Store
from mssante.store.contents import SMALL
from mssante.store.mail import entries, rows
from mssante.store.verify import verify
from tests.mssante.store.made import arrive, inbox_of, make_bals, open_store
from tests.support.clock import FakeClock

LOAD = """
import asyncio, os, sys
from pathlib import Path
from mssante.domain.clock import SystemClock
from mssante.store.contents import SMALL
from tests.mssante.store.made import accept, open_store, pending

async def main(base, url, bals):
    store = open_store(Path(base), url, SystemClock())
    async def send(number):
        for turn in range(1_000_000):
            body = b"%d/%d " % (number, turn) + b"x" * ((SMALL if turn % 5 == 4 else 100) + number)
            content = pending(store, body)
            await store.write(accept, content, bals, contents=(content,))
            os.write(1, b"%d/%d\\n" % (number, turn))
    await asyncio.gather(*(send(number) for number in range(12)))

asyncio.run(main(sys.argv[1], sys.argv[2], [int(one) for one in sys.argv[3:]]))
"""


def killed_under_load(base: Path, url: str, bals: list[int], after: int) -> list[bytes]:
    """What the child was acknowledged before it was killed, some time after `after` acknowledgements."""
    child = subprocess.Popen([sys.executable, "-c", LOAD, str(base), url, *map(str, bals)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child:
        told = [child.stdout.readline() for _ in range(after)]
        child.send_signal(signal.SIGKILL)
        told += child.stdout.readlines()
    return [line.strip() for line in told if line.endswith(b"\n")]


@pytest.mark.parametrize("after", [1, 37, 150])
def test_acknowledged_mail_survives(store: Store, database_url: str, tmp_path: Path, after: int) -> None:
    bals = make_bals(store, "a", "b")
    store.close()
    told = killed_under_load(tmp_path, database_url, bals, after)
    again = open_store(tmp_path, database_url, FakeClock())
    for bal_id in bals:
        inbox = inbox_of(again, bal_id)
        uids = [entry.uid for entry in again.read_now(entries, inbox)]
        bodies = [again.contents.read(row.content) for row in again.read_now(rows, inbox, uids)]
        names = [body.split()[0] for body in bodies]
        assert set(told) <= set(names)
        assert len(names) == len(set(names)), "delivered twice"
    found = verify(again)
    assert found.faults == []
    assert arrive(again, b"life goes on", bals)[0].uid == max(uids) + 1
    again.close()


def test_a_torn_tail_after_a_crash_harms_nobody(sqlite_store: Store, tmp_path: Path) -> None:
    (bal_id,) = make_bals(sqlite_store, "a")
    arrive(sqlite_store, b"whole", [bal_id])
    (segment,) = sqlite_store.contents.segments()
    path = sqlite_store.contents.path(segment)
    sqlite_store.close()
    with path.open("ab") as file:
        file.write(path.read_bytes()[:40])
    again = open_store(tmp_path, "sqlite:///data/mssante.db", FakeClock())
    arrive(again, b"next", [bal_id])
    found = verify(again)
    assert (found.messages, found.orphans, found.faults) == (2, 0, [])
    assert len(list(again.contents.segments())) == 2
    again.close()


def test_the_order_of_syncs(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contents are synced before the transaction that names them begins, large ones with their folder."""
    (bal_id,) = make_bals(sqlite_store, "a")
    calls: list[str] = []

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            calls.append(name)
            return real(*args, **options)

        return call

    for name in ("fdatasync", "fsync"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    database = sqlite_store._writer._database
    monkeypatch.setattr(database, "begin_write", noted("begin", database.begin_write))
    arrive(sqlite_store, b"small", [bal_id])
    first = calls.copy()
    calls.clear()
    arrive(sqlite_store, b"small", [bal_id])
    second = calls.copy()
    calls.clear()
    arrive(sqlite_store, b"x" * (SMALL + 1), [bal_id])
    assert first[-2:] == ["fdatasync", "begin"]
    assert "fsync" in first, "the new segment's name is synced too"
    assert second == ["fdatasync", "begin"]
    assert calls[-1] == "begin"
    assert {"fdatasync", "fsync"} <= set(calls)
