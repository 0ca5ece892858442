"""The wrong-patient guard at work: reads the documents of a message that a patient is to receive (ECO.2.1.2).

Always true here: a message without a patient among its recipients costs nothing; what is read is read back from the
store's pending content piece by piece, whatever takes time in a thread; what was matricule of a patient yesterday is
his today.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

import structlog

from mssante.domain.address import Address
from mssante.domain.documents import Document, Fault, documents_of_recipients
from mssante.domain.verdict import ACCEPT, Accept, Verdict
from mssante.mime.archive import Budget
from mssante.mime.card import Card
from mssante.mime.xdm import documents
from mssante.services.transaction import Accepted, MailTransaction
from mssante.store import Conn, PendingContent, Store
from mssante.store.accounts import find_bals

Action = Literal["refuse", "warn", "off"]

_SMALL: Final = 16_384
"""Octets of a message that is in memory as a whole."""
_FEW: Final = 8

log = structlog.get_logger("mssante.guard")


@dataclass(slots=True)
class Guard:
    """One for the process. ``warn`` logs what ``refuse`` refuses. Counters since the start."""

    store: Store
    action: Action = "refuse"
    refused: int = 0

    async def examine(self, transaction: MailTransaction, card: Card, pending: PendingContent) -> Verdict:
        """The verdict on the documents of a message whose content is ``pending``. Raises StoreError."""
        if self.action == "off":
            return ACCEPT
        domains = transaction.facts.charter.patient_domains
        patients = [
            one
            for address, one in transaction.recipients.items()
            if address.domain in domains and address.local[:1].isdigit()
        ]
        if not patients:
            return ACCEPT
        found = await _found(card, pending)
        if not found:
            return ACCEPT
        named = frozenset[str]().union(*(document.matricules for document in found))
        verdict = documents_of_recipients(found, await self.store.read(_known, patients, named))
        if isinstance(verdict, Accept):
            return ACCEPT
        self.refused += 1
        if self.action == "refuse":
            return verdict
        log.warning("guard.not_refused", rule=str(verdict.rule), reason=verdict.reason, message=card.message_id)
        return ACCEPT


async def _found(card: Card, pending: PendingContent) -> list[Document]:
    """What most mail is, is looked at without a thread, which would take longer: a few parts in memory, where nothing
    is to be unpacked that takes more than a millisecond or two."""
    if card.size <= _SMALL and sum(1 for _ in islice(card.root.walk(), _FEW + 1)) <= _FEW:
        found = documents(pending.piece, card, Budget(octets=4 * _SMALL, looks=2 * _FEW))
        if not any(one.fault in (Fault.TOO_MUCH, Fault.CUT) for one in found):
            return found
    return await asyncio.to_thread(documents, pending.piece, card)


def _known(conn: Conn, patients: Iterable[Accepted], named: frozenset[str]) -> list[frozenset[str]]:
    """Of each patient the matricule that he is written to by, and those named that lead to the same mailbox here."""
    known = []
    for patient in patients:
        own = patient.address.local.upper()
        others = {str(Address(name.lower(), patient.address.domain)): name for name in named - {own}}
        bals = find_bals(conn, others) if others and patient.bal_id is not None else {}
        same = {others[address] for address, bal in bals.items() if bal.id == patient.bal_id}
        known.append(frozenset({own, *same}))
    return known
