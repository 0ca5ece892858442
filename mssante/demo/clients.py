"""The people's mail programs: the standard library's SMTP and IMAP clients over TLS.

What must always hold: what a server answers is handed back as it was said, never judged here; every wait has an end.
"""

import imaplib
import re
import smtplib
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path

from mssante.demo.operators import HOST, DemoFailure, Operator

TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a mailbox at an operator."""

    name: str
    address: str
    password: str
    operator: Operator

    def smtp(self) -> smtplib.SMTP:
        """A submission session with implicit TLS, not yet signed in."""
        return smtplib.SMTP_SSL(HOST, self.operator.port + 2, timeout=TIMEOUT_S, context=trust(self.operator))

    def imap(self) -> imaplib.IMAP4_SSL:
        """An IMAP session with implicit TLS, signed in, INBOX selected."""
        session = imaplib.IMAP4_SSL(HOST, self.operator.port + 4, timeout=TIMEOUT_S, ssl_context=trust(self.operator))
        session.login(self.address, self.password)
        session.select("INBOX")
        return session

    def message(self, to: Sequence[str], subject: str, text: str, answers: EmailMessage | None = None) -> EmailMessage:
        """A message of this person."""
        message = EmailMessage()
        message["From"] = f"{self.name} <{self.address}>"
        message["To"] = ", ".join(to)
        message["Subject"] = subject
        message["Message-ID"] = f"<{time.time_ns()}@{self.address.partition('@')[2]}>"
        if answers is not None:
            message["In-Reply-To"] = message["References"] = str(answers["Message-ID"])
        message.set_content(text)
        return message


def trust(operator: Operator) -> ssl.SSLContext:
    """What a mail program of this operator's users needs: the authority to believe."""
    return ssl.create_default_context(cafile=operator.directory / "pki" / "ca.pem")


def peer(certificates: Path, operator: Operator) -> ssl.SSLContext:
    """What another operator needs: its own certificate as well."""
    context = trust(operator)
    context.load_cert_chain(certificates / "cert.pem", certificates / "cert.key")
    return context


def await_message(session: imaplib.IMAP4_SSL, number: int) -> EmailMessage:
    """Message `number` of INBOX, waited for by IDLE (RFC 2177)."""
    if int(session.select("INBOX")[1][0] or b"0") < number:
        _idle(session, number)
    _, data = session.fetch(str(number), "(BODY.PEEK[])")
    if not data or not isinstance(data[0], tuple):
        raise DemoFailure(f"FETCH {number} brought no message: {data!r}")
    message = BytesParser(policy=default).parsebytes(data[0][1])
    assert isinstance(message, EmailMessage)
    return message


def _idle(session: imaplib.IMAP4_SSL, number: int) -> None:
    session.send(b"attente IDLE\r\n")
    seen = b""
    end = time.monotonic() + TIMEOUT_S
    while not (found := re.match(rb"\* (\d+) EXISTS", seen)) or int(found[1]) < number:
        try:
            seen = session.readline()
        except TimeoutError:
            seen = b""
        if not seen or time.monotonic() > end:
            raise DemoFailure(f"message {number} was not announced in {TIMEOUT_S} s")
    session.send(b"DONE\r\n")
    while not session.readline().startswith(b"attente "):
        pass
