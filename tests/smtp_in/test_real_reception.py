"""The doors with everything behind them: store, accounts, white list, rules; the published table of answers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from espace_confiance.development import (
    Operator,
    TrustSpace,
    create_trust_space,
    issue_certificate,
    join_trust_space,
)
from espace_confiance.holder import EspaceConfiance
from mssante.domain.address import parse_address
from mssante.domain.bal import BalState, BalType
from mssante.domain.clock import SystemClock
from mssante.domain.ins import ins_key
from mssante.domain.transaction import Charter
from mssante.services import bals, patients
from mssante.services.accounts import Accounts
from mssante.services.arrival import Intake
from mssante.services.passwords import PasswordCost, Passwords
from mssante.services.reception import Reception
from mssante.services.resolver import Resolver
from mssante.store import Store, StoreError, StoreFull, StoreUnavailable
from mssante.store.accounts import NewBal, set_quota
from mssante.store.mail import entries, folder_by_name, rows
from mssante.store.patients import Identity, NewPatient
from smtp_in.listeners import Listeners, start
from smtp_in.settings import SmtpInSettings
from tests.smtp_in.client import Client
from tests.smtp_in.doors import client_context
from tls.contexts import Contexts

CABINET, PATIENTS, CLINIQUE = "cabinet.mssante.test", "patient.mssante.test", "clinique.mssante.test"
SENDER = f"dr.lambert@{CLINIQUE}"
DOCTOR = f"dr.martin@{CABINET}"
INS = f"2550899364001{ins_key('2550899364001'):02d}"
OTHER_INS = f"1840275120005{ins_key('1840275120005'):02d}"
PATIENT = f"{INS}@{PATIENTS}"
WRONG_KEY = f"2550899364001{(ins_key('2550899364001') + 1) % 97:02d}@{PATIENTS}"
PASSWORD = "mot de passe"


@dataclass(frozen=True)
class Spaces:
    """One trust space, two operators."""

    cabinet: TrustSpace
    clinique: TrustSpace


@pytest.fixture(scope="session")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> Spaces:
    place, now_us = tmp_path_factory.mktemp("espace"), SystemClock().now_us()
    cabinet = create_trust_space(
        place / "cabinet", Operator("Cabinet", f"mx.{CABINET}", (CABINET, PATIENTS)), now_us=now_us
    )
    clinique = join_trust_space(
        place / "clinique",
        place / "cabinet",
        Operator("Clinique", f"mx.{CLINIQUE}", (CLINIQUE,), port=2600),
        now_us=now_us,
    )
    return Spaces(cabinet, clinique)


class House:
    """The operator of `CABINET` and of the patients, and those who come to its doors."""

    def __init__(self, store: Store, listeners: Listeners, spaces: Spaces) -> None:
        self.store, self.listeners, self.spaces = store, listeners, spaces
        self.clients: list[Client] = []

    async def connect(self, door: str, space: TrustSpace | None = None) -> Client:
        context = client_context(self.spaces.cabinet.roots, (space.certificate, space.key) if space else None)
        port = self.listeners.ports[door]
        client = await Client.connect(port, context if door == "submissions" else None)
        self.clients.append(client)
        await client.reply()
        if door == "mx":
            await client.ask("EHLO mx.test")
            await client.ask("STARTTLS")
            await client.start_tls(context)
        await client.ask("EHLO mx.test")
        return client

    async def mx(self) -> Client:
        return await self.connect("mx", self.spaces.clinique)

    async def holder(self, address: str) -> Client:
        client = await self.connect("submissions")
        assert (await self.sign_in(client, address)).startswith("235")
        return client

    async def sign_in(self, client: Client, address: str) -> str:
        return await client.ask(
            f"AUTH PLAIN {base64.b64encode(f'{chr(0)}{address}{chr(0)}{PASSWORD}'.encode()).decode()}"
        )

    def inbox(self, address: str) -> list[bytes]:
        """The messages of a bal, what we put before them included."""

        def read(conn: Any) -> list[bytes]:
            folder = folder_by_name(conn, bals.known_bal(conn, parse_address(address)).id, "INBOX")
            assert folder is not None
            found = rows(conn, folder.id, [entry.uid for entry in entries(conn, folder.id)])
            return [row.prepend + self.store.contents.read(row.content) for row in found]

        return self.store.read_now(read)


@pytest.fixture
async def house(spaces: Spaces, tmp_path: Path) -> AsyncIterator[House]:
    clock = SystemClock()
    store = Store.open(
        "sqlite:///mssante.db",
        "file:contents",
        bytes(32),
        clock=clock,
        base=tmp_path,
        patient_domains=frozenset({PATIENTS}),
        create=True,
    )
    passwords = Passwords(PasswordCost(memory_kib=8, passes=1))
    password_hash = passwords.hash(PASSWORD)
    store.write_now(
        bals.open_bals,
        [
            NewBal(address=f"{name}@{CABINET}", type=BalType.PER, state=state, password_hash=password_hash)
            for name, state in {
                "dr.martin": BalState.ACTIVE,
                "dr.durand": BalState.ACTIVE,
                "plein": BalState.ACTIVE,
                "clos": BalState.CLOSED,
                "suspendu": BalState.SUSPENDED,
            }.items()
        ],
        "test",
    )
    full = store.read_now(bals.known_bal, parse_address(f"plein@{CABINET}"))
    store.write_now(set_quota, full.id, 0)
    identity = Identity(ins=INS, nom="NOM", prenoms="PRENOM", naissance="1955-08-01", sexe="F", lieu="99364")
    store.write_now(patients.register, [NewPatient(parse_address(PATIENT), identity, password_hash)], "test")
    intake = Intake(
        store, Resolver(("127.0.0.1", 9)), clock, hostname=f"mx.{CABINET}", sign=None, verify=False,
        queue_lifetime_us=3_600_000_000,
    )  # fmt: skip
    reception = Reception(
        store,
        Accounts(store, passwords, clock),
        EspaceConfiance(spaces.cabinet.liste_blanche, spaces.cabinet.signer),
        intake,
        Charter(frozenset({PATIENTS})),
        domains=frozenset({CABINET, PATIENTS}),
        max_size=100_000,
        max_size_patient=50_000,
    )
    files = spaces.cabinet
    settings = SmtpInSettings(f"mx.{CABINET}", mx=0, submission=0, submissions=0, max_size=100_000)
    listeners = await start(reception, settings, Contexts(files.certificate, files.key, files.roots, files.crl))
    made = House(store, listeners, spaces)
    yield made
    for client in made.clients:
        client.close()
    await listeners.drain(1)
    await asyncio.to_thread(store.close)


async def deliver(
    client: Client, sender: str, *recipients: str, content: bytes = b"Subject: essai\r\n\r\nok\r\n"
) -> str:
    """The last answer of a whole transaction; the first refusal, when there is one before DATA."""
    for command in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA"):
        answer = await client.ask(command)
        if answer[0] not in "23":
            return answer
    return await client.ask(content + b".\r\n")


async def test_message_between_operators_is_there_when_it_is_promised(house: House) -> None:
    client = await house.mx()
    answer = await deliver(client, SENDER, DOCTOR, f"dr.durand@{CABINET}", content=b"Subject: a\r\n\r\n..b\r\n")
    assert answer.startswith("250 2.0.0 Message accepte: ")
    identifier = answer.rpartition(" ")[2]
    for address in (DOCTOR, f"dr.durand@{CABINET}"):
        (stored,) = house.inbox(address)
        assert stored.endswith(b"Subject: a\r\n\r\n.b\r\n")
        assert f"with ESMTPS id {identifier}".encode() in stored
        assert stored.startswith(f"Return-Path: <{SENDER}>\r\n".encode())


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        (f"inconnu@{CABINET}", "550 5.1.1"),
        (f"{OTHER_INS}@{PATIENTS}", "550 5.1.1"),
        (WRONG_KEY, "550 5.1.3"),
        (f"{INS[:-1]}@{PATIENTS}", "550 5.1.3"),
        (f"clos@{CABINET}", "550 5.2.1"),
        (f"plein@{CABINET}", "452 4.2.2"),
        ("quelqu.un@ailleurs.test", "550 5.7.1"),
        (f"dr.lambert@{CLINIQUE}", "550 5.7.1"),  # listed, and none of ours: the MX relays nothing
        (DOCTOR, "250 2.1.5"),
        (f"suspendu@{CABINET}", "250 2.1.5"),
        (PATIENT, "250 2.1.5"),
    ],
)
async def test_recipient(recipient: str, expected: str, house: House) -> None:
    client = await house.mx()
    assert (await client.ask(f"MAIL FROM:<{SENDER}>")).startswith("250")
    assert (await client.ask(f"RCPT TO:<{recipient}>")).startswith(expected)


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        (SENDER, "250 2.1.0"),
        ("", "250 2.1.0"),  # a notice, from an operator of the trust space
        (DOCTOR, "550 5.7.1"),  # ours: another operator's certificate is not listed for it
        ("quelqu.un@ailleurs.test", "550 5.7.1"),
    ],
)
async def test_sender_and_certificate(sender: str, expected: str, house: House) -> None:
    client = await house.mx()
    assert (await client.ask(f"MAIL FROM:<{sender}>")).startswith(expected)


async def test_forty_one_recipients(house: House) -> None:
    """Distinct ones count: the same recipient again is no other."""
    addresses = [f"r{number}@{CABINET}" for number in range(41)]
    house.store.write_now(bals.open_bals, [NewBal(address=one, type=BalType.PER) for one in addresses], "test")
    client = await house.mx()
    await client.ask(f"MAIL FROM:<{SENDER}>")
    await client.send(
        "".join(f"RCPT TO:<{one}>\r\n" for one in (addresses[0], *addresses, "x@y.z")).encode() + b"DATA\r\n"
    )
    answers = [(await client.line())[:9] for _ in range(44)]
    assert answers == ["250 2.1.5"] * 41 + ["550 5.5.3"] * 2 + ["554 5.5.3"]
    assert house.inbox(addresses[0]) == []


async def test_holder_sends_from_his_own_address_only(house: House) -> None:
    client = await house.holder(DOCTOR)
    assert (await client.ask(f"MAIL FROM:<dr.durand@{CABINET}>")).startswith("550 5.7.1")
    assert (await client.ask(f"MAIL FROM:<{DOCTOR}>")).startswith("250")
    assert (await client.ask("RCPT TO:<quelqu.un@ailleurs.test>")).startswith("550 5.7.1")
    assert (await client.ask(f"RCPT TO:<{SENDER}>")).startswith("250")
    await client.ask("RSET")
    content = f"From: {DOCTOR}\r\nSubject: x\r\n\r\nok\r\n".encode()
    assert (await deliver(client, DOCTOR, f"dr.durand@{CABINET}", content=content)).startswith("250")
    assert b"with ESMTPSA id " in house.inbox(f"dr.durand@{CABINET}")[0]


async def test_exchange_with_a_patient(house: House) -> None:
    """The patient waits to be written to, answers, and is silent again after [FIN]."""
    doctor, patient = await house.holder(DOCTOR), await house.holder(PATIENT)

    async def answer(recipient: str = DOCTOR) -> str:
        await patient.ask("RSET")
        return await deliver(patient, PATIENT, recipient, content=f"From: {PATIENT}\r\n\r\nok\r\n".encode())

    async def write(subject: str) -> str:
        content = f"From: {DOCTOR}\r\nSubject: {subject}\r\n\r\nok\r\n".encode()
        return await deliver(doctor, DOCTOR, PATIENT, content=content)

    assert (await answer()).startswith("550 5.7.1")
    assert (await write("Vos resultats")).startswith("250")
    assert (await answer()).startswith("250")
    assert (await answer(f"dr.durand@{CABINET}")).startswith("550 5.7.1")
    assert (await answer(f"{OTHER_INS}@{PATIENTS}")).startswith("550 5.")
    assert (await write("[FIN] Merci")).startswith("250")
    assert (await answer()).startswith("550 5.7.1")
    assert len(house.inbox(DOCTOR)) == 1


@pytest.mark.parametrize(
    ("recipient", "announced", "size", "expected"),
    [
        (DOCTOR, 100_001, 0, "552 5.3.4"),
        (DOCTOR, None, 100_001, "552 5.3.4"),
        (DOCTOR, None, 100_000, "250 2.0.0"),
        (PATIENT, None, 50_001, "552 5.3.4"),
        (PATIENT, None, 50_000, "250 2.0.0"),
    ],
)
async def test_size(recipient: str, announced: int | None, size: int, expected: str, house: House) -> None:
    client = await house.mx()
    if announced is not None:
        assert (await client.ask(f"MAIL FROM:<{SENDER}> SIZE={announced}")).startswith(expected)
        return
    lines, short = divmod(size, 1000)
    content = b"S: " + b"y" * 493 + b"\r\n\r\n" + b"z" * (short + 498) + b"\r\n" + (b"w" * 998 + b"\r\n") * (lines - 1)
    assert len(content) == size
    assert (await deliver(client, SENDER, recipient, content=content)).startswith(expected)


@pytest.mark.parametrize("content", [b"a: b\r\n\r\nx\ny\r\n", b"a: b\r\n\r\nx\ry\r\n", b"\0\r\n", b"x" * 999 + b"\r\n"])
async def test_content(content: bytes, house: House) -> None:
    assert (await deliver(await house.mx(), SENDER, DOCTOR, content=content)).startswith("550 5.6.0")
    assert house.inbox(DOCTOR) == []


@pytest.mark.parametrize("address", [f"suspendu@{CABINET}", f"clos@{CABINET}", f"inconnu@{CABINET}", "n'importe quoi"])
async def test_account_that_may_not_sign_in(address: str, house: House) -> None:
    client = await house.connect("submissions")
    assert (await house.sign_in(client, address)).startswith("535 5.7.8")


@pytest.mark.parametrize("step", [bals.suspend, bals.close])
async def test_open_session_of_a_closed_account(step: Any, house: House) -> None:
    client = await house.holder(DOCTOR)
    await house.store.write(step, parse_address(DOCTOR), "abus", "regulateur")
    assert (await client.line()).startswith("421 4.7.0")
    assert await client.rest() == b""


@pytest.mark.parametrize(
    ("fault", "expected"), [(StoreUnavailable("db.test refused"), "451 4.3.0"), (StoreFull("no space"), "452 4.3.1")]
)
async def test_store_away_or_full(
    fault: StoreError, expected: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is accepted, the reason stays here, and the same session goes on when the store is back."""

    async def fail(*_: Any, **__: Any) -> None:
        raise fault

    client = await house.mx()
    with monkeypatch.context() as away:
        away.setattr(house.store, "write", fail)
        answer = await deliver(client, SENDER, DOCTOR)
    assert answer.startswith(expected)
    assert str(fault) not in answer
    assert house.inbox(DOCTOR) == []
    assert (await deliver(client, SENDER, DOCTOR)).startswith("250")


