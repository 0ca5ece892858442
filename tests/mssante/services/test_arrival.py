"""From DATA to the store: what is stored, what is added before it, and what is refused without a trace."""

import email
import email.policy
from base64 import b64decode

import pytest

from mssante.domain.address import parse_address
from mssante.domain.bal import BalState
from mssante.domain.exchange import ExchangeState
from mssante.domain.verdict import Accept, Defer, Refuse, Rule
from mssante.mime.card import Card
from mssante.mime.dkim import Outcome, Verifier, key_record
from mssante.services import bals
from mssante.services.arrival import ArrivalRefused, DkimKey, Stored
from mssante.store import Conn
from mssante.store.accounts import find_bal, set_state
from mssante.store.exchanges import record_exchange
from mssante.store.journal import entries
from mssante.store.messages import load_message
from mssante.store.queue import listing
from mssante.store.verify import verify
from tests.mssante.services.conftest import (
    CABINET,
    COLLEAGUE,
    DOCTOR,
    PATIENT,
    SECRETARY,
    TRACE,
    Cabinet,
)
from tests.mssante.store.made import exchange


def mail(sender: str, subject: str = "Compte rendu", *fields: str, body: str = "Bonjour.\r\n") -> bytes:
    head = [
        f"From: <{sender}>",
        "To: qui@exemple.example",
        f"Subject: {subject}",
        "Date: Mon, 3 Nov 2025 09:00:00 +0100",
    ]
    return ("\r\n".join([*head, "Message-ID: <m1@exemple.example>", *fields]) + "\r\n\r\n" + body).encode()


@pytest.mark.parametrize("piece", [0, 1, 7, 300])
async def test_what_arrived_is_stored_octet_for_octet_behind_our_fields(cabinet: Cabinet, piece: int) -> None:
    content = mail(COLLEAGUE, body="é\r\n.\r\n\r\n")
    stored = await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR, SECRETARY], content, piece=piece)
    assert isinstance(stored, Stored)
    [read] = cabinet.inbox(DOCTOR)
    assert read.endswith(content)
    assert cabinet.inbox(SECRETARY) == [read]
    ours = email.message_from_bytes(read[: -len(content)], policy=email.policy.default)
    assert ours["Return-Path"] == f"<{COLLEAGUE}>"
    assert ours["Authentication-Results"].split() == [f"mx.{CABINET};", "dkim=none"]
    for word in (TRACE.helo, TRACE.peer_ip, f"by mx.{CABINET}", "ESMTPS", stored.id, "TLSv1.3"):
        assert word in ours["Received"]


async def test_a_message_of_header_alone_and_one_without_header(cabinet: Cabinet) -> None:
    for content in (b"Subject: seul\r\n", b"\r\nsans en-tete\r\n"):
        assert isinstance(await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR], content, piece=1), Stored)
    assert [
        read.endswith(end)
        for read, end in zip(cabinet.inbox(DOCTOR), (b"seul\r\n", b"\r\n\r\nsans en-tete\r\n"), strict=True)
    ] == [True, True]


async def test_a_signature_whose_key_cannot_be_asked_for_is_noted_so(cabinet: Cabinet) -> None:
    """The DNS does not answer here: neither yes nor no, and the message is not lost for that."""
    doctor = await cabinet.signed_in()
    assert isinstance(await cabinet.send(doctor, DOCTOR, [SECRETARY, COLLEAGUE], mail(DOCTOR)), Stored)
    [signed] = cabinet.inbox(SECRETARY)
    again = signed.replace(f"From: <{DOCTOR}>".encode(), f"From: <{COLLEAGUE}>".encode())
    assert isinstance(await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR], again), Stored)
    assert b"dkim=temperror" in cabinet.inbox(DOCTOR)[-1].split(b"Received:")[0]


async def test_what_leaves_is_signed_and_the_signature_verifies(cabinet: Cabinet, signing_key: DkimKey) -> None:
    doctor = await cabinet.signed_in()
    assert isinstance(await cabinet.send(doctor, DOCTOR, [COLLEAGUE], mail(DOCTOR), piece=5), Stored)
    read = _leaving(cabinet)
    header, _, body = read.partition(b"\r\n\r\n")
    verifier = Verifier(header + b"\r\n\r\n", now_us=cabinet.clock.now_us())
    verifier.update(body)
    assert verifier.key_names() == [f"essai._domainkey.{CABINET}"]
    record = key_record(signing_key.key).encode()
    assert [result.outcome for result in verifier.results({verifier.key_names()[0]: record})] == [Outcome.PASS]
    assert b"Return-Path" not in read
    assert TRACE.peer_ip.encode() not in read


