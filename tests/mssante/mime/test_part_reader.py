"""The decoded content of a part: the same octets wherever it is asked, however its lines are cut."""

import base64
import binascii

from hypothesis import given
from hypothesis import strategies as st

from mssante.mime.part_reader import MOST_QUOTED, PIECE, Content, Read, content_of, from_quoted_printable, pieces


def reader(message: bytes) -> Read:
    return lambda start, length: message[start : start + length]


def of(encoded: bytes, encoding: bytes, before: int = 7) -> Content:
    message = b"x" * before + encoded + b"--boundary"
    return content_of(reader(message), before, before + len(encoded), encoding)


@given(
    st.binary(max_size=400),
    st.integers(1, 90),
    st.sampled_from([b"\r\n", b"\n", b" \r\n", b"!\r\n"]),
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(0, 2 * PIECE),
)
def test_base64_at_any_place(octets: bytes, line: int, end: bytes, start: int, length: int, before: int) -> None:
    digits = base64.b64encode(octets)
    encoded = b"".join(digits[at : at + line] + end for at in range(0, len(digits), line))
    content = of(encoded, b"Base64", before)
    assert content.size == len(octets)
    assert content.at(start, length) == octets[start : start + length]


@given(st.integers(0, 3 * PIECE), st.integers(0, 2 * PIECE), st.integers(0, 200))
def test_base64_over_pieces(start: int, length: int, before: int) -> None:
    octets = bytes(range(251)) * (3 * PIECE // 251)
    content = of(base64.encodebytes(octets), b"base64", before)
    assert content.at(start, length) == octets[start : start + length]
    assert b"".join(pieces(content, start, length)) == octets[start : start + length]


@given(st.binary(max_size=200), st.integers(0, 210), st.integers(0, 210))
def test_what_is_no_base64_never_raises(encoded: bytes, start: int, length: int) -> None:
    content = of(encoded, b"base64")
    assert len(content.at(start, length)) <= length
    assert len(content.at(0, content.size)) == content.size


@given(st.binary(max_size=200), st.integers(0, 210), st.integers(0, 210), st.sampled_from([b"7bit", b"8bit", b"odd"]))
def test_what_needs_no_decoding(octets: bytes, start: int, length: int, encoding: bytes) -> None:
    assert of(octets, encoding).at(start, length) == octets[start : start + length]


def test_quoted_printable() -> None:
    octets = "<Établissement é=&\r\n".encode() * 50
    assert of(binascii.b2a_qp(octets, istext=False), b"quoted-printable").at(0, len(octets)) == octets
    assert of(b"a" * (MOST_QUOTED + 5), b"quoted-printable").size == MOST_QUOTED


def test_white_space_at_the_end_of_a_quoted_line_is_no_part_of_it() -> None:
    """RFC 2045 §6.7, rules 3 and 5"""
    assert from_quoted_printable(b"un  \r\ndeux= \t\r\ntrois \n=20\r\n fin") == b"un\r\ndeuxtrois\n \r\n fin"
    assert from_quoted_printable(b" " * 1_000_000 + b"x") == b" " * 1_000_000 + b"x"
