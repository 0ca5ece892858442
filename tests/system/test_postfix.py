"""Another make of operator in the same trust space: Postfix, both ways, with certificates of the same authority."""

import email
import hashlib
import re
from collections.abc import Iterator
from email.message import Message
from email.policy import SMTP
from pathlib import Path
from typing import cast

import pytest

from tests.support.operators import Network, copy_of, until
from tests.support.postfix import DOMAIN, GONE, READER, Postfix
from tests.system.people import Letter, Person, professional

BODY = (
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"\xe9t\xe9, No\xebl \xff\xfe\x80\r\n..\r\n.dot first\r\n trailing blanks  \t\r\n" + b"x" * 998 + b"\r\n\r\n\r\n"
)
ASKED = ["NOTIFY=SUCCESS,FAILURE"]


@pytest.fixture(scope="module")
def network(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Of this module's own: one more is in its white list. Not serving yet."""
    network = copy_of(template, tmp_path_factory.mktemp("postfix") / "network")
    try:
        yield network
        if network.cabinet.serves:
            assert network.cabinet.stop() == 0
            assert network.cabinet.troubles() == []
    finally:
        network.close()


@pytest.fixture(scope="module")
def postfix(network: Network) -> Iterator[Postfix]:
    """Serving, and the cabinet too."""
    postfix = Postfix(network)
    try:
        postfix.start()
        network.serve(network.cabinet)
        yield postfix
    finally:
        postfix.close()


@pytest.fixture
def martin(postfix: Postfix, network: Network) -> Person:
    return professional(network.cabinet)


def test_our_mail_arrives_there_octet_for_octet_under_mutual_tls(postfix: Postfix, martin: Person) -> None:
    letter = _letter(martin.address, READER, BODY)
    martin.send(letter, READER)
    arrived = _await_there(postfix, letter)
    assert arrived.endswith(letter.octets.replace(b"\r\n", b"\n"))
    head = arrived[: -len(letter.octets.replace(b"\r\n", b"\n"))]
    assert f"Return-Path: <{martin.address}>".encode() in head
    assert b'Client CN "mx.cabinet.mssante.example"' in head and b"(verified OK)" in head
    assert f"d={martin.operator.domain}".encode() in head


def test_its_mail_arrives_here_octet_for_octet_under_mutual_tls(postfix: Postfix, martin: Person) -> None:
    letter = _letter(READER, martin.address, BODY)
    _submit_there(postfix, letter, martin.address)
    with martin.imap() as inbox:
        arrived = inbox.await_letter(letter)
    assert arrived.endswith(letter.octets)
    assert f"from mx.{DOMAIN} ".encode() in arrived
    assert "Verified TLS connection established to 127.0.0.1" in postfix.log


def test_twenty_megabytes_travel_both_ways(postfix: Postfix, martin: Person) -> None:
    line = bytes(range(0x21, 0x21 + 76)) + b"\r\n"
    body = b"\r\n" + line * (20 * 1024 * 1024 // len(line))
    there, here = _letter(martin.address, READER, body), _letter(READER, martin.address, body)
    martin.send(there, READER)
    _submit_there(postfix, here, martin.address)
    with martin.imap() as inbox:
        assert _digest(inbox.await_letter(here)[-len(body) :]) == _digest(body)
    expected = body.replace(b"\r\n", b"\n")
    assert _digest(_await_there(postfix, there)[-len(expected) :]) == _digest(expected)


def test_it_tells_our_sender_of_success_with_what_he_asked_for(postfix: Postfix, martin: Person) -> None:
    letter = _letter(martin.address, READER, b"\r\nBonjour.\r\n")
    _submit_here(martin, letter, READER, "envelope-7", f"rfc822;{READER}")
    report = _notice_here(martin)
    message, recipient = _status(report)
    assert message["Original-Envelope-Id"] == "envelope-7"
    assert (recipient["Action"], recipient["Original-Recipient"]) == ("delivered", f"rfc822;{READER}")
    assert message["Reporting-MTA"] == f"dns; mx.{DOMAIN}"
    _await_there(postfix, letter)
    assert _outcome(martin, report) == "delivered"


def test_it_tells_our_sender_of_a_failure_after_it_took_the_mail(postfix: Postfix, martin: Person) -> None:
    letter = _letter(martin.address, GONE, b"\r\nBonjour.\r\n")
    _submit_here(martin, letter, GONE, "envelope-8", f"rfc822;{GONE}")
    report = _notice_here(martin)
    message, recipient = _status(report)
    assert message["Original-Envelope-Id"] == "envelope-8"
    assert (recipient["Action"], recipient["Original-Recipient"]) == ("failed", f"rfc822;{GONE}")
    assert _outcome(martin, report) == "failed"


def test_we_tell_our_sender_that_it_knows_no_such_recipient(postfix: Postfix, martin: Person) -> None:
    letter = _letter(martin.address, f"personne@{DOMAIN}", b"\r\nBonjour.\r\n")
    _submit_here(martin, letter, f"personne@{DOMAIN}", "envelope-9", f"rfc822;personne@{DOMAIN}")
    message, recipient = _status(_notice_here(martin))
    assert message["Reporting-MTA"] == "dns; mx.cabinet.mssante.example"
    assert (message["Original-Envelope-Id"], recipient["Action"]) == ("envelope-9", "failed")
    assert "550 5.1.1" in recipient["Diagnostic-Code"]


def test_we_tell_its_sender_of_success_with_what_he_asked_for(postfix: Postfix, martin: Person) -> None:
    letter = _letter(READER, martin.address, b"\r\nBonjour.\r\n")
    _submit_there(postfix, letter, martin.address, envid="envelope-10", options=[*ASKED, _orcpt(martin.address)])
    message, recipient = _status(_notice_there(postfix, letter))
    assert message["Reporting-MTA"] == "dns; mx.cabinet.mssante.example"
    assert message["Original-Envelope-Id"] == "envelope-10"
    assert (recipient["Action"], recipient["Original-Recipient"]) == ("delivered", f"rfc822;{martin.address}")


def test_it_tells_its_sender_that_we_know_no_such_recipient(postfix: Postfix, martin: Person) -> None:
    unknown = f"personne@{martin.operator.domain}"
    letter = _letter(READER, unknown, b"\r\nBonjour.\r\n")
    _submit_there(postfix, letter, unknown)
    _, recipient = _status(_notice_there(postfix, letter))
    assert (recipient["Action"], recipient["Final-Recipient"]) == ("failed", f"rfc822; {unknown}")
    assert recipient["Diagnostic-Code"].startswith("smtp; 550 5.1.1")


def test_our_queue_drains_when_it_comes_back(postfix: Postfix, martin: Person) -> None:
    letters = [_letter(martin.address, READER, b"\r\nBonjour.\r\n") for _ in range(3)]
    postfix.stop()
    try:
        for letter in letters:
            martin.send(letter, READER)
        waiting = until(lambda: _all_tried(martin, len(letters)), "all deferred")
        assert {item["state"] for item in waiting} == {"queued"}
        assert all(item["last_reply"] for item in waiting)
    finally:
        postfix.start()
    martin.operator.run("queue", "retry", "--all")
    for letter in letters:
        _await_there(postfix, letter)
    until(lambda: not _ours(martin), "an empty queue")


def test_its_queue_drains_when_we_come_back(postfix: Postfix, martin: Person) -> None:
    letter = _letter(READER, martin.address, b"\r\nBonjour.\r\n")
    assert martin.operator.stop() == 0
    try:
        _submit_there(postfix, letter, martin.address)
        (waiting,) = until(lambda: [each for each in postfix.waiting() if each["queue_name"] == "deferred"], "deferred")
        assert "Connection refused" in waiting["recipients"][0]["delay_reason"]
    finally:
        martin.operator.start()
        martin.operator.ready()
    postfix.flush()
    with martin.imap() as inbox:
        inbox.await_letter(letter)
    until(lambda: not postfix.waiting(), "an empty queue there")


def _letter(author: str, to: str, body: bytes) -> Letter:
    """`body` begins with its own header fields, or with the empty line."""
    octets = f"From: {author}\r\nTo: {to}\r\nSubject: Courrier\r\nDate: Mon, 03 Nov 2025 09:00:00 +0100\r\n".encode()
    message_id = f"<{hashlib.sha256(body + octets + str(next(_serial)).encode()).hexdigest()[:24]}@essai.example>"
    return Letter(message_id, octets + f"Message-ID: {message_id}\r\n".encode() + body)


_serial = iter(range(1_000_000))


def _submit_here(author: Person, letter: Letter, to: str, envid: str, orcpt: str) -> None:
    with author.smtp() as session:
        session.sendmail(
            author.address, [to], letter.octets, [f"ENVID={envid}", "RET=HDRS"], [*ASKED, f"ORCPT={orcpt}"]
        )


def _submit_there(
    postfix: Postfix, letter: Letter, to: str, *, envid: str = "", options: list[str] | None = None
) -> None:
    said = ["BODY=8BITMIME", *([f"ENVID={envid}", "RET=HDRS"] if envid else [])]
    with postfix.session() as session:
        session.sendmail(READER, [to], letter.octets, said, options or [])


def _orcpt(address: str) -> str:
    return f"ORCPT=rfc822;{address}"


def _await_there(postfix: Postfix, letter: Letter) -> bytes:
    marked = f"\nMessage-ID: {letter.message_id}\n".encode()

    def arrived() -> bytes | None:
        found = [octets for octets in postfix.received() if marked in octets.partition(b"\n\n")[0] + b"\n"]
        assert len(found) <= 1
        return found[0] if found else None

    return until(arrived, f"{letter.message_id} there\n{postfix.log[-3000:]}", 40)


def _notice_here(reader: Person) -> Message:
    """The one message in this INBOX."""
    with reader.imap() as inbox:
        until(lambda: inbox.count() == 1, "a notice")
        answer, parts = inbox.session.fetch("1", "(BODY.PEEK[])")
        assert answer == "OK" and isinstance(parts[0], tuple)
        return email.message_from_bytes(parts[0][1], policy=SMTP)


def _notice_there(postfix: Postfix, letter: Letter) -> Message:
    """The report about `letter` in the mailbox there."""

    def found() -> Message | None:
        for octets in postfix.received():
            message = email.message_from_bytes(octets, policy=SMTP)
            if message.get_content_type() == "multipart/report" and letter.message_id.encode() in octets:
                return message
        return None

    return until(found, f"a notice there\n{postfix.log[-3000:]}")


def _status(report: Message) -> tuple[Message, Message]:
    """The fields of the message and of the one recipient of an RFC 3464 report."""
    assert report.get_content_type() == "multipart/report" and report.get_param("report-type") == "delivery-status"
    assert report["Return-Path"] == "<>"
    (status,) = [part for part in report.walk() if part.get_content_type() == "message/delivery-status"]
    message, recipient = cast(list[Message], status.get_payload())
    return message, recipient


def _outcome(sender: Person, report: Message) -> str:
    """What our delivery journal says of the one recipient of the message whose header `report` returns."""
    # The report has a Received field of ours too, which is above.
    *_, accepted = re.findall(r"\bid ([0-9a-f]{16})\b", report.as_string())
    (line,) = sender.operator.json("queue", "show", accepted)["recipients"]
    return str(line["outcome"])


def _ours(person: Person) -> list[dict[str, object]]:
    return [item for item in person.operator.json("queue", "list") if item["sender"] == person.address]


def _all_tried(person: Person, count: int) -> list[dict[str, object]]:
    items = _ours(person)
    return (
        items if len(items) == count and all(item["attempts"] and item["state"] == "queued" for item in items) else []
    )


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()
