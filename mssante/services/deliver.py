"""Outbound mail as the store sees it: what is due, the octets to send, and what became of each recipient.

What always holds here:
- all that follows from one attempt (queue states, notice to the sender, journal) is one write;
- what another process has taken meanwhile is that one's: of it only a success is recorded here;
- a recipient is finished only by the peer's answer, by a rule, or by time; whatever else happens, it is tried again;
- a notice (RFC 3464) never answers a null sender and is itself sent with one, so that notices cannot loop;
- an address of a patient stands in no log and in no journal entry (the journal replaces it by its trace name), and the
  peer's words, which may hold it, are kept sealed in the queue only.

A *delivery* is one message for the recipients of one domain, at most 40: one SMTP transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial

from mssante.domain.clock import Clock
from mssante.domain.dsn import DEFAULT, Outcome, format_notify, notice_due
from mssante.domain.retry import SCHEDULE, backoff, next_attempt_us
from mssante.mime.card import Card
from mssante.mime.notices import MAX_ORIGINAL_HEADER, RecipientReport
from mssante.services.lease_owner import is_gone, this_process
from mssante.services.notices import Notices, PreparedNotice, tell
from mssante.store import Conn, ContentError, NotFound, Store, Tx
from mssante.store.mail import BalRefused
from mssante.store.messages import StoredMessage, load_message
from mssante.store.queue import (
    ASKED,
    QueueItem,
    QueueState,
    give_back,
    lease_due,
    listing,
    next_due_us,
    record_deferred,
    record_failed,
    record_sent,
    renew,
    show,
)

MOST_RECIPIENTS = 40
"""Recipients in one transaction: what other operators accept at most."""
CHUNK = 128 * 1024
_BY_SMTPUTF8 = b" with UTF8SMTP"
"""In the Received field that a message got when it came by SMTPUTF8 (RFC 6531 §4.3)."""


class Result(Enum):
    """What one attempt got for one recipient."""

    SENT = auto()
    TEMPORARY = auto()
    PERMANENT = auto()


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of one attempt for one recipient.

    `cause` is a stable word for the journal, `status` an enhanced status code (RFC 3463), `text` what the queue shows
    of it, `said` the peer's own words (empty when it said none), `peer` the host asked. `relayed`: the peer took the
    message but does not know DSN. `trust`: a question of certificates and lists, which is waited for less long.
    """

    result: Result
    cause: str
    status: str
    text: str
    said: str = ""
    peer: str = ""
    relayed: bool = False
    trust: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A recipient in hand; `notify` and `orcpt` as they go to a peer that knows DSN, empty when not given."""

    item: QueueItem

    @property
    def address(self) -> str:
        return self.item.recipient

    @property
    def notify(self) -> str:
        # The store keeps "not given" as the default, and what was not given must not be relayed (RFC 3461 §5.2.1).
        return "" if self.item.notify == DEFAULT else format_notify(self.item.notify)

    @property
    def orcpt(self) -> str:
        return self.item.orcpt


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for `recipients`, all of `domain`. `stored` is None when our own copy cannot be read."""

    message_id: int
    domain: str
    recipients: tuple[Waiting, ...]
    stored: StoredMessage | None

    @property
    def ids(self) -> list[int]:
        return [each.item.id for each in self.recipients]

    @property
    def leased_until_us(self) -> int:
        """When the lease that this was taken with ends."""
        return min(each.item.due_us or 0 for each in self.recipients)

    def without(self, ids: AbstractSet[int]) -> Delivery | None:
        """The same for the recipients that are not among `ids`; None when none is left."""
        left = tuple(each for each in self.recipients if each.item.id not in ids)
        return replace(self, recipients=left) if left else None

    @property
    def sender(self) -> str:
        """Empty for the null sender."""
        return self.recipients[0].item.sender

    @property
    def envid(self) -> str:
        return self.recipients[0].item.envid

    @property
    def ret(self) -> str:
        return self.recipients[0].item.ret

    @property
    def size(self) -> int:
        """Octets to send, before dots are stuffed."""
        return self.stored.size if self.stored else 0


