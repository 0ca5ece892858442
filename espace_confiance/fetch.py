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
from urllib.parse import urljoin, urlsplit

import httpx2

REDIRECTIONS = 3
_REDIRECTING = (301, 302, 303, 307, 308)
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
        async with (
            asyncio.timeout(seconds),
            httpx2.AsyncClient(verify=context, trust_env=False, timeout=None) as client,
        ):
            for _ in range(REDIRECTIONS + 1):
                answer = await _get(client, place, max_bytes, validators)
                if isinstance(answer, Fetched):
                    return answer
                place = _elsewhere(place, answer)
    except TimeoutError:
        raise FetchFailed(f"{url}: no complete answer in {seconds:g} s") from None
    except (httpx2.ProtocolError, httpx2.InvalidURL) as error:
        raise FetchFailed(f"{url}: not a whole HTTP answer: {_line(str(error))}") from error
    except httpx2.TransportError as error:
        raise FetchFailed(f"{url}: {_network_fault(error)}") from error
    raise FetchFailed(f"{url}: redirected more than {REDIRECTIONS} times")


async def _get(client: httpx2.AsyncClient, url: str, max_bytes: int, validators: Validators) -> Fetched | str:
    """The answer of one server, or where it sends us instead."""
    headers = {"User-Agent": "mssante", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
    if _VALIDATOR.fullmatch(validators.etag):
        headers["If-None-Match"] = validators.etag
    if _VALIDATOR.fullmatch(validators.last_modified):
        headers["If-Modified-Since"] = validators.last_modified
    async with client.stream("GET", url, headers=headers) as response:
        if response.status_code in _REDIRECTING and "location" in response.headers:
            return response.headers["location"]
        if response.status_code == 304 and validators != Validators():
            return Fetched(None, validators)
        if response.status_code != 200:
            raise FetchFailed(f"{url}: the server answers {response.status_code}")
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.strip().lower() != "identity":
            raise FetchFailed(f"{url}: sent in the encoding {_line(encoding)}, which was not asked for")
        length = response.headers.get("content-length", "")
        if length and int(length) > max_bytes:  # h11 has checked that it is a number
            raise FetchFailed(f"{url}: {_line(length)} octets announced, more than the {max_bytes} permitted")
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > max_bytes:
                raise FetchFailed(f"{url}: more than the {max_bytes} octets permitted")
        return Fetched(bytes(body), _validators(response.headers))


def _network_fault(error: BaseException) -> str:
    """What lies at the bottom of the client's error, without addresses."""
    while not getattr(error, "errno", None) and (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or type(error).__name__).lower()}"
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or type(error).__name__
    return type(error).__name__


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


def _validators(headers: httpx2.Headers) -> Validators:
    """Only what can be sent back as it is."""
    etag, modified = (headers.get(name, "") for name in ("etag", "last-modified"))
    return Validators(*(value if _VALIDATOR.fullmatch(value) else "" for value in (etag, modified)))


def _line(text: str) -> str:
    """Words of a server on one printable line."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])
