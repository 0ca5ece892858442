"""The way of one message from DATA to its place: streamed in, judged, signed, stored, and only then promised.

Always true here:
- memory per message is bounded whatever its size: the header is held until it is whole, the body streams through;
- what arrives is stored octet for octet, what we add stands before it and apart; only Authentication-Results fields
  that claim to be ours are taken out, after the signatures were read (RFC 8601 §5);
- `finish` gives `Stored` only after the commit that holds the message, its deliveries, queue items, exchanges, notices
  and journal entry together; a refusal or a fault leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate

from mssante.domain.address import Address
from mssante.domain.clock import Clock
from mssante.domain.dsn import DEFAULT, Notify, Outcome, notice_due, parse_notify
from mssante.domain.mass import Limits
from mssante.domain.rules import decide_data
from mssante.domain.transaction import Edge, HeaderFacts
from mssante.domain.verdict import Accept, Defer, Refuse, Rule, Verdict
from mssante.mime.authentication_results import without_forged_results
from mssante.mime.card import Card
from mssante.mime.dkim import BodyHash, DkimResult, SigningKey, Verifier, auth_results, sign
from mssante.mime.dkim import Outcome as DkimOutcome
from mssante.mime.headers import begins_with_continuation, header_facts, header_fields
from mssante.mime.notices import MAX_ORIGINAL_HEADER, RecipientReport
from mssante.mime.reports import MOST_OCTETS, Report, read_report
from mssante.mime.scanner import DEFAULT_LIMITS, HeaderTooLarge, Scanner
from mssante.services import exchanges
from mssante.services.accounts import sends_as_now
from mssante.services.antivirus import PIECE, Antivirus
from mssante.services.guard import Guard
from mssante.services.mass import Text, Watch, is_counted, one_text_too_many, sending_of, signal_split
from mssante.services.notices import Notices, PreparedNotice, tell
from mssante.services.reports import record_report
from mssante.services.resolver import DnsBroken, DnsError, Resolver
from mssante.services.signalement import denounced, signal
from mssante.services.transaction import Accepted, MailTransaction, Trace
from mssante.store import PendingContent, Store, StoreError, StoreFull, Tx
from mssante.store.mail import BalRefused, NewMessage, add_message, deliver
from mssante.store.queue import QueueRecipient, enqueue
from mssante.store.regulateur import Kind


class ArrivalRefused(Exception):
    """The message cannot be taken; the edge reads on to the end of DATA, then answers ``verdict``."""

    def __init__(self, verdict: Refuse | Defer) -> None:
        super().__init__(verdict.rule)
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class DkimKey:
    """The key that signs what leaves, published as ``selector._domainkey`` under each of the operator's domains."""

    selector: str
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Stored:
    """The message is on stable storage. ``id`` is what the sender is told, the Received field and the journal
    carry."""

    id: str


@dataclass(frozen=True, slots=True)
class _Commit:
    """All that the accepting transaction needs, computed before it."""

    id: str
    transaction: MailTransaction
    message: NewMessage
    headers: HeaderFacts
    expires_us: int
    notice: PreparedNotice | None
    report: Report | None
    text: bytes
    """Digest of what the reader reads; empty when it is not counted."""
    limits: Limits
    denounced: list[tuple[str, str]]
    named: tuple[Address, ...]
    notices_every_us: int


Listing = Callable[[MailTransaction, HeaderFacts], HeaderFacts]
"""Adds to the facts of a header what the white list says of its From."""


