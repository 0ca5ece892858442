"""Telling citizens, on their own e-mail address, that new mail waits for them.

Always true here: a notice says that there is mail, and nothing else: no name, no sender, no subject, no matricule; it
leaves through the operator's relay, never through the trust space. Nobody's mail waits for it: what is to be told is a
row (`store.patient_notices`), read here after the commit. Who has read his mail meanwhile is told nothing. A notice
that may have gone is not sent again before the citizen's next turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import smtplib
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formataddr, formatdate
from enum import Enum, auto
from typing import NamedTuple

import structlog

from mssante.domain.bal import BalState
from mssante.domain.clock import Clock
from mssante.domain.retry import SCHEDULE, backoff
from mssante.store import Store, StoreError, Tx, patient_notices, patients
from mssante.store.mail import INBOX, folder_by_name

log = structlog.get_logger("mssante")

BATCH = 100
_POLL_S = 60.0
_STEPS_S = SCHEDULE[:5]


@dataclass(frozen=True, slots=True)
class Relay:
    """The mail server that takes the notices. ``tls`` None: the connection stays in clear; ``implicit``: it is
    encrypted from the first octet on, else by STARTTLS."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    implicit: bool
    user: str
    password: str = field(repr=False)
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Wording:
    """Who tells: ``operator``'s name, the address ``sender``, the EHLO name ``hostname``; ``link`` may be empty."""

    operator: str
    sender: str
    hostname: str
    link: str


class _Due(NamedTuple):
    bal_id: int
    attempts: int
    email: str


class _Outcome(Enum):
    TOLD = auto()
    LATER = auto()
    NEVER = auto()
    UNKNOWN = auto()


class RelayDown(Exception):
    """The relay cannot be reached, or takes nothing from us now."""


class PatientNotices:
    """``run()`` until ``stop()``. ``sent`` counts the notices that the relay took."""

    def __init__(self, store: Store, clock: Clock, relay: Relay, wording: Wording, *, every_us: int) -> None:
        self._store, self._clock, self._relay, self._wording, self._every_us = store, clock, relay, wording, every_us
        self._wake = asyncio.Event()
        self._stopping = threading.Event()
        self._failures = 0
        self.sent = 0

    async def run(self) -> None:
        """Tells whoever is due, as long as the relay takes it; while it does not, asks it again ever more seldom."""
        unsubscribe = self._store.hints.subscribe("patient_notices", None, self._hear)
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                try:
                    pause = await self.turn()
                    self._failures = 0
                except (RelayDown, StoreError) as fault:
                    self._failures += 1
                    pause = backoff(self._failures, _STEPS_S)
                    log.warning("patient notices wait", fault=str(fault), seconds=pause)
                if pause and not self._stopping.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), pause)
        finally:
            unsubscribe()

    def stop(self) -> None:
        """`run` ends after the notice that is under way."""
        self._stopping.set()
        self._wake.set()

    def _hear(self) -> None:
        if not self._failures:
            self._wake.set()

    async def turn(self) -> float:
        """One batch; the seconds until the next one. Raises RelayDown before anything is claimed."""
        due_us = await self._store.read(patient_notices.next_due_us)
        wait_us = _POLL_S * 1e6 if due_us is None else due_us - self._clock.now_us()
        if wait_us > 0:
            return min(_POLL_S, wait_us / 1e6)
        session = await asyncio.to_thread(self._connect)
        claimed: Sequence[_Due] = ()
        outcomes: list[_Outcome] = []
        try:
            claimed = await self._store.write(_claim, self._every_us)
            await asyncio.to_thread(self._send_all, session, claimed, outcomes)
        finally:
            await asyncio.to_thread(_leave, session)
            if claimed:
                await self._store.write(_settle, claimed, outcomes)
        self.sent += outcomes.count(_Outcome.TOLD)
        if _Outcome.UNKNOWN in outcomes:
            raise RelayDown("the relay went away")
        return 0.0

    def _connect(self) -> smtplib.SMTP:
        relay = self._relay
        name = self._wording.hostname
        session: smtplib.SMTP | None = None
        try:
            if relay.tls is not None and relay.implicit:
                session = smtplib.SMTP_SSL(relay.host, relay.port, name, timeout=relay.timeout_s, context=relay.tls)
            else:
                session = smtplib.SMTP(relay.host, relay.port, name, timeout=relay.timeout_s)
                if relay.tls is not None:
                    session.starttls(context=relay.tls)
            if relay.user:
                session.login(relay.user, relay.password)
        except (OSError, smtplib.SMTPException) as fault:
            if session is not None:
                session.close()
            raise RelayDown(f"{relay.host}:{relay.port}: {_words(fault)}") from fault
        return session

    def _send_all(self, session: smtplib.SMTP, due: Sequence[_Due], outcomes: list[_Outcome]) -> None:
        """The outcome of each notice, in order, until the relay goes away or the service stops."""
        for one in due:
            if self._stopping.is_set():
                return
            outcomes.append(self._send(session, one.email))
            if outcomes[-1] is _Outcome.UNKNOWN:
                return

    def _send(self, session: smtplib.SMTP, email: str) -> _Outcome:
        try:
            session.send_message(self._notice(email), self._wording.sender, [email])
        except smtplib.SMTPRecipientsRefused as refused:
            return _refused(*refused.recipients[email])
        except smtplib.SMTPSenderRefused as refused:
            _refused(refused.smtp_code, refused.smtp_error)
            return _Outcome.LATER
        except smtplib.SMTPDataError as refused:
            return _refused(refused.smtp_code, refused.smtp_error)
        except (OSError, smtplib.SMTPException) as fault:
            log.warning("patient notice of unknown outcome", fault=_words(fault))
            return _Outcome.UNKNOWN
        return _Outcome.TOLD

    def _notice(self, email: str) -> EmailMessage:
        wording = self._wording
        notice = EmailMessage()
        notice["From"] = formataddr((wording.operator, wording.sender))
        notice["To"] = email
        notice["Subject"] = "Nouveau message dans votre messagerie de santé"
        notice["Date"] = formatdate(self._clock.now_us() / 1_000_000)
        notice["Message-ID"] = f"<{secrets.token_hex(12)}@{wording.hostname}>"
        notice["Auto-Submitted"] = "auto-generated"
        where = f" : {wording.link}" if wording.link else "."
        notice.set_content(
            "Bonjour,\n\n"
            "Un nouveau message vous attend dans votre messagerie sécurisée de santé.\n"
            f"Pour le lire, connectez-vous comme d'habitude{where}\n\n"
            "Pour protéger vos données, ce courriel ne dit ni de qui il vient ni de quoi il parle.\n"
            "Ne donnez jamais votre mot de passe par courriel. Ne répondez pas à celui-ci.\n\n"
            f"{wording.operator}\n"
        )
        return notice


