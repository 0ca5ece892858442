"""How long the event loop was held: the debug counter behind "nothing blocks the loop longer than 50 ms".

Always true here: the watch costs one timer; it measures the lateness of that timer, so it sees whatever held the loop,
our code or not. Only the time in which the machine gave the loop's thread no processor is left out: that is told apart.
"""

from __future__ import annotations

import asyncio
import os
import threading

INTERVAL_S = 0.02
STALL_S = 0.05


class LoopWatch:
    """Started once per loop. ``stalls`` counts holds over 50 ms, ``longest_s`` is the worst since the start and
    ``starved_s`` the sum of what the loop waited for a processor, in seconds."""

    def __init__(self) -> None:
        self.stalls = 0
        self.longest_s = 0.0
        self.starved_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._waited_s = 0.0
        self._schedstat = -1

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """To be called on the loop's own thread."""
        self._loop = loop
        try:
            # Kept open: read fifty times a second.
            self._schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        except OSError:
            self._schedstat = -1
        self._waited_s = self._waited()
        self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._schedstat >= 0:
            os.close(self._schedstat)
            self._schedstat = -1
        self._loop = self._timer = None

    def _arm(self) -> None:
        assert self._loop is not None
        self._due = self._loop.time() + INTERVAL_S
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        if self._loop is None:
            return
        late = self._loop.time() - self._due
        waited = self._waited()
        starved, self._waited_s = waited - self._waited_s, waited
        self.starved_s += starved
        held = late - starved
        self.longest_s = max(self.longest_s, held)
        self.stalls += held > STALL_S
        self._arm()

    def _waited(self) -> float:
        """Seconds that this thread was ready to run and no processor was free (proc(5), schedstat); 0 where the kernel
        does not say."""
        try:
            return int(os.pread(self._schedstat, 100, 0).split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0
