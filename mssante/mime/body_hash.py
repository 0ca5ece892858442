"""The hash of a message's body for DKIM, computed while the body streams by (RFC 6376 §3.4.3, §3.4.4).

What must always hold: the hash depends on the octets only, never on how they are cut; time is linear whatever the body;
what is kept between pieces is a number of empty lines and at most two octets.
"""

import hashlib


class BodyHash:
    """SHA-256 of a body that comes in pieces, canonicalized (RFC 6376 §3.4.3, §3.4.4); cuts make no difference."""

    def __init__(self, *, relaxed: bool = True) -> None:
        self._relaxed = relaxed
        self._hash = hashlib.sha256()
        self._held = b""  # the start of what may turn out to be white space at a line's end, or a line end
        self._empty_lines = 0  # line ends whose fate depends on whether text follows
        self._text = False

    def update(self, data: bytes) -> None:
        """Take the next octets of the body (after the header's empty line)."""
        if self._held:
            data = self._held + data
        if self._relaxed:
            data = _compress(data)
        held = 0
        if data.endswith(b"\r"):
            held = 2 if self._relaxed and data.endswith(b" \r") else 1
        elif self._relaxed and data.endswith(b" "):
            held = 1
        if held:
            self._held, data = data[-held:], data[:-held]
        else:
            self._held = b""
        text = data.rstrip(b"\r\n")
        ends = data[len(text) :]
        lines = _line_ends(ends)
        if len(ends) > 2 * lines:  # a bare CR or LF is text
            text = data[: len(data) - 2 * lines]
        if text:
            self._write(text)
        self._empty_lines += lines

    def digest(self) -> bytes:
        """The hash of the whole body."""
        if self._held:
            self._write(self._held)
            self._held = b""
        final = self._hash.copy()
        # Empty lines at the end do not count; a body without text is one line end, or nothing when relaxed.
        if self._text or not self._relaxed:
            final.update(b"\r\n")
        return final.digest()

    def _write(self, text: bytes) -> None:
        while self._empty_lines:
            count = min(self._empty_lines, 8_192)
            self._hash.update(b"\r\n" * count)
            self._empty_lines -= count
        self._hash.update(text)
        self._text = True


def _compress(data: bytes) -> bytes:
    """Every run of spaces and tabs as one space, none before CRLF. A run of n takes log2(n) passes."""
    if b"\t" in data:
        data = data.replace(b"\t", b" ")
    if b" " not in data:  # base64: the search for one octet is many times faster than for two
        return data
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data.replace(b" \r\n", b"\r\n")


def _line_ends(ends: bytes) -> int:
    """How many whole CRLF the trailing run of CR and LF octets ends with."""
    if not ends.endswith(b"\n"):
        return 0
    start = max(ends.rfind(b"\r\r"), ends.rfind(b"\n\n")) + 1
    if ends.startswith(b"\n", start):
        start += 1
    return (len(ends) - start) // 2
