"""Citizens are told of new mail: through a real SMTP server, once an hour, without a word of what came."""

import asyncio
import email
import email.policy
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from espace_confiance.development import TrustSpace
from mssante.domain.address import parse_address
from mssante.domain.flags import SEEN
from mssante.domain.ins import ins_key
from mssante.services import bals, patients
from mssante.services.arrival import Stored
from mssante.services.patient_notices import BATCH, PatientNotices, Relay, RelayDown, Wording
from mssante.store import Conn, Tx, schema
from mssante.store.accounts import find_bal
from mssante.store.mail import entries, folder_by_name, store_flags
from mssante.store.patient_notices import next_due_us
from mssante.store.patients import Identity, NewPatient, patient, set_notify
from tests.mssante.services.conftest import COLLEAGUE, PATIENTS, Cabinet
from tls.contexts import https_client

HOUR = 3600
OWN = "jeanne@exemple.test"
SECRET = "un secret du relais"
SUBJECT = "Resultat d'analyse de sang"


class Sink:
    """A relay of the Internet: keeps what it takes. ``answers``: what RCPT is told for an address."""

    def __init__(self) -> None:
        self.port = 0
        self.taken: list[tuple[str, list[str], email.message.EmailMessage]] = []
        self.answers: dict[str, str] = {}
        self.data = "250 2.0.0 pris"
        self.hangs_up = False
        self.came = asyncio.Event()
        self.encrypted: set[bool] = set()
        self.sessions: set[Session] = set()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.came.set()
        self.sessions.add(session)
        self.encrypted.add(session.ssl is not None)
        if self.hangs_up:
            assert server.transport is not None
            server.transport.abort()  # type: ignore[attr-defined]
        if self.data.startswith("250"):
            assert isinstance(envelope.content, bytes)
            message = email.message_from_bytes(envelope.content, policy=email.policy.default)
            assert isinstance(message, email.message.EmailMessage)
            self.taken.append((envelope.mail_from or "", envelope.rcpt_tos, message))
        return self.data

    @property
    def told(self) -> list[str]:
        return [address for _, recipients, _ in self.taken for address in recipients]


@asynccontextmanager
async def listening(sink: Sink, implicit: ssl.SSLContext | None = None, **how: object) -> AsyncIterator[Sink]:
    loop = asyncio.get_running_loop()
    make: Callable[[], SMTP] = lambda: SMTP(sink, hostname="relais.exemple.test", **how)  # type: ignore[arg-type]
    server = await loop.create_server(make, "127.0.0.1", sink.port, ssl=implicit)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with listening(Sink()) as listening_sink:
        yield listening_sink


def teller(cabinet: Cabinet, sink: Sink, **changes: object) -> PatientNotices:
    """As a server that was just started makes it."""
    known: dict[str, object] = {"host": "localhost", "port": sink.port, "tls": None, "implicit": False}
    relay = Relay(**(known | {"user": "", "password": "", "timeout_s": 5.0} | changes))  # type: ignore[arg-type]
    wording = Wording("Opérateur Exemple", "ne-pas-repondre@exemple.test", "mx.exemple.test", "https://sante.exemple")
    return PatientNotices(cabinet.store, cabinet.clock, relay, wording, every_us=HOUR * 1_000_000)


async def citizens(cabinet: Cabinet, *notify: str | None) -> list[str]:
    cabinet.intake.notices_every_us = HOUR * 1_000_000
    new = []
    for number, own in enumerate(notify):
        root = f"2790351{number + 1:06d}"
        ins = f"{root}{ins_key(root):02d}"
        identity = Identity(
            ins=ins, nom="Durand", prenoms="Jeanne", naissance="1979-03-05", sexe="F", lieu="75115", notify=own
        )
        new.append(NewPatient(parse_address(f"{ins}@{PATIENTS}"), identity))
    await cabinet.store.write(patients.register, new, "operateur")
    return [str(one.address) for one in new]


async def write(cabinet: Cabinet, *to: str) -> None:
    content = f"From: <{COLLEAGUE}>\r\nSubject: {SUBJECT}\r\nMessage-ID: <m@x>\r\n\r\nBonjour\r\n".encode()
    for address in to:
        assert isinstance(await cabinet.send(cabinet.colleague, COLLEAGUE, [address], content), Stored)


