"""The order of an SMTP session: who has said what, which command may come now, and what Reception says to it.

What must always hold:
- No I/O but Reception's: a command comes in, one answer goes out, whole lines.
- Before TLS nothing but EHLO, HELO, NOOP, RSET, QUIT, STARTTLS; on submission no mail transaction before AUTH.
- TLS forgets all that was said in clear (RFC 3207 §4.2).
- A transaction begins with an accepted MAIL and ends with EHLO, HELO, RSET, or the answer to DATA or BDAT LAST.
- A message comes by DATA or by BDAT, never by both; once a chunk was refused, so is every later one of that message.
- No clear INS in the log, and no word of a message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from mssante.domain.transaction import Edge
from mssante.domain.verdict import Accept, Defer, Refuse, Rule
from mssante.services import sasl
from mssante.services.accounts import Client
from mssante.services.arrival import Stored
from mssante.services.reception import Reception
from mssante.services.sasl import Ask
from mssante.services.transaction import Caller, MailTransaction, Trace
from smtp_in import grammar
from smtp_in.answers import (
    AUTH_MALFORMED,
    AUTH_MECHANISM,
    CHUNK_OK,
    RECIPIENT_OK,
    REFUSALS,
    SENDER_OK,
    SIGNED_IN,
    refusal,
)
from smtp_in.body import Body, Chunks
from smtp_in.grammar import CommandFault
from smtp_in.incoming import Incoming
from smtp_in.pace import Pace
from smtp_in.settings import SmtpInSettings

_IN_CLEAR: Final = frozenset({"EHLO", "HELO", "NOOP", "RSET", "QUIT", "STARTTLS"})
_UNSIGNED: Final = _IN_CLEAR | {"AUTH", "HELP"}
_UNKNOWN: Final = frozenset({Rule.RECIPIENT_UNKNOWN, Rule.RECIPIENT_PATIENT_UNKNOWN, Rule.RECIPIENT_INS})
_INS: Final = re.compile(r"[0-9A-Za-z]*[0-9]{5}[0-9ABab]{2}[0-9]{4}[0-9A-Za-z]*")
"""An INS, mistyped ones too: with a digit less or more, or with letters around it."""


def without_ins(text: str) -> str:
    """``text`` for the log: what looks like an INS, with or without its key, is masked."""
    return _INS.sub("(ins)", text)


@dataclass(frozen=True, slots=True)
class Tls:
    """What the handshake agreed on. ``certificate``: the peer's, DER; None when it presented none."""

    version: str
    cipher: str
    certificate: bytes | None


