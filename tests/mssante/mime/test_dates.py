"""The Date field."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.mime.dates import parse_date

TEN = int(datetime(2025, 11, 22, 9, tzinfo=UTC).timestamp()) * 1_000_000

DATES = [
    (b"Sat, 22 Nov 2025 10:00:00 +0100", (TEN, 60)),
    (b"22 Nov 2025 10:00 +0100", (TEN, 60)),
    (b"sat, 22 nov 2025 09:00:00 -0000", (TEN, 0)),
    (b"Sat, 22 Nov 2025 05:30:00 -0330 (comment)", (TEN, -210)),
    (b"Sat, 22 Nov 2025 09:00:00 GMT", (TEN, 0)),
    (b"Sat, 22 Nov 25 04:00:00 EST", (TEN, -300)),
    (b"Sat (day),  22 Nov 2025 10:00:00  +0100", (TEN, 60)),
    (b"Thu, 01 Jan 1970 00:00:00 +0000", (0, 0)),
    (b"Wed, 31 Dec 1969 23:59:59 +0000", (-1_000_000, 0)),
    (b"", None),
    (b"yesterday", None),
    (b"Sat, 32 Nov 2025 10:00:00 +0100", None),
    (b"Sat, 22 Foo 2025 10:00:00 +0100", None),
    (b"Sat, 22 Nov 2025 25:00:00 +0100", None),
    (b"Sat, 22 Nov 2025 10:00:00 +9900", None),
    (b"Sat, 22 Nov 0000 10:00:00 +0100", None),
]


@pytest.mark.parametrize(("value", "expected"), DATES)
def test_dates(value: bytes, expected: tuple[int, int] | None) -> None:
    assert parse_date(value) == expected


@given(st.text(alphabet="Sat, 0123456789Nov:+-()GMT\x00é", max_size=60))
def test_any_text_is_read(value: str) -> None:
    found = parse_date(value.encode())
    assert found is None or abs(found[1]) < 24 * 60
