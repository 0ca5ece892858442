"""What an arriving message says of itself: its signatures, its results, its From, its hops; and notices of success."""

import email
import email.policy
from collections.abc import AsyncIterator
from email.message import EmailMessage

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from mssante.domain.verdict import Defer, Refuse, Rule
from mssante.mime.dkim import BodyHash, key_record, sign
from mssante.services.arrival import Stored
from mssante.services.resolver import Resolver
from mssante.store.queue import listing
from tests.mssante.services.conftest import CABINET, CLINIQUE, COLLEAGUE, DOCTOR, PATIENT, SECRETARY, Cabinet
from tests.support.name_server import NameServer, serving

OURS = f"mx.{CABINET}"
KEY = ed25519.Ed25519PrivateKey.generate()
NAME = f"s1._domainkey.{CLINIQUE}"
BODY = b"Bonjour.\r\n"


def mail(*fields: str, sender: str = COLLEAGUE) -> bytes:
    return "\r\n".join([f"From: <{sender}>", "Subject: essai", *fields, "", ""]).encode() + BODY


def signed(cabinet: Cabinet, message: bytes, *more: bytes) -> bytes:
    """By the clinique's key; `more` fields are named in h= too, and stand before the rest."""
    header = b"".join(more) + message.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    hashed = BodyHash()
    hashed.update(BODY)
    now_us = cabinet.clock.now_us()
    return sign(header, hashed.digest(), domain=CLINIQUE, selector="s1", key=KEY, now_us=now_us) + header + BODY


@pytest.fixture
async def names(cabinet: Cabinet) -> AsyncIterator[NameServer]:
    """The DNS that the cabinet asks, with the clinique's key in it."""
    server = NameServer({(NAME, "TXT"): [f'"{key_record(KEY)}"']})
    async with serving(server) as address:
        cabinet.intake.resolver = Resolver(address, timeout=0.2)
        yield server


def results(read: bytes) -> list[str]:
    """The Authentication-Results fields of a message as it is read, unfolded."""
    message = email.message_from_bytes(read, policy=email.policy.default)
    return [" ".join(str(value).split()) for value in message.get_all("Authentication-Results", [])]


async def received(cabinet: Cabinet, content: bytes, *, piece: int = 0) -> bytes:
    assert isinstance(await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR], content, piece=piece), Stored)
    return cabinet.inbox(DOCTOR)[-1]


FORGED = f"Authentication-Results: {OURS}; dkim=pass header.d={CLINIQUE}"
THEIRS = "Authentication-Results: mx.ailleurs.example; dkim=pass"


@pytest.mark.parametrize("piece", [0, 1, 50])
async def test_forged_results_are_taken_out_and_the_signature_still_counts(
    piece: int, cabinet: Cabinet, names: NameServer
) -> None:
    content = signed(cabinet, mail(), f"{FORGED}\r\n".encode(), f"{THEIRS}\r\n".encode())
    read = await received(cabinet, content, piece=piece)
    assert results(read) == [
        f"{OURS}; dkim=pass header.d={CLINIQUE} header.s=s1",
        "mx.ailleurs.example; dkim=pass",
    ]
    assert read.endswith(content.replace(f"{FORGED}\r\n".encode(), b""))


async def test_forged_results_do_not_hide_a_failure(cabinet: Cabinet, names: NameServer) -> None:
    read = await received(cabinet, signed(cabinet, mail(FORGED)).replace(b"essai", b"autre"))
    assert results(read) == [f'{OURS}; dkim=fail reason="signature does not verify" header.d={CLINIQUE} header.s=s1']


async def test_forged_results_of_a_holder_are_taken_out_too(cabinet: Cabinet) -> None:
    """A colleague here would believe them as much."""
    doctor = await cabinet.signed_in()
    content = mail(FORGED, f"Authentication-Results: {CABINET}; dkim=pass", THEIRS, sender=DOCTOR)
    assert isinstance(await cabinet.send(doctor, DOCTOR, [SECRETARY], content), Stored)
    assert results(cabinet.inbox(SECRETARY)[0]) == ["mx.ailleurs.example; dkim=pass"]


async def test_results_in_the_body_are_text(cabinet: Cabinet) -> None:
    content = mail() + f"{FORGED}\r\n".encode()
    assert (await received(cabinet, content)).endswith(content)


@pytest.mark.parametrize("refuse", [False, True])
@pytest.mark.parametrize(
    ("broken", "change", "record", "outcome", "rule"),
    [
        (None, b"", "", "dkim=pass", None),
        (None, b"autre", "", "dkim=fail", Rule.DKIM_FAILED),
        (None, b"", "v=DKIM1; p=", "dkim=permerror", Rule.DKIM_FAILED),
        ("NXDOMAIN", b"", "", "dkim=permerror", Rule.DKIM_FAILED),
        ("SERVFAIL", b"", "", "dkim=temperror", Rule.DKIM_UNKNOWN),
        (None, b"autre", key_record(KEY) + "; t=y", "dkim=neutral", None),
    ],
)
async def test_a_failure_refuses_when_the_operator_sets_so(
    refuse: bool,
    broken: str | None,
    change: bytes,
    record: str,
    outcome: str,
    rule: Rule | None,
    cabinet: Cabinet,
    names: NameServer,
) -> None:
    cabinet.intake.refuse_dkim = refuse
    if broken:
        names.broken[NAME] = broken
    if record:
        names.zone = {(NAME, "TXT"): [f'"{record}"']}
    content = signed(cabinet, mail())
    if change:
        content = content.replace(b"essai", change)
    if refuse and rule is not None:
        refused = await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR], content)
        assert isinstance(refused, Defer if rule is Rule.DKIM_UNKNOWN else Refuse)
        assert refused.rule is rule
        assert cabinet.inbox(DOCTOR) == []
    else:
        [line] = results(await received(cabinet, content))
        assert outcome in line


