"""Reports of other operators and readers."""

import base64
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.domain.dsn import Outcome
from mssante.mime.notices import Notice, RecipientReport, build_notice
from mssante.mime.reports import MOST_OCTETS, MOST_RECIPIENTS, Report, Told, read_report

ORIGINAL = "<7.abc@cabinet.mssante.example>"
A, B = "a@clinique.mssante.example", "b@clinique.mssante.example"


def message(text: str) -> tuple[bytes, bytes]:
    header, _, body = textwrap.dedent(text).lstrip("\n").replace("\n", "\r\n").partition("\r\n\r\n")
    return f"{header}\r\n\r\n".encode(), body.encode()


POSTFIX = message(
    f"""
    From: MAILER-DAEMON@hopital.example (Mail Delivery System)
    Subject: Undelivered Mail Returned to Sender
    Content-Type: multipart/report; report-type=delivery-status;
    \tboundary="C0FFEE.1/mx.hopital.example"

    This is a MIME-encapsulated message.

    --C0FFEE.1/mx.hopital.example
    Content-Description: Notification
    Content-Type: text/plain; charset=us-ascii

    <{A}>: user unknown

    --C0FFEE.1/mx.hopital.example
    Content-Description: Delivery report
    Content-Type: message/delivery-status

    Reporting-MTA: dns; mx.hopital.example
    Original-Envelope-Id: QQ=314 159
    X-Postfix-Sender: rfc822; anne@cabinet.mssante.example

    Final-Recipient: rfc822; Autre@hopital.example
    Original-Recipient: rfc822;{A}
    Action: failed
    Status: 5.1.1
    Diagnostic-Code: x-unix; user unknown

    Final-Recipient: rfc822; {B}
    Action: delayed
    Status: 4.4.1

    --C0FFEE.1/mx.hopital.example
    Content-Description: Undelivered Message Headers
    Content-Type: text/rfc822-headers

    Received: from mx.cabinet.mssante.example
    Message-Id: {ORIGINAL}

    --C0FFEE.1/mx.hopital.example--
    """
)
READ = message(
    f"""
    Subject: Lu : Compte rendu
    Content-Type: multipart/report; report-type=disposition-notification; boundary=x

    --x
    Content-Type: text/plain

    Lu.
    --x
    Content-Type: message/disposition-notification
    Content-Transfer-Encoding: 7bit

    Final-Recipient: rfc822;{A}
    Original-Message-ID: {ORIGINAL}
    Disposition: manual-action/MDN-sent-manually; displayed

    --x--
    """
)
PLAIN = message(
    f"""
    Subject: =?utf-8?Q?Message_non_distribu=C3=A9?=
    Content-Type: text/plain; charset=utf-8

    Bonjour,
    Votre message n'a pas pu etre remis a <{A}>.

    Return-Path: <anne@cabinet.mssante.example>
    Message-ID: {ORIGINAL}
    To: {A}, {B}
    """
)


def test_a_bounce_of_postfix() -> None:
    assert read_report(*POSTFIX, null_sender=True) == Report(
        "QQ+3D314+20159",
        (ORIGINAL,),
        (Told(frozenset({A, "autre@hopital.example"}), "failed", "5.1.1"), Told(frozenset({B}), "delayed", "4.4.1")),
    )


def test_a_receipt_of_a_reader() -> None:
    assert read_report(*READ, null_sender=False) == Report("", (ORIGINAL,), (Told(frozenset({A}), "read"),))
    unread = READ[1].replace(b"displayed", b"deleted")
    assert read_report(READ[0], unread, null_sender=True) is None


def test_a_notice_in_plain_words_names_who_did_not_get_it() -> None:
    assert read_report(*PLAIN, null_sender=True) == Report("", (ORIGINAL,), (Told(frozenset({A}), "failed"),))
    assert read_report(*PLAIN, null_sender=False) is None, "a person may write about a message that did not arrive"


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_an_encoded_part_is_read(encoding: str) -> None:
    told = f"Original-Message-ID: {ORIGINAL}\r\nFinal-Recipient: rfc822;{A}\r\nDisposition: a/b; displayed\r\n".encode()
    coded = base64.encodebytes(told) if encoding == "base64" else told.replace(b"rfc822", b"rfc=38=\r\n22")
    body = b"--x\r\nContent-Type: message/disposition-notification\r\nContent-Transfer-Encoding: "
    body += encoding.encode() + b"\r\n\r\n" + coded + b"\r\n--x--\r\n"
    found = read_report(READ[0], body, null_sender=True)
    assert found is not None
    assert found.told == (Told(frozenset({A}), "read"),)


def test_our_own_notices_are_understood() -> None:
    reports = [
        RecipientReport(A, Outcome.FAILED, "5.1.1", orcpt=f"rfc822;{A}"),
        RecipientReport(B, Outcome.DELIVERED, "2.0.0"),
    ]
    original = f"Subject: x\r\nMessage-ID: {ORIGINAL}\r\n\r\n".encode()
    notice = Notice("mx.a.example", "p@a.example", "s@b.example", "<n@a.example>", reports, original, 0, "QQ+2B1")
    header, _, body = build_notice(notice, now_us=0).partition(b"\r\n\r\n")
    assert read_report(header + b"\r\n\r\n", body, null_sender=True) == Report(
        "QQ+2B1", (ORIGINAL,), (Told(frozenset({A}), "failed", "5.1.1"), Told(frozenset({B}), "delivered", "2.0.0"))
    )


@pytest.mark.parametrize("cut", range(0, 1000, 50))
def test_whatever_is_cut_off_gives_a_report_or_none(cut: int) -> None:
    for header, body in (POSTFIX, READ, PLAIN):
        found = read_report(header, body[:cut], null_sender=True)
        assert found is None or found.told


@given(st.data())
def test_nothing_raises(data: st.DataObject) -> None:
    header, body = data.draw(st.sampled_from((POSTFIX, READ, PLAIN)))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(body)))
        body = body[:at] + data.draw(st.binary(max_size=20)) + body[at + data.draw(st.integers(0, 40)) :]
    found = read_report(header, body, null_sender=True)
    assert found is None or len(found.told) <= MOST_RECIPIENTS


def test_a_hostile_report_is_read_in_bounds() -> None:
    block = f"Final-Recipient: rfc822;{A}\r\nAction: failed\r\n\r\n".encode()
    many = POSTFIX[1].replace(b"Final-Recipient", block * 5000 + b"Final-Recipient", 1)
    assert len(many) > MOST_OCTETS
    found = read_report(POSTFIX[0], many, null_sender=True)
    assert found is not None
    assert len(found.told) == MOST_RECIPIENTS
    nothing = b"--x\r\nContent-Type: message/delivery-status\r\n\r\n" * 100_000
    assert read_report(READ[0], nothing, null_sender=True) is None
    assert read_report(PLAIN[0], b"a@" * 500_000, null_sender=True) is None
