"""Address lists: what is written well is read exactly, what is written badly is still shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssante.mime.addresses import MAX_ADDRESSES, MailAddress, parse_addresses

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
