"""How many connections may be open at once, in all and from one address.

What must always hold: what was counted in is counted out exactly once; an address without connections takes no memory.
"""

from __future__ import annotations


class Admission:
    """The open connections of one port. ``total`` and ``per_address``: the most at once."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total, self._per_address = total, per_address
        self._open: dict[str, int] = {}
        self.count = 0
        """Connections open now."""

    def adopt(self, total: int, per_address: int) -> None:
        """Other limits, for those who come from now on."""
        self._total, self._per_address = total, per_address

    def enter(self, address: str) -> bool:
        """Counts one more from ``address`` and says yes, or says no and counts nothing."""
        here = self._open.get(address, 0)
        if self.count >= self._total or here >= self._per_address:
            return False
        self.count += 1
        self._open[address] = here + 1
        return True

    def leave(self, address: str) -> None:
        """One that had entered is gone."""
        self.count -= 1
        here = self._open[address] - 1
        if here:
            self._open[address] = here
        else:
            del self._open[address]
