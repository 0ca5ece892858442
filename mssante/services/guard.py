"""The wrong-patient guard at work: reads the documents of a message that a patient is to receive (ECO.2.1.2).

Always true here: a message without a patient among its recipients costs nothing; what is read is read back from the
store's pending content, in a thread, piece by piece; what was matricule of a patient yesterday is his today.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import structlog

from mssante.domain.address import Address
from mssante.domain.documents import documents_of_recipients
from mssante.domain.verdict import ACCEPT, Accept, Verdict
from mssante.mime.card import Card
from mssante.mime.xdm import documents
from mssante.services.transaction import Accepted, MailTransaction
from mssante.store import Conn, PendingContent, Store
from mssante.store.accounts import find_bals

Action = Literal["refuse", "warn", "off"]

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
        found = await asyncio.to_thread(documents, pending.piece, card)
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
