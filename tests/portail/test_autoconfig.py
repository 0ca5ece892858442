"""What Thunderbird and Outlook ask before there is an account, over HTTPS, and what strangers send in their place."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from starlette.applications import Starlette

from mssante.domain.clock import SystemClock
from portail.autoconfig import BODY_LIMIT, MailServices, Service, routes
from portail.web import Pages
from tls.authority import Authority, Kind, Subject
from tls.contexts import Contexts

OFFERED = MailServices(
    "Cabinet & Cie",
    "mx.cabinet.test",
    ("cabinet.test", "patient.mssante.fr"),
    (
        Service("imap", 993, True),
        Service("imap", 143, False),
        Service("smtp", 465, True),
        Service("smtp", 587, False),
    ),
)
REQUEST = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request>'
    "<EMailAddress>{}</EMailAddress><AcceptableResponseSchema>{}</AcceptableResponseSchema></Request></Autodiscover>"
)
SCHEMA = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"


class Door:
    def __init__(self, port: int, roots: Path) -> None:
        self.port, self.roots = port, roots

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        context = ssl.create_default_context(cafile=str(self.roots))
        context.check_hostname = False
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        writer.write(request)
        try:
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        return int(head.split(b" ")[1]), body

    async def get(self, target: str, host: str = "mx.cabinet.test") -> tuple[int, bytes]:
        return await self.ask(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())

    async def post(self, body: str | bytes, target: str = "/autodiscover/autodiscover.xml") -> tuple[int, bytes]:
        octets = body.encode() if isinstance(body, str) else body
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(octets)}\r\n\r\n"
        return await self.ask(head.encode() + octets)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    now_us = SystemClock().now_us()
    authority = Authority.create(tmp_path / "authority", now_us)
    issued = authority.issue(Subject("mx.cabinet.test", "1750000001", "CABINET TEST"), Kind.SERV, now_us)
    for name, octets in (("roots", authority.roots), ("cert", issued.chain), ("key", issued.key)):
        (tmp_path / name).write_bytes(octets)
    contexts = Contexts(tmp_path / "cert", tmp_path / "key", tmp_path / "roots", None)
    server = await Pages(Starlette(routes=routes(OFFERED)), contexts.client_server).listen("127.0.0.1", 0)
    async with server:
        yield Door(server.sockets[0].getsockname()[1], tmp_path / "roots")


async def test_thunderbird_is_told_every_door(door: Door) -> None:
    status, body = await door.get("/mail/config-v1.1.xml?emailaddress=dr.martin%40cabinet.test")
    assert status == 200
    provider = ElementTree.fromstring(body).find("emailProvider")
    assert provider is not None
    assert provider.get("id") == provider.findtext("domain") == "cabinet.test"
    assert provider.findtext("displayName") == "Cabinet & Cie (MSSanté)"
    told = [
        (one.tag, one.get("type"), one.findtext("hostname"), one.findtext("port"), one.findtext("socketType"))
        for one in provider
        if one.tag.endswith("Server")
    ]
    assert told == [
        ("incomingServer", "imap", "mx.cabinet.test", "993", "SSL"),
        ("incomingServer", "imap", "mx.cabinet.test", "143", "STARTTLS"),
        ("outgoingServer", "smtp", "mx.cabinet.test", "465", "SSL"),
        ("outgoingServer", "smtp", "mx.cabinet.test", "587", "STARTTLS"),
    ]
    assert provider.findtext("incomingServer/username") == "%EMAILADDRESS%"


@pytest.mark.parametrize(
    ("target", "host", "status", "domain"),
    [
        ("/.well-known/autoconfig/mail/config-v1.1.xml", "patient.mssante.fr", 200, b'id="patient.mssante.fr"'),
        ("/mail/config-v1.1.xml", "autoconfig.cabinet.test", 200, b'id="cabinet.test"'),
        ("/mail/config-v1.1.xml", "127.0.0.1:2505", 200, b'id="cabinet.test"'),
        ("/mail/config-v1.1.xml?emailaddress=a@ailleurs.test", "mx.cabinet.test", 404, b"Domaine inconnu"),
        ("/mail/", "mx.cabinet.test", 404, b"Not Found"),
    ],
)
async def test_the_domain_decides(door: Door, target: str, host: str, status: int, domain: bytes) -> None:
    answer, body = await door.get(target, host)
    assert (answer, domain in body) == (status, True)


async def test_outlook_is_told_the_best_doors(door: Door) -> None:
    status, body = await door.post(
        REQUEST.format("nobody.known@cabinet.test", SCHEMA), "/Autodiscover/Autodiscover.xml"
    )
    space = {"r": SCHEMA}
    told = [
        tuple(one.findtext(f"r:{name}", None, space) for name in ("Type", "Server", "Port", "LoginName", "Encryption"))
        for one in ElementTree.fromstring(body).findall("r:Response/r:Account/r:Protocol", space)
    ]
    assert status == 200
    assert told == [
        ("SMTP", "mx.cabinet.test", "465", "nobody.known@cabinet.test", "SSL"),
        ("IMAP", "mx.cabinet.test", "993", "nobody.known@cabinet.test", "SSL"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (REQUEST.format("a@ailleurs.test", SCHEMA), 200, b"<ErrorCode>500</ErrorCode>"),
        (REQUEST.format("a@cabinet.test", "http://other.example/"), 200, b"<ErrorCode>601</ErrorCode>"),
        (REQUEST.format("", SCHEMA), 400, b"no EMailAddress"),
        ("<a" + REQUEST, 400, b"not XML"),
        ("", 400, b"not XML"),
        ("<a>" * 17 + "</a>" * 17, 400, b"nested too deeply"),
        ("<a>" + "x" * BODY_LIMIT + "</a>", 400, b"too long"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + REQUEST[38:].format("a&b;@cabinet.test", SCHEMA), 400, b"document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', 400, b"document type"),
        (b"\xff\xfe\x00", 400, b"not XML"),
    ],
)
async def test_what_is_no_request_is_told_so(door: Door, body: str | bytes, status: int, words: bytes) -> None:
    answer, said = await door.post(body)
    assert (answer, words in said) == (status, True), said


async def test_an_address_is_never_markup(door: Door) -> None:
    _, body = await door.post(REQUEST.format("&lt;b&gt;&amp;@cabinet.test", SCHEMA))
    login = ElementTree.fromstring(body).findtext(".//r:LoginName", None, {"r": SCHEMA})
    assert login == "<b>&@cabinet.test"


async def test_who_speaks_no_tls_is_let_go(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    try:
        assert await reader.read() == b""
    except ConnectionError:
        pass  # the same ending, seen earlier
    writer.close()
    assert (await door.get("/mail/config-v1.1.xml"))[0] == 200
