"""Header blocks as they come from the world."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssante.domain.transaction import HeaderFacts
from mssante.mime.addresses import UNREADABLE
from mssante.mime.headers import (
    MAX_REFERENCES,
    begins_with_continuation,
    decode_text,
    header_facts,
    header_fields,
    message_ids,
)

HEADER = (
    b"Received: from a.test\r\n\tby b.test; Sat, 22 Nov 2025 10:00:00 +0100\r\n"
    b"FROM:  Jean <jean@clinique.test>\r\n"
    b"To: h@cabinet.test,\r\n  s@cabinet.test\r\n"
    b"Subject:\r\n =?utf-8?q?compte_rendu?=\r\n"
    b"to: x@y.test\r\n"
    b"\r\n"
)

FIELDS = [
    (("Subject",), b"Subject:\r\n =?utf-8?q?compte_rendu?=\r\n\r\n"),
    (
        ("TO", b"from"),
        b"FROM:  Jean <jean@clinique.test>\r\nTo: h@cabinet.test,\r\n  s@cabinet.test\r\nto: x@y.test\r\n\r\n",
    ),
    (("Cc",), b"\r\n"),
    ((), b"\r\n"),
]


@pytest.mark.parametrize(("names", "expected"), FIELDS)
def test_header_fields(names: tuple[str | bytes, ...], expected: bytes) -> None:
    assert header_fields(HEADER, names) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), HEADER),
        (("received", "to"), b"FROM:  Jean <jean@clinique.test>\r\nSubject:\r\n =?utf-8?q?compte_rendu?=\r\n\r\n"),
        (("received", "from", "to", "subject"), b"\r\n"),
    ],
)
def test_header_fields_not(names: tuple[str, ...], expected: bytes) -> None:
    assert header_fields(HEADER, names, negate=True) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"To : a\r\n\r\n", b"To : a\r\n\r\n"),
        (b"To:\r\n\r\n", b"To:\r\n\r\n"),
        (b"To: a", b"To: a\r\n\r\n"),
        (b"To: a\r\n", b"To: a\r\n\r\n"),
        (b"To: a\n b\nX: y\n\n", b"To: a\n b\n\r\n"),
        (b" stray\r\nTo: a\r\n\r\n", b"To: a\r\n\r\n"),
        (b"To: a\r\nno field\r\n go on\r\n\r\n", b"To: a\r\n\r\n"),
        (b"", b"\r\n"),
    ],
)
def test_odd_headers(header: bytes, expected: bytes) -> None:
    assert header_fields(header, ("to",)) == expected


@pytest.mark.parametrize(
    ("header", "begins"),
    [
        (b" From: a@x.test\r\n\r\n", True),
        (b"\tx\r\nFrom: a@x.test\r\n\r\n", True),
        (b" \r\n\r\n", True),
        (b"From: a@x.test\r\n b\r\n\r\n", False),
        (b"\r\n", False),
        (b"", False),
    ],
)
def test_a_header_that_begins_in_the_middle_of_a_field(header: bytes, begins: bool) -> None:
    assert begins_with_continuation(header) is begins


TEXTS = [
    (b"plain", "plain"),
    (b"", ""),
    (b"caf\xc3\xa9", "café"),
    (b"caf\xe9", "café"),
    (b"=?utf-8?q?caf=C3=A9?=", "café"),
    (b"=?UTF-8?Q?[FIN]?=", "[FIN]"),
    (b"=?utf-8?b?W0ZJTl0=?=", "[FIN]"),
    (b"=?utf-8*fr?q?a_b?=", "a b"),
    (b"a =?utf-8?q?b?= c", "a b c"),
    (b"=?utf-8?q?a?= \t =?utf-8?q?b?=", "ab"),
    (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),  # a character may not be cut (RFC 2047 §5), yet it is
    (b"=?utf-8?b?w6?= =?utf-8?b?qQ==?=", "é"),
    (b"=?utf-8?b?w6?=", "Ã"),
    (b"=?windows-1252?q?=80?= =?utf-8?q?=C3=A9?=", "€é"),
    (b"=?iso-8859-15?Q?=A4?=", "€"),
    (b"=?inconnu?q?caf=C3=A9?=", "café"),
    (b"=?punycode?q?caf-dma?=", "caf-dma"),
    (b"=?utf-8?q?a=0D=0ABcc:_x?=", "aBcc: x"),
    (b"=?utf-8?b?%%%?=", ""),
    (b"=?utf-8?q?never ended", "=?utf-8?q?never ended"),
    (b"=?mbcs?q?x?= =?utf-7?q?+2AA-?=", "x+2AA-"),
]


@pytest.mark.parametrize(("value", "expected"), TEXTS)
def test_decode_text(value: bytes, expected: str) -> None:
    assert decode_text(value) == expected


_WORDS = st.builds(
    lambda charset, encoding, text: b"=?" + charset + b"?" + encoding + b"?" + text + b"?=",
    st.sampled_from(
        [b"utf-8", b"latin1", b"utf-16", b"utf-7", b"iso-2022-jp", b"hz", b"gb18030", b"hex", b"\xff", b"x"]
    ),
    st.sampled_from([b"q", b"B"]),
    st.binary(max_size=30).map(lambda octets: octets.replace(b"?", b"")),
)


@settings(deadline=None)
@given(st.lists(st.one_of(_WORDS, st.binary(max_size=10))).map(b" ".join))
def test_any_octets_become_text(value: bytes) -> None:
    decode_text(value).encode("utf-8")  # no half characters: cards and databases hold UTF-8


def test_facts() -> None:
    header = (
        b"From: Jean <Jean@Clinique.test>,\r\n s@clinique.test\r\n"
        b"Subject: =?utf-8?q?_[FI?= =?utf-8?q?N]?=\r\n"
        b"X-MSS-MES: FIN\r\n"
        b"Message-ID: <m1@clinique.test>\r\n"
        b"References: <a@x.test>\r\n <b@x.test>\r\n"
        b"In-Reply-To: <b@x.test>\r\n\r\n"
    )
    assert header_facts(header) == HeaderFacts(
        subject=" [FIN]",
        x_mss_mes="FIN",
        from_addresses=("Jean@Clinique.test", "s@clinique.test"),
        message_id="<m1@clinique.test>",
        references=("<a@x.test>", "<b@x.test>"),
    )


@pytest.mark.parametrize("header", [b"", b"\r\n", b":\r\n\r\n", b"From\r\n\r\n", b"\xff\xfe\x00"])
def test_facts_of_next_to_nothing(header: bytes) -> None:
    assert header_facts(header) == HeaderFacts()


def test_facts_see_every_sender() -> None:
    """A second From, or a second address in one, is not hidden from the rule that judges senders."""
    facts = header_facts(b"From: a@x.test\r\nFrom: B <b@x.test>, c@x.test\r\n\r\n")
    assert facts.from_addresses == ("a@x.test", "b@x.test", "c@x.test")


@pytest.mark.parametrize("value", ["", " ", "groupe:;", "paul.petit@cabinet.test:b@x.test;", "b@x.test, g: p@c.test;"])
def test_a_from_that_is_no_list_of_mailboxes_counts_as_one_address(value: str) -> None:
    """It can be nobody's, so that the rule refuses it; no From at all claims nobody."""
    assert header_facts(f"From: {value}\r\n\r\n".encode()).from_addresses == (UNREADABLE + value.strip(),)


