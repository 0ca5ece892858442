"""A citizen as the registry knows him: which authority gave his matricule, why he has no mailbox.

What must always hold: the values of `Standing` are stored, so a member never changes its text; the OIDs are those of
the national INS (facts 5, annex A).
"""

from enum import StrEnum


class Authority(StrEnum):
    """Who assigned a matricule, by OID."""

    NIR = "1.2.250.1.213.1.4.8"
    NIA = "1.2.250.1.213.1.4.9"
    """A waiting number: its holder gets his NIR later."""
    TEST = "1.2.250.1.213.1.4.10"
    DEMO = "1.2.250.1.213.1.4.11"


class Standing(StrEnum):
    """Why a citizen's mailbox takes mail, or does not, beside the state of the bal."""

    OPEN = "open"
    OPPOSED = "opposed"
    """He does not want a mailbox."""
    CLOSED = "closed"
    """Closed as he wished."""
    DECEASED = "deceased"
