"""PLAIN and LOGIN, the two mechanisms of submission: who says he is who, by which password.

What must always hold: no I/O; a generator yields challenges (octets, not yet base64) and returns `Credentials`; the
password is in no ``repr`` and in no exception.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

MAX_LINE: Final = 12_288
"""Octets of one line of the exchange with its CRLF (RFC 4954 §4)."""


class SaslFault(ValueError):
    """The response is not one of this mechanism."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """``acting_for``: the authorization identity of PLAIN, "" when none was named."""

    login: str
    password: str = field(repr=False)
    acting_for: str = ""


Exchange = Generator[bytes, bytes, Credentials]


def _plain(initial: bytes | None) -> Exchange:
    """RFC 4616 §2: authorization identity, NUL, login, NUL, password, in one response."""
    response = (yield b"") if initial is None else initial
    parts = response.split(b"\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise SaslFault
    return Credentials(_text(parts[1]), _text(parts[2]), _text(parts[0]))


def _login(initial: bytes | None) -> Exchange:
    """The mechanism without an RFC that mail clients still speak."""
    login = (yield b"Username:") if initial is None else initial
    password = yield b"Password:"
    return Credentials(_text(login), _text(password))


MECHANISMS: Final[Mapping[str, Callable[[bytes | None], Exchange]]] = MappingProxyType(
    {"PLAIN": _plain, "LOGIN": _login}
)


def decode(line: bytes) -> bytes:
    """One response of the client; ``=`` is the empty one (RFC 4954 §4). Raises SaslFault."""
    if line == b"=":
        return b""
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        raise SaslFault from None


def encode(challenge: bytes) -> bytes:
    """A whole 334 line."""
    return b"334 " + base64.b64encode(challenge) + b"\r\n"


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslFault from None
