"""Body parts without their transfer encoding (RFC 3516 §4.2, RFC 9051 §6.4.5.1), a chunk at a time.

Invariants: what comes out does not depend on how the octets were cut; memory is bounded by the chunk; damaged encodings
give what can be read.
"""

from __future__ import annotations

import binascii
from typing import Final, Protocol

from mssante.mime.part_reader import from_quoted_printable

_DIGITS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NO_DIGITS: Final = bytes(octet for octet in range(256) if octet not in _DIGITS)
_LONGEST_LINE: Final = 65536


class Decoder(Protocol):
    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class Identity:
    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class Base64:
    """Octets that are no digits are passed over (RFC 2045 §6.8)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        digits = self._rest + data.translate(None, _NO_DIGITS)
        whole = len(digits) // 4 * 4
        self._rest = digits[whole:]
        return binascii.a2b_base64(digits[:whole])

    def finish(self) -> bytes:
        rest, self._rest = self._rest, b""
        return binascii.a2b_base64(rest + b"=" * (4 - len(rest))) if len(rest) > 1 else b""


class QuotedPrintable:
    """RFC 2045 §6.7, a line at a time."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        held = self._rest + data
        end = held.rfind(b"\n") + 1
        if not end and len(held) > _LONGEST_LINE:
            end = len(held) - 2
            end -= held[end - 2 : end].count(b"=") and 2 - held[end - 2 : end].index(b"=")
        self._rest = held[end:]
        return from_quoted_printable(held[:end])

    def finish(self) -> bytes:
        rest, self._rest = self._rest, b""
        return from_quoted_printable(rest)


def decoder(encoding: bytes) -> Decoder | None:
    """For a Content-Transfer-Encoding in lower case; None for one that is not known."""
    if encoding in {b"", b"7bit", b"8bit", b"binary"}:
        return Identity()
    if encoding == b"base64":
        return Base64()
    return QuotedPrintable() if encoding == b"quoted-printable" else None