class Intake:
    """Takes messages in. ``sign`` is the operator's DKIM key, None to sign nothing; ``refuse_dkim``: a message whose
    signatures all fail is refused; ``antivirus`` None: nothing is scanned. ``domains`` are the operator's own."""

    def __init__(
        self,
        store: Store,
        resolver: Resolver,
        clock: Clock,
        *,
        hostname: str,
        sign: DkimKey | None,
        verify: bool,
        queue_lifetime_us: int,
        domains: frozenset[str] = frozenset(),
        refuse_dkim: bool = False,
        antivirus: Antivirus | None = None,
        guard: Guard | None = None,
        watch: Watch | None = None,
        notices_every_us: int = 0,
    ) -> None:
        self.store, self.resolver, self.clock = store, resolver, clock
        self.hostname, self.sign, self.verify, self.queue_lifetime_us = hostname, sign, verify, queue_lifetime_us
        self.refuse_dkim, self.antivirus, self.notices_every_us = refuse_dkim, antivirus, notices_every_us
        self.guard = guard or Guard(store)
        self.watch = watch or Watch(store, Limits())
        self.own_names = domains | {hostname}
        self.notices = Notices(store, hostname=hostname, domains=domains)
        self.accepted = 0

    def begin(self, transaction: MailTransaction, trace: Trace, listing: Listing) -> Arrival:
        return Arrival(self, transaction, trace, listing)


