"""Address lists: what is written well is read exactly, what is written badly is still shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssante.domain.address import AddressError, parse_address
from mssante.mime.addresses import (
    MAX_ADDRESSES,
    MAX_AUTHORS,
    MAX_IRREGULAR,
    UNREADABLE,
    MailAddress,
    author_addresses,
    parse_addresses,
)

A = MailAddress
HELENE = A(b"H", None, b"h", b"cabinet.test")
END = A(None, None, None, None)

WELL_FORMED = [
    (b"h@cabinet.test", [A(None, None, b"h", b"cabinet.test")]),
    (b"<h@cabinet.test>", [A(None, None, b"h", b"cabinet.test")]),
    (b"H <h@cabinet.test>", [HELENE]),
    (b'"H" <h@cabinet.test>', [HELENE]),
    (b"  H   <h@cabinet.test>  ", [HELENE]),
    (b"Dr  H.  Martin <h@cabinet.test>", [A(b"Dr H. Martin", None, b"h", b"cabinet.test")]),
    (
        b'"Martin, H" <h@cabinet.test>, j@c.test',
        [A(b"Martin, H", None, b"h", b"cabinet.test"), A(None, None, b"j", b"c.test")],
    ),
    (b'"a \\"b\\" \\\\c" <h@cabinet.test>', [A(b'a "b" \\c', None, b"h", b"cabinet.test")]),
    (b"=?utf-8?q?H=C3=A9?= <h@cabinet.test>", [A(b"=?utf-8?q?H=C3=A9?=", None, b"h", b"cabinet.test")]),
    (b"h@cabinet.test (H)", [HELENE]),
    (b"h@cabinet.test (H (or (not)))", [A(b"H (or (not))", None, b"h", b"cabinet.test")]),
    (b"H (x) <h@cabinet.test>", [HELENE]),
    (b'"h m"@cabinet.test', [A(None, None, b"h m", b"cabinet.test")]),
    (b"h@[192.0.2.1]", [A(None, None, b"h", b"[192.0.2.1]")]),
    (b"<@a.test,@b.test:h@cabinet.test>", [A(None, b"@a.test,@b.test", b"h", b"cabinet.test")]),
    (b"h . m@cabinet.test", [A(None, None, b"h.m", b"cabinet.test")]),
    (b"H\xc3\xa9 <h\xc3\xa9@cabinet.test>", [A(b"H\xc3\xa9", None, b"h\xc3\xa9", b"cabinet.test")]),
    (b"Equipe: H <h@cabinet.test>;", [A(None, None, b"Equipe", None), HELENE, END]),
    (b"Equipe: (personne) ;", [A(None, None, b"Equipe", None), END]),
    (b"Undisclosed recipients:;", [A(None, None, b"Undisclosed recipients", None), END]),
    (
        b"a:;, b: h@cabinet.test;",
        [A(None, None, b"a", None), END, A(None, None, b"b", None), A(None, None, b"h", b"cabinet.test"), END],
    ),
    (b"h@cabinet.test,, ,j@c.test,", [A(None, None, b"h", b"cabinet.test"), A(None, None, b"j", b"c.test")]),
]

BADLY_FORMED = [
    (b"", []),
    (b"  , ;", []),
    (b"jean", [A(None, None, b"jean", b"MISSING_DOMAIN")]),
    (b"Jean Dupont", [A(b"Jean Dupont", None, b"MISSING_MAILBOX", b"MISSING_DOMAIN")]),
    (b"<>", [A(None, None, b"MISSING_MAILBOX", b"MISSING_DOMAIN")]),
    (b"@c.test", [A(None, None, b"MISSING_MAILBOX", b"c.test")]),
    (b"H <h@cabinet.test", [HELENE]),
    (b"open: h@cabinet.test", [A(None, None, b"open", None), A(None, None, b"h", b"cabinet.test"), END]),
    (b"[liste] H <h@cabinet.test>", [A(b"[liste] H", None, b"h", b"cabinet.test")]),
    (b"a@b@c.test", [A(None, None, b"a@b", b"c.test")]),
    # A sender who writes two addresses as one must not be taken for either of them alone.
    (b"a@b.test c@d.test", [A(None, None, b"a@b.test c", b"d.test")]),
    (b"A <a@b.test> <c@d.test>", [A(b"A", None, b"a", b"b.test"), A(None, None, b"c", b"d.test")]),
]


@pytest.mark.parametrize(("value", "expected"), WELL_FORMED + BADLY_FORMED)
def test_lists(value: bytes, expected: list[MailAddress]) -> None:
    assert parse_addresses(value) == expected


@settings(deadline=None)
@given(st.lists(st.sampled_from(list(b'ab@.,:;<>()[]"\\ \t\xe9'))).map(bytes))
def test_any_octets_are_read(value: bytes) -> None:
    depth = 0
    for address in parse_addresses(value):
        if address.host is None:
            depth += 1 if address.mailbox is not None else -1
            assert depth in (0, 1)
        else:
            assert address.mailbox
    assert depth == 0


@pytest.mark.parametrize("piece", [b"a@b.test,", b"(", b'"', b"\\", b"<", b"a:", b" ", b"<a", b"(a)", b"a\t", b'"a" '])
def test_long_values_take_linear_time(piece: bytes) -> None:
    """A quadratic reader would take minutes on these."""
    assert len(parse_addresses(piece * 50_000)) <= MAX_ADDRESSES + 1
    author_addresses(piece * 50_000)
    author_addresses(b'"' + piece * 50_000)


AUTHORS = [
    (b"h@cabinet.test", ("h@cabinet.test",)),
    (b"<h@cabinet.test>", ("h@cabinet.test",)),
    (b'"Martin, H: (x) <y>" <h@cabinet.test>', ("h@cabinet.test",)),
    (b'"a \\"b\\"" <h@cabinet.test>', ("h@cabinet.test",)),
    (b"[liste] Dr. H. Martin <h@cabinet.test>", ("h@cabinet.test",)),
    (b"=?utf-8?q?H=C3=A9?= <h@cabinet.test>", ("h@cabinet.test",)),
    (b"H\xe9 <h@cabinet.test>", ("h@cabinet.test",)),
    (b"H (x (y)) <h@cabinet.test> (z\\))", ("h@cabinet.test",)),
    (b"MAILER-DAEMON@hopital.test (Mail Delivery System)", ("MAILER-DAEMON@hopital.test",)),
    (b'"Mail Delivery System" <MAILER-DAEMON@hopital.test>', ("MAILER-DAEMON@hopital.test",)),
    (
        b"Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@hopital.test>",
        ("MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@hopital.test",),
    ),
    (b"h@cabinet.test,, ,J <j@c.test>,", ("h@cabinet.test", "j@c.test")),
    (b'"h m"@cabinet.test', ('"h m"@cabinet.test',)),
    ("hélène@cabinet.test".encode(), ("hélène@cabinet.test",)),
    # Some readers show the one, some the other.
    (b"p@cabinet.test <h@c.test>", ("p@cabinet.test", "h@c.test")),
    (b"h@c.test <h@c.test>", ("h@c.test", "h@c.test")),
]

NO_AUTHORS = [
    b"",
    b" , ",
    b"Jean Dupont",
    b"<>",
    b"@c.test",
    b"p@cabinet.test:h@c.test;",
    b"Equipe: H <h@cabinet.test>;",
    b"h@c.test, p@cabinet.test:;",
    b"Undisclosed recipients:;",
    b"a@b.test c@d.test",
    b"A <a@b.test> <c@d.test>",
    b"H <h@cabinet.test",
    b'"H <h@cabinet.test>',
    b"h@cabinet.test (H",
    b"h@cabinet.test (H (x)",
    b"h@cabinet.test (H\\)",
    b"<@a.test:h@cabinet.test>",
    b"h@[192.0.2.1]",
    b"h@cabinet . test",
    b"h@cabinet(x).test",
    b"h . m@cabinet.test",
    b"<h@cabinet.test >",
    b"h@=?utf-8?q?cabinet?=.test",
    b"=?utf-8?q?p=40cabinet.test_?=@c.test",
    b'"p@cabinet.test"@c.test',
    b"p@cabinet.test\x00 <h@c.test>",
    b'"p@cabinet.test\r" <h@c.test>',
    b"h\\@cabinet.test",
]


@pytest.mark.parametrize(("value", "expected"), AUTHORS)
def test_authors(value: bytes, expected: tuple[str, ...]) -> None:
    assert author_addresses(value) == expected


@pytest.mark.parametrize("value", NO_AUTHORS)
def test_what_readers_could_read_otherwise_names_no_author(value: bytes) -> None:
    assert author_addresses(value) == (UNREADABLE + value.decode("utf-8", "replace"),)


def test_no_author_hides_behind_many_or_much() -> None:
    """What stands after the limits of `parse_addresses` is judged too, or nothing is."""
    own, victim = b"h@c.test,", b"p@cabinet.test"
    assert len(author_addresses(own * MAX_AUTHORS)) == MAX_AUTHORS
    for many in (own * MAX_AUTHORS, own * MAX_ADDRESSES, b"h@c.test " * MAX_AUTHORS):
        assert author_addresses(many + victim + b" <h@c.test>")[0].startswith(UNREADABLE)
    much = b"(" + b"x" * MAX_IRREGULAR + b")"
    assert author_addresses(own + much + victim) == ("h@c.test", "p@cabinet.test")
    assert author_addresses(own + b"()" * MAX_IRREGULAR + victim) == ("h@c.test", "p@cabinet.test")


@settings(deadline=None)
@given(st.lists(st.sampled_from(list(b'ab@.,:;<>()[]"\\ \t\xe9\x00=?'))).map(bytes))
def test_the_unreadable_is_never_an_address(value: bytes) -> None:
    authors = author_addresses(value)
    assert authors
    if authors[0].startswith(UNREADABLE):
        with pytest.raises(AddressError):
            parse_address(authors[0])
