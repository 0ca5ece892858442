"""The story: each step says in a line what happens, and shows what the server answered.

What must always hold: every answer is compared with what the interface promises; the first that differs ends the story
as a DemoFailure that shows both.
"""

import imaplib
import re
import secrets
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from mssante.demo.clients import TIMEOUT_S, Person, await_message, peer
from mssante.demo.names import Names
from mssante.demo.operators import HOST, DemoFailure, Operator, free_ports, mssante
from mssante.domain.identifiers import luhn_holds
from mssante.domain.ins import ins_key

Answer = tuple[int, bytes]
CABINET, CLINIQUE = "cabinet.mssante.example", "clinique.mssante.example"


class Story:
    """Three operators and their people, in one directory."""

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self.directory, self._say = directory, say
        self._step = 0
        self.names = Names()
        ports = free_ports(3)
        self.cabinet, self.clinique, self.citoyens = (
            Operator(directory / name, port)
            for name, port in zip(("cabinet", "clinique", "citoyens"), ports, strict=True)
        )

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The three of them."""
        return self.cabinet, self.clinique, self.citoyens

    def play(self) -> None:
        """From `mssante init` to the last stop. Raises DemoFailure."""
        self._found()
        self._open_mailboxes()
        self._serve()
        self._exchange()
        self._too_many_recipients()
        self._strangers()
        self._abuse()
        self._evidence()
        self._drain()

    def close(self) -> None:
        """Stop whatever still runs."""
        self.names.close()
        for operator in self.operators:
            with suppress(DemoFailure):
                operator.stop()

    # The steps, in order.

    def _found(self) -> None:
        self._title("Deux opérateurs et l'hébergeur des citoyens, un même espace de confiance")
        common = ("--dns", self.names.address)
        for operator, arguments in (
            (self.cabinet, ("--operator", "Cabinet du Port", "--domain", CABINET)),
            (
                self.clinique,
                ("--operator", "Clinique des Dunes", "--domain", CLINIQUE, "--join", str(self.cabinet.directory)),
            ),
            (
                self.citoyens,
                ("--operator", "Messagerie citoyenne", "--patients", "--join", str(self.cabinet.directory)),
            ),
        ):
            mssante("init", str(operator.directory), *arguments, "--port-base", str(operator.port), *common)
            self._show(
                f"$ mssante init {operator.name} --operator {arguments[1]!r} ...",
                f"ports {operator.port} à {operator.port + 6}",
            )
        for operator, domain in (
            (self.cabinet, CABINET),
            (self.clinique, CLINIQUE),
            (self.citoyens, "patient.mssante.fr"),
        ):
            self.names.publish(domain, operator.directory / "pki" / "dkim.key")

    def _open_mailboxes(self) -> None:
        self._title("Des boîtes aux lettres : deux médecins, un compte abusif, une patiente")
        self.martin = self._professional(self.cabinet, "Dr Claire Martin", f"claire.martin@{CABINET}", "8000000001")
        self.petit = self._professional(self.clinique, "Dr Paul Petit", f"paul.petit@{CLINIQUE}", "8000000002")
        self.abuser = self._professional(self.cabinet, "Dr Hugo Noir", f"hugo.noir@{CABINET}", "8000000003")
        ins = "2990175990001" + f"{ins_key('2990175990001'):02d}"
        password = secrets.token_urlsafe(12)
        identity = (
            "--nom",
            "DURAND",
            "--prenoms",
            "Jeanne",
            "--naissance",
            "1999-01-15",
            "--sexe",
            "F",
            "--lieu",
            "75115",
        )
        self._show(
            "$ mssante patient create <INS>",
            self.citoyens.run("patient", "create", ins, *identity, "--password-stdin", given=password),
        )
        self.durand = Person("Jeanne Durand", f"{ins}@patient.mssante.fr", password, self.citoyens)

    def _serve(self) -> None:
        self._title("Les trois services démarrent")
        for operator in self.operators:
            operator.serve()
        for operator in self.operators:
            self._show(f"$ mssante -c {operator.name}/mssante.toml serve", operator.wait())

    def _exchange(self) -> None:
        martin, petit, durand = self.martin, self.petit, self.durand
        with self._imap(petit) as at_petit, self._imap(durand) as at_durand, self._imap(martin) as at_martin:
            self._title("Le Dr Martin écrit à sa patiente, par son INS, et à un confrère de la clinique")
            letter = martin.message(
                [durand.address, petit.address], "Résultats de l'analyse", "Bonjour, voici vos résultats."
            )
            self._send(martin, letter, durand.address, petit.address)
            self._title("Le confrère et la patiente lisent le message par IMAP")
            self._read(petit, at_petit, 1, "Résultats de l'analyse")
            received = self._read(durand, at_durand, 1, "Résultats de l'analyse")
            self._title("La patiente répond")
            answer = durand.message([martin.address], "Re: Résultats de l'analyse", "Merci docteur.", received)
            self._send(durand, answer, martin.address)
            self._read(martin, at_martin, 1, "Re: Résultats de l'analyse")
            self._title("Le Dr Martin met fin à l'échange : [FIN]")
            self._send(martin, martin.message([durand.address], "[FIN]", "Bonne journée."), durand.address)
            self._read(durand, at_durand, 2, "[FIN]")
        self._title("La réponse suivante de la patiente est refusée")
        with self._smtp(durand) as session:
            self._mail(session, durand.address)
            self._rcpt(session, martin.address, 550, "5.7.1")

    def _too_many_recipients(self) -> None:
        self._title("Un message à 41 destinataires est refusé en entier")
        with self._smtp(self.martin) as session:
            self._mail(session, self.martin.address)
            for number in range(1, 41):
                to = self.petit.address if number == 1 else f"destinataire{number}@{CLINIQUE}"
                self._rcpt(session, to, quiet=1 < number < 40)
            self._rcpt(session, f"destinataire41@{CLINIQUE}", 550, "5.5.3")
            self._ask("DATA", session.docmd("DATA"), 554, "5.5.3")
        waiting = self.cabinet.run("queue", "list", "--json").strip()
        if waiting != "[]":
            raise DemoFailure(f"something of the refused message waits in the queue: {waiting}")
        self._show("$ mssante queue list --json", waiting)

    def _strangers(self) -> None:
        self._title("Un expéditeur hors liste blanche est éconduit : certificat de l'autorité, domaine non inscrit")
        out = self.directory / "inconnu"
        subject = ("--cn", "mx.inconnu.example", "--ou", "3" + _luhn("0000000990000"), "--o", "Inconnu")
        self.cabinet.run("pki", "issue", *subject, "--kind", "serv", "--out", str(out))
        with smtplib.SMTP(HOST, self.cabinet.port, timeout=TIMEOUT_S) as session:
            self._ask("EHLO", session.ehlo("mx.inconnu.example"), 250)
            self._mail(session, "qui@inconnu.example", 530, "5.7.0")
            self._ask("STARTTLS", session.starttls(context=peer(out, self.cabinet)), 220)
            self._ask("EHLO", session.ehlo("mx.inconnu.example"), 250)
            self._mail(session, "qui@inconnu.example", 550, "5.7.1")
        self._title("Un expéditeur d'une autre autorité est éconduit")
        elsewhere = self.directory / "ailleurs"
        mssante("init", str(elsewhere), "--operator", "Ailleurs", "--domain", "ailleurs.example")
        certificates = self.directory / "ailleurs-certificat"
        mssante("-c", str(elsewhere / "mssante.toml"), "pki", "issue", *subject, "--out", str(certificates))
        self._handshake_refused(certificates)

    def _handshake_refused(self, certificates: Path) -> None:
        """The handshake fails (at TLS 1.3: at the first answer after it), or MAIL is refused."""
        with smtplib.SMTP(HOST, self.cabinet.port, timeout=TIMEOUT_S) as session:
            self._ask("EHLO", session.ehlo("mx.ailleurs.example"), 250)
            try:
                session.starttls(context=peer(certificates, self.cabinet))
                session.ehlo("mx.ailleurs.example")
                self._mail(session, f"qui@{CLINIQUE}", 550, "5.7.1")
            except (ssl.SSLError, smtplib.SMTPServerDisconnected, ConnectionError) as refusal:
                self._show("STARTTLS", f"négociation TLS refusée ({refusal})")
                session.close()

    def _abuse(self) -> None:
        self._title("Le régulateur clôt un compte abusif : sa session ouverte s'arrête")
        abuser = self.abuser
        imap = abuser.imap()
        with self._smtp(abuser) as smtp:
            motif = ("--motif", "sollicitations en nombre")
            self._show(
                f"$ mssante regulateur clore {abuser.address}",
                self.cabinet.run("regulateur", "clore", abuser.address, *motif),
            )
            self._show("IMAP", _bye(imap))
            self._ask("SMTP", smtp.getreply(), 421, "4.7.0")  # said by itself
        with self._smtp(abuser, sign_in=False) as session:
            try:
                session.login(abuser.address, abuser.password)
            except smtplib.SMTPAuthenticationError as refusal:
                self._ask("AUTH", (refusal.smtp_code, _bytes(refusal.smtp_error)), 535, "5.7.8")
            else:
                raise DemoFailure("AUTH of the closed account was accepted")

    def _evidence(self) -> None:
        self._title("Le journal et le magasin sont intacts, pendant le service")
        for operator in self.operators:
            self._show(f"$ mssante -c {operator.name}/mssante.toml audit verify", operator.run("audit", "verify"))
            self._show(f"$ mssante -c {operator.name}/mssante.toml verify", operator.run("verify"))

    def _drain(self) -> None:
        self._title("SIGTERM : chacun finit son travail et s'arrête")
        for operator in self.operators:
            code = operator.stop()
            if code:
                raise DemoFailure(
                    f"{operator.name} ended with exit {code}; its log ends with:\n{operator.last_words()}"
                )
            self._show(f"{operator.name}", "exit 0")

    # What the steps are made of.

    def _title(self, text: str) -> None:
        self._step += 1
        self._say(f"\n{self._step:2}. {text}")

    def _show(self, what: str, answer: str) -> None:
        self._say(f"    {what}")
        for line in answer.strip().splitlines():
            self._say(f"        {line}")

    def _ask(self, what: str, answer: Answer, code: int, enhanced: str = "", *, quiet: bool = False) -> None:
        """Compare an SMTP answer with the promised one, and show it."""
        text = answer[1].decode("ascii", "replace").splitlines()
        said = f"{answer[0]} {text[-1] if text else ''}"
        if answer[0] != code or not said.startswith(f"{code} {enhanced}".rstrip()):
            raise DemoFailure(f"{what}: answered {said!r} instead of {code} {enhanced}".rstrip())
        if not quiet:
            self._show(what, said)

    def _mail(self, session: smtplib.SMTP, sender: str, code: int = 250, enhanced: str = "") -> None:
        self._ask(f"MAIL FROM:<{sender}>", session.mail(sender), code, enhanced)

    def _rcpt(
        self, session: smtplib.SMTP, to: str, code: int = 250, enhanced: str = "", *, quiet: bool = False
    ) -> None:
        self._ask(f"RCPT TO:<{to}>", session.rcpt(to), code, enhanced, quiet=quiet)

    def _send(self, person: Person, message: EmailMessage, *to: str) -> None:
        with self._smtp(person) as session:
            self._mail(session, person.address)
            for recipient in to:
                self._rcpt(session, recipient)
            self._ask("DATA", session.data(message.as_bytes(policy=SMTP)), 250)

    def _read(self, person: Person, session: imaplib.IMAP4_SSL, number: int, subject: str) -> EmailMessage:
        message = await_message(session, number)
        if message["Subject"] != subject:
            raise DemoFailure(f"{person.name} read {message['Subject']!r} instead of {subject!r}")
        self._show(f"{person.name} (IMAP)", f"n° {number}, de {message['From']} : {message['Subject']}")
        results = " ".join(re.findall(r"\bdkim=\w+", str(message["Authentication-Results"] or "")))
        if results:
            self._say(f"        Authentication-Results: {results}")
        return message

    @contextmanager
    def _smtp(self, person: Person, sign_in: bool = True) -> Iterator[smtplib.SMTP]:
        session = person.smtp()
        try:
            if sign_in:
                session.login(person.address, person.password)
            yield session
        finally:
            session.close()

    @contextmanager
    def _imap(self, person: Person) -> Iterator[imaplib.IMAP4_SSL]:
        session = person.imap()
        try:
            yield session
        finally:
            session.shutdown()

    def _professional(self, operator: Operator, name: str, address: str, rpps: str) -> Person:
        password = secrets.token_urlsafe(12)
        _, prenom, nom = name.split()
        arguments = ("--type", "PER", "--rpps", _luhn(rpps), "--nom", nom, "--prenom", prenom, "--password-stdin")
        self._show(
            f"$ mssante bal create {address}", operator.run("bal", "create", address, *arguments, given=password)
        )
        return Person(name, address, password, operator)


def _luhn(digits: str) -> str:
    return digits + next(key for key in "0123456789" if luhn_holds(digits + key))


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _bye(session: imaplib.IMAP4_SSL) -> str:
    """The line with which the server ends the session by itself."""
    session.sock.settimeout(TIMEOUT_S)
    try:
        line = session.readline()
    except TimeoutError:
        raise DemoFailure(f"the open IMAP session did not end in {TIMEOUT_S} s") from None
    finally:
        session.shutdown()
    if not line.startswith(b"* BYE"):
        raise DemoFailure(f"the open IMAP session said {line!r} instead of * BYE")
    return line.decode("utf-8", "replace")