async def test_store_away_at_rcpt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("db.test refused")

    client = await house.mx()
    await client.ask(f"MAIL FROM:<{SENDER}>")
    with monkeypatch.context() as away:
        away.setattr(house.store, "read", fail)
        assert (await client.ask(f"RCPT TO:<{DOCTOR}>")).startswith("451 4.3.0")
    assert (await client.ask(f"RCPT TO:<{DOCTOR}>")).startswith("250")


# --- manners between operators --------------------------------------------------------------------


async def test_a_certificate_that_no_entry_names_sends_nothing(house: House, tmp_path: Path) -> None:
    """Of the authority, and of nobody in the white list: not even a notice is taken from it."""
    stranger = tmp_path / "stranger"
    directory = house.spaces.cabinet.certificate.parent.parent
    issue_certificate(
        directory, cn="mx.inconnu.test", ou="399999999900015", o="Inconnu", kind="serv", out=stranger,
        now_us=SystemClock().now_us(),
    )  # fmt: skip
    context = client_context(house.spaces.cabinet.roots, (stranger / "cert.pem", stranger / "cert.key"))
    client = await Client.connect(house.listeners.ports["mx"])
    house.clients.append(client)
    await client.reply()
    await client.ask("EHLO mx.inconnu.test")
    await client.ask("STARTTLS")
    await client.start_tls(context)
    await client.ask("EHLO mx.inconnu.test")
    for sender in ("", SENDER, DOCTOR, "x@inconnu.test"):
        assert (await client.ask(f"MAIL FROM:<{sender}>")).startswith("550 5.7.1")


