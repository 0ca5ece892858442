"""Notices to the sender of a message (RFC 3464), made before the transaction that they belong to and told in it.

Always true here: a notice is sent with the null sender and asks for no notice of its own, so that notices cannot loop;
it is stored in the same transaction as the outcome that it tells.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from mssante.domain.address import parse_address
from mssante.domain.dsn import Notify
from mssante.domain.retry import LIFETIME
from mssante.mime.letters import letter
from mssante.mime.notices import Notice, RecipientReport, build_notice
from mssante.mime.scanner import Scanner
from mssante.store import PendingContent, Store, Tx
from mssante.store.accounts import find_bal
from mssante.store.mail import RECEIVING, deliver
from mssante.store.messages import NewMessage, add_message
from mssante.store.queue import QueueRecipient, enqueue


@dataclass(frozen=True, slots=True)
class PreparedNotice:
    """A notice for `tell`. `local`: `sender`, who gets it, has his mailbox here."""

    sender: str
    local: bool
    message: NewMessage


class Notices:
    """Makes the notices of this operator, whose own domains are `domains`."""

    def __init__(self, store: Store, *, hostname: str, domains: frozenset[str]) -> None:
        self._store, self._hostname, self._domains = store, hostname, domains

    def prepare(
        self,
        sender: str,
        reports: Sequence[RecipientReport],
        *,
        original_header: bytes,
        arrived_us: int,
        envid: str,
        now_us: int,
    ) -> tuple[PendingContent, PreparedNotice]:
        """The content to name in ``contents=`` of the write, and what to give to `tell` in its transaction."""
        domain = parse_address(sender).domain
        local = domain in self._domains
        octets = build_notice(
            Notice(
                reporting_mta=self._hostname,
                sender=f"postmaster@{domain if local else self._hostname}",
                recipient=sender,
                message_id=f"<{secrets.token_hex(12)}@{self._hostname}>",
                reports=reports,
                original_header=original_header,
                arrived_us=arrived_us,
                envid=envid,
            ),
            now_us=now_us,
        )
        pending, message = packed(self._store, octets, b"Return-Path: <>\r\n" if local else b"", now_us)
        return pending, PreparedNotice(sender, local, message)


def letter_to(
    store: Store, recipient: str, subject: str, text: str, now_us: int, *, sender: str = ""
) -> tuple[PendingContent, NewMessage]:
    """A letter to a holder, as `packed` gives it; by the postmaster of his domain unless a `sender` is named.
    ``recipient`` empty: several, who do not learn of each other."""
    sender = sender or f"postmaster@{parse_address(recipient).domain}"
    message_id = f"<{secrets.token_hex(12)}@{parse_address(sender).domain}>"
    octets = letter(
        sender=sender, recipient=recipient, subject=subject, text=text, message_id=message_id, now_us=now_us
    )
    return packed(store, octets, b"Return-Path: <>\r\n", now_us)


def packed(store: Store, octets: bytes, prepend: bytes, now_us: int) -> tuple[PendingContent, NewMessage]:
    """A message of our own making: its content, to name in ``contents=`` of the write, and the message to add there."""
    scanner = Scanner()
    scanner.feed(octets)
    writer = store.contents.begin()
    writer.write(octets)
    pending = writer.finish()
    return pending, NewMessage(pending, now_us, prepend, scanner.finish().encode())


def tell(tx: Tx, notice: PreparedNotice, *, actor: str) -> None:
    """Puts the notice into the sender's INBOX, or on its way when the sender is elsewhere."""
    if notice.local:
        bal = find_bal(tx.conn, notice.sender)
        if bal is None or bal.state not in RECEIVING:
            tx.journal("notice.nobody", actor=actor, object=notice.sender)
            return
        deliver(tx, add_message(tx, notice.message), [bal.id])
    else:
        recipient = QueueRecipient(parse_address(notice.sender), Notify.NEVER)
        expires_us = tx.now_us + LIFETIME * 1_000_000
        enqueue(tx, add_message(tx, notice.message), "", [recipient], expires_us=expires_us)