class Arrival:
    """One message on its way in: `feed` pieces as they come, then `finish` or `abort`."""

    def __init__(self, intake: Intake, transaction: MailTransaction, trace: Trace, listing: Listing) -> None:
        self._intake, self._transaction, self._trace, self._listing = intake, transaction, trace, listing
        self._id = secrets.token_hex(8)
        self._text = Text()
        self._scanner = Scanner(text=self._text)
        self._writer = intake.store.contents.begin()
        self._size = 0
        self._gathered = bytearray()
        self._header = b""
        self._in_body = False
        self._body: Callable[[bytes], None] | None = None
        self._beginning: bytearray | None = None
        self._denounced: list[tuple[str, str]] = []
        self._verifier: Verifier | None = None
        self._body_hash: BodyHash | None = None

    def feed(self, data: bytes) -> None:
        """The next octets, dots unstuffed. Raises ArrivalRefused once; after that only `abort` may follow."""
        self._size += len(data)
        if self._size > self._transaction.max_size:
            raise ArrivalRefused(Refuse(Rule.MESSAGE_TOO_LARGE, f"over {self._transaction.max_size} octets"))
        if self._in_body:
            self._keep(data)
            self._remember(data)
            if self._body is not None:
                self._body(data)
        else:
            self._gather_header(data)

    def _keep(self, data: bytes) -> None:
        try:
            self._scanner.feed(data)
            self._writer.write(data)
        except HeaderTooLarge as fault:
            raise ArrivalRefused(Refuse(Rule.MESSAGE_CONTENT, str(fault))) from fault
        except StoreError as fault:
            raise ArrivalRefused(_storage(fault)) from fault

    def _remember(self, data: bytes) -> None:
        """The beginning of a body that may be a report of our mail."""
        if self._beginning is not None and len(self._beginning) < MOST_OCTETS:
            self._beginning += data

    def _report(self) -> Report | None:
        if self._beginning is None:
            return None
        return read_report(self._header, bytes(self._beginning), null_sender=self._transaction.sender is None)

    def abort(self) -> None:
        """The message is given up, at any point before the commit."""
        self._writer.abort()

    async def finish(self) -> Stored | Refuse | Defer:
        """Judges and stores. On anything but `Stored` nothing is kept. Must be shielded from cancellation by the
        caller."""
        try:
            return await self._finish()
        except ArrivalRefused as refused:
            if refused.verdict.rule is Rule.RECIPIENTS_SPLIT:
                await self._intake.store.write(signal_split, str(self._transaction.sender))
            return refused.verdict
        except StoreError as fault:
            return _storage(fault)
        finally:
            self._writer.abort()

    async def _finish(self) -> Stored | Refuse | Defer:
        if not self._in_body:
            self._begin_body(len(self._gathered))
        card = self._scanner.finish()
        headers = self._listing(self._transaction, self._facts)
        verdict = decide_data(self._transaction.facts, headers)
        if not isinstance(verdict, Accept):
            return verdict
        intake = self._intake
        now_us = intake.clock.now_us()
        prepend = await self._prepend(headers, now_us)
        written, notice = self._notice(now_us)
        pending = self._writer.finish()
        verdict = await self._examine(card, pending)
        if not isinstance(verdict, Accept):
            return verdict
        message = NewMessage(pending, now_us, prepend, card.encode())
        expires_us = now_us + intake.queue_lifetime_us
        counted = is_counted(self._transaction, headers, card.size - card.header_length)
        text = self._text.digest() if counted else b""
        limits = intake.watch.limits
        commit = _Commit(
            self._id,
            self._transaction,
            message,
            headers,
            expires_us,
            notice,
            self._report(),
            text,
            limits,
            self._denounced,
            exchanges.named(self._transaction.facts, self._header),
            intake.notices_every_us,
        )
        if not self._transaction.recipients:
            pending.discard()
            return await intake.store.write(_report_alone, commit)
        stored = await intake.store.write(_accept, commit, contents=(pending, *written))
        intake.accepted += 1
        if (sending := sending_of(self._transaction)) is not None:
            intake.watch.note(sending)
        return stored

    async def _examine(self, card: Card, pending: PendingContent) -> Verdict:
        """The guard and the antivirus read what was written, not what comes in: how fast they are does not hold the
        sender up, and what is refused for another reason never gets there."""
        verdict: Verdict | None = None
        try:
            verdict = await self._intake.guard.examine(self._transaction, card, pending)
            if isinstance(verdict, Accept) and self._transaction.reporting:
                self._denounced = await asyncio.to_thread(denounced, pending.piece, card)
                if not self._denounced:
                    verdict = Refuse(Rule.REPORT_WITHOUT_MESSAGE, "no message in what was forwarded")
            if isinstance(verdict, Accept) and self._intake.antivirus is not None:
                verdict = await self._intake.antivirus.examine(_pieces(pending))
            return verdict
        finally:
            if not isinstance(verdict, Accept):
                pending.discard()

    def _gather_header(self, data: bytes) -> None:
        gathered = self._gathered
        start = max(0, len(gathered) - 3)
        gathered += data
        end = -2 if gathered.startswith(b"\r\n") else gathered.find(b"\r\n\r\n", start)
        if end != -1:
            self._begin_body(end + 4)
        elif len(gathered) > DEFAULT_LIMITS.header:
            raise ArrivalRefused(Refuse(Rule.MESSAGE_CONTENT, "the header has no end"))

    def _begin_body(self, length: int) -> None:
        """The header is complete (octets, its empty line included): now it is known which hashes of the body will be
        asked for."""
        self._in_body = True
        header, rest = bytes(self._gathered[:length]), bytes(self._gathered[length:])
        self._gathered.clear()
        if begins_with_continuation(header):
            # Our own fields will stand before it: its first line would become a part of the last of them.
            raise ArrivalRefused(Refuse(Rule.MESSAGE_CONTENT, "the header begins in the middle of a field"))
        if self._transaction.caller.edge is Edge.MX:
            if self._transaction.sender is None or b"multipart/report" in header.lower():
                self._beginning = bytearray(rest[:MOST_OCTETS])
            if self._intake.verify:
                self._verifier = Verifier(header, now_us=self._intake.clock.now_us())
                self._body = self._verifier.update
        elif self._intake.sign is not None and self._leaves:
            self._body_hash = BodyHash()
            self._body = self._body_hash.update
        if rest and self._body is not None:
            self._body(rest)
        self._header = without_forged_results(header, self._intake.own_names)
        self._facts = header_facts(self._header)
        if self._transaction.caller.edge is Edge.SUBMISSION and (missing := self._missing(self._header, self._facts)):
            self._header = missing + self._header
            self._facts = header_facts(self._header)
        self._keep(self._header + rest)

    def _missing(self, header: bytes, facts: HeaderFacts) -> bytes:
        """The Message-ID, the Date and the From that the header of a holder's message lacks (RFC 6409 §8)."""
        added = b""
        if not facts.from_addresses and self._transaction.sender is not None:
            added += f"From: <{self._transaction.sender}>\r\n".encode()
        if not facts.message_id:
            added += f"Message-ID: <{self._id}@{self._intake.hostname}>\r\n".encode()
        if not header_fields(header, ("date",)).strip():
            added += f"Date: {formatdate(self._intake.clock.now_us() / 1_000_000)}\r\n".encode()
        return added

    @property
    def _leaves(self) -> bool:
        return any(recipient.bal_id is None for recipient in self._transaction.recipients.values())

    async def _prepend(self, headers: HeaderFacts, now_us: int) -> bytes:
        """What we add before the message: trace, and authentication results or signature."""
        lines = b"" if self._leaves else self._return_path()
        if self._body_hash is not None and headers.from_addresses:
            lines += self._signature(self._header, self._body_hash.digest(), now_us)
        if self._verifier is not None:
            results = self._verifier.results(await self._key_records(self._verifier))
            if self._intake.refuse_dkim:
                _require_signature(results)
            lines += auth_results(self._intake.hostname, results)
        return lines + self._received(formatdate(now_us / 1_000_000))

    def _signature(self, header: bytes, body_hash: bytes, now_us: int) -> bytes:
        key, sender = self._intake.sign, self._transaction.sender
        if key is None or sender is None:
            return b""
        return sign(header, body_hash, domain=sender.domain, selector=key.selector, key=key.key, now_us=now_us)

    async def _key_records(self, verifier: Verifier) -> dict[str, bytes | None]:
        """The DKIM key records by name: None when there is none, missing when nobody could say (RFC 6376 §6.1.2)."""
        records: dict[str, bytes | None] = {}
        for name in verifier.key_names():
            try:
                records[name] = b"".join(await self._intake.resolver.txt(name))
            except DnsBroken:
                continue
            except DnsError:
                records[name] = None
        return records

    def _notice(self, now_us: int) -> tuple[tuple[PendingContent, ...], PreparedNotice | None]:
        """The notice of success to a sender who asked for it (RFC 3461 §5.2.3 d): for those whose mailbox is here. Its
        content, to be settled with the message's, and what to tell in the transaction."""
        transaction = self._transaction
        if transaction.sender is None:
            return (), None
        reports = [_delivered(each, now_us) for each in transaction.recipients.values() if _asks_success(each)]
        if not reports:
            return (), None
        content, notice = self._intake.notices.prepare(
            str(transaction.sender),
            reports,
            original_header=self._header[: MAX_ORIGINAL_HEADER + 1],
            arrived_us=now_us,
            envid=transaction.envid,
            now_us=now_us,
        )
        return (content,), notice

    def _return_path(self) -> bytes:
        sender = self._transaction.sender
        return f"Return-Path: <{sender or ''}>\r\n".encode()

    def _received(self, date: str) -> bytes:
        trace = self._trace
        # A holder's network address tells where he lives: it stays in the operator's log, other operators' go in the
        # trace.
        origin = f" ([{trace.peer_ip}])" if self._transaction.caller.edge is Edge.MX else ""
        tls = f"\r\n ({trace.tls})" if trace.tls else ""
        return (
            f"Received: from {trace.helo}{origin}\r\n by {self._intake.hostname} with {trace.protocol}"
            f" id {self._id}{tls};\r\n {date}\r\n"
        ).encode()