@pytest.mark.parametrize(
    ("fields", "subject", "x_mss_mes"),
    [
        ("Subject: a\r\nSubject: [FIN]", "a\n[FIN]", ""),
        ("X-MSS-MES: O\r\nx-mss-mes : FIN", "", "O\nFIN"),
        ("Subject: =?utf-8?q?[FI\r\n N]?=", "[FIN]", ""),
        ("Subject: =?utf-8?b?W0Z\r\n\tJTl0=?=", "[FIN]", ""),
        ("Subject: [=?utf-8?q?F?=\r\n =?utf-8?q?I?=N]", "[FIN]", ""),
        ("Subject: =?utf-8?q?a=0AX?=", "aX", ""),
    ],
)
def test_facts_hold_every_subject(fields: str, subject: str, x_mss_mes: str) -> None:
    facts = header_facts(f"{fields}\r\n\r\n".encode())
    assert (facts.subject, facts.x_mss_mes) == (subject, x_mss_mes)


def test_sender_stands_for_a_from_that_is_not_there() -> None:
    alone = header_facts(b"Sender: A <a@x.test>\r\nSENDER: g:b@x.test;\r\n\r\n")
    assert alone.from_addresses == ()
    assert alone.authors == ("a@x.test", f"{UNREADABLE}g:b@x.test;")
    assert header_facts(b"Sender: a@x.test\r\nFrom: b@x.test\r\n\r\n").authors == ("b@x.test",)
    assert header_facts(b"Sender: a@x.test\r\nFrom:\r\n\r\n").authors == (UNREADABLE,)


def test_facts_count_the_hops() -> None:
    header = b"Received: from a\r\n by b\r\n" * 3 + b"RECEIVED: from c\r\nX-Received: d\r\nReceived-SPF: none\r\n\r\n"
    assert header_facts(header).received == 4


def test_references_fall_back_to_in_reply_to_and_are_bounded() -> None:
    assert header_facts(b"In-Reply-To: <a@x.test>\r\n\r\n").references == ("<a@x.test>",)
    many = b" ".join(b"<%d@x.test>" % number for number in range(1_000))
    assert message_ids(many)[-1] == "<999@x.test>"
    assert len(message_ids(many)) == MAX_REFERENCES
