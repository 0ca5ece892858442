"""Reports that arrive for mail of ours, written into the delivery journal in the transaction that accepts them.

Always true here: a report tells only of mail that the mailbox it came to had sent, and changes no state of the queue;
who told it stands beside it.
"""

import re

from mssante.mime.reports import Report
from mssante.services.delivery_journal import REPORTED
from mssante.store import Tx
from mssante.store.queue import QueueItem, of_accepted, told_of

_OURS = re.compile(r"<([0-9a-f]{16})@[^<>@]+>")
"""The Message-ID that we give to a message which came without one (RFC 6409 §8.3)."""
_MOST_IDENTIFIERS = 20


def record_report(tx: Tx, report: Report, holder: str, *, peer: str) -> int:
    """What `report`, arrived for `holder` from `peer`, tells of his mail; of how many recipients."""
    items = _told_of(tx, report, holder)
    known = 0
    for told in report.told:
        meant = [item for item in items if _names(item) & told.addresses]
        if not meant and len(items) == 1 == len(report.told):
            # Behind another address, which its operator knows: the message had this one recipient only.
            meant = items
        for item in meant:
            said = {"outcome": told.outcome, "status": told.status, "peer": peer}
            tx.journal(REPORTED, actor=peer, object=item.traced_as, recipients=[item.recipient], **said)
        known += len(meant)
    return known


def _told_of(tx: Tx, report: Report, holder: str) -> list[QueueItem]:
    found = told_of(tx.conn, holder, envid=report.envid)
    for identifier in report.message_ids[:_MOST_IDENTIFIERS]:
        if found:
            break
        ours = _OURS.fullmatch(identifier)
        found = told_of(tx.conn, holder, header_id=identifier)
        if not found and ours is not None:
            found = [item for item in of_accepted(tx.conn, ours[1]) if item.sender == holder]
    return found


def _names(item: QueueItem) -> frozenset[str]:
    return frozenset({item.recipient.lower(), item.orcpt.partition(";")[2].lower()} - {""})