async def test_a_notice_says_that_there_is_mail_and_nothing_else(cabinet: Cabinet, sink: Sink) -> None:
    (address, silent) = await citizens(cabinet, OWN, None)
    await write(cabinet, address, silent)
    notices = teller(cabinet, sink)
    assert await notices.turn() == 0
    assert await notices.turn() > 0
    [(sender, recipients, notice)] = sink.taken
    assert (sender, recipients, notices.sent) == ("ne-pas-repondre@exemple.test", [OWN], 1)
    assert notice["Subject"] == "Nouveau message dans votre messagerie de santé"
    assert notice["Auto-Submitted"] == "auto-generated"
    text = notice.as_string() + notice.get_content()
    assert "https://sante.exemple" in text
    for word in (address[:15], COLLEAGUE, "paul", SUBJECT, "analyse", "Durand", "Jeanne", "m@x"):
        assert word not in text.replace(OWN, "")
    journal = cabinet.store.read_now(lambda conn: [*conn.execute(schema.journal.select())])
    assert not [row for row in journal if OWN in str(row) or address[:15] in str(row)]


async def test_once_an_hour_whatever_comes(cabinet: Cabinet, sink: Sink) -> None:
    (address,) = await citizens(cabinet, OWN)
    for _ in range(50):
        await write(cabinet, address)
    assert await teller(cabinet, sink).turn() == 0
    cabinet.clock.advance(1)
    for _ in range(50):
        await write(cabinet, address)
        assert await teller(cabinet, sink).turn() > 0
    assert sink.told == [OWN]
    cabinet.clock.advance(HOUR - 2)
    assert await teller(cabinet, sink).turn() > 0
    cabinet.clock.advance(1)
    assert await teller(cabinet, sink).turn() == 0
    assert sink.told == [OWN, OWN]
    # Nothing came since: silence, then the next mail is told at once, the hour being over.
    cabinet.clock.advance(10 * HOUR)
    assert await teller(cabinet, sink).turn() > 0
    await write(cabinet, address)
    assert await teller(cabinet, sink).turn() == 0
    assert len(sink.told) == 3


async def test_many_citizens_by_one_connection_a_batch(cabinet: Cabinet, sink: Sink) -> None:
    own = [f"c{number}@exemple.test" for number in range(2 * BATCH + 5)]
    await write(cabinet, *await citizens(cabinet, *own))
    notices = teller(cabinet, sink)
    for _ in range(3):
        assert await notices.turn() == 0
    assert await notices.turn() > 0
    assert sorted(sink.told) == sorted(own)
    assert len(sink.sessions) == 3


async def test_a_relay_that_is_down_delays_no_mail_and_loses_no_notice(cabinet: Cabinet) -> None:
    (address,) = await citizens(cabinet, OWN)
    async with listening(Sink()) as gone:
        pass
    await write(cabinet, address)
    assert len(cabinet.inbox(address)) == 1
    for _ in range(3):
        with pytest.raises(RelayDown):
            await teller(cabinet, gone).turn()
    cabinet.clock.advance(20 * HOUR)
    async with listening(gone) as back:
        assert await teller(cabinet, back).turn() == 0
        assert back.told == [OWN]


async def test_what_the_relay_puts_off_comes_later_and_what_it_refuses_does_not(cabinet: Cabinet, sink: Sink) -> None:
    await write(cabinet, *await citizens(cabinet, "plein@exemple.test", "parti@exemple.test", "libre@exemple.test"))
    sink.answers = {"plein@exemple.test": "452 4.2.2 plein", "parti@exemple.test": "550 5.1.1 inconnu"}
    assert await teller(cabinet, sink).turn() == 0
    assert sink.told == ["libre@exemple.test"]
    assert await teller(cabinet, sink).turn() == 60.0
    cabinet.clock.advance(60)
    assert await teller(cabinet, sink).turn() == 0
    assert await teller(cabinet, sink).turn() == 60.0
    sink.answers = {}
    cabinet.clock.advance(60)
    assert await teller(cabinet, sink).turn() > 0  # the second wait is longer
    cabinet.clock.advance(240)
    assert await teller(cabinet, sink).turn() == 0
    assert sink.told == ["libre@exemple.test", "plein@exemple.test"]
    assert cabinet.store.read_now(next_due_us) is None


async def test_a_notice_of_unknown_outcome_waits_for_its_next_turn(cabinet: Cabinet, sink: Sink) -> None:
    """The connection broke after DATA: it may have gone, and there is one an hour."""
    await write(cabinet, *await citizens(cabinet, OWN, "autre@exemple.test"))
    sink.hangs_up = True
    with pytest.raises(RelayDown):
        await teller(cabinet, sink).turn()
    sink.hangs_up = False
    sink.taken.clear()
    # The other one was not tried: it is due at once.
    assert await teller(cabinet, sink).turn() == 0
    assert len(sink.told) == 1
    assert await teller(cabinet, sink).turn() > 0
    cabinet.clock.advance(HOUR)
    assert await teller(cabinet, sink).turn() == 0
    assert sorted(sink.told) == sorted([OWN, "autre@exemple.test"])


