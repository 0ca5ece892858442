"""When to try a delivery again, and when to stop.

What must always hold: the wait never shrinks from one attempt to the next as long as the schedule does not; an
attempt is never planned after the message has expired (RFC 5321 §4.5.4.1: a few quick tries, then at least half an
hour apart, for four to five days).
"""

from collections.abc import Sequence
from typing import Final

SCHEDULE: Final[tuple[int, ...]] = (60, 300, 900, 1800, 3600, 7200, 14400)
"""Seconds to wait after the first, second... failed attempt; the last one repeats."""
LIFETIME: Final = 5 * 24 * 3600
"""Seconds after which a message that could not be delivered comes back."""


def backoff(attempt: int, schedule: Sequence[int] = SCHEDULE) -> int:
    """Seconds to wait after ``attempt`` failed tries, the first being 1."""
    if attempt < 1 or not schedule:
        raise ValueError("backoff needs at least one attempt and one step")
    return schedule[min(attempt, len(schedule)) - 1]


def next_attempt_us(now_us: int, attempt: int, expires_us: int, schedule: Sequence[int] = SCHEDULE) -> int | None:
    """When to try again after ``attempt`` failed tries, or None when the message has expired.

    The last try is made at the expiry itself rather than never: a host that came back in between gets the message.
    """
    if now_us >= expires_us:
        return None
    return min(now_us + backoff(attempt, schedule) * 1_000_000, expires_us)
