"""What a professional may do in a mailbox that is lent to him, in the letters of RFC 4314 §2.1.

What must always hold: a delegation's right means the same letters everywhere; who may write may read; who may only send
sees nothing. The older letters `c` and `d` are shown beside those they stand for (§2.1.1), never asked for.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

READER: Final = "lr"
"""See the folders, read what is in them."""
WRITER: Final = "swtiekx"
"""Besides: flags (s, w, t), new messages (i), expunge (e), folders made, renamed and deleted (k, x)."""
HOLDER: Final = frozenset(READER + WRITER + "a")
"""The holder's own mailbox: everything, and to see who else may what (a)."""

_GIVEN: Final[Mapping[str, str]] = MappingProxyType({"read": READER, "write": READER + WRITER, "send": ""})


def letters_of(rights: Iterable[str]) -> frozenset[str]:
    """The letters of a delegate's rights (read, write, send) together."""
    return frozenset("".join(_GIVEN[right] for right in rights))


def shown(letters: Iterable[str]) -> str:
    """The letters in one order, with the older ones (RFC 4314 §2.1.1)."""
    held = set(letters)
    held |= {"c"} if held & set("kx") else set()
    held |= {"d"} if held & set("te") else set()
    return "".join(letter for letter in "lrswtiekxacd" if letter in held)
