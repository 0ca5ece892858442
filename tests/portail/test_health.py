"""Health and metrics as a monitor asks for them, and as a stranger does."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from portail.health import Figure, health
from portail.web import HEAD_LIMIT, Pages


class Door:
    def __init__(self, server: asyncio.Server, faults: list[str]) -> None:
        self.faults = faults
        self.port: int = server.sockets[0].getsockname()[1]

    async def ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        try:
            return await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    faults: list[str] = []
    figures = [
        Figure("mssante_essais", "Essais.", "counter", lambda: 3),
        Figure("mssante_age_seconds", "Age.", "gauge", lambda: 1.5),
        Figure("mssante_essai_info", "Essai.", "gauge", lambda: 1, lambda: {"hostname": "mx.essai.test"}),
    ]
    server = await Pages(health(figures, lambda: faults[0] if faults else None)).listen("127.0.0.1", 0)
    async with server:
        yield Door(server, faults)


async def test_figures_are_those_of_the_moment(door: Door) -> None:
    answer = await door.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"mssante_essais_total 3.0\n" in answer
    assert b"# TYPE mssante_age_seconds gauge\n" in answer
    assert b'mssante_essai_info{hostname="mx.essai.test"} 1.0\n' in answer


async def test_health_is_the_fault_or_ok(door: Door) -> None:
    ask = b"GET /healthz HTTP/1.0\r\n\r\n"
    assert (await door.ask(ask)).endswith(b"\r\n\r\nok\n")
    door.faults.append("no usable white list")
    answer = await door.ask(ask)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"no usable white list\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [(b"GET /autre HTTP/1.1", b"404"), (b"POST /metrics HTTP/1.1", b"405")],
)
async def test_anything_else_is_told_so(door: Door, request_line: bytes, status: bytes) -> None:
    assert (await door.ask(request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")).split(b" ")[1] == status


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y" * HEAD_LIMIT])
async def test_nonsense_ends_the_connection_and_not_the_service(door: Door, nonsense: bytes) -> None:
    try:
        assert (await door.ask(nonsense)).startswith(b"HTTP/1.1 400 ")
    except ConnectionError:
        pass  # aborted while we were still sending: the same ending, seen earlier
    assert (await door.ask(b"GET /healthz HTTP/1.0\r\n\r\n")).endswith(b"ok\n")
