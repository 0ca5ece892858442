"""Time as the product counts it: whole microseconds since the epoch, UTC.

Nothing in the domain reads a clock: functions take ``now_us``. The clock is a value that the roof hands down, so that
tests hand down another one. Months are those of the calendar, UTC.
"""

import calendar
import time
from datetime import UTC, datetime
from typing import Final, Protocol

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US


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


def months_later(time_us: int, months: int) -> int:
    """The same day and time ``months`` later (or earlier, below zero); the month's last day when it is shorter."""
    when = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    year, month = divmod(month_of(time_us) + months, 12)
    day = min(when.day, calendar.monthrange(year, month + 1)[1])
    return int(when.replace(year=year, month=month + 1, day=day).timestamp()) * 1_000_000 + time_us % 1_000_000


def month_of(time_us: int) -> int:
    """The month of an instant, counted from the year 0: ``year * 12 + month - 1``."""
    when = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    return when.year * 12 + when.month - 1


def month_bounds_us(month: int) -> tuple[int, int]:
    """The first instant of the month, and of the next one."""
    return _first_us(month), _first_us(month + 1)


def _first_us(month: int) -> int:
    year, index = divmod(month, 12)
    return int(datetime(year, index + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
