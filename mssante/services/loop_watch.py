"""How long the event loop was held: the debug counter behind "nothing blocks the loop longer than 50 ms".

Always true here: the watch costs one timer; it measures lateness of that timer, so it sees whatever held the loop,
our code or not.
"""

from __future__ import annotations

import asyncio

INTERVAL_S = 0.02
STALL_S = 0.05


class LoopWatch:
    """Started once per loop. ``stalls`` counts holds over 50 ms, ``longest_s`` is the worst since the start, in
    seconds."""

    def __init__(self) -> None:
        self.stalls = 0
        self.longest_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None

    def _arm(self) -> None:
        assert self._loop is not None
        self._due = self._loop.time() + INTERVAL_S
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        if self._loop is None:
            return
        late = self._loop.time() - self._due
        self.longest_s = max(self.longest_s, late)
        self.stalls += late > STALL_S
        self._arm()