async def test_missing_date_and_message_id_are_completed_under_the_signature(cabinet: Cabinet) -> None:
    doctor = await cabinet.signed_in()
    stored = await cabinet.send(doctor, DOCTOR, [COLLEAGUE], f"From: <{DOCTOR}>\r\n\r\nBonjour\r\n".encode())
    assert isinstance(stored, Stored)
    read = email.message_from_bytes(_leaving(cabinet), policy=email.policy.default)
    assert read["Message-ID"] == f"<{stored.id}@mx.{CABINET}>"
    assert read["Date"]
    assert "message-id" in read["DKIM-Signature"].lower()
    # What clients list is read from the card: it must know them too.
    card = cabinet.store.read_now(lambda conn: Card.decode(load_message(conn, _first_item(conn)).card))
    assert card.message_id == read["Message-ID"]
    assert card.date_us is not None
    assert len(b64decode(read["DKIM-Signature"].rpartition("b=")[2].replace(" ", ""))) == 256


async def test_a_message_that_names_no_author_is_its_sender_s(cabinet: Cabinet) -> None:
    doctor = await cabinet.signed_in()
    assert isinstance(await cabinet.send(doctor, DOCTOR, [COLLEAGUE], b"Subject: x\r\n\r\nBonjour\r\n"), Stored)
    read = email.message_from_bytes(_leaving(cabinet), policy=email.policy.default)
    assert read["From"] == DOCTOR
    assert "from" in read["DKIM-Signature"].lower()


async def test_leaving_mail_waits_in_the_queue_one_item_a_recipient(cabinet: Cabinet) -> None:
    doctor = await cabinet.signed_in()
    other = COLLEAGUE.replace("paul", "lea")
    assert isinstance(await cabinet.send(doctor, DOCTOR, [COLLEAGUE, SECRETARY, other], mail(DOCTOR)), Stored)
    items = cabinet.store.read_now(listing)
    assert {(item.sender, item.recipient) for item in items} == {(DOCTOR, COLLEAGUE), (DOCTOR, other)}
    assert len(cabinet.inbox(SECRETARY)) == 1


async def test_a_professional_opens_ends_and_reopens_an_exchange(cabinet: Cabinet) -> None:
    steps = [
        (mail(COLLEAGUE), ExchangeState.OPEN),
        (mail(COLLEAGUE, "Re: [ fin ]"), ExchangeState.ENDED),
        (mail(COLLEAGUE), ExchangeState.OPEN),
        (mail(COLLEAGUE, "Suite", "X-MSS-MES: FIN"), ExchangeState.ENDED),
        (mail(COLLEAGUE, "=?utf-8?B?W0ZJTl0=?="), ExchangeState.ENDED),
    ]
    for content, expected in steps:
        assert isinstance(await cabinet.send(cabinet.colleague, COLLEAGUE, [PATIENT, DOCTOR], content), Stored)
        known = cabinet.store.read_now(exchange, COLLEAGUE, PATIENT)
        assert known is not None
        assert known.state is expected
    assert cabinet.store.read_now(exchange, COLLEAGUE, DOCTOR) is None


async def test_a_patient_answers_while_the_exchange_is_open(cabinet: Cabinet) -> None:
    patient = await cabinet.signed_in(PATIENT)
    await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT], mail(DOCTOR))
    assert isinstance(await cabinet.send(patient, PATIENT, [DOCTOR], mail(PATIENT)), Stored)
    await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT], mail(DOCTOR, "[FIN]"))
    refused = await cabinet.send(patient, PATIENT, [DOCTOR], mail(PATIENT))
    assert isinstance(refused, Refuse)
    assert refused.rule is Rule.EXCHANGE_ENDED
    assert len(cabinet.inbox(DOCTOR)) == 1


async def test_an_exchange_ended_between_rcpt_and_data_counts_as_ended(cabinet: Cabinet) -> None:
    await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT], mail(DOCTOR))
    transaction = await cabinet.open(await cabinet.signed_in(PATIENT), PATIENT)
    assert isinstance(await cabinet.reception.recipient(transaction, parse_address(DOCTOR)), Accept)
    await cabinet.store.write(record_exchange, DOCTOR, PATIENT, ExchangeState.ENDED, "<fin@exemple>")
    arrival = cabinet.reception.receive(transaction, TRACE)
    arrival.feed(mail(PATIENT))
    outcome = await arrival.finish()
    assert isinstance(outcome, Refuse)
    assert outcome.rule is Rule.EXCHANGE_ENDED
    assert cabinet.inbox(DOCTOR) == []


async def test_a_mailbox_closed_between_rcpt_and_data_puts_the_message_off(cabinet: Cabinet) -> None:
    transaction = await cabinet.open(cabinet.colleague, COLLEAGUE)
    for address in (DOCTOR, SECRETARY):
        assert isinstance(await cabinet.reception.recipient(transaction, parse_address(address)), Accept)
    bal = cabinet.store.read_now(find_bal, DOCTOR)
    assert bal is not None
    await cabinet.store.write(set_state, bal.id, BalState.CLOSED)
    arrival = cabinet.reception.receive(transaction, TRACE)
    arrival.feed(mail(COLLEAGUE))
    assert isinstance(await arrival.finish(), Defer)
    assert cabinet.inbox(SECRETARY) == []