@pytest.mark.parametrize(
    ("sender", "author", "expected"),
    [
        (SENDER, SENDER, "250 2.0.0"),
        (SENDER, f"secretariat@{CLINIQUE}", "250 2.0.0"),
        (SENDER, DOCTOR, "550 5.7.1"),
        (SENDER, "quelqu.un@ailleurs.test", "550 5.7.1"),
        (SENDER, f"{SENDER}, {DOCTOR}", "550 5.7.1"),
        (SENDER, "Dr Martin", "550 5.7.1"),
        (SENDER, "", "550 5.7.1"),
        ("", f"mailer-daemon@mx.{CLINIQUE}", "250 2.0.0"),
        ("", DOCTOR, "550 5.7.1"),
    ],
)
async def test_from_of_another_operator(sender: str, author: str, expected: str, house: House) -> None:
    client = await house.mx()
    content = f"From: {author}\r\nSubject: x\r\n\r\nok\r\n".encode()
    assert (await deliver(client, sender, DOCTOR, content=content)).startswith(expected)
    assert len(house.inbox(DOCTOR)) == int(expected.startswith("250"))


async def test_a_message_that_goes_round(house: House) -> None:
    client = await house.mx()
    hop = b"Received: from a by b; Mon, 3 Nov 2025 09:00:00 +0100\r\n"
    assert (await deliver(client, SENDER, DOCTOR, content=hop * 31 + b"\r\nok\r\n")).startswith("554 5.4.6")
    assert (await deliver(client, SENDER, DOCTOR, content=hop * 30 + b"\r\nok\r\n")).startswith("250")


