"""Authentication-Results fields of arriving messages that claim to be ours (RFC 8601 §5).

What must always hold: after `without_forged_results` no field is left that a reader could take for one that this
operator wrote, those whose author cannot be read included; every other octet of the header stays as it came; linear
time whatever the header.
"""

import re
from collections.abc import Set as AbstractSet
from typing import Final

_NAME: Final = b"authentication-results"
_FIELD_END: Final = re.compile(rb"\n(?![ \t])")
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_COMMENT_PIECE: Final = re.compile(rb"[()]|(?:[^()\\]|\\.)++|\\", re.DOTALL)
# RFC 2045 §5.1 token, or a quoted string.
_ID: Final = re.compile(rb"""([^\x00-\x20()<>@,;:\\"/\[\]?=\x7f-\xff]++)|"((?:[^"\\]|\\.)*+)\"""", re.DOTALL)


def without_forged_results(header: bytes, own_names: AbstractSet[str]) -> bytes:
    """`header` without the Authentication-Results fields in the name of `own_names` (lower case) or of hosts below."""
    if _NAME not in header.lower():
        return header
    return b"\n".join(field for field in _FIELD_END.split(header) if not _forged(field, own_names))


def _forged(field: bytes, own_names: AbstractSet[str]) -> bool:
    name, colon, value = field.partition(b":")
    if not colon or name.strip().lower() != _NAME:
        return False
    author = _authserv_id(value)
    return author is None or any(author == own or author.endswith("." + own) for own in own_names)


def _authserv_id(value: bytes) -> str | None:
    """The name that a field's value begins with (RFC 8601 §2.2), comments aside; None when there is none."""
    found = _ID.match(value, _after_comments(value))
    if found is None or value[found.end() : found.end() + 1] not in (b"", b" ", b"\t", b"\r", b";", b"("):
        return None
    token, quoted = found.groups()
    name = token if token is not None else re.sub(rb"\\(.)", rb"\1", quoted)
    return name.decode("latin-1").strip().rstrip(".").lower()


def _after_comments(value: bytes) -> int:
    """Where the first octet stands that is neither white space nor in a comment (RFC 5322 §3.2.2)."""
    position = _SPACE.match(value).end()  # type: ignore[union-attr]  # it matches nothing too
    depth = 0
    while position < len(value) and (depth or value[position] == 0x28):
        piece = _COMMENT_PIECE.match(value, position)
        assert piece is not None
        depth += {b"(": 1, b")": -1}.get(piece[0], 0)
        position = piece.end()
        if not depth:
            position = _SPACE.match(value, position).end()  # type: ignore[union-attr]
    return position
