"""One bounded HTTP GET: the only way in which this operator takes something from a web server (white list, CRLs).

Invariants
- What comes back is not believed here: lists and CRLs are signed, their readers decide. TLS is a second lock.
- Time, octets of the head and octets of the body are bounded, whatever the server does; nothing is decompressed.
- A redirection never leaves the host and never goes from https to http.
- `fetch` raises nothing but FetchFailed; its message is one printable line for the log and the operator.
- No state is kept: what makes a request conditional comes from the caller and goes back to it (RFC 9110 §13).
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import h11

HEAD_LIMIT = 16 * 1024
REDIRECTIONS = 3
_PIECE = 64 * 1024
_REDIRECTING = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_VALIDATOR = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,510}[\x21-\x7e])?")


class FetchFailed(Exception):
    """Nothing usable was fetched; the message says from where and why."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server said of the version it sent; empty when it said nothing."""

    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """body: None when the server has nothing newer than what the validators describe (304)."""

    body: bytes | None
    validators: Validators


def url_fault(url: str, schemes: tuple[str, ...] = ("https",)) -> str:
    """What is wrong with a URL that is to be fetched, or an empty string."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        return str(fault)
    if not url.isascii() or not url.isprintable() or " " in url:
        return "only printable ASCII is permitted in it"
    if parts.scheme not in schemes:
        return f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if not _HOST.fullmatch(parts.hostname or "") or port == 0:
        return "names no host"
    if parts.username is not None or parts.fragment:
        return "must have neither a user name nor a fragment"
    return ""


async def fetch(
    url: str, context: ssl.SSLContext, *, max_bytes: int, seconds: float, validators: Validators = Validators()
) -> Fetched:
    """GET `url` (http or https), all of it within `seconds` and `max_bytes` octets. Raises FetchFailed.

    context: how an https server is verified (`Contexts.https_client`). validators: those of the version at hand.
    """
    fault = url_fault(url, ("https", "http"))
    if fault:
        raise FetchFailed(f"{url!r}: {fault}")
    place = url
    try:
        async with asyncio.timeout(seconds):
            for _ in range(REDIRECTIONS + 1):
                answer = await _get(place, context, max_bytes, validators)
                if isinstance(answer, Fetched):
                    return answer
                place = _elsewhere(place, answer)
    except TimeoutError:
        raise FetchFailed(f"{url}: no complete answer in {seconds:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise FetchFailed(f"{url}: the server's certificate is refused: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise FetchFailed(f"{url}: TLS: {(error.reason or type(error).__name__).lower()}") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or type(error).__name__
        raise FetchFailed(f"{url}: {reason}") from error
    except h11.RemoteProtocolError as error:
        raise FetchFailed(f"{url}: not a whole HTTP answer: {_line(str(error))}") from error
    raise FetchFailed(f"{url}: redirected more than {REDIRECTIONS} times")


async def _get(url: str, context: ssl.SSLContext, max_bytes: int, validators: Validators) -> Fetched | str:
    """The answer of one server, or where it sends us instead."""
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        host,
        parts.port or _PORTS[parts.scheme],
        ssl=context if secure else None,
        server_hostname=host if secure else None,
        limit=_PIECE,
    )
    try:
        exchange = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        request = exchange.send(_request(parts, validators)) or b""
        writer.write(request + (exchange.send(h11.EndOfMessage()) or b""))
        await writer.drain()
        response = await _head(exchange, reader)
        headers = {bytes(name).lower(): bytes(value).decode("latin-1") for name, value in response.headers}
        if response.status_code in _REDIRECTING and b"location" in headers:
            return headers[b"location"]
        if response.status_code == 304 and validators != Validators():
            return Fetched(None, validators)
        if response.status_code != 200:
            raise FetchFailed(f"{url}: the server answers {response.status_code}")
        encoding = headers.get(b"content-encoding", "identity")
        if encoding.strip().lower() != "identity":
            raise FetchFailed(f"{url}: sent in the encoding {_line(encoding)}, which was not asked for")
        length = headers.get(b"content-length", "")
        if length and int(length) > max_bytes:  # h11 has checked that it is a number
            raise FetchFailed(f"{url}: {_line(length)} octets announced, more than the {max_bytes} permitted")
        return Fetched(await _body(exchange, reader, url, max_bytes), _validators(headers))
    finally:
        writer.transport.abort()


def _request(parts: SplitResult, validators: Validators) -> h11.Request:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = [
        ("Host", parts.netloc),
        ("User-Agent", "mssante"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    if _VALIDATOR.fullmatch(validators.etag):
        headers.append(("If-None-Match", validators.etag))
    if _VALIDATOR.fullmatch(validators.last_modified):
        headers.append(("If-Modified-Since", validators.last_modified))
    return h11.Request(method="GET", target=target, headers=headers)


async def _next(
    exchange: h11.Connection, reader: asyncio.StreamReader
) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
    while (event := exchange.next_event()) is h11.NEED_DATA:
        exchange.receive_data(await reader.read(_PIECE))
    return event


async def _head(exchange: h11.Connection, reader: asyncio.StreamReader) -> h11.Response:
    """The final response's head; interim ones (1xx) are passed over as long as the time lasts."""
    while True:
        event = await _next(exchange, reader)
        if isinstance(event, h11.Response):
            return event
        if not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("the server closed without an answer")


async def _body(exchange: h11.Connection, reader: asyncio.StreamReader, url: str, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while isinstance(event := await _next(exchange, reader), h11.Data):
        size += len(event.data)
        if size > max_bytes:
            raise FetchFailed(f"{url}: more than the {max_bytes} octets permitted")
        pieces.append(bytes(event.data))
    if not isinstance(event, h11.EndOfMessage):
        raise h11.RemoteProtocolError("the server closed before the end")
    return b"".join(pieces)


def _elsewhere(url: str, location: str) -> str:
    """Where a redirection leads, when it may be followed."""
    here = urlsplit(url)
    try:
        there = urljoin(url, location).partition("#")[0]
        parts = urlsplit(there)
    except ValueError:
        raise FetchFailed(f"{url}: redirected to an address that cannot be read: {_line(location)}") from None
    if parts.hostname != here.hostname or (here.scheme, parts.scheme) == ("https", "http"):
        raise FetchFailed(f"{url}: redirected to {_line(there)}, which is not followed")
    fault = url_fault(there, ("https", "http"))
    if fault:
        raise FetchFailed(f"{url}: redirected to {_line(there)}: {fault}")
    return there


def _validators(headers: dict[bytes, str]) -> Validators:
    """Only what can be sent back as it is."""
    etag, modified = (headers.get(name, "") for name in (b"etag", b"last-modified"))
    return Validators(*(value if _VALIDATOR.fullmatch(value) else "" for value in (etag, modified)))


def _line(text: str) -> str:
    """Words of a server on one printable line."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])
