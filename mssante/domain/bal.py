"""The kinds and the life of a bal (boîte aux lettres, mailbox).

What must always hold: a bal's address and type never change (facts 2.1); an address once closed is a tombstone, never
given to somebody else (facts 7); the values are stored, so a member never changes its text.
"""

from collections.abc import Collection, Iterator, Mapping
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


_IDENTIFIERS = ("rpps", "adeli", "finess", "siret")


def holder_faults(
    kind: BalType, holder: Mapping[str, str | None], before: Mapping[str, str | None] = MappingProxyType({})
) -> Iterator[str]:
    """What is wrong with a bal's identifiers (rpps, adeli, finess, siret) and ``responsable``, each beginning with the
    field; ``before``: those it has.

    Source: facts 2.1 and 6. A person's bal has no responsable, a structure's no ADELI: its RPPS is that of who answers
    for it, and changes with him. All else is completed, never replaced, since an address is never given to another: an
    ADELI is joined by the RPPS that it turns into.
    """
    if kind is BalType.PER and holder.get("responsable"):
        yield "responsable: a person answers for his own mailbox: leave it out"
    if kind is not BalType.PER and holder.get("adeli"):
        yield "adeli: a structure has none: name the RPPS of who answers for it"
    for name in _IDENTIFIERS:
        had, has = before.get(name), holder.get(name)
        if had and has and had != has and not (name == "rpps" and kind is not BalType.PER):
            yield f"{name}: is {had} and stays so: another holder gets another address"


def may_open(kind: BalType, *, own: bool, lent: Collection[str], needed: str) -> bool:
    """Whether a professional known by his identity (Pro Santé Connect) opens a bal of this kind as its user.

    ``own``: it is his, or that of a structure that he answers for. ``lent``: the rights on it that were delegated to
    him, of which the door needs one: write for IMAP (who may only read finds it under Partagées/), send for submission.
    Software (APP) comes with its certificate, and nobody with a professional's identity to a citizen's mailbox.
    """
    return kind in (BalType.PER, BalType.ORG) and (own or needed in lent)
