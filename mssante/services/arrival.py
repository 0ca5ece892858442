"""The way of one message from DATA to its place: streamed in, judged, signed, stored, and only then promised.

Always true here: memory per message is bounded whatever its size; what arrives is stored octet for octet, what we
add stands
before it and apart; `finish` gives `Stored` only after the commit that holds the message, its deliveries, queue
items, exchanges
and journal entry together; a refusal or a fault leaves nothing behind.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from mssante.domain.clock import Clock
from mssante.domain.dsn import DEFAULT, parse_notify
from mssante.domain.exchange import patient_may_write
from mssante.domain.rules import decide_data
from mssante.domain.transaction import Edge, HeaderFacts
from mssante.domain.verdict import Accept, Defer, Refuse, Rule
from mssante.mime.dkim import BodyHash, SigningKey, Verifier, auth_results, sign
from mssante.mime.headers import header_facts, header_fields
from mssante.mime.scanner import HeaderTooLarge, Scanner
from mssante.services.accounts import may_sign_in
from mssante.services.resolver import DnsBroken, DnsError, Resolver
from mssante.services.transaction import MailTransaction, Trace
from mssante.store import Store, StoreError, StoreFull, Tx
from mssante.store.accounts import get_bal
from mssante.store.exchanges import exchange, record_exchange
from mssante.store.mail import BalRefused, NewMessage, add_message, deliver
from mssante.store.queue import QueueRecipient, enqueue


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


class Intake:
    """Takes messages in. ``sign`` is the operator's DKIM key, None to sign nothing."""

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
    ) -> None:
        self.store, self.resolver, self.clock = store, resolver, clock
        self.hostname, self.sign, self.verify, self.queue_lifetime_us = hostname, sign, verify, queue_lifetime_us
        self.accepted = 0

    def begin(self, transaction: MailTransaction, trace: Trace) -> Arrival:
        return Arrival(self, transaction, trace)


class Arrival:
    """One message on its way in: `feed` pieces as they come, then `finish` or `abort`."""

    def __init__(self, intake: Intake, transaction: MailTransaction, trace: Trace) -> None:
        self._intake, self._transaction, self._trace = intake, transaction, trace
        self._id = secrets.token_hex(8)
        self._scanner = Scanner()
        self._writer = intake.store.contents.begin()
        self._size = 0
        self._header = bytearray()
        self._in_body = False
        self._body: Callable[[bytes], None] | None = None
        self._verifier: Verifier | None = None
        self._body_hash: BodyHash | None = None

    def feed(self, data: bytes) -> None:
        """The next octets, dots unstuffed. Raises ArrivalRefused once; after that only `abort` may follow."""
        self._size += len(data)
        if self._size > self._transaction.max_size:
            raise ArrivalRefused(Refuse(Rule.MESSAGE_TOO_LARGE, f"over {self._transaction.max_size} octets"))
        try:
            self._scanner.feed(data)
            self._writer.write(data)
        except HeaderTooLarge as fault:
            raise ArrivalRefused(Refuse(Rule.MESSAGE_CONTENT, str(fault))) from fault
        except StoreError as fault:
            raise ArrivalRefused(_storage(fault)) from fault
        if self._in_body:
            if self._body is not None:
                self._body(data)
        else:
            self._gather_header(data)

    def abort(self) -> None:
        """The message is given up, at any point before the commit."""
        self._writer.abort()

    async def finish(self) -> Stored | Refuse | Defer:
        """Judges and stores. On anything but `Stored` nothing is kept. Must be shielded from cancellation by the
        caller."""
        try:
            return await self._finish()
        except ArrivalRefused as refused:
            return refused.verdict
        except StoreError as fault:
            return _storage(fault)
        finally:
            self._writer.abort()

    async def _finish(self) -> Stored | Refuse | Defer:
        if not self._in_body:
            self._begin_body(bytes(self._header), b"")
        card = self._scanner.finish()
        headers = header_facts(bytes(self._header))
        verdict = decide_data(self._transaction.facts, headers)
        if not isinstance(verdict, Accept):
            return verdict
        intake = self._intake
        now_us = intake.clock.now_us()
        prepend = await self._prepend(headers, now_us)
        pending = self._writer.finish()
        message = NewMessage(pending, now_us, prepend, card.encode())
        commit = _Commit(self._id, self._transaction, message, headers, now_us + intake.queue_lifetime_us)
        stored = await intake.store.write(_accept, commit, contents=(pending,))
        intake.accepted += 1
        return stored

    def _gather_header(self, data: bytes) -> None:
        start = max(0, len(self._header) - 3)
        self._header += data
        end = self._header.find(b"\r\n\r\n", start)
        if self._header.startswith(b"\r\n"):
            end = -2
        if end == -1:
            return
        rest = bytes(self._header[end + 4 :])
        del self._header[end + 4 :]
        self._begin_body(bytes(self._header), rest)

    def _begin_body(self, header: bytes, rest: bytes) -> None:
        """The header is complete: now it is known which hashes of the body will be asked for."""
        self._in_body = True
        if self._transaction.caller.edge is Edge.MX:
            if self._intake.verify:
                self._verifier = Verifier(header, now_us=self._intake.clock.now_us())
                self._body = self._verifier.update
        elif self._intake.sign is not None and self._leaves:
            self._body_hash = BodyHash()
            self._body = self._body_hash.update
        if rest and self._body is not None:
            self._body(rest)

    @property
    def _leaves(self) -> bool:
        return any(recipient.bal_id is None for recipient in self._transaction.recipients.values())

    async def _prepend(self, headers: HeaderFacts, now_us: int) -> bytes:
        """What we add before the message: trace, authentication results or signature, and what RFC 6409 §8 lets us
        complete."""
        date = formatdate(now_us / 1_000_000)
        added = b""
        if self._transaction.caller.edge is Edge.SUBMISSION:
            if not headers.message_id:
                added += f"Message-ID: <{self._id}@{self._intake.hostname}>\r\n".encode()
            if not header_fields(bytes(self._header), ("date",)).strip():
                added += f"Date: {date}\r\n".encode()
        lines = b"" if self._leaves else self._return_path()
        if self._body_hash is not None and headers.from_addresses:
            lines += self._signature(added + bytes(self._header), self._body_hash.digest(), now_us)
        if self._verifier is not None:
            lines += auth_results(
                self._intake.hostname, self._verifier.results(await self._key_records(self._verifier))
            )
        return lines + self._received(date) + added

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


