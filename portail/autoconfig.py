"""How mail clients set themselves up: Thunderbird's autoconfig, Outlook's Autodiscover (POX).

Always true here:
- an answer depends on the domain of the address alone: nobody learns which mailboxes exist;
- what a client sends is bounded in octets, depth and time, and XML with a DTD is refused before anything of it counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

BODY_LIMIT: Final = 16_384
"""Octets of an Autodiscover request."""
MAX_DEPTH: Final = 16
BODY_SECONDS: Final = 10.0
_POX: Final = "http://schemas.microsoft.com/exchange/autodiscover/"
_REQUEST: Final = _POX + "outlook/requestschema/2006"
_RESPONSE: Final = _POX + "outlook/responseschema/2006a"


@dataclass(frozen=True, slots=True)
class Service:
    """One door for clients. `implicit`: TLS from the first octet (RFC 8314), else by STARTTLS."""

    kind: str
    port: int
    implicit: bool


@dataclass(frozen=True, slots=True)
class MailServices:
    """What an operator offers to mail clients. `services`: the best first; `kind` is "imap" or "smtp"."""

    name: str
    hostname: str
    domains: tuple[str, ...]
    services: tuple[Service, ...]

    def domain_of(self, address: str) -> str | None:
        """The own domain that the address is in."""
        domain = address.strip().rpartition("@")[2].lower()
        return domain if domain in self.domains else None


class _Refused(ValueError):
    """Not an Autodiscover request."""


def routes(offered: MailServices) -> Sequence[Route]:
    """The pages, at the places where clients look."""

    async def autoconfig(request: Request) -> Response:
        asked = request.query_params.get("emailaddress", "")
        host = (request.url.hostname or "").removeprefix("autoconfig.")
        domain = offered.domain_of(asked) if asked else offered.domain_of(host) or offered.domains[0]
        if domain is None:
            return PlainTextResponse("Domaine inconnu\n", 404)
        return Response(client_config(offered, domain), media_type="text/xml; charset=utf-8")

    async def autodiscover(request: Request) -> Response:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                address, schema = read_request(await _body(request))
        except _Refused as refused:
            return Response(_error(600, str(refused)), 400, media_type="text/xml; charset=utf-8")
        except (TimeoutError, ClientDisconnect):
            return PlainTextResponse("Requete incomplete\n", 408)
        if schema != _RESPONSE:
            answer = _error(601, "The requested schema version is not supported")
        elif offered.domain_of(address) is None:
            answer = _error(500, "The email address cannot be found")
        else:
            answer = outlook_settings(offered, address)
        return Response(answer, media_type="text/xml; charset=utf-8")

    return [
        Route("/.well-known/autoconfig/mail/config-v1.1.xml", autoconfig),
        Route("/mail/config-v1.1.xml", autoconfig),
        *(Route(f"/{name}/{name}.xml", autodiscover, methods=["POST"]) for name in ("autodiscover", "Autodiscover")),
    ]


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_LIMIT:
            raise _Refused("The request is too long")
    return body


def read_request(body: bytes) -> tuple[str, str]:
    """The address that an Autodiscover request names, and the schema of the answer it wants. Raises ValueError."""
    found: dict[str, str] = {}
    path: list[str] = []

    def start(name: str, _attributes: object) -> None:
        path.append(name)
        if len(path) > MAX_DEPTH:
            raise _Refused("The request is nested too deeply")

    def text(data: str) -> None:
        if path[:2] == [f"{_REQUEST} Autodiscover", f"{_REQUEST} Request"] and len(path) == 3:
            found[path[2]] = found.get(path[2], "") + data

    def refuse(*_: object) -> None:
        raise _Refused("A document type is not accepted")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.EndElementHandler = lambda _: path.pop()
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        raise _Refused("The request is not XML") from None
    address = found.get(f"{_REQUEST} EMailAddress", "").strip()
    if not address:
        raise _Refused("The request names no EMailAddress")
    return address, found.get(f"{_REQUEST} AcceptableResponseSchema", "").strip()


def client_config(offered: MailServices, domain: str) -> str:
    """Thunderbird's clientConfig 1.1."""
    servers = "".join(
        f'<{way}Server type="{service.kind}"><hostname>{escape(offered.hostname)}</hostname><port>{service.port}</port>'
        f"<socketType>{'SSL' if service.implicit else 'STARTTLS'}</socketType>"
        f"<authentication>password-cleartext</authentication><username>%EMAILADDRESS%</username></{way}Server>"
        for service in offered.services
        for way in ["incoming" if service.kind == "imap" else "outgoing"]
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<clientConfig version="1.1"><emailProvider id="{escape(domain)}"><domain>{escape(domain)}</domain>'
        f"<displayName>{escape(offered.name)} (MSSanté)</displayName>"
        f"<displayShortName>{escape(offered.name)}</displayShortName>{servers}</emailProvider></clientConfig>\n"
    )


def outlook_settings(offered: MailServices, address: str) -> str:
    """Autodiscover's answer: one protocol of each kind, the best."""
    best = {service.kind: service for service in reversed(offered.services)}
    protocols = "".join(
        f"<Protocol><Type>{service.kind.upper()}</Type><Server>{escape(offered.hostname)}</Server>"
        f"<Port>{service.port}</Port><DomainRequired>off</DomainRequired><LoginName>{escape(address)}</LoginName>"
        f"<SPA>off</SPA><SSL>on</SSL><Encryption>{'SSL' if service.implicit else 'TLS'}</Encryption>"
        "<AuthRequired>on</AuthRequired></Protocol>"
        for service in best.values()
    )
    return _pox(f"<Account><AccountType>email</AccountType><Action>settings</Action>{protocols}</Account>")


def _error(code: int, words: str) -> str:
    inner = f"<ErrorCode>{code}</ErrorCode><Message>{escape(words)}</Message><DebugData/>"
    return _pox(f'<Error Time="00:00:00" Id="0">{inner}</Error>')


def _pox(inner: str) -> str:
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<Autodiscover xmlns="{_POX}responseschema/2006">'
        f'<Response xmlns="{_RESPONSE}">{inner}</Response></Autodiscover>\n'
    )
