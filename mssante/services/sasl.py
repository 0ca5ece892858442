"""The mechanisms of SASL (RFC 4422), for submission and IMAP alike: who says he is who, and by which proof.

What must always hold: no I/O, and nothing is judged: a generator yields challenges (octets, not yet base64), gets
responses, and returns a `Proof`; passwords and tokens are in no ``repr`` and in no exception.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

MAX_LINE: Final = 12_288
"""Octets of one line of the exchange with its CRLF (RFC 4954 §4)."""
BEARER: Final = ("XOAUTH2", "OAUTHBEARER")


class SaslFault(ValueError):
    """The response is not one of this mechanism."""


@dataclass(frozen=True, slots=True)
class Password:
    """``acting_for``: the authorization identity of PLAIN, "" when none was named."""

    login: str
    password: str = field(repr=False)
    acting_for: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token (RFC 6750). ``mailbox``: the one that is to be opened, "" when none was named."""

    mailbox: str
    token: str = field(repr=False)
    mechanism: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """The client says that the certificate of its handshake is the proof; ``mailbox`` as for a token."""

    mailbox: str


Proof = Password | Token | Certificate
Exchange = Generator[bytes, bytes, Proof]


def _plain(initial: bytes | None) -> Exchange:
    """RFC 4616 §2: authorization identity, NUL, login, NUL, password, in one response."""
    response = (yield b"") if initial is None else initial
    parts = response.split(b"\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise SaslFault
    return Password(_text(parts[1]), _text(parts[2]), _text(parts[0]))


def _login(initial: bytes | None) -> Exchange:
    """The mechanism without an RFC that mail clients still speak."""
    login = (yield b"Username:") if initial is None else initial
    password = yield b"Password:"
    return Password(_text(login), _text(password))


_XOAUTH2: Final = re.compile(r"user=([^\x01]*)\x01auth=bearer +([^\x01]*)\x01\x01", re.IGNORECASE)
# RFC 7628 §3.1: the GS2 header (RFC 5801 §4; channel binding is not offered), then key-value pairs.
_OAUTHBEARER: Final = re.compile(r"[ny],(?:a=([^,\x01]*))?,\x01((?:[A-Za-z]+=[^\x00\x01]*\x01)*)\x01")
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
_SASLNAME: Final = re.compile(r"(?:[^=]|=2C|=3D)*")


def _xoauth2(initial: bytes | None) -> Exchange:
    """Google's forerunner of RFC 7628, which the clients of Pro Santé Connect speak (ECO.1.2.1, facts 3.1)."""
    said = _XOAUTH2.fullmatch(_text((yield b"") if initial is None else initial))
    if said is None:
        raise SaslFault
    return Token(said[1].strip(), said[2].strip(), "XOAUTH2")


def _oauthbearer(initial: bytes | None) -> Exchange:
    """RFC 7628 §3.1. An empty ``auth`` asks where tokens are had (§4.3): it gets the challenge of a refusal."""
    said = _OAUTHBEARER.fullmatch(_text((yield b"") if initial is None else initial))
    if said is None or not _SASLNAME.fullmatch(said[1] or ""):
        raise SaslFault
    pairs = [pair.partition("=") for pair in said[2].split("\x01")[:-1]]
    shown = [value for key, _, value in pairs if key.lower() == "auth"]
    bearer = _BEARER.fullmatch(shown[0]) if len(shown) == 1 else None
    if bearer is None and shown != [""]:
        raise SaslFault
    mailbox = (said[1] or "").replace("=2C", ",").replace("=3D", "=")
    return Token(mailbox, bearer[1] if bearer else "", "OAUTHBEARER")


def _external(initial: bytes | None) -> Exchange:
    """RFC 4422 appendix A: the response is the authorization identity, often empty."""
    return Certificate(_text((yield b"") if initial is None else initial))


MECHANISMS: Final[Mapping[str, Callable[[bytes | None], Exchange]]] = MappingProxyType(
    {
        "PLAIN": _plain,
        "LOGIN": _login,
        "XOAUTH2": _xoauth2,
        "OAUTHBEARER": _oauthbearer,
        "EXTERNAL": _external,
    }
)

Ask = Callable[[bytes], Awaitable[bytes]]
"""Says a challenge (in base64) and gives the client's line; raises the edge's own fault when the client gives up."""


async def prove(mechanism: str, initial: bytes | None, ask: Ask) -> Proof:
    """The proof that the client gives; ``initial``: its first response, None when it waits for a challenge.

    Raises SaslFault.
    """
    exchange = MECHANISMS[mechanism](initial)
    try:
        challenge = next(exchange)
        while True:
            challenge = exchange.send(decode(await ask(base64.b64encode(challenge))))
    except StopIteration as done:
        proof: Proof = done.value
        return proof


async def tell_refused(token: Token, status: str, configuration: str, ask: Ask) -> None:
    """A token is refused by a challenge in JSON (RFC 7628 §3.2.2); whatever the client answers, the exchange failed.

    ``status``: an error of RFC 6750 §3.1. ``configuration``: URL of the issuer's discovery document.
    """
    if token.mechanism == "XOAUTH2":
        said = {"status": "401" if status == "invalid_token" else "403", "schemes": "bearer", "scope": "mail"}
    else:
        said = {"status": status, "scope": "openid scope_all", "openid-configuration": configuration}
    await ask(base64.b64encode(json.dumps(said, separators=(",", ":")).encode("ascii")))


def decode(line: bytes) -> bytes:
    """One response of the client; ``=`` is the empty one (RFC 4954 §4, RFC 4959 §3). Raises SaslFault."""
    if line == b"=":
        return b""
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        raise SaslFault from None


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslFault from None
