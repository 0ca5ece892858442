"""Forged results go, everything else stays as it came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.mime.authentication_results import without_forged_results

OURS = frozenset({"mx.cabinet.example", "cabinet.example"})
BEFORE, AFTER = b"Received: by a\r\n", b"From: <a@b.example>\r\nSubject: x\r\n\r\n"


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: mx.cabinet.example; dkim=pass header.d=a.example",
        b"authentication-results:mx.cabinet.example;dkim=pass",
        b"AUTHENTICATION-RESULTS : MX.Cabinet.Example; none",
        b"Authentication-Results\r\n : mx.cabinet.example; none",
        b"Authentication-Results:\r\n\tmx.cabinet.example 1;\r\n\tdkim=pass;\r\n\tspf=pass",
        b'Authentication-Results: "mx.cabinet.example"; dkim=pass',
        b'Authentication-Results: "mx.cabinet\\.example"; dkim=pass',
        b"Authentication-Results: (a (nested \\) one) comment) (another)\r\n mx.cabinet.example(and one); dkim=pass",
        b"Authentication-Results: mx.cabinet.example.; dkim=pass",
        b"Authentication-Results: cabinet.example; dkim=pass",
        b"Authentication-Results: autre.cabinet.example; dkim=pass",
        b"Authentication-Results: mx.cabinet.example",
        # Whose they are cannot be read: some reader might find our name in them.
        b"Authentication-Results:",
        b"Authentication-Results: ; dkim=pass",
        b"Authentication-Results: mx.cabinet.example/1; dkim=pass",
        b"Authentication-Results: =?utf-8?q?mx.cabinet.example?=; dkim=pass",
        b"Authentication-Results: (unended mx.cabinet.example; dkim=pass",
        b'Authentication-Results: "mx.cabinet.example; dkim=pass',
        "Authentication-Results: mx.cabinet.exämple; dkim=pass".encode(),
    ],
)
def test_what_claims_to_be_ours_goes(field: bytes) -> None:
    assert without_forged_results(BEFORE + field + b"\r\n" + AFTER, OURS) == BEFORE + AFTER
    assert without_forged_results(field + b"\r\n" + field + b"\r\n" + AFTER, OURS) == AFTER
    assert without_forged_results(BEFORE + field + b"\r\n\r\n", OURS) == BEFORE + b"\r\n"


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: mx.clinique.example; dkim=pass header.d=mx.cabinet.example",
        b"Authentication-Results: notcabinet.example; dkim=pass",
        b"Authentication-Results: mx.cabinet.example.clinique.example; none",
        b"Authentication-Results: (mx.cabinet.example) mx.clinique.example; none",
        b"ARC-Authentication-Results: i=1; mx.cabinet.example; dkim=pass",
        b"Subject: Authentication-Results: mx.cabinet.example; dkim=pass",
        b"X-Note: a\r\n Authentication-Results: mx.cabinet.example; dkim=pass",
        b"Authentication-Results mx.cabinet.example; dkim=pass",
    ],
)
def test_others_stay(field: bytes) -> None:
    header = BEFORE + field + b"\r\n" + AFTER
    assert without_forged_results(header, OURS) == header


_LINES = st.lists(
    st.sampled_from(
        [
            b"Authentication-Results: mx.cabinet.example; none",
            b"Authentication-Results: mx.clinique.example; none",
            b"From: a",
            b" mx.cabinet.example",
            b"\tb",
            b"",
            b":",
            b"Authentication-Results",
        ]
    ),
    max_size=12,
)


@given(_LINES)
def test_fields_are_taken_out_whole_and_nothing_else(lines: list[bytes]) -> None:
    header = b"".join(line + b"\r\n" for line in lines)
    kept = without_forged_results(header, OURS)
    assert without_forged_results(kept, OURS) == kept
    fields = header.replace(b"\r\n ", b"\0 ").replace(b"\r\n\t", b"\0\t").split(b"\r\n")[:-1]
    expected = [field for field in fields if not field.startswith(b"Authentication-Results: mx.cabinet")]
    assert kept == b"".join(field.replace(b"\0", b"\r\n") + b"\r\n" for field in expected)


def test_a_hostile_header_takes_linear_time() -> None:
    """A quarter of a megabyte each: what is quadratic does not end within the time limit of a test."""
    for hostile in (b"(" * 250_000, b"(\\" * 125_000, b"() " * 80_000, b"\r\n " * 80_000, b'"\\"' * 80_000):
        assert without_forged_results(b"Authentication-Results: " + hostile + b"\r\n\r\n", OURS) == b"\r\n"
    many = b"Authentication-Results: mx.cabinet.example; none\r\n" * 5_000
    assert without_forged_results(many + AFTER, OURS) == AFTER
