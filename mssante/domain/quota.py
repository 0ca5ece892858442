"""How full a mailbox is, in the levels at which its holder is told.

What must always hold: a level is reached at its percentage exactly, whatever the numbers; without a limit none is.
"""

from collections.abc import Sequence


def level_of(used: int, quota: int, levels: Sequence[int]) -> int:
    """The highest of the levels (percent) that `used` octets of `quota` have reached, 0 for none."""
    return max((level for level in levels if quota > 0 and used * 100 >= quota * level), default=0)