def _storage(fault: StoreError) -> Defer:
    return Defer(Rule.STORE_CONTENTS if isinstance(fault, StoreFull) else Rule.STORE_DATABASE, str(fault))


def _accept(tx: Tx, commit: _Commit) -> Stored:
    """The accepting transaction. What was true at RCPT is asked again: minutes may have passed, a regulator may have
    acted."""
    mail = commit.transaction
    sender = str(mail.sender) if mail.sender else ""
    holder = mail.caller.holder
    if holder is not None and not may_sign_in(get_bal(tx.conn, holder.bal_id)):
        raise ArrivalRefused(Refuse(Rule.SESSION_CLOSED, "suspended or closed during the session"))
    if mail.facts.from_patient:
        for address in mail.recipients:
            known = exchange(tx.conn, str(address), sender)
            if not patient_may_write(known.state if known else None):
                raise ArrivalRefused(Refuse(Rule.EXCHANGE_ENDED, "ended between RCPT and DATA"))
    message_id = add_message(tx, commit.message)
    local = [recipient.bal_id for recipient in mail.recipients.values() if recipient.bal_id is not None]
    leaving = [
        QueueRecipient(
            recipient.address, parse_notify(recipient.notify) if recipient.notify else DEFAULT, recipient.orcpt
        )
        for recipient in mail.recipients.values()
        if recipient.bal_id is None
    ]
    try:
        deliver(tx, message_id, local)
    except BalRefused as closed:
        # One answer serves all recipients: the peer comes back, and RCPT then tells it which mailbox is closed.
        raise ArrivalRefused(Defer(Rule.STORE_DATABASE, str(closed))) from closed
    if leaving:
        enqueue(tx, message_id, sender, leaving, envid=mail.envid, ret=mail.ret, expires_us=commit.expires_us)
    for patient, state in mail.facts.exchanges_after(commit.headers).items():
        record_exchange(tx, sender, str(patient), state, commit.headers.message_id)
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
