"""Finds where a command ends; what it means is for `grammar`.

What must always hold:
- A line ends with CRLF and with nothing else (RFC 5321 §2.3.8). A bare LF or CR, or a NUL, is never part of a line
  that is given out, and never ends one.
- The same octets give the same lines however the network cuts them.
- At most `limit` octets of an unfinished line are kept; the rest of a longer one is dropped up to its end.
"""

from __future__ import annotations

from enum import Enum, auto


class LineFault(Enum):
    """Why a line is not one."""

    TOO_LONG = auto()
    """Longer than the limit; the stream is in step again after it."""
    FORBIDDEN = auto()
    """A NUL or a bare CR inside; the stream is in step."""
    BARE_LF = auto()
    """Ended by LF alone: peer and server may no longer agree on where commands end, the session cannot go on."""


class Framer:
    """Octets in, lines out. ``limit``: octets of the longest line, its CRLF included."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._start = 0
        self._searched = 0
        self._dropping = False

    def __len__(self) -> int:
        """Octets fed and not yet given out."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> None:
        """More octets from the peer."""
        if self._start == len(self._buffer):
            self._buffer = data
            self._searched = 0
        else:
            self._searched -= self._start
            self._buffer = self._buffer[self._start :] + data
        self._start = 0

    def line(self) -> bytes | LineFault | None:
        """The next line without its CRLF, what is wrong with it, or None when its end has not come yet."""
        buffer, start = self._buffer, self._start
        end = buffer.find(b"\n", self._searched)
        if end < 0:
            self._wait_for_end()
            return None
        self._start = self._searched = end + 1
        dropped, self._dropping = self._dropping, False
        if end == start or buffer[end - 1] != 13:
            # After a drop the octet before the LF may have been dropped with the rest: it was kept for this question.
            return LineFault.BARE_LF
        if dropped or end + 1 - start > self._limit:
            return LineFault.TOO_LONG
        line = buffer[start : end - 1]
        return LineFault.FORBIDDEN if b"\r" in line or b"\0" in line else line

    def take(self) -> bytes:
        """Everything not yet given out, raw: the body of DATA."""
        rest = self._buffer[self._start :] if self._start else self._buffer
        self._buffer, self._start, self._searched = b"", 0, 0
        return rest

    def put_back(self, rest: bytes) -> None:
        """Gives back, in front, what `take` gave too much."""
        if rest:
            self._buffer, self._start, self._searched = rest + self.take(), 0, 0

    def _wait_for_end(self) -> None:
        if len(self) >= self._limit or self._dropping:
            self._dropping = True
            self._buffer, self._start = self._buffer[-1:], 0
        self._searched = len(self._buffer)
