"""Streaming reader of a message's structure: octets in, a `Card` out.

What must always hold:

- The card depends on the octets only, never on how they were cut into pieces.
- Memory is bounded: one header block (`Limits`), a tail as long as the longest open boundary, and the structure so
  far. Bodies are searched with ``bytes.find`` for the boundaries that are open, never line by line.
- Hostile structure costs no more than linear time: parts, depth, header octets and boundary length are limited.
  Beyond a limit the rest is opaque content of the part that encloses it; only a message's own header being
  over-long is an error.
- There is no recursion; open parts are a list.
"""

from dataclasses import dataclass, field
from typing import Final, Protocol

from mssante.mime import imap_text
from mssante.mime.card import LEAF, MESSAGE, MULTIPART, Card, Part
from mssante.mime.content import MESSAGE as MESSAGE_TYPE
from mssante.mime.content import OPAQUE, TEXT_PLAIN, ContentType, parse_content_type
from mssante.mime.dates import parse_date
from mssante.mime.headers import Fields, decode_text, message_ids, split_fields

_PIECE: Final = 65_536
"""Pieces longer than this are cut, so that one search never runs far beyond the next boundary."""

_PART_FIELDS: Final = frozenset(
    {
        b"content-type",
        b"content-transfer-encoding",
        b"content-id",
        b"content-description",
        b"content-md5",
        b"content-disposition",
        b"content-language",
        b"content-location",
    }
)
_MESSAGE_FIELDS: Final = _PART_FIELDS | {
    b"date",
    b"subject",
    b"from",
    b"sender",
    b"reply-to",
    b"to",
    b"cc",
    b"bcc",
    b"in-reply-to",
    b"message-id",
    b"references",
}


class HeaderTooLarge(Exception):
    """The message's own header block is longer than the limit, or has no end within it."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the header is longer than {limit} octets")
        self.limit = limit


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what is read as structure."""

    header: int = 262_144
    """Octets of the message's header block, its empty line included."""
    part_header: int = 65_536
    """Octets of one part's header block; what follows is its body."""
    part_headers: int = 2_097_152
    """Octets of all the parts' header blocks together; no part is opened beyond."""
    parts: int = 2_000
    """Each costs about 10 µs and 130 octets of card: so many in one piece do not hold the loop up for 50 ms."""
    depth: int = 50


DEFAULT_LIMITS: Final = Limits()
_CR: Final = 13


@dataclass(slots=True, eq=False)
class _Open:
    """A part whose end is not seen yet."""

    header_start: int
    is_message: bool
    content: ContentType
    body_start: int = 0
    fields: Fields = field(default_factory=Fields)
    kind: int = LEAF
    envelope: bytes = b""
    """Of this part when it is a message."""
    inner_envelope: bytes = b""
    """Of the message within when this part is message/rfc822."""
    lines_before: int = -1
    """Newlines before the body, -1 when this part's lines are not counted."""
    delimiter: bytes = b""
    """LF, "--" and the boundary, while this multipart may have further parts."""
    searched: int = 0
    """No delimiter starts before this offset."""
    hit: int = -1
    """Offset of the next delimiter's LF, when known."""
    parts: list[Part] = field(default_factory=list)
    structures: list[bytes] = field(default_factory=list)


class Digest(Protocol):
    """A hash under way, as `hashlib` has them."""

    def update(self, data: bytes | bytearray, /) -> None: ...