class Deliveries:
    """The courier's door to the store.

    `owner` names the holder of leases: processes that serve the same store at once need different ones; by default
    this process. `hostname` and `domains` are ours. Times with `_s` are seconds: `lease_s` until a lease of a dead
    process may be taken by another one, `trust_patience_s` how long a question of trust may last, `delay_s` when
    senders are told of a delay.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        hostname: str,
        domains: frozenset[str],
        owner: str = "",
        schedule: Sequence[int] = SCHEDULE,
        lease_s: int = 300,
        trust_patience_s: int = 24 * 3600,
        delay_s: int = 3 * 3600,
    ) -> None:
        self._store = store
        self._clock = clock
        self._notices = Notices(store, hostname=hostname, domains=domains)
        self._owner = owner or this_process(hostname)
        self._schedule = schedule
        self._lease_us = lease_s * 1_000_000
        self._trust_patience_us = trust_patience_s * 1_000_000
        self._delay_attempt = _attempt_after(delay_s, schedule)

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls `callback` after each commit that touched the queue; the answer ends that."""
        return self._store.hints.subscribe("queue", None, callback)

    def on_asked(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls `callback` when the operator wants mail tried at once, before those of `on_change`."""
        return self._store.hints.subscribe("queue", ASKED, callback)

    async def next_due_us(self) -> int | None:
        """When the queue is worth looking at: perhaps in the past, None when it is empty."""
        return await self._store.read(next_due_us)

    async def reclaim(self) -> int:
        """Makes due at once what this owner, and processes that are known to have ended, had in hand; how many
        recipients. To be asked before anything is leased."""
        return await self._store.write(_reclaim, self._owner)

    async def lease(
        self, limit: int, in_hand: AbstractSet[int], *, spread: int = 50, without: Collection[str] = ()
    ) -> list[Delivery]:
        """Takes up to `limit` due recipients of `spread` domains, none of those `without`. Those `in_hand` already,
        whose lease ran out, have it renewed by that."""
        take = partial(lease_due, spread=spread, without=without)
        items = await self._store.write(take, self._owner, limit, self._lease_us, durable=False)
        groups: dict[tuple[int, str], list[Waiting]] = {}
        for item in items:
            if item.id not in in_hand and item.message_id is not None:
                groups.setdefault((item.message_id, item.domain), []).append(Waiting(item))
        if not groups:
            return []
        stored = await self._store.read(_load, {message_id for message_id, _ in groups})
        return [
            Delivery(message_id, domain, tuple(recipients[start : start + MOST_RECIPIENTS]), stored.get(message_id))
            for (message_id, domain), recipients in groups.items()
            for start in range(0, len(recipients), MOST_RECIPIENTS)
        ]

    @property
    def renewal_us(self) -> int:
        """How often leases are renewed: twice may fail before one ends."""
        return self._lease_us // 3

    async def renew(self, ids: Sequence[int]) -> tuple[AbstractSet[int], int]:
        """Prolongs leases: those of `ids` that are not ours any more and must not be tried, and the new end of the
        others."""
        until_us = self._clock.now_us() + self._lease_us
        kept = await self._store.write(renew, self._owner, ids, until_us, durable=False)
        return set(ids) - kept, until_us

    async def give_back(self, ids: Sequence[int]) -> None:
        """Ends leases without an attempt: due at once."""
        await self._store.write(give_back, self._owner, ids)

    async def body(self, delivery: Delivery) -> AsyncIterator[bytes]:
        """The octets to send, in pieces of bounded size. Raises StoreError when they cannot be read."""
        stored = delivery.stored
        if stored is None:
            raise ContentError(f"message {delivery.message_id} cannot be read")
        length = stored.content.length
        first = await self._store.read_content(stored.content, 0, min(CHUNK, length))
        yield stored.prepend + first
        for start in range(CHUNK, length, CHUNK):
            yield await self._store.read_content(stored.content, start, min(CHUNK, length - start))

    async def has_utf8_header(self, delivery: Delivery) -> bool:
        """Whether the message came by SMTPUTF8 and its header makes use of it (RFC 6532): then the next host must know
        it too (RFC 6531 §3.5). Raises StoreError when the header cannot be read."""
        stored = delivery.stored
        if stored is None or _BY_SMTPUTF8 not in stored.prepend:
            return False
        return not (await self._store.read_content(stored.content, 0, Card.decode(stored.card).header_length)).isascii()

    async def settle(self, delivery: Delivery, attempts: Sequence[Attempt]) -> None:
        """Writes what became of each recipient (`attempts` in their order), with the notice that follows from it."""
        now_us = self._clock.now_us()
        fates = [
            self._fate(each.item, attempt, now_us) for each, attempt in zip(delivery.recipients, attempts, strict=True)
        ]
        reports = [_report(fate, now_us) for fate in fates if self._tells(fate)]
        if not reports:
            await self._store.write(_settle, self._owner, delivery, fates, None)
            return
        pending, notice = self._notices.prepare(
            delivery.sender,
            reports,
            original_header=await self._original_header(delivery),
            arrived_us=delivery.recipients[0].item.created_us,
            envid=delivery.envid,
            now_us=now_us,
        )
        try:
            await self._store.write(_settle, self._owner, delivery, fates, notice, contents=(pending,))
        except BalRefused:
            # The sender's mailbox was closed at this very moment: there is nobody to tell any more.
            await self._store.write(_settle, self._owner, delivery, fates, None)

    def _fate(self, item: QueueItem, attempt: Attempt, now_us: int) -> _Fate:
        if attempt.result is Result.SENT:
            return _Fate(item, attempt, Outcome.RELAYED if attempt.relayed else Outcome.HANDED_ON, attempt.status)
        if attempt.result is Result.PERMANENT:
            return _Fate(item, attempt, Outcome.FAILED, attempt.status)
        expires_us = item.expires_us
        if attempt.trust:
            expires_us = min(expires_us, item.created_us + self._trust_patience_us)
        next_us = next_attempt_us(now_us, item.attempts + 1, expires_us, self._schedule)
        if next_us is None:
            # RFC 3463 §3.5: time expired; a question of trust stays one, it tells the sender more.
            status = f"5{attempt.status[1:]}" if attempt.trust else "5.4.7"
            return _Fate(item, attempt, Outcome.FAILED, status)
        return _Fate(item, attempt, Outcome.DELAYED, attempt.status, next_us, expires_us)

    def _tells(self, fate: _Fate) -> bool:
        if fate.outcome is Outcome.DELAYED and fate.item.attempts + 1 != self._delay_attempt:
            return False
        return notice_due(fate.outcome, fate.item.notify, null_sender=not fate.item.sender)

    async def _original_header(self, delivery: Delivery) -> bytes:
        """The sender's own header, without what we put before it; empty when it cannot be read."""
        if delivery.stored is None:
            return b""
        length = min(Card.decode(delivery.stored.card).header_length, MAX_ORIGINAL_HEADER + 1)
        try:
            return await self._store.read_content(delivery.stored.content, 0, length)
        except ContentError:
            return b""


_DONE = (Outcome.HANDED_ON, Outcome.RELAYED)
"""Outcomes that hold whoever has the recipient now: the peer has the message."""


@dataclass(frozen=True, slots=True)
class _Fate:
    """What an attempt means for one recipient; of a delay: `next_us` when it is tried again, `until_us` how long."""

    item: QueueItem
    attempt: Attempt
    outcome: Outcome
    status: str
    next_us: int = 0
    until_us: int = 0


def _report(fate: _Fate, now_us: int) -> RecipientReport:
    return RecipientReport(
        address=fate.item.recipient,
        outcome=fate.outcome,
        status=fate.status,
        diagnostic=fate.attempt.said,
        remote=fate.attempt.peer if fate.attempt.said else "",
        orcpt=fate.item.orcpt,
        attempted_us=now_us,
        retry_until_us=fate.until_us or None,
    )


def _attempt_after(delay_s: int, schedule: Sequence[int]) -> int:
    """The number of the first attempt that is made `delay_s` seconds or more after the first one."""
    attempt, waited = 1, 0
    while waited < delay_s:
        waited += backoff(attempt, schedule)
        attempt += 1
    return attempt


def _load(conn: Conn, message_ids: AbstractSet[int]) -> dict[int, StoredMessage]:
    """The messages that can be read; one that cannot must not keep the others from leaving."""
    found = {}
    for message_id in message_ids:
        try:
            found[message_id] = load_message(conn, message_id)
        except (NotFound, ContentError):
            continue
    return found


def _reclaim(tx: Tx, owner: str) -> int:
    leased: dict[str, list[int]] = {}
    after = 0
    while items := listing(tx.conn, QueueState.LEASED, after_id=after):
        for item in items:
            leased.setdefault(item.lease_owner or "", []).append(item.id)
        after = items[-1].id
    return sum(give_back(tx, each, ids) for each, ids in leased.items() if each == owner or is_gone(each))


def _settle(tx: Tx, owner: str, delivery: Delivery, fates: Sequence[_Fate], notice: PreparedNotice | None) -> None:
    """One write for the outcomes of one attempt. The notice comes first: a failure may erase the message."""
    groups: dict[tuple[Outcome, Attempt, int], list[QueueItem]] = {}
    for fate in fates:
        if fate.outcome in _DONE or not _another_has(tx, owner, fate.item.id):
            groups.setdefault((fate.outcome, fate.attempt, fate.next_us), []).append(fate.item)
    if notice is not None and groups:
        tell(tx, notice, actor="smtp_out")
    for (outcome, attempt, next_us), items in groups.items():
        ids = [item.id for item in items]
        match outcome:
            case Outcome.FAILED:
                action = "delivery.failed"
                record_failed(tx, ids, attempt.text)
            case Outcome.DELAYED:
                action = "delivery.deferred"
                # What the operator holds since the attempt began stays held.
                record_deferred(tx, sorted(renew(tx, owner, ids, next_us)), attempt.text, next_us)
            case _:
                action = "delivery.sent"
                record_sent(tx, ids, attempt.text)
        tx.journal(
            action,
            actor="smtp_out",
            object=delivery.recipients[0].item.traced_as,
            recipients=[item.recipient for item in items],
            cause=attempt.cause,
            status=attempt.status,
            peer=attempt.peer,
        )


def _another_has(tx: Tx, owner: str, id_: int) -> bool:
    item = show(tx.conn, id_)
    return item.state is QueueState.LEASED and item.lease_owner != owner