def _leave(session: smtplib.SMTP) -> None:
    try:
        session.quit()
    except (OSError, smtplib.SMTPException):
        session.close()


def _claim(tx: Tx, every_us: int) -> list[_Due]:
    """Those to be told now; who is not to be told after all is done with."""
    due, others = [], []
    for bal_id, attempts in patient_notices.claim(tx, BATCH, every_us):
        found = patients.patient(tx.conn, bal_id)
        inbox = folder_by_name(tx.conn, bal_id, INBOX)
        if found and found.identity.notify and found.bal.state is BalState.ACTIVE and inbox and inbox.unseen:
            due.append(_Due(bal_id, attempts, found.identity.notify))
        else:
            others.append(bal_id)
    if others:
        patient_notices.told(tx, others)
    return due


def _settle(tx: Tx, claimed: Sequence[_Due], outcomes: Sequence[_Outcome]) -> None:
    """Claims without an outcome were not tried; those of an unknown one stay as they are."""
    for number, one in enumerate(claimed):
        outcome = outcomes[number] if number < len(outcomes) else None
        if outcome in (_Outcome.TOLD, _Outcome.NEVER):
            patient_notices.told(tx, [one.bal_id])
            tx.journal(f"patient_notice.{outcome.name.lower()}", actor="mssante", object=f"bal {one.bal_id}")
        elif outcome is not _Outcome.UNKNOWN:
            wait_us = 0 if outcome is None else backoff(one.attempts, _STEPS_S) * 1_000_000
            patient_notices.later(tx, [one.bal_id], tx.now_us + wait_us)


def _refused(code: int, text: bytes | str) -> _Outcome:
    # The text may repeat the citizen's address: the code is enough.
    log.warning("patient notice refused by the relay", code=code)
    return _Outcome.NEVER if code // 100 == 5 else _Outcome.LATER


def _words(fault: Exception) -> str:
    """What went wrong, without what the relay said: it may repeat an address."""
    if isinstance(fault, smtplib.SMTPResponseException):
        return f"{type(fault).__name__} {fault.smtp_code}"
    return fault.strerror or type(fault).__name__ if isinstance(fault, OSError) else type(fault).__name__
