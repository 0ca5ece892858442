"""A clock that tests set and advance; it never moves by itself."""


class FakeClock:
    """Stands still at ``now_us`` until told otherwise."""

    def __init__(self, now_us: int = 1_762_160_400_000_000) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        return self._now_us

    def advance(self, seconds: float) -> None:
        """Moves forward by ``seconds``."""
        self._now_us += round(seconds * 1_000_000)