async def test_forged_results_never_reach_the_reader(house: House) -> None:
    client = await house.mx()
    forged = f"Authentication-Results: mx.{CABINET}; dkim=pass header.d={CLINIQUE}\r\n".encode()
    assert (await deliver(client, SENDER, DOCTOR, content=forged + b"Subject: x\r\n\r\nok\r\n")).startswith("250")
    assert house.inbox(DOCTOR)[0].endswith(b"\r\nSubject: x\r\n\r\nok\r\n")
    assert b"dkim=pass" not in house.inbox(DOCTOR)[0]


async def test_message_in_chunks(house: House) -> None:
    client = await house.mx()
    await client.send(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{DOCTOR}>\r\n".encode())
    await client.send(b"BDAT 12\r\nSubject: x\r\nBDAT 9\r\n\r\n.\r\nun\r\nBDAT 2 LAST\r\nok")
    assert [(await client.line())[:9] for _ in range(5)] == ["250 2.1.0", "250 2.1.5", *["250 2.0.0"] * 3]
    assert house.inbox(DOCTOR)[0].endswith(b"Subject: x\r\n\r\n.\r\nun\r\nok\r\n")


@pytest.mark.parametrize(("said", "expected"), [(" SMTPUTF8", "250 2.0.0"), ("", "553 5.6.7")])
async def test_an_accented_sender_needs_smtputf8(said: str, expected: str, house: House) -> None:
    client = await house.mx()
    answer = await client.ask(f"MAIL FROM:<hélène@{CLINIQUE}>{said}")
    if answer.startswith("250"):
        await client.ask(f"RCPT TO:<{DOCTOR}>")
        await client.ask("DATA")
        answer = await client.ask(f"From: hélène@{CLINIQUE}\r\nSubject: é\r\n\r\nok\r\n.\r\n".encode())
        assert f"Return-Path: <hélène@{CLINIQUE}>\r\n".encode() in house.inbox(DOCTOR)[0]
        assert b" with UTF8SMTPS id " in house.inbox(DOCTOR)[0]
    assert answer.startswith(expected)


async def test_what_is_never_offered(house: House) -> None:
    """LIMITS RCPTMAX would have peers cut a message in several, each within the limit of recipients (RFC 9422)."""
    client = await house.mx()
    await client.send(b"EHLO mx.test\r\n")
    offered = " ".join(await client.reply()).upper()
    assert "CHUNKING" in offered
    assert not any(word in offered for word in ("LIMITS", "RCPTMAX", "BINARYMIME", "STARTTLS", "AUTH", "ETRN"))