class Dialogue:
    """One session's state. ``peer``: the client's address."""

    def __init__(
        self, edge: Edge, reception: Reception, settings: SmtpInSettings, peer: str, log: FilteringBoundLogger
    ) -> None:
        self._edge, self._reception, self._settings, self._peer, self._log = edge, reception, settings, peer, log
        self._helo = ""
        self._extended = False
        self._tls: Tls | None = None
        self._transaction: MailTransaction | None = None
        self._smtputf8 = False
        self.incoming: Incoming | None = None
        """The message that comes by chunks, until its last."""
        self._refused_chunk: bytes | None = None
        self.caller: Caller | None = None
        """Who speaks: on the MX known after TLS, on submission after AUTH."""
        self.failed_auth = 0
        self.unknown_recipients = 0

    def barred(self, verb: str) -> bytes | None:
        """The refusal when ``verb``, whatever it is, comes too early."""
        if self._tls is None:
            return None if verb in _IN_CLEAR else REFUSALS[Rule.TLS_REQUIRED]
        if self.caller is None and verb not in _UNSIGNED:
            return REFUSALS[Rule.AUTH_REQUIRED]
        return None

    def secured(self, tls: Tls) -> None:
        """The handshake is done."""
        self._tls = tls
        self._helo = ""
        self.reset()
        if self._edge is Edge.MX:
            self.caller = self._reception.peer_speaker(tls.certificate)

    def reset(self) -> None:
        """RSET, and whatever else forgets the transaction."""
        self._transaction = self._refused_chunk = None
        incoming, self.incoming = self.incoming, None
        if incoming is not None:
            incoming.abort()

    def hello(self, name: str, *, extended: bool) -> bytes:
        """EHLO or HELO (RFC 5321 §4.1.1.1). Raises CommandFault."""
        self._helo = grammar.parse_helo(name)
        self._extended = extended
        self.reset()
        lines = [self._settings.hostname]
        if extended:
            lines += ["PIPELINING", f"SIZE {self._settings.max_size}", "8BITMIME", "SMTPUTF8"]
            lines += ["ENHANCEDSTATUSCODES", "DSN", "CHUNKING"]
            if self._tls is None:
                lines.append("STARTTLS")
            elif self._edge is Edge.SUBMISSION:
                lines.append("AUTH " + " ".join(self._reception.mechanisms(self._client)))
            lines.append("HELP")
        return "".join(f"250{' ' if line is lines[-1] else '-'}{line}\r\n" for line in lines).encode("ascii")

    async def mail(self, argument: str) -> bytes:
        """MAIL (RFC 5321 §4.1.1.2). Raises CommandFault."""
        if not self._helo or self._transaction or self.incoming or self.caller is None:
            raise CommandFault(REFUSALS[Rule.COMMAND_ORDER])
        self._refused_chunk = None
        mail = grammar.parse_mail(argument, self._extended)
        if mail.size is not None and mail.size > self._settings.max_size:
            return self._refused("MAIL", Refuse(Rule.MESSAGE_TOO_LARGE), size=mail.size)
        opened = await self._reception.open(
            self.caller,
            mail.sender,
            size=mail.size,
            envid=mail.envid,
            ret=mail.ret,
            body=mail.body,
            smtputf8=mail.smtputf8,
        )
        if isinstance(opened, Refuse | Defer):
            return self._refused("MAIL", opened, sender=mail.sender)
        self._transaction, self._smtputf8 = opened, mail.smtputf8
        return SENDER_OK

    async def rcpt(self, argument: str) -> bytes:
        """RCPT (RFC 5321 §4.1.1.3). Raises CommandFault."""
        transaction = self._transaction
        if transaction is None:
            raise CommandFault(REFUSALS[Rule.COMMAND_ORDER])
        rcpt = grammar.parse_rcpt(argument, self._extended, self._smtputf8, self._settings.postmaster)
        verdict = await self._reception.recipient(transaction, rcpt.address, notify=rcpt.notify, orcpt=rcpt.orcpt)
        if isinstance(verdict, Accept):
            return RECIPIENT_OK
        if verdict.rule in _UNKNOWN:
            self.unknown_recipients += 1
        return self._refused("RCPT", verdict, recipient=rcpt.address)

    def data(self, argument: str, pace: Pace) -> Incoming | bytes:
        """DATA (RFC 5321 §4.1.1.4): the message to be filled, or why not. Raises CommandFault."""
        if argument:
            raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
        transaction, self._transaction = self._transaction, None
        if transaction is None:
            raise CommandFault(REFUSALS[Rule.COMMAND_ORDER])
        verdict = self._reception.begin_data(transaction)
        if not isinstance(verdict, Accept):
            return self._refused("DATA", verdict)
        return self._begin(transaction, Body(self._settings.max_line, self._settings.max_size), pace)

    def _begin(self, transaction: MailTransaction, body: Body | Chunks, pace: Pace) -> Incoming:
        return Incoming(self._reception.receive(transaction, self._trace()), body, pace, 2 * self._settings.max_size)

    def chunk(self, pace: Pace) -> bytes | None:
        """BDAT: `incoming` is the message that the chunk belongs to, None when it is to be passed by. What is given is
        the answer to a BDAT out of its place."""
        if self.incoming is not None or self._refused_chunk is not None:
            return None
        transaction, self._transaction = self._transaction, None
        if transaction is None or not self._extended:
            return REFUSALS[Rule.COMMAND_ORDER]
        verdict = self._reception.begin_data(transaction)
        if isinstance(verdict, Accept):
            self.incoming = self._begin(transaction, Chunks(self._settings.max_line, self._settings.max_size), pace)
        else:
            self._refused_chunk = self._refused("BDAT", verdict)
        return None

    def chunk_taken(self, incoming: Incoming) -> bytes:
        """The answer to a chunk that is not the last."""
        refusal = incoming.refusal
        if refusal is None:
            return CHUNK_OK
        self.reset()
        self._refused_chunk = self._refused("BDAT", refusal, size=incoming.size)
        return self._refused_chunk

    def refused_chunk(self, last: bool) -> bytes:
        """The answer to a chunk that was passed by: why its message is refused."""
        assert self._refused_chunk is not None
        answer = self._refused_chunk
        if last:
            self._refused_chunk = None
        return answer

    async def accept(self, incoming: Incoming) -> bytes:
        """The answer to a whole message."""
        outcome = await incoming.finish()
        if isinstance(outcome, Stored):
            self._log.info("smtp_in.accepted", id=outcome.id, size=incoming.size)
            return f"250 2.0.0 Message accepte: {outcome.id}\r\n".encode("ascii")
        return self._refused("DATA", outcome, size=incoming.size)

    async def authenticate(self, argument: str, ask: Ask) -> bytes:
        """AUTH (RFC 4954 §4). ``ask`` says a 334 line and gives the client's. Raises CommandFault."""
        if self._edge is not Edge.SUBMISSION:
            raise CommandFault(REFUSALS[Rule.COMMAND_UNKNOWN])
        if not self._extended or self.caller is not None:
            raise CommandFault(REFUSALS[Rule.COMMAND_ORDER])
        mechanism, _, initial = argument.partition(" ")
        if mechanism.upper() not in self._reception.mechanisms(self._client):
            raise CommandFault(AUTH_MECHANISM if mechanism else REFUSALS[Rule.COMMAND_ARGUMENT])
        try:
            response = sasl.decode(initial.encode()) if initial else None
            outcome = await self._reception.authenticate(mechanism.upper(), response, ask, self._client)
        except sasl.SaslFault:
            raise CommandFault(AUTH_MALFORMED) from None
        if isinstance(outcome, Refuse | Defer):
            self.failed_auth += 1
            return self._refused("AUTH", outcome, mechanism=mechanism)
        self.caller = outcome
        by = outcome.holder.by if outcome.holder is not None else ""
        self._log.info("smtp_in.signed_in", account=outcome.name, by=by)
        return SIGNED_IN

    @property
    def _client(self) -> Client:
        return Client(self._peer, "send", self._tls.certificate if self._tls is not None else None)

    def _refused(self, stage: str, verdict: Refuse | Defer, **facts: object) -> bytes:
        known = {name: without_ins(str(value)) for name, value in facts.items()}
        self._log.info(
            "smtp_in.refused", stage=stage, rule=str(verdict.rule), reason=without_ins(verdict.reason), **known
        )
        return refusal(verdict)

    def _trace(self) -> Trace:
        """RFC 5321 §4.4, with the protocol names of RFC 3848 and RFC 6531 §4.3."""
        assert self._tls is not None
        protocol = "SMTP"
        if self._extended:
            protocol = ("UTF8SMTPS" if self._smtputf8 else "ESMTPS") + ("A" if self._edge is Edge.SUBMISSION else "")
        return Trace(
            helo=self._helo,
            peer_ip=self._peer,
            protocol=protocol,
            tls=f"{self._tls.version} {self._tls.cipher}",
        )
