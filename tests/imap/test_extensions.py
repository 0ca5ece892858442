"""Extensions whose answers no transcript can hold: parts without their transfer encoding, previews, quota."""

import base64
import quopri
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap.binary import decoder
from tests.imap.made import ALICE, Line, Operator
from tests.imap.mails import MULTIPART, NESTED

PDF = bytes(range(256)) * 4000


def cuts(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({min(place, len(data)) for place in at})
    return [data[low:high] for low, high in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.binary(max_size=300), st.lists(st.integers(0, 600), max_size=8))
def test_decoding_base64_does_not_depend_on_the_cuts(data: bytes, at: list[int]) -> None:
    coded = base64.encodebytes(data).replace(b"\n", b"\r\n")
    found = decoder(b"base64")
    assert found is not None
    assert b"".join(found.feed(piece) for piece in cuts(coded, at)) + found.finish() == data


@given(st.binary(max_size=300), st.lists(st.integers(0, 1200), max_size=8))
def test_decoding_quoted_printable_does_not_depend_on_the_cuts(data: bytes, at: list[int]) -> None:
    coded = quopri.encodestring(data.replace(b"\n", b"")).replace(b"\n", b"\r\n")
    found = decoder(b"quoted-printable")
    assert found is not None
    assert b"".join(found.feed(piece) for piece in cuts(coded, at)) + found.finish() == data.replace(b"\n", b"")


@given(st.lists(st.integers(0, 60), max_size=8))
def test_white_space_at_the_end_of_a_line_wherever_it_is_cut(at: list[int]) -> None:
    """RFC 2045 §6.7, rules 3 and 5"""
    found = decoder(b"quoted-printable")
    assert found is not None
    told = b"".join(found.feed(piece) for piece in cuts(b"un  \r\ndeux= \t\r\ntrois\r\n", at)) + found.finish()
    assert told == b"un\r\ndeuxtrois\r\n"


def test_a_quoted_printable_line_without_an_end_is_not_held() -> None:
    found = decoder(b"quoted-printable")
    assert found is not None
    line = b"=C3=A9" * 40_000
    told = b"".join(found.feed(line[start : start + 1001]) for start in range(0, len(line), 1001))
    assert len(told) > 60_000
    assert told + found.finish() == "é".encode() * 40_000


def letter_with(part: bytes) -> bytes:
    return (
        b"From: a@clinique.test\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n" + part + b"\r\n--b--\r\n"
    )


async def test_binary_sends_parts_decoded(operator: Operator, alice: Line) -> None:
    """RFC 3516 §4.2, §4.3"""
    await operator.deliver(MULTIPART, ALICE)
    await operator.deliver(letter_with(b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(PDF)), ALICE)
    await operator.deliver(letter_with(b"Content-Transfer-Encoding: x-uu\r\n\r\nabc"), ALICE)
    await alice.command("SELECT INBOX")
    lines = await alice.command("FETCH 1 (BINARY.PEEK[1.1] BINARY.SIZE[1.1] BINARY.SIZE[9] BINARY.PEEK[9])")
    text = "Le patient a été reçu aux urgences.".encode("latin-1")
    assert lines[0] == b"* 1 FETCH (BINARY[1.1] {%d}\r\n%b BINARY.SIZE[1.1] %d BINARY.SIZE[9] 0 BINARY[9] NIL)" % (
        len(text),
        text,
        len(text),
    )
    lines = await alice.command("FETCH 1 BINARY[1.1]<3.7>")
    assert lines[0] == b"* 1 FETCH (BINARY[1.1]<3> {7}\r\npatient FLAGS (\\Seen \\Recent))"
    # With NUL inside only a literal8 can carry it; larger than what is held, it is read twice.
    lines = await alice.command("FETCH 2 (BINARY.SIZE[1] BINARY.PEEK[1])")
    assert lines[0] == b"* 2 FETCH (BINARY.SIZE[1] %d BINARY[1] ~{%d}\r\n%b)" % (len(PDF), len(PDF), PDF)
    lines = await alice.command("FETCH 2 BINARY.PEEK[1]<300000.600000>")
    assert lines[0] == b"* 2 FETCH (BINARY[1]<300000> ~{600000}\r\n%b)" % PDF[300000:900000]
    lines = await alice.command("FETCH 3 BINARY.PEEK[1]")
    assert len(lines) == 1 and lines[0].startswith(b"t7 NO [UNKNOWN-CTE]")
    # What has parts within has no encoding of its own.
    lines = await alice.command("FETCH 1 (BINARY.SIZE[1])")
    raw = await alice.command("FETCH 1 BODY.PEEK[1]")
    assert b"BODY[1] {%b}" % lines[0].split()[-1][:-1] in raw[0]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (MULTIPART, '"Le patient a été reçu aux urgences."'),
        (NESTED, '"Voir le message joint."'),
        (
            b"Subject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
            b"<html><style>p {}</style><p>Bonjour&nbsp;<b>docteur</b> &amp; merci</p>",
            '"Bonjour docteur & merci"',
        ),
        (b"Subject: x\r\nContent-Type: image/png\r\n\r\nabc", '""'),
        (b"Subject: x\r\n\r\n" + b"mot " * 1000, '"' + ("mot " * 50) + '"'),
    ],
)
async def test_previews(message: bytes, words: str, operator: Operator, alice: Line) -> None:
    """RFC 8970 §3.2"""
    await operator.deliver(message, ALICE)
    await alice.command("SELECT INBOX")
    line = (await alice.command("FETCH 1 PREVIEW"))[0]
    text = words[1:-1].encode()
    told = b'"%b"' % text if text.isascii() else b"{%d}\r\n%b" % (len(text), text)
    assert line == b"* 1 FETCH (PREVIEW " + told + b")"


async def test_quota(operator: Operator, connect: Callable[[], Awaitable[Line]]) -> None:
    """RFC 9208 §4.1"""
    address = "claire.durand@cabinet.test"
    await operator.open_bal(address, quota_bytes=10 * 1024)
    line = await connect()
    await line.sign_in(address)
    assert (await line.command("GETQUOTAROOT INBOX"))[:2] == [b'* QUOTAROOT INBOX ""', b'* QUOTA "" (STORAGE 0 10)']
    message = b"Subject: x\r\n\r\n" + b"y" * 3000
    for number in range(3):
        text = b"APPEND INBOX (\\Deleted) {%d+}\r\n" % len(message) + message
        assert (await line.command(text))[-1].startswith(b"t%d OK" % (number + 3)), number
    assert (await line.command('GETQUOTA ""'))[0] == b'* QUOTA "" (STORAGE 9 10)'
    # The sum of several messages counts, and none of them is kept (RFC 3502 §6.3.11).
    half = b"Subject: x\r\n\r\n" + b"y" * 600
    text = b"APPEND INBOX {%d+}\r\n" % len(half) + half + b" {%d+}\r\n" % len(half) + half
    assert b" NO [OVERQUOTA]" in (await line.command(text))[-1]
    status = (await line.command("STATUS INBOX (MESSAGES DELETED DELETED-STORAGE SIZE)"))[0]
    assert status == b"* STATUS INBOX (MESSAGES 3 DELETED 3 DELETED-STORAGE 9042 SIZE 9042)"
