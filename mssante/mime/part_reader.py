"""The content of one part of a stored message, decoded, at any place of it.

What must always hold: what is kept in memory is a few pieces and one number for each piece of the part, whatever its
size; octets that are no base64 are left out, as every reader does (RFC 2045 §6.8); what is asked beyond the end is
not there.
"""

import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Final, Protocol

PIECE: Final = 65_536
"""Octets read at once; pieces begin at its multiples, as the store's own do."""
MOST_QUOTED: Final = 4_194_304
"""Octets looked at of a part in quoted-printable or uuencode, which can only be read from their beginning."""

UUENCODE: Final = frozenset({b"x-uuencode", b"x-uue", b"uuencode"})

Read = Callable[[int, int], bytes]
"""(start, length) → those octets of the message, as it came."""

_LINE_END: Final = re.compile(rb"(?<![ \t])[ \t]++(\r?\n)")
_NOT_BASE64: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


class Content(Protocol):
    """Octets at any place. `size`: how many there are."""

    size: int

    def at(self, start: int, length: int) -> bytes: ...


def pieces(content: Content, start: int, length: int) -> Iterator[bytes]:
    """`length` octets from `start`, piece by piece."""
    end = min(start + length, content.size)
    for position in range(start, end, PIECE):
        yield content.at(position, min(PIECE, end - position))


def from_base64(text: bytes) -> bytes:
    """The octets of these digits, padded or not."""
    digits = text.translate(None, _NOT_BASE64)
    digits = digits[: len(digits) - (len(digits) % 4 == 1)]  # six bits make no octet
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def from_quoted_printable(text: bytes) -> bytes:
    """The octets of whole lines. White space at the end of a line is no part of it, also behind the = of a line that
    goes on (RFC 2045 §6.7, rules 3 and 5)."""
    return binascii.a2b_qp(_LINE_END.sub(rb"\1", text))


def decoded(octets: bytes, encoding: bytes) -> bytes:
    """The content of a part that is in memory; damaged encodings give what can be read."""
    content = in_memory(octets, encoding)
    return content.at(0, content.size)


def in_memory(octets: bytes, encoding: bytes = b"binary") -> Content:
    """The decoded content of these octets."""
    return content_of(lambda start, length: octets[start : start + length], 0, len(octets), encoding)


def content_of(read: Read, start: int, end: int, encoding: bytes) -> Content:
    """The decoded content of the part whose encoded one is [start, end) of the message."""
    encoding = encoding.lower()
    if encoding == b"base64":
        return _Base64(read, start, end)
    if encoding == b"quoted-printable":
        return in_memory(from_quoted_printable(read(start, min(end - start, MOST_QUOTED))))
    if encoding in UUENCODE:
        return in_memory(_from_uu(read(start, min(end - start, MOST_QUOTED))))
    return _Plain(read, start, end)


def _from_uu(text: bytes) -> bytes:
    """From the line after ``begin``, or the first, to the first line that is none of uuencode."""
    begin = text.find(b"begin ")
    lines = text[text.find(b"\n", begin) + 1 if begin >= 0 else 0 :].splitlines()
    octets = bytearray()
    for line in lines:
        decoded = _uu_line(line)
        if decoded is None:
            break
        octets += decoded
    return bytes(octets)


def _uu_line(line: bytes) -> bytes | None:
    """A line decoded; None when it is none of uuencode, as the last one, ``end``, is."""
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        return None


def held(read: Read, size: int) -> Read:
    """The same octets, of which there are `size`; what is asked for piece by piece is read once."""
    held_number, piece = -1, b""

    def at(start: int, length: int) -> bytes:
        nonlocal held_number, piece
        number, offset = divmod(start, PIECE)
        if offset + min(length, size - start) > PIECE:
            return read(start, length)
        if number != held_number:
            held_number, piece = number, read(number * PIECE, PIECE)
        return piece[offset : offset + length]

    return at


class _Plain:
    """What needs no decoding (7bit, 8bit, binary)."""

    def __init__(self, read: Read, start: int, end: int) -> None:
        self._read, self._start, self.size = read, start, end - start

    def at(self, start: int, length: int) -> bytes:
        length = min(length, self.size - start)
        return self._read(self._start + start, length) if length > 0 else b""


class _Base64:
    """Base64, with the number of digits before each piece, so that any octet is found without what stands before."""

    def __init__(self, read: Read, start: int, end: int) -> None:
        self._read, self._start, self._end = read, start, end
        self._first = start // PIECE
        self._before = [0]
        self._held = -1, b""
        for number in range(-(-end // PIECE) - self._first if end > start else 0):
            self._before.append(self._before[-1] + len(self._digits(number)))
        self.size = self._before[-1] * 3 // 4

    def at(self, start: int, length: int) -> bytes:
        first, last = start // 3 * 4, -(-(start + length) // 3) * 4
        last = min(last, self._before[-1])
        if first >= last:
            return b""
        number = bisect_right(self._before, first) - 1
        digits = bytearray()
        skip = first - self._before[number]
        while len(digits) < skip + last - first:
            digits += self._digits(number)
            number += 1
        octets = from_base64(bytes(digits[skip : skip + last - first]))
        return octets[start - first // 4 * 3 :][:length]

    def _digits(self, number: int) -> bytes:
        if self._held[0] != number:
            begin = max(self._start, (self._first + number) * PIECE)
            end = min(self._end, (self._first + number + 1) * PIECE)
            self._held = number, self._read(begin, end - begin).translate(None, _NOT_BASE64)
        return self._held[1]