async def test_who_has_read_his_mail_or_has_no_mailbox_any_more_is_told_nothing(cabinet: Cabinet, sink: Sink) -> None:
    own = [f"c{number}@exemple.test" for number in range(4)]
    read, closed, unwilling, other = await citizens(cabinet, *own)
    await write(cabinet, read, closed, unwilling, other)

    def looked(tx: Tx) -> None:
        bal = find_bal(tx.conn, read)
        assert bal is not None
        inbox = folder_by_name(tx.conn, bal.id, "INBOX")
        assert inbox is not None
        store_flags(tx, inbox.id, [one.uid for one in entries(tx.conn, inbox.id)], "+", SEEN, ())

    def known(conn: Conn) -> object:
        bal = find_bal(conn, unwilling)
        assert bal is not None
        return patient(conn, bal.id)

    await cabinet.store.write(looked)
    await cabinet.store.write(bals.close, parse_address(closed), "essai", "operateur")
    await cabinet.store.write(set_notify, cabinet.store.read_now(known), None)  # type: ignore[arg-type]
    assert await teller(cabinet, sink).turn() == 0
    assert sink.told == ["c3@exemple.test"]
    assert cabinet.store.read_now(next_due_us) is None


async def test_the_running_service_hears_of_mail_and_stops_when_told(cabinet: Cabinet, sink: Sink) -> None:
    (address,) = await citizens(cabinet, OWN)
    notices = teller(cabinet, sink)
    running = asyncio.create_task(notices.run())
    try:
        async with asyncio.timeout(120):
            await write(cabinet, address)
            await sink.came.wait()
    finally:
        notices.stop()
        await running
    assert sink.told == [OWN]
    assert await teller(cabinet, sink).turn() > 0


@pytest.mark.parametrize("implicit", [False, True])
async def test_the_relay_is_signed_in_to_under_tls(
    cabinet: Cabinet, space: tuple[TrustSpace, TrustSpace], implicit: bool
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(space[0].certificate, space[0].key)
    asked: list[object] = []

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        asked.append(data)
        return AuthResult(success=getattr(data, "password", b"") == SECRET.encode(), handled=False)

    how: dict[str, object] = {"authenticator": authenticate}
    if not implicit:
        how |= {"tls_context": context, "require_starttls": True, "auth_required": True}
    else:
        how |= {"auth_require_tls": False}
    (address,) = await citizens(cabinet, OWN)
    await write(cabinet, address)
    tls = https_client(space[0].roots)
    told = {"tls": tls, "implicit": implicit, "user": "operateur"}
    async with listening(Sink(), context if implicit else None, **how) as sink:
        with pytest.raises(RelayDown) as refused:
            await teller(cabinet, sink, **told, password="autre").turn()
        assert "535" in str(refused.value)
        assert await teller(cabinet, sink, **told, password=SECRET).turn() == 0
        assert sink.told == [OWN]
        # A relay whose certificate is not believed gets nothing, not even the password.
        before = len(asked)
        cabinet.clock.advance(2 * HOUR)
        await write(cabinet, address)
        with pytest.raises(RelayDown):
            await teller(cabinet, sink, **(told | {"tls": https_client(None)}), password=SECRET).turn()
        assert len(asked) == before


def test_the_password_is_read_from_its_file(tmp_path: Path) -> None:
    import msgspec

    from mssante.settings import Operator, Settings
    from mssante.settings_people import PatientNotices
    from mssante.trust import relay_of
    from tls.certificates import TlsError

    operator = Operator(name="Exemple", hostname="mx.exemple.test", domains=("exemple.test",))
    file = tmp_path / "secret"
    notices = PatientNotices(host="localhost", tls="off", user="operateur", password_file=file, sender="a@b.test")
    settings = Settings(operator=operator, patient_notices=notices)
    with pytest.raises(TlsError):
        relay_of(settings)
    file.write_text(f"{SECRET}\n")
    relay = relay_of(settings)
    assert relay is not None
    assert (relay.password, relay.tls) == (SECRET, None)
    none = msgspec.structs.replace(settings, patient_notices=PatientNotices())
    assert relay_of(none) is None
