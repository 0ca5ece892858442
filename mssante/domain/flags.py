"""System flags of a message in a folder, as bits of one integer (RFC 9051 §2.3.2).

The bits are stored: a value never changes its meaning. Keywords, which are words and not bits, live beside them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SEEN: Final = 1
ANSWERED: Final = 2
FLAGGED: Final = 4
DELETED: Final = 8
DRAFT: Final = 16

ALL: Final = SEEN | ANSWERED | FLAGGED | DELETED | DRAFT

NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {
        ANSWERED: "\\Answered",
        FLAGGED: "\\Flagged",
        DELETED: "\\Deleted",
        SEEN: "\\Seen",
        DRAFT: "\\Draft",
    }
)
"""Bit → the name that IMAP gives it, in the customary order."""
