"""A strict reader of the IMAP values that cards hold, independent of the code that writes them (RFC 3501 §9)."""

from typing import Any


class NotImap(Exception):
    """The octets are no IMAP value."""


def read(data: bytes) -> Any:
    """The one value that `data` is: lists for parentheses, bytes for strings, None for NIL, int for numbers."""
    stack: list[list[Any]] = [[]]
    position = 0
    while position < len(data):
        octet = data[position : position + 1]
        if octet == b"(":
            stack.append([])
            position += 1
        elif octet == b")":
            if len(stack) == 1:
                raise NotImap("parenthesis closed that was not open")
            done = stack.pop()
            stack[-1].append(done)
            position += 1
        elif octet == b" ":
            position += 1
        elif octet == b'"':
            value, position = _quoted(data, position + 1)
            stack[-1].append(value)
        elif octet == b"{":
            end = data.index(b"}\r\n", position)
            length = int(data[position + 1 : end])
            start = end + 3
            if b"\0" in data[start : start + length] or start + length > len(data):
                raise NotImap("bad literal")
            stack[-1].append(data[start : start + length])
            position = start + length
        else:
            end = position
            while end < len(data) and data[end : end + 1] not in (b" ", b")", b"("):
                end += 1
            atom = data[position:end]
            if atom == b"NIL":
                stack[-1].append(None)
            elif atom.isdigit():
                stack[-1].append(int(atom))
            else:
                raise NotImap(f"atom {atom!r}")
            position = end
    if len(stack) != 1 or len(stack[0]) != 1:
        raise NotImap("not one value")
    return stack[0][0]


def _quoted(data: bytes, position: int) -> tuple[bytes, int]:
    value = bytearray()
    while True:
        octet = data[position]
        if octet == 0x22:
            return bytes(value), position + 1
        if octet == 0x5C:
            position += 1
            octet = data[position]
            if octet not in (0x22, 0x5C):
                raise NotImap("escaped octet that needs none")
        elif octet in (0, 10, 13) or octet > 127:
            raise NotImap("octet that a quoted string cannot hold")
        value.append(octet)
        position += 1
