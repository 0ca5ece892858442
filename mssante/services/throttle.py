"""Failed sign-ins, counted per (network address, login) and per network address.

Always true here: a failure from one network address never closes the way for the holder at another, nor, where many
share an address, for one whose password was right before; that one too has a number of tries, or whoever is blocked
could go on guessing until he meets it. Memory is bounded; counting is by fixed windows of the caller's clock, nothing
is stored.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """Failures allowed inside ``window_us`` (microseconds) before sign-in is refused until the window ends."""

    per_login: int = 10
    per_login_known: int = 100
    """For a password that was right before."""
    per_peer: int = 100
    window_us: int = 300_000_000


class Throttle:
    """``blocked`` before a password is looked at, ``failed`` after a wrong one, ``succeeded`` after a right one."""

    MAX_KEYS = 100_000

    def __init__(self, limits: ThrottleLimits | None = None) -> None:
        self._limits = limits or ThrottleLimits()
        self._windows: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()

    def blocked(self, peer: str, login: str, now_us: int, *, known: bool = False) -> bool:
        """``known``: the password that is shown was right before."""
        failures = self._count((peer, login), now_us)
        if known:
            return failures >= self._limits.per_login_known
        return failures >= self._limits.per_login or self._count((peer, ""), now_us) >= self._limits.per_peer

    def failed(self, peer: str, login: str, now_us: int) -> None:
        for key in ((peer, login), (peer, "")):
            self._windows[key] = (self._start(key, now_us), self._count(key, now_us) + 1)
            self._windows.move_to_end(key)
        while len(self._windows) > self.MAX_KEYS:
            self._windows.popitem(last=False)

    def succeeded(self, peer: str, login: str) -> None:
        self._windows.pop((peer, login), None)

    def _start(self, key: tuple[str, str], now_us: int) -> int:
        start, _ = self._windows.get(key, (now_us, 0))
        return start if now_us - start < self._limits.window_us else now_us

    def _count(self, key: tuple[str, str], now_us: int) -> int:
        start, count = self._windows.get(key, (now_us, 0))
        return count if now_us - start < self._limits.window_us else 0