def _require_signature(results: Sequence[DkimResult]) -> None:
    """Signatures of which none passes are worth a refusal, their absence is not, nor a key in test (RFC 6376 §3.6.1).
    Raises ArrivalRefused."""
    outcomes = {result.outcome for result in results} - {DkimOutcome.NEUTRAL}
    if not outcomes or DkimOutcome.PASS in outcomes:
        return
    reasons = "; ".join(f"{result.domain or '-'}: {result.reason}" for result in results)
    if DkimOutcome.TEMPERROR in outcomes:
        raise ArrivalRefused(Defer(Rule.DKIM_UNKNOWN, reasons))
    raise ArrivalRefused(Refuse(Rule.DKIM_FAILED, reasons))


def _notify(recipient: Accepted) -> Notify:
    return parse_notify(recipient.notify) if recipient.notify else DEFAULT


def _asks_success(recipient: Accepted) -> bool:
    here = recipient.bal_id is not None
    return here and notice_due(Outcome.DELIVERED, _notify(recipient), null_sender=False)


def _delivered(recipient: Accepted, now_us: int) -> RecipientReport:
    return RecipientReport(
        str(recipient.address), Outcome.DELIVERED, "2.1.5", orcpt=recipient.orcpt, attempted_us=now_us
    )


async def _pieces(pending: PendingContent) -> AsyncIterator[bytes]:
    """A content on its way into the store, read back."""
    for start in range(0, pending.length, PIECE):
        yield await asyncio.to_thread(pending.piece, start, PIECE)


