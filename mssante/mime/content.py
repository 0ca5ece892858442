"""Structured MIME fields: Content-Type, Content-Disposition, and others that BODYSTRUCTURE shows.

What must always hold: reading never raises and is linear in the length of the value. A Content-Type that cannot be
understood is read as text/plain (RFC 2045 §5.2), so that a reader sees the content rather than nothing.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

MAX_BOUNDARY: Final = 200
"""Octets; RFC 2046 §5.1.1 allows 70. A longer one is no boundary, so that the scanner's memory stays small."""

MAX_VALUE: Final = 16_384
MAX_PARAMETERS: Final = 200
"""Octets and parameters read of one field; what follows is not looked at."""

_CACHED_LENGTH: Final = 128

_TYPE: Final = re.compile(rb"[ \t]*+([^\s()<>@,;:\\\"/\[\]?=]++)[ \t]*+/[ \t]*+([^\s()<>@,;:\\\"/\[\]?=]++)")
_VALUE: Final = re.compile(rb"[ \t]*+([^\s();]++)")
_SEPARATORS: Final = re.compile(rb"[\s;]*+")
_PARAMETER: Final = re.compile(rb"([^\s;=\"]++)[ \t]*+=[ \t]*+(?:\"((?:[^\"\\]|\\.)*+)\"?|([^;\"]*+))[^;]*+", re.DOTALL)
_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_SECTION: Final = re.compile(rb"(.*?)\*(?:([0-9]{1,3})(\*?))?")
_NEEDS_ESCAPE: Final = re.compile(rb"[^A-Za-z0-9!#$&+.^_`|~-]")

Parameters = tuple[tuple[bytes, bytes], ...]


class ContentType(NamedTuple):
    """A Content-Type as written; `kind` is ``type/subtype`` in lower case."""

    kind: bytes
    type: bytes
    subtype: bytes
    parameters: Parameters

    @property
    def boundary(self) -> bytes:
        """The boundary parameter, empty when there is none that can be used."""
        for name, value in self.parameters:
            if name.lower() == b"boundary":
                boundary = value.rstrip()
                return boundary if len(boundary) <= MAX_BOUNDARY else b""
        return b""


TEXT_PLAIN: Final = ContentType(b"text/plain", b"text", b"plain", ((b"charset", b"us-ascii"),))
OPAQUE: Final = ContentType(b"application/octet-stream", b"application", b"octet-stream", ())
MESSAGE: Final = ContentType(b"message/rfc822", b"message", b"rfc822", ())


def parse_content_type(value: bytes) -> ContentType:
    """The type of an unfolded Content-Type value, `TEXT_PLAIN` when it cannot be understood."""
    return _cached_type(value) if len(value) <= _CACHED_LENGTH else _read_type(value[:MAX_VALUE])


def _read_type(value: bytes) -> ContentType:
    match = _TYPE.match(value)
    if match is None:
        return TEXT_PLAIN
    main, sub = match.groups()
    return ContentType(main.lower() + b"/" + sub.lower(), main, sub, parse_parameters(value, match.end()))


# Few values make up most of the traffic (text/plain; charset=utf-8). Only short ones are kept: the memory is bounded.
_cached_type = lru_cache(maxsize=1024)(_read_type)


def parse_disposition(value: bytes) -> tuple[bytes, Parameters] | None:
    """The disposition and its parameters; one without a word is an attachment (RFC 2183 §2.8). None for no value."""
    value = value[:MAX_VALUE]
    match = _VALUE.match(value)
    if match is not None:
        return match[1], parse_parameters(value, match.end())
    return (b"attachment", parse_parameters(value, 0)) if value else None


def parse_languages(value: bytes) -> list[bytes]:
    """The tags of a Content-Language value (RFC 3282)."""
    return [tag for tag in map(bytes.strip, value[:MAX_VALUE].split(b",", MAX_PARAMETERS)[:MAX_PARAMETERS]) if tag]


def parse_encoding(value: bytes) -> bytes:
    """The transfer encoding without comments, ``7bit`` when there is none (RFC 2045 §6.1)."""
    match = _VALUE.match(value)
    return match[1] if match is not None else b"7bit"


def parse_parameters(value: bytes, position: int) -> Parameters:
    """The parameters after `position`; continuations are joined, their charset and escapes kept (RFC 2231 §6)."""
    found: list[tuple[bytes, bytes]] = []
    continued = False
    while len(found) < MAX_PARAMETERS and (position := value.find(b";", position)) >= 0:
        separators = _SEPARATORS.match(value, position)
        position = separators.end() if separators is not None else position + 1
        match = _PARAMETER.match(value, position)
        if match is None:
            continue
        position = match.end()
        name, quoted, token = match.groups()
        if quoted is None:
            text = token.strip()
        else:
            text = _PAIR.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        found.append((name, text))
        continued = continued or b"*" in name
    return _joined(found) if continued else tuple(found)


def _joined(parameters: list[tuple[bytes, bytes]]) -> Parameters:
    """Join ``name*0``, ``name*1*`` ... into ``name``, or into ``name*`` when any piece is escaped."""
    plain: list[tuple[bytes, bytes]] = []
    sections: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, value in parameters:
        match = _SECTION.fullmatch(name)
        if match is None or match[2] is None:
            plain.append((name, value))
        else:
            sections.setdefault(match[1], {}).setdefault(int(match[2]), (value, bool(match[3])))
    for name, pieces in sections.items():
        ordered = [pieces[index] for index in sorted(pieces)]
        if any(escaped for _, escaped in ordered):
            text = b"".join(value if escaped else _escape(value) for value, escaped in ordered)
            plain.append((name + b"*", text))
        else:
            plain.append((name, b"".join(value for value, _ in ordered)))
    return tuple(plain)


def _escape(value: bytes) -> bytes:
    return _NEEDS_ESCAPE.sub(lambda match: b"%%%02X" % match[0][0], value)
