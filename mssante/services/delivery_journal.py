"""What became of a message, recipient by recipient: told from the journal and the queue.

Always true here: nothing but identifiers, addresses, times, states and answers is told, neither subject nor content;
what a person or another operator reported (read, bounced) counts more than that the peer took the message.
"""

from collections.abc import Iterator

import msgspec

from mssante.store import Conn, NotFound
from mssante.store.engines import keys_of
from mssante.store.journal import JournalEntry, entries
from mssante.store.queue import QueueItem, QueueState, of_accepted

_EVENTS = {
    "message.accepted": "accepted",
    "delivery.sent": "sent",
    "delivery.deferred": "deferred",
    "delivery.failed": "failed",
    "queue.hold": "held",
    "queue.release": "released",
    "queue.drop": "dropped",
}
REPORTED = "delivery.reported"
"""What a report of another operator or of a reader said: `outcome` is failed, delayed, delivered, relayed or read."""
_LASTING = ("read", "failed", "delivered", "relayed")
"""Reported outcomes that decide, the strongest first. That one was delayed is history once it is over."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened: at `at_us`, `what` in one word; `why` the cause, or the words of the one who told,
    `status` (RFC 3463) and `peer`, the host asked, as far as known."""

    at_us: int
    what: str
    why: str = ""
    status: str = ""
    peer: str = ""


class Line(msgspec.Struct, frozen=True):
    """One recipient of one message. `outcome` is accepted (not tried yet), deferred, held, sent (the peer took it),
    delivered, relayed, read, failed or dropped."""

    item: QueueItem
    outcome: str
    history: list[Event]


def lines_of(conn: Conn, accepted_as: str) -> tuple[JournalEntry, list[Line]]:
    """The entry of its acceptance and a line for each recipient elsewhere. Raises NotFound."""
    about = list(_all(conn, accepted_as))
    accepted = next((entry for entry in about if entry.action == "message.accepted"), None)
    if accepted is None:
        raise NotFound(f"no message was accepted as {accepted_as}")
    return accepted, [_line(conn, item, about) for item in of_accepted(conn, accepted_as)]


def line_of(conn: Conn, item: QueueItem) -> Line:
    """The line of one queue item."""
    return _line(conn, item, list(_all(conn, item.traced_as)))


def _line(conn: Conn, item: QueueItem, about: list[JournalEntry]) -> Line:
    name = keys_of(conn).trace_name(item.recipient)
    mine = [entry for entry in about if name in entry.detail.get("recipients", (name,))]
    mine += _all(conn, f"queue:{item.id}")
    history = [_event(entry) for entry in sorted(mine, key=lambda entry: entry.seq)]
    return Line(item, _outcome(item, [event for event in history if event.what.startswith("reported ")]), history)


def _outcome(item: QueueItem, reports: list[Event]) -> str:
    reported = {event.what.removeprefix("reported ") for event in reports}
    for outcome in _LASTING:
        if outcome in reported:
            return outcome
    if item.state in (QueueState.QUEUED, QueueState.LEASED):
        return "deferred" if item.attempts else "accepted"
    return str(item.state)


def _event(entry: JournalEntry) -> Event:
    detail = entry.detail
    what = f"reported {detail['outcome']}" if entry.action == REPORTED else _EVENTS.get(entry.action, entry.action)
    why = str(detail.get("cause") or detail.get("motif") or "")
    return Event(entry.at_us, what, why, str(detail.get("status", "")), str(detail.get("peer", "")))


def _all(conn: Conn, object_: str) -> Iterator[JournalEntry]:
    after = 0
    while page := entries(conn, object=object_, after_seq=after):
        yield from page
        after = page[-1].seq