async def test_one_good_signature_is_enough_and_none_is_no_failure(cabinet: Cabinet, names: NameServer) -> None:
    cabinet.intake.refuse_dkim = True
    assert results(await received(cabinet, mail())) == [f"{OURS}; dkim=none"]
    good = signed(cabinet, mail())
    worthless = b"DKIM-Signature: v=1; a=rsa-sha1; d=x.example; s=s; h=from; bh=eA==; b=eA==\r\n"
    [line] = results(await received(cabinet, worthless + good))
    assert "dkim=permerror" in line
    assert "dkim=pass" in line


@pytest.mark.parametrize(
    ("sender", "author", "rule"),
    [
        (COLLEAGUE, f"autre@{CLINIQUE}", None),
        (COLLEAGUE, DOCTOR, Rule.SENDER_HEADER_FROM),
        (COLLEAGUE, "quelqu.un@ailleurs.example", Rule.SENDER_HEADER_FROM),
        ("", f"postmaster@{CLINIQUE}", None),
        ("", "mailer-daemon@hote.ailleurs.example", None),
        ("", DOCTOR, Rule.SENDER_HEADER_FROM),
    ],
)
async def test_from_is_asked_of_the_white_list(sender: str, author: str, rule: Rule | None, cabinet: Cabinet) -> None:
    outcome = await cabinet.send(cabinet.colleague, sender, [DOCTOR], mail(sender=author))
    assert (outcome.rule if isinstance(outcome, Refuse) else None) is rule


async def test_a_message_that_goes_round(cabinet: Cabinet) -> None:
    hops = ["Received: from a by b; Mon, 3 Nov 2025 09:00:00 +0100"] * 31
    refused = await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR], mail(*hops))
    assert isinstance(refused, Refuse)
    assert refused.rule is Rule.MESSAGE_LOOP
    await received(cabinet, mail(*hops[1:]))


# --- notices of success (RFC 3461) ----------------------------------------------------------------


def report(read: bytes) -> tuple[EmailMessage, str]:
    """A notice, and its part for programs."""
    message = email.message_from_bytes(read, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    [status] = [part for part in message.walk() if part.get_content_type() == "message/delivery-status"]
    return message, status.as_string()


async def test_a_holder_is_told_of_what_is_in_the_mailbox(cabinet: Cabinet) -> None:
    """Only of mailboxes here: who takes the message further on tells of the others."""
    doctor = await cabinet.signed_in()
    content = mail("Message-ID: <m1@cabinet.example>", sender=DOCTOR)
    stored = await cabinet.send(doctor, DOCTOR, [SECRETARY, COLLEAGUE], content, notify="SUCCESS,FAILURE")
    assert isinstance(stored, Stored)
    [notice] = cabinet.inbox(DOCTOR)
    message, status = report(notice)
    assert message["Return-Path"] == "<>"
    assert message["To"] == DOCTOR
    assert message["References"] == "<m1@cabinet.example>"
    assert f"Final-Recipient: rfc822;{SECRETARY}" in status.replace("rfc822; ", "rfc822;")
    assert "Action: delivered" in status
    assert "Status: 2." in status
    assert COLLEAGUE not in status
    [item] = cabinet.store.read_now(listing)
    assert item.recipient == COLLEAGUE


async def test_a_sender_elsewhere_is_told_by_mail_with_a_null_sender(cabinet: Cabinet) -> None:
    sent = await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR, SECRETARY], mail(), notify="SUCCESS")
    assert isinstance(sent, Stored)
    [item] = cabinet.store.read_now(listing)
    assert (item.sender, item.recipient, item.notify.name) == ("", COLLEAGUE, "NEVER")
    assert len(cabinet.inbox(DOCTOR)) == 1


@pytest.mark.parametrize(("sender", "notify"), [(COLLEAGUE, ""), (COLLEAGUE, "FAILURE"), ("", "SUCCESS")])
async def test_nobody_is_told_unasked_and_a_null_sender_never(sender: str, notify: str, cabinet: Cabinet) -> None:
    await cabinet.send(cabinet.colleague, sender, [DOCTOR], mail(), notify=notify)
    assert len(cabinet.inbox(DOCTOR)) == 1
    assert cabinet.store.read_now(listing) == []


async def test_a_refused_message_tells_no_success(cabinet: Cabinet) -> None:
    outcome = await cabinet.send(cabinet.colleague, COLLEAGUE, [PATIENT], mail(sender=PATIENT), notify="SUCCESS")
    assert isinstance(outcome, Refuse)
    assert cabinet.store.read_now(listing) == []
