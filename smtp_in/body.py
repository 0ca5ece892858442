"""The octets of a message as they come: between 354 and CRLF.CRLF, dots undoubled, or in chunks of known length.

What must always hold:
- Only CRLF.CRLF ends a message (RFC 5321 §4.1.1.4), its first CRLF being the end of the DATA line itself when the
  message is empty. LF.LF, CR.CR, LF.CRLF and their like end nothing: they are faults, looked past to the true end, so
  that no second message can be smuggled behind them.
- What is given out holds CR and LF only as CRLF pairs, and no NUL, as long as `fault` is None.
- The same octets give the same content and the same fault however they are cut; at most four octets are held back.

No loop by line: every question is a pass or two of the interpreter's own searches.
"""

from __future__ import annotations

import re
from typing import Final

from mssante.domain.verdict import Rule

_END: Final = b"\r\n.\r\n"
_PREFIXES: Final = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")
# Everything but what matters here. What is left of a piece is short, and has CRLF and a dot in a row wherever the piece
# has: most pieces are done with after this one pass.
_UNMARKED: Final = bytes(octet for octet in range(256) if octet not in b"\r\n.\0")
_LONE_CR: Final = re.compile(rb"\r[^\n]")
_NOT_NEWLINES: Final = _UNMARKED + b"."


class _Content:
    """What both have in common. ``max_line``: octets of the longest line with its CRLF; ``max_size``: of the
    message."""

    rest: bytes | None = None
    """What came after the end; None until the end has come."""

    def __init__(self, max_line: int, max_size: int) -> None:
        self._max_line, self._max_size = max_line, max_size
        self._column = 0
        self._held = b""
        self.size = 0
        """Octets of content so far, dots undoubled."""
        self.fault: Rule | None = None
        """What is wrong with it so far; content is worthless from then on."""

    def _looked_at(self, content: bytes, newlines: bytes) -> bytes:
        """``newlines``: the CR, LF and NUL of the content, in their order."""
        self.size += len(content)
        if self.fault is not Rule.MESSAGE_CONTENT:
            # Content's fault outranks size's, or the answer would depend on how the network cut the message.
            self.fault = self._fault_in(content, newlines)
        return content

    def _fault_in(self, content: bytes, newlines: bytes) -> Rule | None:
        # CR, text, LF is a pair among the newlines alone: when they alternate, each CR must have its LF behind it.
        paired = newlines == b"\r\n" * (len(newlines) // 2) and _LONE_CR.search(content) is None
        if not paired or self._line_too_long(content):
            return Rule.MESSAGE_CONTENT
        return Rule.MESSAGE_TOO_LARGE if self.size > self._max_size else None

    def _line_too_long(self, content: bytes) -> bool:
        """Leaps from line end to line end, ``max_line`` octets at a time. `_column`: the unfinished line's length."""
        start, size = 0, len(content)
        reach = self._max_line - self._column
        while size - start > reach:
            last = content.rfind(b"\n", start, start + reach)
            if last < 0:
                return True
            start, reach, self._column = last + 1, self._max_line, 0
        last = content.rfind(b"\n", start)
        self._column = size - last - 1 if last >= 0 else self._column + size - start
        return False


class Chunks(_Content):
    """A message by BDAT (RFC 3030): no dots, no end in the stream. A line end may be cut between two chunks."""

    def feed(self, data: bytes) -> bytes:
        """The content that the next octets add."""
        content = self._held + data
        self._held = b"\r" if content.endswith(b"\r") else b""
        if self._held:
            content = content[:-1]
        return self._looked_at(content, content.translate(None, _NOT_NEWLINES))

    def end(self) -> bytes:
        """What is still to be added once the last chunk has come: a last line without its end gets it, as by DATA it
        would have."""
        held, self._held = self._held, b""
        if held:
            return self._looked_at(held, held)
        return self._looked_at(b"\r\n", b"\r\n") if self._column else b""


class Body(_Content):
    """A message by DATA."""

    def __init__(self, max_line: int, max_size: int) -> None:
        super().__init__(max_line, max_size)
        # The end of the DATA line stands before the first octet: it makes a first line "." an end (empty message),
        # and a first dot a doubled one. It is not content.
        self._held = b"\r\n"
        self._virtual = True

    def feed(self, data: bytes) -> bytes:
        """The content that ``data`` adds. Not to be called after the end."""
        octets = self._held + data
        marks = octets.translate(None, _UNMARKED)
        dotted = b"\r\n." in marks
        end = octets.find(_END) if dotted else -1
        if end >= 0:
            content, self.rest, self._held = octets[: end + 2], octets[end + 5 :], b""
            marks = content.translate(None, _UNMARKED)
        else:
            self._held = next((prefix for prefix in _PREFIXES if octets.endswith(prefix)), b"")
            if self._held:
                content, marks = octets[: -len(self._held)], marks[: -len(self._held)]
            else:
                content = octets
        if dotted:
            # RFC 5321 §4.5.2: the first dot of a line goes, whatever follows it.
            content = content.replace(b"\r\n.", b"\r\n")
        if self._virtual and content:
            content, self._virtual = content[2:], False
        return self._looked_at(content, marks.translate(None, b"."))

    def end(self) -> bytes:
        """Nothing: the end was in the stream."""
        return b""