def _storage(fault: StoreError) -> Defer:
    return Defer(Rule.STORE_CONTENTS if isinstance(fault, StoreFull) else Rule.STORE_DATABASE, str(fault))


def _report_alone(tx: Tx, commit: _Commit) -> Stored:
    """A signalement that nobody receives: its facts are kept, the message is not."""
    mail = commit.transaction
    if mail.caller.holder is None or not sends_as_now(tx.conn, mail.caller.holder.bal_id):
        raise ArrivalRefused(Refuse(Rule.SESSION_CLOSED, "suspended or closed during the session"))
    _signal(tx, commit)
    tx.journal("message.reported", actor=mail.caller.name, object=commit.id, sender=str(mail.sender))
    return Stored(commit.id)


def _signal(tx: Tx, commit: _Commit) -> None:
    for about, reference in commit.denounced:
        signal(tx, about, Kind.FORWARDED, str(commit.transaction.sender), reference or commit.id)


def _accept(tx: Tx, commit: _Commit) -> Stored:
    """The accepting transaction. What was true at RCPT is asked again: minutes may have passed, a regulator may have
    acted."""
    mail = commit.transaction
    sender = str(mail.sender) if mail.sender else ""
    holder = mail.caller.holder
    if holder is not None:
        addresses = sends_as_now(tx.conn, holder.bal_id)
        if not addresses:
            raise ArrivalRefused(Refuse(Rule.SESSION_CLOSED, "suspended or closed during the session"))
        if sender not in addresses:
            raise ArrivalRefused(Refuse(Rule.SENDER_NOT_OWNER, "lent by an account that is closed, or no longer lent"))
    outside = exchanges.judge(tx.conn, mail, commit.headers)
    if isinstance(outside, Refuse):
        raise ArrivalRefused(outside)
    sending = sending_of(mail) if commit.text else None
    if sending is not None and (split := one_text_too_many(tx, sending, commit.text, commit.limits)) is not None:
        if holder is not None:
            raise ArrivalRefused(split)
        signal_split(tx, sending.sender)  # of another operator's user we see our own share only
    _signal(tx, commit)
    message_id = add_message(tx, commit.message)
    local = [recipient.bal_id for recipient in mail.recipients.values() if recipient.bal_id is not None]
    leaving = [
        QueueRecipient(recipient.address, _notify(recipient), recipient.orcpt)
        for recipient in mail.recipients.values()
        if recipient.bal_id is None
    ]
    try:
        places = deliver(tx, message_id, local)
    except BalRefused as closed:
        # One answer serves all recipients: the peer comes back, and RCPT then tells it which mailbox is closed.
        raise ArrivalRefused(Defer(Rule.STORE_DATABASE, str(closed))) from closed
    if leaving:
        enqueue(
            tx,
            message_id,
            sender,
            leaving,
            envid=mail.envid,
            ret=mail.ret,
            expires_us=commit.expires_us,
            accepted_as=commit.id,
            header_id=commit.headers.message_id,
        )
    if commit.report is not None:
        for address, recipient in mail.recipients.items():
            if recipient.bal_id is not None:
                record_report(tx, commit.report, str(address), peer=mail.caller.name)
    if commit.notice is not None:
        tell(tx, commit.notice, actor=mail.caller.name)
    exchanges.follow(tx, mail, commit.headers, commit.named, commit.id)
    exchanges.delivered(tx, mail, places, outside, commit.id, commit.notices_every_us)
    tx.journal(
        "message.accepted",
        actor=mail.caller.name,
        object=commit.id,
        edge=mail.caller.edge,
        sender=sender,
        local=len(local),
        leaving=len(leaving),
        size=commit.message.content.length,
    )
    return Stored(commit.id)
