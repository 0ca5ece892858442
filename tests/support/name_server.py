"""A name server for tests: a zone in a dictionary, and every way of answering badly."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[tuple[str, str], list[str]]


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """Answers from `zone` ((name, type) → records in zone file form); a name with other types only gets an empty
    answer, an unknown one NXDOMAIN. `broken`: name → an rcode's name, "silence" or "garbage"."""

    zone: Zone
    broken: dict[str, str] = field(default_factory=dict)
    ttl: int = 300
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    hold: asyncio.Event | None = None
    """When given, questions are answered only once it is set."""
    questioned: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first question."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.create_task(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text().rstrip("."), dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        self.questioned.set()
        if self.hold is not None:
            await self.hold.wait()
        how = self.broken.get(name)
        if how == "silence":
            return
        assert self._transport is not None
        if how == "garbage":
            self._transport.sendto(data[:2] + b"\x81\x80" + b"\xff" * 40, addr)
            return
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if how is not None:
            response.set_rcode(dns.rcode.from_text(how))
        elif records := self.zone.get((name, kind)):
            response.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", kind, *records))
        elif not any(known == name for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(response.to_wire(), addr)


@contextlib.asynccontextmanager
async def serving(server: NameServer) -> AsyncIterator[tuple[str, int]]:
    """The address of the name server while it answers."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: server, ("127.0.0.1", 0))
    try:
        host, port = transport.get_extra_info("sockname")[:2]
        yield host, port
    finally:
        transport.close()