async def test_a_sender_suspended_during_the_session_sends_nothing_more(cabinet: Cabinet) -> None:
    doctor = await cabinet.signed_in()
    transaction = await cabinet.open(doctor, DOCTOR)
    await cabinet.reception.recipient(transaction, parse_address(SECRETARY))
    await cabinet.store.write(bals.suspend, parse_address(DOCTOR), "essai", "operateur")
    arrival = cabinet.reception.receive(transaction, TRACE)
    arrival.feed(mail(DOCTOR))
    outcome = await arrival.finish()
    assert isinstance(outcome, Refuse)
    assert outcome.rule is Rule.SESSION_CLOSED
    assert cabinet.inbox(SECRETARY) == []


async def test_an_address_lent_by_an_account_closed_since_sends_nothing_more(cabinet: Cabinet) -> None:
    await cabinet.store.write(bals.give_right, parse_address(SECRETARY), DOCTOR, "send", "operateur")
    doctor = await cabinet.signed_in()
    transaction = await cabinet.open(doctor, SECRETARY)
    await cabinet.reception.recipient(transaction, parse_address(PATIENT))
    await cabinet.store.write(bals.suspend, parse_address(SECRETARY), "essai", "operateur")
    arrival = cabinet.reception.receive(transaction, TRACE)
    arrival.feed(mail(SECRETARY))
    outcome = await arrival.finish()
    assert isinstance(outcome, Refuse)
    assert outcome.rule is Rule.SENDER_NOT_OWNER
    assert cabinet.store.read_now(exchange, SECRETARY, PATIENT) is None
    reopened = await cabinet.reception.open(doctor, parse_address(SECRETARY), size=None)
    assert isinstance(reopened, Refuse)
    assert reopened.rule is Rule.SENDER_NOT_OWNER


async def test_too_large_is_told_once_and_leaves_nothing(cabinet: Cabinet) -> None:
    transaction = await cabinet.open(cabinet.colleague, COLLEAGUE)
    await cabinet.reception.recipient(transaction, parse_address(PATIENT))
    arrival = cabinet.reception.receive(transaction, TRACE)
    arrival.feed(mail(COLLEAGUE, body="x" * 400_000))
    with pytest.raises(ArrivalRefused) as refused:
        arrival.feed(b"y" * 100_001)
    assert refused.value.verdict.rule is Rule.MESSAGE_TOO_LARGE
    arrival.abort()
    assert verify(cabinet.store).faults == []
    assert not list(cabinet.store.contents.root.rglob("m*"))


async def test_a_header_without_end_is_refused(cabinet: Cabinet) -> None:
    transaction = await cabinet.open(cabinet.colleague, COLLEAGUE)
    await cabinet.reception.recipient(transaction, parse_address(DOCTOR))
    arrival = cabinet.reception.receive(transaction, TRACE)
    for _ in range(3):
        arrival.feed(b"X-Long: " + b"a" * 70_000 + b"\r\n")
    with pytest.raises(ArrivalRefused) as refused:
        arrival.feed(b"X-Long: " + b"a" * 70_000 + b"\r\n")
    assert refused.value.verdict.rule is Rule.MESSAGE_CONTENT
    arrival.abort()


async def test_a_header_that_begins_in_the_middle_of_a_field_is_refused(cabinet: Cabinet) -> None:
    transaction = await cabinet.open(cabinet.colleague, COLLEAGUE)
    await cabinet.reception.recipient(transaction, parse_address(DOCTOR))
    arrival = cabinet.reception.receive(transaction, TRACE)
    with pytest.raises(ArrivalRefused) as refused:
        arrival.feed(b" for somebody else\r\n" + mail(COLLEAGUE))
    assert refused.value.verdict.rule is Rule.MESSAGE_CONTENT
    arrival.abort()


async def test_the_journal_names_no_patient_and_no_subject(cabinet: Cabinet) -> None:
    stored = await cabinet.send(cabinet.colleague, COLLEAGUE, [PATIENT], mail(COLLEAGUE, "Hypertension"))
    assert isinstance(stored, Stored)
    [entry] = [entry for entry in cabinet.store.read_now(entries) if entry.object == stored.id]
    assert entry.action == "message.accepted"
    assert entry.detail["local"] == 1
    written = repr(cabinet.store.read_now(entries))
    assert PATIENT[:15] not in written
    assert "Hypertension" not in written


def _leaving(cabinet: Cabinet) -> bytes:
    """The message of the queue's first item, as it will travel."""

    def read(conn: Conn) -> bytes:
        stored = load_message(conn, _first_item(conn))
        return stored.prepend + cabinet.store.contents.read(stored.content)

    return cabinet.store.read_now(read)


def _first_item(conn: Conn) -> int:
    message_id = listing(conn)[0].message_id
    assert message_id is not None
    return message_id
