"""The kinds and the life of a bal (boîte aux lettres, mailbox).

What must always hold: a bal's address and type never change (facts 2.1); an address once closed is a tombstone, never
given to somebody else (facts 7); the values are stored, so a member never changes its text.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class BalType(StrEnum):
    """TRE_R257-TypeBAL, and the citizen's mailbox, which the annuaire does not know."""

    PER = "PER"
    """A person: one professional."""
    ORG = "ORG"
    """A structure, shared by people under a professional's responsibility."""
    APP = "APP"
    """A structure, used by software."""
    PAT = "PAT"
    """A citizen (usager): ``INS@patient domain``."""


class BalState(StrEnum):
    """draft → active → suspended → closing → closed (facts 7)."""

    DRAFT = "draft"
    """Being prepared: nobody signs in, nothing arrives."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    """Nobody signs in; mail is kept, or put off, as the operator sets."""
    CLOSING = "closing"
    """The holder may take his mail away; nothing arrives any more."""
    CLOSED = "closed"
    """Only the tombstone remains, so that nobody else gets the address."""


_NEXT: Mapping[BalState, frozenset[BalState]] = MappingProxyType(
    {
        BalState.DRAFT: frozenset({BalState.ACTIVE, BalState.CLOSED}),
        BalState.ACTIVE: frozenset({BalState.SUSPENDED, BalState.CLOSING, BalState.CLOSED}),
        BalState.SUSPENDED: frozenset({BalState.ACTIVE, BalState.CLOSING, BalState.CLOSED}),
        BalState.CLOSING: frozenset({BalState.ACTIVE, BalState.CLOSED}),
        # The regulator may reopen what he closed (`regulateur rouvrir`): to the same holder, under the same address.
        BalState.CLOSED: frozenset({BalState.ACTIVE}),
    }
)


def may_become(before: BalState, after: BalState) -> bool:
    """Whether a bal in state ``before`` may be put in state ``after``. A state never leads to itself."""
    return after in _NEXT[before]
