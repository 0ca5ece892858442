"""SMTP replies as a client reads them.

What always holds here:
- a reply is complete or it is nothing: bytes may be cut anywhere, the replies read are the same;
- what a server can make us hold is bounded: by line, by lines and by octets of one reply;
- the text kept of a reply is printable ASCII on one line, so that a peer cannot write into our logs or notices.
"""

import re
from dataclasses import dataclass

MAX_LINE = 2048
"""Octets of one reply line, CRLF included: four times RFC 5321 §4.5.3.1.5, some servers are wordy."""
MAX_LINES = 128
MAX_REPLY = 16_384

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?\Z", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:\s|\Z)")
_UNPRINTABLE = re.compile(rb"[^\x20-\x7e]")


class ReplyError(Exception):
    """The server does not speak SMTP; the text says how, for the log."""


class ReplyTooLong(ReplyError):
    """A line, or a reply, beyond the limits."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: `code` 200..599 and its lines without codes. `local` when we decided it without asking the peer."""

    code: int
    lines: tuple[str, ...] = ()
    local: bool = False

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    @property
    def enhanced(self) -> str:
        """The enhanced status code (RFC 3463), made from the first digit when the server gave none that fits."""
        for line in self.lines[:1]:
            match = _ENHANCED.match(line)
            if match and match[1][0] == str(self.code)[0]:
                return match[1]
        return f"{self.code // 100}.0.0"

    def __str__(self) -> str:
        return " ".join((str(self.code), *self.lines)).rstrip()


class ReplyReader:
    """Bytes in, replies out."""

    def __init__(self) -> None:
        self._buffer = b""
        self._code = 0
        self._lines: list[str] = []
        self._octets = 0

    @property
    def pending(self) -> bool:
        """True when bytes of an unfinished reply are held."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data

    def next(self) -> Reply | None:
        """The next complete reply, or None when more bytes are needed. Raises ReplyError (RFC 5321 §4.2)."""
        while True:
            end = self._buffer.find(b"\n", 0, MAX_LINE)
            if end < 0:
                if len(self._buffer) >= MAX_LINE:
                    raise ReplyTooLong(f"a reply line of more than {MAX_LINE} octets")
                return None
            line, self._buffer = self._buffer[: end + 1], self._buffer[end + 1 :]
            reply = self._line(line)
            if reply is not None:
                return reply

    def _line(self, line: bytes) -> Reply | None:
        if line[-2:] != b"\r\n" or b"\r" in line[:-2] or b"\0" in line:
            raise ReplyError(f"not a reply line: {_printable(line[:60])!r}")
        match = _LINE.match(line[:-2])
        if match is None:
            raise ReplyError(f"not a reply line: {_printable(line[:60])!r}")
        code, more = int(match[1]), match[2] == b"-"
        if self._lines and code != self._code:
            raise ReplyError(f"a reply that changes its code from {self._code} to {code}")
        self._octets += len(line)
        self._code = code
        self._lines.append(_printable(match[3] or b""))
        if self._octets > MAX_REPLY or len(self._lines) > MAX_LINES:
            raise ReplyTooLong(f"a reply of more than {MAX_LINES} lines or {MAX_REPLY} octets")
        if more:
            return None
        reply = Reply(code, tuple(self._lines))
        self._lines = []
        self._octets = 0
        return reply


def _printable(text: bytes) -> str:
    return _UNPRINTABLE.sub(b"?", text).decode("ascii").strip()
