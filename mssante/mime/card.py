"""What IMAP asks of a message again and again, computed once when it arrives.

What must always hold: offsets count octets of the content as received, from 0, ends exclusive; what the operator
prepends to a message is not counted here. ENVELOPE and BODYSTRUCTURE are kept ready to be sent. A card can be read by
later versions: fields are only ever added at the end, with a default.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from mssante.mime.imap_text import body_of

LEAF: Final = 0
MULTIPART: Final = 1
MESSAGE: Final = 2


class Part(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One body part: its header is [header_start, body_start), its content [body_start, body_end).

    A `MULTIPART` has its parts in order; a `MESSAGE` (message/rfc822) has one, the message within.
    """

    kind: int
    header_start: int
    body_start: int
    body_end: int
    parts: tuple["Part", ...] = ()

    def walk(self) -> Iterator["Part"]:
        """This part and all within, in the order of their octets."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting += reversed(part.parts)


class Summary(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The first fields of a card: all that a listing shows, read without the rest."""

    size: int
    """Octets of the whole message."""
    envelope: bytes
    """IMAP ENVELOPE with its parentheses (RFC 3501 §7.4.2); 8-bit values are literals."""
    bodystructure: bytes
    """IMAP BODYSTRUCTURE with its extension data."""

    @property
    def body(self) -> bytes:
        """IMAP BODY: the structure without extension data."""
        return body_of(self.bodystructure)

    @staticmethod
    def decode(data: bytes) -> "Summary":
        """The summary of a card that was encoded; msgspec.DecodeError when `data` is not one."""
        return _decode_summary(data)


class Card(Summary, frozen=True, gc=False):
    """The card of one message."""

    root: Part
    subject: str
    """Decoded (RFC 2047)."""
    message_id: str
    """With its angle brackets, empty when there is none."""
    in_reply_to: str
    references: tuple[str, ...]
    """Oldest first, at most `headers.MAX_REFERENCES`."""
    date_us: int | None
    """The Date field in microseconds since the epoch; None when it is missing or cannot be understood."""
    date_zone: int = 0
    """Minutes east of UTC that the Date field names."""

    @property
    def header_length(self) -> int:
        """Octets of the header block, its empty line included."""
        return self.root.body_start

    def section(self, path: tuple[int, ...], what: str = "") -> tuple[int, int] | None:
        """The octets of ``BODY[path.what]`` (RFC 3501 §6.4.5), None when the message has no such section.

        `what` is "" for the part's content (with no path: the whole message), "MIME" for the part's header,
        "HEADER" and "TEXT" for those of the message, or of the message within a message/rfc822 part.
        """
        if not path:
            return self._message_section(self.root, what)
        part = self.part(path)
        if part is None:
            return None
        if what == "":
            return part.body_start, part.body_end
        if what == "MIME":
            return part.header_start, part.body_start
        if part.kind != MESSAGE:
            return None
        return self._message_section(part.parts[0], what)

    def part(self, path: tuple[int, ...]) -> Part | None:
        """The part that section numbers name, None when there is none. A lone body is its message's part 1."""
        part = self.root
        message = True  # whether `part` is a message, whose part 1 may be itself
        for number in path:
            if part.kind == MESSAGE and not message:
                part, message = part.parts[0], True
            if part.kind == MULTIPART:
                if not 1 <= number <= len(part.parts):
                    return None
                part = part.parts[number - 1]
            elif not message or number != 1:
                return None
            message = False
        return part

    @staticmethod
    def _message_section(message: Part, what: str) -> tuple[int, int] | None:
        if what == "":
            return message.header_start, message.body_end
        if what == "HEADER":
            return message.header_start, message.body_start
        return (message.body_start, message.body_end) if what == "TEXT" else None

    def encode(self) -> bytes:
        """The card as msgpack."""
        return _encode(self)

    @staticmethod
    def decode(data: bytes) -> "Card":
        """The card that `encode` wrote; msgspec.DecodeError when `data` is not one."""
        return _decode(data)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Card).decode
_decode_summary = msgspec.msgpack.Decoder(Summary).decode