class Scanner:
    """Reads one message: `feed` its octets in any pieces, then `finish` for its card."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, text: Digest | None = None) -> None:
        """`text` takes the octets of all parts in their order, without headers and boundaries: two sendings of one
        text have it alike, whatever their mail program puts around it."""
        self._limits = limits
        self._text = text
        self._told = 0  # the text is told, or is none, up to this offset
        self._buffer = bytearray()
        self._base = 0  # offset of the buffer's first octet
        self._position = 0  # the current header starts here, or the body is searched from here
        self._state = self._header
        self._seen = 0  # the current header has no end before this offset
        self._longest = 0  # octets of the longest open delimiter
        self._counting = 0  # open parts whose lines are counted
        self._counted = 0  # newlines are counted up to this offset
        self._lines = 0
        self._parts = 1
        self._part_headers = 0
        self._stack = [_Open(0, True, TEXT_PLAIN)]

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next octets. Raises HeaderTooLarge."""
        if len(data) <= _PIECE:
            self._buffer += data
            self._advance(final=False)
            return
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            self._buffer += view[start : start + _PIECE]
            self._advance(final=False)

    def finish(self) -> Card:
        """The card of what was fed; nothing may be fed afterwards. Raises HeaderTooLarge."""
        self._advance(final=True)
        size = self._base + len(self._buffer)
        self._count_to(size)
        self._tell_to(size)
        root = self._stack[0]
        fields = root.fields
        part, structure = self._close(0, size)
        date = parse_date(fields.first(b"date"))
        identifiers = message_ids(fields.first(b"message-id"))
        replied = message_ids(fields.first(b"in-reply-to"))
        return Card(
            size=size,
            envelope=root.envelope,
            bodystructure=structure,
            root=part,
            subject=decode_text(fields.first(b"subject")),
            message_id=identifiers[0] if identifiers else "",
            in_reply_to=replied[0] if replied else "",
            references=message_ids(fields.first(b"references")),
            date_us=date[0] if date else None,
            date_zone=date[1] if date else 0,
        )

    def _advance(self, final: bool) -> None:
        while self._state(final):
            pass
        # Two octets before the position stay: a newline there may begin a delimiter, and a CR belongs to it.
        spent = self._position - 2 - self._base
        if spent > 0:
            self._count_to(self._position - 2)
            if self._state == self._body:
                self._tell_to(self._position - 2)
            del self._buffer[:spent]
            self._base += spent

    # Each state reads on from `_position` and says whether another state has work to do.

    def _header(self, final: bool) -> bool:
        """Look for the end of the header block that starts at the position."""
        buffer, base, start = self._buffer, self._base, self._position
        low = start - base
        have = len(buffer) - low
        if have < 2 and not final:
            return False
        root = len(self._stack) == 1
        limit = self._limits.header if root else self._limits.part_header
        window = low + limit
        if buffer.startswith(b"\r\n", low):
            end = low + 2
        elif buffer.startswith(b"\n", low):
            end = low + 1
        else:
            end = _after_blank_line(buffer, max(low, self._seen - base - 2), window)
        if self._longest:
            # A delimiter before the empty line ends the part within its header. No delimiter holds a newline, so
            # when the empty line is here, every delimiter before it is here whole.
            multipart = self._next_delimiter(start - 1, final or end >= 0)
            if multipart is not None and multipart.hit + 1 < base + (end if end >= 0 else window):
                return self._open_body(multipart.hit + 1)
        if end >= 0:
            return self._open_body(base + end)
        if have > limit:
            if root:
                raise HeaderTooLarge(limit)
            if final or have >= limit + self._longest + 4:
                newline = buffer.rfind(b"\n", low, window)
                return self._open_body(base + (newline + 1 if newline >= 0 else window))
        elif final:
            return self._open_body(base + len(buffer))
        self._seen = base + len(buffer)
        return False

    def _body(self, final: bool) -> bool:
        """Look for the next delimiter of an open multipart."""
        multipart = self._next_delimiter(self._position, final)
        if multipart is None:
            self._position = max(self._position, self._base + len(self._buffer) - self._longest - 2)
            return False
        buffer, base, hit = self._buffer, self._base, multipart.hit
        self._count_to(hit)
        self._tell_to(hit)
        with_cr = hit > base and buffer[hit - 1 - base] == _CR
        self._close(self._stack.index(multipart) + 1, hit - 1 if with_cr else hit)
        self._told = after = hit + len(multipart.delimiter)
        self._position = after
        if buffer.startswith(b"--", after - base) or self._full():
            multipart.delimiter = b""  # what follows is its epilogue
            self._longest = max(len(each.delimiter) for each in self._stack)
        else:
            self._state = self._delimiter_line
        return True

    def _delimiter_line(self, final: bool) -> bool:
        """Look for the end of the line of the delimiter that opens a part."""
        newline = self._buffer.find(b"\n", self._position - self._base)
        if newline < 0:
            self._position = self._base + len(self._buffer)
            return False
        start = self._base + newline + 1
        digest = self._stack[-1].content.kind == b"multipart/digest"  # RFC 2046 §5.1.5
        self._push(_Open(start, False, MESSAGE_TYPE if digest else TEXT_PLAIN))
        return True

    def _full(self) -> bool:
        return self._parts >= self._limits.parts or self._part_headers >= self._limits.part_headers

    def _push(self, opened: _Open) -> None:
        self._parts += 1
        self._stack.append(opened)
        self._position = self._seen = opened.header_start
        self._state = self._header

    def _open_body(self, body_start: int) -> bool:
        """Read the header block that ends at `body_start`, and start on the body."""
        current = self._stack[-1]
        current.body_start = body_start
        self._told = max(self._told, body_start)
        header = bytes(self._buffer[current.header_start - self._base : body_start - self._base])
        current.fields = fields = split_fields(header, _MESSAGE_FIELDS if current.is_message else _PART_FIELDS)
        if current.is_message:
            current.envelope = imap_text.envelope(fields)
        if len(self._stack) > 1:
            self._part_headers += len(header)
        self._position = body_start - 1
        self._state = self._body
        types = fields.get(b"content-type")
        content = parse_content_type(types[0]) if types else current.content
        room = len(self._stack) < self._limits.depth and not self._full()
        if content.kind.startswith(b"multipart/"):
            boundary = content.boundary
            if not boundary:
                content = TEXT_PLAIN
            elif room:
                current.kind = MULTIPART
                current.delimiter = b"\n--" + boundary
                self._longest = max(self._longest, len(current.delimiter))
            else:
                content = OPAQUE
        elif content.kind == b"message/rfc822":
            if room:
                current.kind = MESSAGE
                self._push(_Open(body_start, True, TEXT_PLAIN))
            else:
                content = OPAQUE
        current.content = content
        if current.kind == MESSAGE or content.kind.startswith(b"text/"):
            self._count_to(body_start)
            current.lines_before = self._lines
            self._counting += 1
        return True

    def _next_delimiter(self, start: int, complete: bool) -> _Open | None:
        """The multipart whose delimiter comes first, its LF at `start` or later; None when that is not known yet.

        A boundary matches the beginning of a line (RFC 2046 §5.1.1); of several that match the longest does, then
        the innermost. `complete`: what is in the buffer decides, no further octets are needed.
        """
        buffer, base = self._buffer, self._base
        first: _Open | None = None
        for each in self._stack:
            needle = each.delimiter
            if not needle:
                continue
            if each.hit < start:
                found = buffer.find(needle, max(each.searched, start) - base)
                if found < 0:
                    each.searched = max(base + len(buffer) - len(needle) + 1, each.searched)
                    continue
                each.hit = base + found
            # The list goes inwards, so of equal boundaries the innermost comes last.
            if first is None or (each.hit, -len(needle)) <= (first.hit, -len(first.delimiter)):
                first = each
        if first is None or (not complete and first.hit + self._longest + 2 > base + len(buffer)):
            return None
        return first

    def _count_to(self, offset: int) -> None:
        if offset > self._counted:
            if self._counting:
                base = self._base
                self._lines += self._buffer.count(b"\n", self._counted - base, offset - base)
            self._counted = offset

    def _tell_to(self, offset: int) -> None:
        if self._text is not None and offset > self._told:
            self._text.update(self._buffer[self._told - self._base : offset - self._base])
            self._told = offset

    def _close(self, depth: int, end: int) -> tuple[Part, bytes]:
        """End all parts from `depth` inwards at `end`; the outermost of them and its BODYSTRUCTURE."""
        stack = self._stack
        part, structure = Part(LEAF, 0, 0, 0), b""
        while len(stack) > depth:
            current = stack.pop()
            # An empty part may share its empty line with the delimiter: no part ends before it begins.
            end = max(end, current.body_start)
            size = end - current.body_start
            lines = 0
            if current.lines_before >= 0:
                lines = self._lines - current.lines_before
                self._counting -= 1
            part = Part(current.kind, current.header_start, current.body_start, end, tuple(current.parts))
            if current.kind == MULTIPART:
                structure = imap_text.multipart_structure(current.content, current.fields, current.structures)
            else:
                inner = (current.inner_envelope, current.structures[0]) if current.kind == MESSAGE else None
                structure = imap_text.basic_structure(current.content, current.fields, size, lines, inner)
            if stack:
                parent = stack[-1]
                parent.parts.append(part)
                parent.structures.append(structure)
                if current.is_message:
                    parent.inner_envelope = current.envelope
        return part, structure


def _after_blank_line(buffer: bytearray, start: int, stop: int) -> int:
    """The offset after the first empty line that ends by `stop`, -1 when there is none."""
    crlf = buffer.find(b"\n\r\n", start, stop)
    bare = buffer.find(b"\n\n", start, stop if crlf < 0 else crlf + 1)
    if bare >= 0:
        return bare + 2
    return crlf + 3 if crlf >= 0 else -1
