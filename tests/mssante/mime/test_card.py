"""What cards say to IMAP: ENVELOPE, BODYSTRUCTURE, BODY and sections, as clients read them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from mssante.mime.card import LEAF, Card, Part
from mssante.mime.imap_text import nstring, string
from tests.mssante.mime.imap_reader import read
from tests.mssante.mime.test_scanner import scan
from tests.mssante.mime.trees import Tree, messages

H = [b"H", None, b"h", b"cabinet.test"]
J = [None, None, b"j", b"clinique.test"]
NOTHING = [None] * 10

MESSAGE = (
    b"From: H <h@cabinet.test>\r\n"
    b"To: j@clinique.test\r\n"
    b"Subject: =?utf-8?q?R=C3=A9sultats?=\r\n"
    b"Date: Sat, 22 Nov 2025 10:00:00 +0100\r\n"
    b"Message-ID: <m2@cabinet.test>\r\n"
    b"In-Reply-To: <m1@clinique.test>\r\n"
    b"References: <m0@clinique.test>\r\n <m1@clinique.test>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n"
    b"\r\n"
    b"--b\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n"
    b"Bonjour,\r\nvoici.\r\n"
    b"--b\r\n"
    b"Content-Type: message/rfc822\r\n"
    b"\r\n"
    b"From: j@clinique.test\r\n"
    b"Subject: demande\r\n"
    b"Content-Type: multipart/alternative; boundary=c\r\n"
    b"\r\n"
    b"--c\r\n"
    b"\r\n"
    b"clair\r\n"
    b"--c\r\n"
    b"Content-Type: text/html\r\n"
    b"\r\n"
    b"<p>riche</p>\r\n"
    b"--c--\r\n"
    b"\r\n"
    b"--b\r\n"
    b'Content-Type: application/pdf; name="a b.pdf"\r\n'
    b'Content-Disposition: attachment; filename="a b.pdf"\r\n'
    b"Content-Transfer-Encoding: base64\r\n"
    b"Content-ID: <pdf@cabinet.test>\r\n"
    b"Content-Description: compte rendu\r\n"
    b"Content-Language: fr, en\r\n"
    b"Content-Location: cr.pdf\r\n"
    b"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\n"
    b"\r\n"
    b"JVBERi0=\r\n"
    b"--b--\r\n"
)


def test_envelope() -> None:
    assert read(scan(MESSAGE).envelope) == [
        b"Sat, 22 Nov 2025 10:00:00 +0100",
        b"=?utf-8?q?R=C3=A9sultats?=",
        [H],
        [H],
        [H],
        [J],
        None,
        None,
        b"<m1@clinique.test>",
        b"<m2@cabinet.test>",
    ]


def test_structures() -> None:
    card = scan(MESSAGE)
    inner = [None, b"demande", [J], [J], [J], None, None, None, None, None]
    plain = [b"text", b"plain", [b"charset", b"us-ascii"], None, None, b"7bit", 5, 0]
    html = [b"text", b"html", [b"charset", b"us-ascii"], None, None, b"7bit", 12, 0]
    first = [b"text", b"plain", [b"charset", b"utf-8"], None, None, b"8bit", 16, 1]
    message = [b"message", b"rfc822", None, None, None, b"7bit", 159, inner]
    name = [b"name", b"a b.pdf"]
    pdf = [b"application", b"pdf", name, b"<pdf@cabinet.test>", b"compte rendu", b"base64", 8]
    none = [None] * 4
    assert read(card.body) == [
        first,
        [*message, [plain, html, b"alternative"], 12],
        pdf,
        b"mixed",
    ]
    disposition = [b"attachment", [b"filename", b"a b.pdf"]]
    assert read(card.bodystructure) == [
        [*first, *none],
        [*message, [[*plain, *none], [*html, *none], b"alternative", [b"boundary", b"c"], None, None, None], 12, *none],
        [*pdf, b"Q2hlY2sgSW50ZWdyaXR5IQ==", disposition, [b"fr", b"en"], b"cr.pdf"],
        b"mixed",
        [b"boundary", b"b"],
        None,
        None,
        None,
    ]


def test_facts_kept_beside() -> None:
    card = scan(MESSAGE)
    assert card.subject == "Résultats"
    assert card.message_id == "<m2@cabinet.test>"
    assert card.in_reply_to == "<m1@clinique.test>"
    assert card.references == ("<m0@clinique.test>", "<m1@clinique.test>")
    assert (card.date_us, card.date_zone) == (1_763_802_000_000_000, 60)


ENVELOPES: list[tuple[bytes, list[Any]]] = [
    (b"", NOTHING),
    (b"Subject:\r\n", [None, b"", *[None] * 8]),
    (b"Subject: a\r\n\tb\r\n", [None, b"a\tb", *[None] * 8]),
    (b"Subject: one\r\nSubject: two\r\n", [None, b"one", *[None] * 8]),
    (b"Subject: \xe9\xc3\xa9\r\n", [None, b"\xe9\xc3\xa9", *[None] * 8]),
    (b'Subject: "a" \\b\r\n', [None, b'"a" \\b', *[None] * 8]),
    (b"Subject: a\rb\r\n", [None, b"a\rb", *[None] * 8]),
    (b"Subject: a\0b\r\n", [None, b"a\x80b", *[None] * 8]),
    (b"From:\r\nSender: j@clinique.test\r\n", [None, None, None, [J], *[None] * 6]),
    (b"From: H <h@cabinet.test>\r\nSender:\r\nReply-To: j@clinique.test\r\n", [None, None, [H], [H], [J], *[None] * 5]),
    (b"To: j@clinique.test\r\nTo: H <h@cabinet.test>\r\n", [*[None] * 5, [J, H], *[None] * 4]),
    (b"Cc: a:;\r\n", [*[None] * 6, [[None, None, b"a", None], [None] * 4], *[None] * 3]),
    (b"Bcc : j@clinique.test\r\n", [*[None] * 7, [J], None, None]),
    (b"no colon\r\n:\r\nMESSAGE-ID:<a@b>\r\n", [*[None] * 9, b"<a@b>"]),
]


@pytest.mark.parametrize(("header", "expected"), ENVELOPES)
def test_envelopes(header: bytes, expected: list[Any]) -> None:
    assert read(scan(header + b"\r\nbody").envelope) == expected


ASCII = [b"charset", b"us-ascii"]

TYPES: list[tuple[bytes, list[Any]]] = [
    (b"", [b"text", b"plain", ASCII]),
    (b"Content-Type: nonsense\r\n", [b"text", b"plain", ASCII]),
    (b"Content-Type: TEXT/HTML; Charset=UTF-8\r\n", [b"TEXT", b"HTML", [b"Charset", b"UTF-8"]]),
    (b"Content-Type: text/plain; format=flowed;\r\n", [b"text", b"plain", [b"format", b"flowed", *ASCII]]),
    (b"Content-Type: image/png\r\n", [b"image", b"png", None]),
    (b"Content-Type: image/png (une image)\r\n", [b"image", b"png", None]),
    (b'Content-Type: a/b; name="x \\"y\\" \\\\z"\r\n', [b"a", b"b", [b"name", b'x "y" \\z']]),
    (b"Content-Type: a/b; name=caf\xc3\xa9.pdf\r\n", [b"a", b"b", [b"name", b"caf\xc3\xa9.pdf"]]),
    (b"Content-Type: a/b; name=mon fichier.pdf\r\n", [b"a", b"b", [b"name", b"mon fichier.pdf"]]),
    (b"Content-Type: a/b;; name = x ;\r\n", [b"a", b"b", [b"name", b"x"]]),
    (b'Content-Type: a/b; name="never closed\r\n', [b"a", b"b", [b"name", b"never closed"]]),
    # RFC 2231 §6: continuations are joined by the server, charset and escapes stay.
    (b'Content-Type: a/b; n*1="d"; n*0="c"\r\n', [b"a", b"b", [b"n", b"cd"]]),
    (b"Content-Type: a/b; n*=utf-8''%C3%A9\r\n", [b"a", b"b", [b"n*", b"utf-8''%C3%A9"]]),
    (
        b"Content-Type: a/b; n*0*=utf-8''%C3%A9; n*1=\" e\"; x=y\r\n",
        [b"a", b"b", [b"x", b"y", b"n*", b"utf-8''%C3%A9%20e"]],
    ),
    (b"Content-Type: multipart/mixed\r\n", [b"text", b"plain", ASCII]),
]


@pytest.mark.parametrize(("header", "expected"), TYPES)
def test_content_types(header: bytes, expected: list[Any]) -> None:
    structure = read(scan(header + b"\r\none\r\ntwo").bodystructure)
    assert structure[:3] == expected
    assert structure[6] == 8
    assert len(structure) == (12 if structure[0].lower() == b"text" else 11)


FIELDS: list[tuple[bytes, int, Any]] = [
    (b"Content-Transfer-Encoding: BASE64 (x)\r\n", 5, b"BASE64"),
    (b"Content-Transfer-Encoding:\r\n", 5, b"7bit"),
    (b"Content-ID:\r\n", 3, b""),
    (b"Content-Description: =?utf-8?q?=C3=A9?=\r\n", 4, b"=?utf-8?q?=C3=A9?="),
    (b"Content-Disposition: inline\r\n", 8, [b"inline", None]),
    (b"Content-Disposition: ; filename=x\r\n", 8, [b"attachment", [b"filename", b"x"]]),
    (b"Content-Disposition:\r\n", 8, None),
    (b"Content-Language: fr\r\n", 9, [b"fr"]),
    (b"Content-Language: ,\r\n", 9, None),
    (b"Content-Location: http://cabinet.test/a\r\n", 10, b"http://cabinet.test/a"),
]


@pytest.mark.parametrize(("header", "place", "expected"), FIELDS)
def test_content_fields(header: bytes, place: int, expected: Any) -> None:
    structure = read(scan(b"Content-Type: a/b\r\n" + header + b"\r\nx").bodystructure)
    assert structure[place] == expected


def test_multipart_without_parts_has_an_empty_one() -> None:
    """The grammar asks for at least one body (RFC 3501 §9, body-type-mpart)."""
    structure = read(scan(b"Content-Type: multipart/mixed; boundary=b\r\n\r\nno delimiter").bodystructure)
    assert structure[0][:2] == [b"text", b"plain"]
    assert structure[0][6:8] == [0, 0]
    assert structure[1] == b"mixed"


SECTIONS: list[tuple[tuple[int, ...], str, bytes | None]] = [
    ((), "", MESSAGE),
    ((), "HEADER", MESSAGE[: MESSAGE.index(b"--b\r\n")]),
    ((), "TEXT", MESSAGE[MESSAGE.index(b"--b\r\n") :]),
    ((), "MIME", None),
    ((1,), "", b"Bonjour,\r\nvoici."),
    ((1,), "MIME", b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"),
    ((1,), "HEADER", None),
    ((1,), "TEXT", None),
    ((1, 1), "", None),
    ((2,), "MIME", b"Content-Type: message/rfc822\r\n\r\n"),
    (
        (2,),
        "HEADER",
        b"From: j@clinique.test\r\nSubject: demande\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n",
    ),
    ((2,), "TEXT", b"--c\r\n\r\nclair\r\n--c\r\nContent-Type: text/html\r\n\r\n<p>riche</p>\r\n--c--\r\n"),
    ((2, 1), "", b"clair"),
    ((2, 1), "MIME", b"\r\n"),
    ((2, 2), "", b"<p>riche</p>"),
    ((2, 3), "", None),
    ((3,), "", b"JVBERi0="),
    ((4,), "", None),
    ((0,), "", None),
    ((3, 1), "", None),
]


@pytest.mark.parametrize(("path", "what", "expected"), SECTIONS)
def test_sections(path: tuple[int, ...], what: str, expected: bytes | None) -> None:
    found = scan(MESSAGE).section(path, what)
    assert (None if found is None else MESSAGE[slice(*found)]) == expected


def test_sections_of_a_message_without_parts() -> None:
    """Its body is part 1 (RFC 3501 §6.4.5)."""
    data = b"Subject: x\r\n\r\nbody"
    card = scan(data)
    assert card.section((1,)) == card.section((), "TEXT") == (14, 18)
    assert card.section((1,), "MIME") == (0, 14)
    assert card.section((2,)) is None
    assert card.section((1, 1)) is None


def test_sections_of_a_message_that_is_another_message() -> None:
    data = b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nbody"
    card = scan(data)
    assert data[slice(*(card.section((1,), "HEADER") or ()))] == b"Subject: inner\r\n\r\n"
    assert data[slice(*(card.section((1, 1)) or ()))] == b"body"
    assert read(card.envelope) == NOTHING
    assert read(card.bodystructure)[7][1] == b"inner"


@settings(deadline=None, max_examples=50)
@given(messages())
def test_encoded_cards_come_back(tree: Tree) -> None:
    card = scan(tree.octets())
    assert Card.decode(card.encode()) == card
    assert read(card.body) == _without_extension(read(card.bodystructure))


def _without_extension(structure: list[Any]) -> list[Any]:
    parts = [item for item in structure if isinstance(item, list) and item and isinstance(item[0], (list, bytes))]
    if isinstance(structure[0], list):
        count = structure.index(b"mixed")
        return [*(_without_extension(part) for part in parts[:count]), b"mixed"]
    if structure[:2] == [b"message", b"rfc822"]:
        return [*structure[:8], _without_extension(structure[8]), structure[9]]
    return structure[:8] if structure[0] == b"text" else structure[:7]


def test_a_small_message_has_a_small_card() -> None:
    assert len(scan(MESSAGE).encode()) < 1_300


def test_later_fields_do_not_break_earlier_cards() -> None:
    """A card of before the last field was added is still read, with the field's default."""
    card = scan(MESSAGE)
    fields = msgspec.msgpack.decode(card.encode())
    older = Card.decode(msgspec.msgpack.encode(fields[:-1]))
    assert older.date_zone == 0
    assert older.root == card.root
    with pytest.raises(msgspec.DecodeError):
        Card.decode(b"\x00")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", b'""'),
        (b"a b", b'"a b"'),
        (b'a"b\\', b'"a\\"b\\\\"'),
        (b"\xc3\xa9", b"{2}\r\n\xc3\xa9"),
        (b"a\r\nb", b"{4}\r\na\r\nb"),
        (b"\0", b"{1}\r\n\x80"),
        (b"\x7f\x01", b'"\x7f\x01"'),
    ],
)
def test_strings(value: bytes, expected: bytes) -> None:
    assert string(value) == nstring(value) == expected


def test_nil() -> None:
    assert nstring(None) == b"NIL"


def test_body_keeps_literals_that_look_like_structure() -> None:
    data = b'Content-Type: a/b\r\nContent-Description: \xc3\xa9) ("x" {3}\r\nContent-MD5: m\r\n\r\nx'
    card = scan(data)
    assert read(card.body) == [b"a", b"b", None, None, b'\xc3\xa9) ("x" {3}', b"7bit", 1]
    assert b"{12}\r\n" in card.body


def test_part_is_small_when_encoded() -> None:
    assert len(msgspec.msgpack.encode(Part(LEAF, 1_000, 2_000, 60_000))) <= 12
