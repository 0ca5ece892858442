"""Mail between two operators, from a mail program to a mail program."""

import re

import dkim
import pytest

from mssante.mime.dkim import key_record, load_signing_key
from tests.support.operators import Network, until
from tests.system.people import Person, answers, at_mx, brief, professional, professionals

EIGHT_BIT = (
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n"
    b"X-Folded: first\r\n\tsecond \r\n  third\r\n\r\n"
    b"\xe9t\xe9, No\xebl \xff\xfe\x80\r\n.\r\n..\r\n.dot first\r\n trailing blanks  \t\r\n"
    + b"x" * 998
    + b"\r\n\r\n\r\n"
)


@pytest.mark.parametrize("implicit_tls", [True, False], ids=["implicit TLS", "STARTTLS"])
def test_a_message_arrives_octet_for_octet(network: Network, implicit_tls: bool) -> None:
    martin, petit = professional(network.cabinet), professional(network.clinique)
    letter = martin.letter(petit.address)
    head = letter.octets.partition(b"MIME-Version")[0]
    octets = head + EIGHT_BIT
    with martin.smtp(implicit_tls=implicit_tls) as session:
        session.sendmail(martin.address, [petit.address], octets, ["BODY=8BITMIME"])
    with petit.imap() as inbox:
        arrived = inbox.await_letter(letter)
    assert arrived.endswith(octets)
    before = arrived[: -len(octets)]
    assert re.fullmatch(rb"(?:[!-9;-~]+:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+", before), before
    names = re.findall(rb"^([!-9;-~]+):", before, re.MULTILINE)
    assert names == [b"Return-Path", b"Authentication-Results", b"Received", b"DKIM-Signature", b"Received"]
    fields = dict(zip(names, re.split(rb"\r\n(?![ \t])", before), strict=False))
    assert fields[b"Return-Path"] == f"Return-Path: <{martin.address}>".encode()
    assert f"dkim=pass header.d={network.cabinet.domain}".encode() in fields[b"Authentication-Results"]
    last, first = (field for field in re.split(rb"\r\n(?![ \t])", before) if field.startswith(b"Received:"))
    assert b"from mx.cabinet.mssante.example" in last and b"by mx.clinique.mssante.example with ESMTPS " in last
    assert b"from poste" in first and b"by mx.cabinet.mssante.example with ESMTPSA " in first
    assert b"127.0.0.1" not in first


def test_the_signature_holds_for_a_stranger_with_the_public_key(network: Network) -> None:
    martin, petit = professional(network.cabinet), professional(network.clinique)
    letter = martin.letter(petit.address, subject="Résultats", text="Été : 37°2\n" * 100)
    martin.send(letter, petit.address)
    with petit.imap() as inbox:
        arrived = inbox.await_letter(letter)
    record = key_record(load_signing_key((network.cabinet.directory / "pki" / "dkim.key").read_bytes())).encode()
    asked = []

    def dns(name: bytes, timeout: int) -> bytes:
        asked.append(name.rstrip(b"."))
        return record

    assert dkim.verify(arrived, dnsfunc=dns)
    assert asked == [b"mssante._domainkey.cabinet.mssante.example"]
    assert not dkim.verify(arrived.replace("37°2".encode(), "38°2".encode(), 1), dnsfunc=dns)


def test_colleagues_here_and_elsewhere_get_one_message(network: Network) -> None:
    martin = professional(network.cabinet)
    here, there = professional(network.cabinet), professional(network.clinique)
    letter = martin.letter(here.address, there.address)
    martin.send(letter, here.address, there.address)
    for reader in (here, there):
        with reader.imap() as inbox:
            assert inbox.await_letter(letter).endswith(letter.octets)
            assert inbox.count() == 1


@pytest.fixture(scope="module")
def readers(network: Network, tmp_path_factory: pytest.TempPathFactory) -> list[Person]:
    """One more than a message may have."""
    return professionals(network.clinique, 41, tmp_path_factory.mktemp("readers"))


def test_up_to_forty_recipients_get_it_and_of_forty_one_nobody(network: Network, readers: list[Person]) -> None:
    martin = professional(network.cabinet)
    to = [reader.address for reader in readers]
    to_one, to_twenty, to_forty, last = (martin.letter("confreres@clinique.mssante.example") for _ in range(4))
    for letter, count in ((to_one, 1), (to_twenty, 20), (to_forty, 40)):
        martin.send(letter, *to[:count])
    with martin.smtp() as session:
        told = answers(session, martin.address, [*to, to[0]])
        assert told == ["250 2.1.0", *["250 2.1.5"] * 40, "550 5.5.3", "550 5.5.3"]
        assert brief(session.docmd("DATA")) == "554 5.5.3"
        # The refusal is whole and over: what comes next over the same connection is judged for itself.
        assert answers(session, martin.address, to)[:2] == ["250 2.1.0", "250 2.1.5"]
        session.rset()
        assert answers(session, martin.address, to[40:]) == ["250 2.1.0", "250 2.1.5"]
        assert session.data(last.octets)[0] == 250
    for place, reader in enumerate(readers):
        expected = [letter for letter, count in ((to_one, 1), (to_twenty, 20), (to_forty, 40)) if place < count]
        expected += [last] * (place == 40)
        with reader.imap() as inbox:
            for letter in expected:
                inbox.await_letter(letter)
            assert {to_one.message_id, to_twenty.message_id, to_forty.message_id, last.message_id} & set(
                inbox.message_ids()
            ) == {letter.message_id for letter in expected}
    until(lambda: network.cabinet.json("queue", "list") == [], "an empty queue")


def test_over_mx_the_forty_first_recipient_refuses_the_message_too(network: Network, readers: list[Person]) -> None:
    martin = professional(network.cabinet)
    refused, last = martin.letter("confreres@clinique.mssante.example"), martin.letter(readers[40].address)
    with at_mx(network.clinique, network.cabinet) as session:
        told = answers(session, martin.address, [reader.address for reader in readers])
        assert told == ["250 2.1.0", *["250 2.1.5"] * 40, "550 5.5.3"]
        assert brief(session.docmd("DATA")) == "554 5.5.3"
        assert answers(session, martin.address, [readers[40].address]) == ["250 2.1.0", "250 2.1.5"]
        assert session.data(last.octets)[0] == 250
    with readers[40].imap() as inbox:
        inbox.await_letter(last)
    for reader in readers[:1] + readers[39:]:
        with reader.imap() as inbox:
            assert refused.message_id not in inbox.message_ids()


def test_one_recipient_named_twice_is_one_recipient(network: Network) -> None:
    martin, petit = professional(network.cabinet), professional(network.clinique)
    letter = martin.letter(petit.address)
    with martin.smtp() as session:
        told = answers(session, martin.address, [petit.address, petit.address.upper()])
        assert told == ["250 2.1.0", "250 2.1.5", "250 2.1.5"]
        assert session.data(letter.octets)[0] == 250
    with petit.imap() as inbox:
        inbox.await_letter(letter)
