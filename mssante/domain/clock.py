"""Time as the product counts it: whole microseconds since the epoch, UTC.

Nothing in the domain reads a clock: functions take ``now_us``. The clock is a value that the roof hands down, so that
tests hand down another one.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Whatever can say what time it is."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1000
