"""The people of the tests and their mail programs: smtplib and imaplib, as strangers to this project wrote them.

What must always hold: a person is new, so that tests share running operators and meet in no mailbox; numbers of people
(RPPS, INS) are made by their formulas and belong to nobody.
"""

import imaplib
import itertools
import re
import smtplib
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from types import TracebackType
from typing import Self

from mssante.domain.identifiers import luhn_holds
from mssante.domain.ins import ins_key
from tests.support.operators import HOST, Operator, until

TIMEOUT_S = 120
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a mailbox at an operator."""

    address: str
    password: str
    operator: Operator

    def smtp(self, *, implicit_tls: bool = True, sign_in: bool = True) -> smtplib.SMTP:
        """A submission session, signed in unless told otherwise. To be closed by the caller."""
        trust = self.operator.trust()
        if implicit_tls:
            port = self.operator.port_of("submissions")
            session: smtplib.SMTP = smtplib.SMTP_SSL(HOST, port, "poste", timeout=TIMEOUT_S, context=trust)
        else:
            session = smtplib.SMTP(HOST, self.operator.port_of("submission"), "poste", timeout=TIMEOUT_S)
        try:
            if not implicit_tls:
                session.starttls(context=trust)
            if sign_in:
                session.login(self.address, self.password)
        except BaseException:
            session.close()
            raise
        return session

    def imap(self) -> "Mailbox":
        """An IMAP session in INBOX."""
        return Mailbox(self)

    def letter(self, *to: str, subject: str = "Courrier", text: str = "Bonjour.", **headers: str) -> "Letter":
        """A message of this person, complete with what mail programs add."""
        message = EmailMessage(policy=SMTP)
        message["From"], message["To"], message["Subject"] = self.address, ", ".join(to), subject
        message["Date"] = "Mon, 03 Nov 2025 09:00:00 +0100"
        message["Message-ID"] = f"<{next(_numbers)}.{id(self):x}@{self.address.partition('@')[2]}>"
        for name, value in headers.items():
            message[name.replace("_", "-")] = value
        message.set_content(text)
        return Letter(str(message["Message-ID"]), message.as_bytes())

    def send(self, letter: "Letter | bytes", *to: str) -> None:
        """Submit to these recipients; whatever is not accepted is an exception of smtplib."""
        with self.smtp() as session:
            octets = letter.octets if isinstance(letter, Letter) else letter
            refused = session.sendmail(self.address, to, octets, ["BODY=8BITMIME"])
            assert not refused


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as its author's program sends it."""

    message_id: str
    octets: bytes


class Mailbox:
    """An IMAP session with INBOX selected; a context."""

    def __init__(self, person: Person) -> None:
        self.person = person
        operator = person.operator
        self.session = imaplib.IMAP4_SSL(
            HOST, operator.port_of("imaps"), ssl_context=operator.trust(), timeout=TIMEOUT_S
        )
        try:
            self.session.login(person.address, person.password)
            self.session.select("INBOX")
        except BaseException:
            self.session.shutdown()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.session.shutdown()

    def message_ids(self) -> list[str]:
        """The Message-ID of each message, in the order of the folder, one for each message."""
        self.session.noop()
        answer, found = self.session.search(None, "ALL")
        assert answer == "OK"
        if not found[0]:
            return []
        answer, parts = self.session.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        assert answer == "OK"
        fields = [part[1].decode() for part in parts if isinstance(part, tuple)]
        assert len(fields) == len(found[0].split())
        return [re.sub(r"(?is)^message-id:\s*|\s+$", "", field) for field in fields]

    def await_letter(self, letter: Letter) -> bytes:
        """Its octets as they arrived, waited for. It is there once."""
        number = until(lambda: self._number(letter), f"{letter.message_id} at {self.person.address}")
        answer, parts = self.session.fetch(number, "(BODY.PEEK[])")
        assert answer == "OK"
        assert isinstance(parts[0], tuple)
        octets = parts[0][1]
        assert isinstance(octets, bytes)
        return octets

    def count(self) -> int:
        """Messages in INBOX."""
        return len(self.message_ids())

    def bye(self) -> bytes:
        """The line with which the server ends the session by itself, waited for."""
        self.session.sock.settimeout(TIMEOUT_S)
        return self.session.readline()

    def _number(self, letter: Letter) -> str:
        self.session.noop()
        answer, found = self.session.search(None, "HEADER", "Message-ID", f'"{letter.message_id}"')
        assert answer == "OK"
        numbers = found[0].decode().split()
        assert len(numbers) <= 1, f"{letter.message_id} is there {len(numbers)} times"
        return "".join(numbers)


def at_mx(operator: Operator, other: Operator, certificate: Path | None = None) -> smtplib.SMTP:
    """A session at the MX of ``operator`` as ``other`` opens it, with its own certificate or with that of a folder that
    `pki issue` wrote. To be closed by the caller."""
    files = (certificate / "cert.pem", certificate / "cert.key") if certificate else (None, None)
    session = smtplib.SMTP(HOST, operator.port_of("mx"), f"mx.{other.domain}", timeout=TIMEOUT_S)
    try:
        session.ehlo()
        assert session.starttls(context=other.peer_context(*files))[0] == 220
        session.ehlo()
    except BaseException:
        session.close()
        raise
    return session


def professional(operator: Operator) -> Person:
    """A new professional with a mailbox at this operator."""
    number = next(_numbers)
    address, password = f"dr{number}@{operator.domain}", f"mot de passe {number}"
    who = ("--type", "PER", "--rpps", with_luhn(f"8{number:09d}"), "--nom", f"Nom{number}", "--prenom", "Claire")
    operator.run("bal", "create", address, *who, "--password-stdin", given=password)
    return Person(address, password, operator)


def professionals(operator: Operator, count: int, folder: Path) -> list[Person]:
    """As many new professionals, imported from a file in ``folder``."""
    people = [Person(f"dr{next(_numbers)}@{operator.domain}", f"secret{each}", operator) for each in range(count)]
    file = folder / "bal.csv"
    file.write_text("address,type,password\n" + "".join(f"{one.address},PER,{one.password}\n" for one in people))
    assert operator.json("bal", "import", str(file)) == {"opened": count}
    return people


def patient(operator: Operator) -> Person:
    """A new citizen with a mailbox at this operator."""
    ins, password = new_ins(), "azerty 1234"
    traits = ("--nom", "DURAND", "--prenoms", "Jeanne", "--naissance", "1999-01-15", "--sexe", "F", "--lieu", "75115")
    operator.run("patient", "create", ins, *traits, "--password-stdin", given=password)
    return Person(f"{ins}@{operator.domain}", password, operator)


def new_ins() -> str:
    """A matricule INS that no mailbox of the tests has yet."""
    matricule = f"2990175990{next(_numbers):03d}"
    return f"{matricule}{ins_key(matricule):02d}"


def with_luhn(digits: str) -> str:
    """``digits`` and their Luhn key."""
    return digits + next(key for key in "0123456789" if luhn_holds(digits + key))


def answers(session: smtplib.SMTP, sender: str, recipients: Sequence[str]) -> list[str]:
    """MAIL and RCPT, and what each was answered: ``"250 2.1.0"``, code and enhanced code."""
    return [brief(session.mail(sender)), *(brief(session.rcpt(recipient)) for recipient in recipients)]


def brief(answer: tuple[int, bytes]) -> str:
    """Code and enhanced code of an answer."""
    return f"{answer[0]} {answer[1].decode('ascii').partition(' ')[0]}"
