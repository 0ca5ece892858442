"""Delivery notices as mail programs and people read them."""

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssante.domain.dsn import Outcome
from mssante.mime.card import LEAF
from mssante.mime.notice_texts import INTRODUCTIONS, explanation
from mssante.mime.notices import MAX_ORIGINAL_HEADER, Notice, RecipientReport, build_notice
from tests.mssante.mime.test_scanner import scan

NOW = 1_763_802_060_000_000
ARRIVED = 1_763_802_000_000_000
HEADER = (
    b"Received: from poste.test by mx.cabinet.test\r\n"
    b"From: H <h@cabinet.test>\r\n"
    b"Subject: =?utf-8?q?R=C3=A9sultats?=\r\n"
    b"Message-ID: <m1@cabinet.test>\r\n"
    b"\r\n"
)


def notice(*reports: RecipientReport, header: bytes = HEADER, envid: str = "") -> bytes:
    return build_notice(
        Notice(
            reporting_mta="mx.cabinet.test",
            sender="postmaster@cabinet.test",
            recipient="h@cabinet.test",
            message_id="<n1@mx.cabinet.test>",
            reports=reports,
            original_header=header,
            arrived_us=ARRIVED,
            envid=envid,
        ),
        now_us=NOW,
    )


def parts(data: bytes) -> tuple[EmailMessage, str, list[EmailMessage], EmailMessage]:
    """The whole, its text, the field groups of its status, and the returned header."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    text, status, returned = message.iter_parts()
    assert (text.get_content_type(), status.get_content_type(), returned.get_content_type()) == (
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    )
    groups = [group for group in status.iter_parts() if isinstance(group, EmailMessage)]
    assert isinstance(returned, EmailMessage)
    return message, text.get_content(), groups, returned


FAILED = RecipientReport(
    address="inconnu@clinique.test",
    outcome=Outcome.FAILED,
    status="5.1.1",
    diagnostic="550 5.1.1 No such user",
    remote="mx.clinique.test",
    orcpt="rfc822;Inconnu+2Bx@clinique.test",
    attempted_us=ARRIVED,
)
DELAYED = RecipientReport("j@lent.test", Outcome.DELAYED, "4.4.1", attempted_us=ARRIVED, retry_until_us=NOW)


def test_failure() -> None:
    message, text, (whole, recipient), returned = parts(notice(FAILED, envid="QQ+2B314"))
    assert message["From"] == "Remise du courrier MSSanté <postmaster@cabinet.test>"
    assert message["To"] == "h@cabinet.test"
    assert message["Subject"] == "Message non remis"
    assert message["Date"] == "Sat, 22 Nov 2025 09:01:00 +0000"
    assert message["Message-ID"] == "<n1@mx.cabinet.test>"
    assert message["References"] == "<m1@cabinet.test>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert whole.items() == [
        ("Original-Envelope-Id", "QQ+314"),
        ("Reporting-MTA", "dns; mx.cabinet.test"),
        ("Arrival-Date", "Sat, 22 Nov 2025 09:00:00 +0000"),
    ]
    assert recipient.items() == [
        ("Original-Recipient", "rfc822;Inconnu+x@clinique.test"),
        ("Final-Recipient", "rfc822; inconnu@clinique.test"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
        ("Remote-MTA", "dns; mx.clinique.test"),
        ("Diagnostic-Code", "smtp; 550 5.1.1 No such user"),
        ("Last-Attempt-Date", "Sat, 22 Nov 2025 09:00:00 +0000"),
    ]
    assert returned.get_content() == HEADER.decode()[:-2]
    french, english = text.split(" English ")
    for words in (
        "n'a pas pu être remis",
        "Objet du message : Résultats",
        "inconnu@clinique.test",
        "Cette boîte aux lettres n'existe pas.",
        "Que faire : Vérifiez l'adresse",
        "Réponse du serveur mx.clinique.test : 550 5.1.1 No such user",
    ):
        assert words in french
    assert "This mailbox does not exist." in english
    assert "What to do: Check the address" in english


def test_delay() -> None:
    message, text, (_, recipient), _ = parts(notice(DELAYED))
    assert message["Subject"] == "Message retardé"
    assert recipient["Action"] == "delayed"
    assert recipient["Will-Retry-Until"] == "Sat, 22 Nov 2025 09:01:00 +0000"
    assert "ne le renvoyez pas" in text
    assert "do not send it again" in text
    assert "22/11/2025 09:01 UTC" in text


@pytest.mark.parametrize(
    ("outcome", "action", "subject"),
    [
        (Outcome.DELIVERED, "delivered", "Message remis"),
        (Outcome.RELAYED, "relayed", "Message transmis"),
    ],
)
def test_success(outcome: Outcome, action: str, subject: str) -> None:
    message, text, (_, recipient), _ = parts(notice(RecipientReport("j@clinique.test", outcome, "2.0.0")))
    assert (message["Subject"], recipient["Action"]) == (subject, action)
    assert INTRODUCTIONS["fr"][outcome] in text


def test_several_recipients_take_the_gravest_outcome() -> None:
    delivered = RecipientReport("j@clinique.test", Outcome.DELIVERED, "2.0.0")
    message, _, groups, _ = parts(notice(delivered, DELAYED, FAILED))
    assert message["Subject"] == "Message non remis"
    assert [group["Action"] for group in groups[1:]] == ["delivered", "delayed", "failed"]


def test_address_that_is_not_ascii() -> None:
    """RFC 6533 §3."""
    _, text, (_, recipient), _ = parts(notice(RecipientReport("josé@clinique.test", Outcome.FAILED, "5.1.1")))
    assert recipient["Final-Recipient"] == "utf-8; jos\\x{E9}@clinique.test"
    assert "josé@clinique.test" in text


@pytest.mark.parametrize(
    ("header", "returned"),
    [
        (b"", ""),
        (b"\r\n", ""),
        (b"Subject: caf\xc3\xa9\r\n\r\n", "Subject: café\n"),
        (b"X: " + b"y" * 2_000 + b"\r\n\r\n", "X: " + "y" * 2_000 + "\n"),
        (b"X: a\rb\r\n\r\n", "X: a\nb\n"),
        (b"A: b\r\n" * 10_000 + b"\r\n", "A: b\n" * (MAX_ORIGINAL_HEADER // 6)),
        (b"A: b\r\n" + b"B: c\r\n" + b" d\r\n" * 20_000, "A: b\n"),
    ],
)
def test_original_header_is_given_back_within_bounds(header: bytes, returned: str) -> None:
    data = notice(FAILED, header=header)
    _, _, _, part = parts(data)
    assert part.get_content().replace("\r\n", "\n") == returned
    assert_can_be_sent(data)


def assert_can_be_sent(data: bytes) -> None:
    """ASCII, lines of at most 998 octets, CR and LF only together, no NUL (RFC 5322 §2.1.1)."""
    assert data.isascii()
    for line in data.split(b"\r\n"):
        assert len(line) <= 998
        assert not set(line) & set(b"\r\n\0")


_ANY = st.text(alphabet=st.sampled_from("a b\r\n\t\0é€-=_:;<>@.\x85\u2028x--"), max_size=120)


@settings(deadline=None)
@given(_ANY, _ANY, _ANY, _ANY, st.binary(max_size=200), st.sampled_from(list(Outcome)))
def test_what_others_say_adds_nothing(
    diagnostic: str, remote: str, orcpt: str, envid: str, header: bytes, outcome: Outcome
) -> None:
    """No text of another server or of the message makes a field, a part or a line that could not be sent."""
    report = RecipientReport("j@clinique.test", outcome, "5.0.0", diagnostic, remote, orcpt, ARRIVED, NOW)
    data = notice(report, header=header, envid=envid)
    assert_can_be_sent(data)
    card = scan(data)
    assert [part.kind for part in card.root.parts] == [LEAF] * 3
    _, _, (whole, recipient), _ = parts(data)
    assert set(whole.keys()) <= {"Original-Envelope-Id", "Reporting-MTA", "Arrival-Date"}
    assert len(recipient.keys()) == len(set(recipient.keys()))
    assert recipient["Final-Recipient"] == "rfc822; j@clinique.test"


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("status", ["5.1.1", "5.1.9", "4.4.7", "5.7.1", "5.99.99", "", "x", "2.0.0"])
def test_every_status_is_explained(language: str, outcome: Outcome, status: str) -> None:
    cause, advice = explanation(language, outcome, status)
    assert cause.endswith(".")
    assert advice.endswith(".") or outcome is Outcome.DELIVERED
