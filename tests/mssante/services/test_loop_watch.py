"""The debug counter sees what holds the loop, and only that."""

import asyncio
import os
import time
from pathlib import Path

from mssante.services.loop_watch import STALL_S, LoopWatch


async def _ticks(watch: LoopWatch) -> None:
    """Returns after the watch has looked once more."""
    due = watch._due
    while watch._due == due:  # noqa: ASYNC110  # it tells nobody
        await asyncio.sleep(0)


async def test_computing_on_the_loop_is_a_stall() -> None:
    watch = LoopWatch()
    watch.start(asyncio.get_running_loop())
    await _ticks(watch)
    before = watch.stalls
    until = time.thread_time() + 2 * STALL_S
    while time.thread_time() < until:
        pass
    await _ticks(watch)
    watch.stop()
    assert watch.stalls == before + 1
    assert watch.longest_s > STALL_S


async def test_a_loop_that_only_waits_for_a_processor_holds_nobody(tmp_path: Path) -> None:
    watch = LoopWatch()
    watch.start(asyncio.get_running_loop())
    os.close(watch._schedstat)
    schedstat = tmp_path / "schedstat"
    schedstat.write_text("5 0 1\n")
    watch._schedstat = os.open(schedstat, os.O_RDONLY)
    await _ticks(watch)
    watch.stalls, watch.longest_s, watch.starved_s = 0, 0.0, 0.0
    schedstat.write_text("6 10000000000 2\n")
    await _ticks(watch)
    watch.stop()
    assert (watch.stalls, watch.longest_s, watch.starved_s) == (0, 0.0, 10.0)


async def test_stopped_it_looks_no_more() -> None:
    watch = LoopWatch()
    watch.start(asyncio.get_running_loop())
    watch.stop()
    due = watch._due
    watch._tick()
    assert watch._due == due
