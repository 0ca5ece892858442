"""How values of a message are written in IMAP answers: strings, ENVELOPE, BODYSTRUCTURE.

What must always hold: every string is a quoted string or a literal that a strict client can read (RFC 3501 §4.3);
octets above 127, CR and LF go in literals, NUL (which no string can hold) is written as octet 128; values are sent as
the message has them, encoded words included.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final

from mssante.mime.addresses import parse_addresses
from mssante.mime.content import ContentType, Parameters, parse_disposition, parse_encoding, parse_languages
from mssante.mime.headers import Fields

_PLAIN: Final = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-!#-\[\]-\x7f]*+").fullmatch
_QUOTABLE: Final = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]*+").fullmatch

_SHORT: Final = 128
"""Octets of an address field that is remembered as it was written."""

EMPTY_STRUCTURE: Final = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)'
"""Stands for the parts of a multipart that has none, which the grammar does not allow."""


def string(value: bytes) -> bytes:
    """A quoted string or a literal."""
    if _PLAIN(value):
        return b'"' + value + b'"'
    if _QUOTABLE(value):
        return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return b"{%d}\r\n%b" % (len(value), value.replace(b"\0", b"\x80"))


def nstring(value: bytes | None) -> bytes:
    """`string`, or NIL."""
    return b"NIL" if value is None else string(value)


def envelope(fields: Fields) -> bytes:
    """ENVELOPE of a message with these fields (RFC 3501 §7.4.2, RFC 9051 §7.5.2).

    Sender and Reply-To that are missing or empty are From. Of a text field given twice the first counts; address
    fields given twice are joined, as a reader of the message would see them.
    """
    sender = _addresses(fields.get(b"from"))
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        _text(fields.get(b"date")),
        _text(fields.get(b"subject")),
        sender,
        _addresses(fields.get(b"sender"), sender),
        _addresses(fields.get(b"reply-to"), sender),
        _addresses(fields.get(b"to")),
        _addresses(fields.get(b"cc")),
        _addresses(fields.get(b"bcc")),
        _text(fields.get(b"in-reply-to")),
        _text(fields.get(b"message-id")),
    )


def _text(values: list[bytes] | None) -> bytes:
    return string(values[0]) if values else b"NIL"


def _addresses(values: list[bytes] | None, default: bytes = b"NIL") -> bytes:
    if not values:
        return default
    written = b"".join(_known(value) if len(value) <= _SHORT else _written(value) for value in values)
    return b"(" + written + b")" if written else default


def _written(value: bytes) -> bytes:
    return b"".join(
        b"(%b %b %b %b)" % (nstring(name), nstring(route), nstring(mailbox), nstring(host))
        for name, route, mailbox, host in parse_addresses(value)
    )


# The same people write to each other. Only short values are kept: the memory is bounded.
_known = lru_cache(maxsize=1024)(_written)


def basic_structure(
    content: ContentType, fields: Fields, size: int, lines: int, inner: tuple[bytes, bytes] | None
) -> bytes:
    """BODYSTRUCTURE of a part that is not a multipart. `inner`: ENVELOPE and BODYSTRUCTURE of a message/rfc822."""
    text = content.kind.startswith(b"text/")
    if inner is not None:
        measure = b"%d %b %b %d" % (size, *inner, lines)
    elif text:
        measure = b"%d %d" % (size, lines)
    else:
        measure = b"%d" % size
    encoding = fields.get(b"content-transfer-encoding")
    return b"(%b %b %b %b %b %b %b %b %b)" % (
        string(content.type),
        string(content.subtype),
        _parameters(content.parameters, text),
        _text(fields.get(b"content-id")),
        _text(fields.get(b"content-description")),
        string(parse_encoding(encoding[0])) if encoding else b'"7bit"',
        measure,
        _text(fields.get(b"content-md5")),
        _extension(fields),
    )


def multipart_structure(content: ContentType, fields: Fields, parts: Sequence[bytes]) -> bytes:
    """BODYSTRUCTURE of a multipart with these parts."""
    return b"(%b %b %b %b)" % (
        b"".join(parts) or EMPTY_STRUCTURE,
        string(content.subtype),
        _parameters(content.parameters, False),
        _extension(fields),
    )


def _parameters(parameters: Parameters, text: bool) -> bytes:
    written = [string(name) + b" " + string(value) for name, value in parameters]
    if text and not any(name.lower() == b"charset" for name, _ in parameters):
        written.append(b'"charset" "us-ascii"')  # RFC 2045 §5.2
    return b"(" + b" ".join(written) + b")" if written else b"NIL"


def _extension(fields: Fields) -> bytes:
    """Disposition, language and location, the extension data that parts of every kind have."""
    disposition = language = b"NIL"
    values = fields.get(b"content-disposition")
    parsed = parse_disposition(values[0]) if values else None
    if parsed is not None:
        disposition = b"(%b %b)" % (string(parsed[0]), _parameters(parsed[1], False))
    values = fields.get(b"content-language")
    tags = parse_languages(values[0]) if values else []
    if tags:
        language = b"(" + b" ".join(map(string, tags)) + b")"
    return b"%b %b %b" % (disposition, language, _text(fields.get(b"content-location")))


_ITEM: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[()]|[^\s"(){]++|\{([0-9]++)\}\r\n', re.DOTALL)


def _items(written: bytes) -> Iterator[bytes]:
    """The parentheses, strings and atoms of what was written here, a literal with its octets."""
    position, end = 0, len(written)
    while position < end:
        match = _ITEM.match(written, position)
        if match is None:
            position += 1  # the space between items
        else:
            start, position = match.start(), match.end() + int(match[1] or 0)
            yield written[start:position]


def body_of(structure: bytes) -> bytes:
    """BODY, the structure without extension data (RFC 3501 §7.4.2), from a BODYSTRUCTURE written here."""
    stack: list[list[bytes]] = [[]]
    for item in _items(structure):
        if item == b"(":
            stack.append([])
        elif item == b")":
            items = stack.pop()
            stack[-1].append(_without_extension(items))
        else:
            stack[-1].append(item)
    return stack[0][0]


def _without_extension(items: list[bytes]) -> bytes:
    """One list of a BODYSTRUCTURE, cut where its extension data begins when it is the list of a part.

    A part is told from the lists within it (parameters, addresses, ENVELOPE) by how it begins and how long it is:
    a basic part has an encoding and a size in the sixth and seventh places.
    """
    parts = 0
    while parts < len(items) and items[parts].startswith(b"("):
        parts += 1
    if parts and len(items) == parts + 5:
        return b"(" + b"".join(items[:parts]) + b" " + items[parts] + b")"
    if not parts and len(items) > 7 and items[6].isdigit():
        if items[0].lower() == b'"text"':
            return b"(" + b" ".join(items[:8]) + b")"
        nested = len(items) == 14
        return b"(" + b" ".join(items[: 10 if nested else 7]) + b")"
    return b"(" + b" ".join(items) + b")"


def first_address(envelope: bytes, field: int) -> tuple[str, str]:
    """Mailbox and host of the first address in a field (2: From, 5: To, 6: Cc) of an ENVELOPE that `envelope` wrote;
    empty when there is none."""
    items = islice(_items(envelope), 1, None)
    depth = place = 0
    for item in items:
        if place == field and not depth:
            address = tuple(islice(items, 5))  # ( name route mailbox host
            return (_value(address[3]), _value(address[4])) if item == b"(" else ("", "")
        depth += (item == b"(") - (item == b")")
        place += not depth
    return "", ""


def author(envelope: bytes) -> str:
    """The first address of an ENVELOPE's From; empty when there is none."""
    mailbox, host = first_address(envelope, 2)
    return f"{mailbox}@{host}" if mailbox and host else ""


def _value(item: bytes) -> str:
    """The text of one string; empty for NIL."""
    if item.startswith(b"{"):
        item = item.partition(b"\r\n")[2]
    elif item.startswith(b'"'):
        item = re.sub(rb"\\(.)", rb"\1", item[1:-1])
    else:
        item = b""
    return item.decode("utf-8", "replace")
