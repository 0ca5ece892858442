"""An operator's outbound side on a real store: accounts, queue, courier, and a clock that tests move."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from espace_confiance.holder import EspaceConfiance
from mssante.domain.address import parse_address
from mssante.domain.dsn import DEFAULT, Notify
from mssante.mime.scanner import Scanner
from mssante.services.deliver import Deliveries
from mssante.services.resolver import Resolver
from mssante.store import Conn, Store, Tx, journal
from mssante.store.mail import MessageRow, entries, folder_by_name, rows
from mssante.store.messages import NewMessage, add_message
from mssante.store.queue import QueueItem, QueueRecipient, QueueState, enqueue, listing
from smtp_out.connection import Timeouts
from smtp_out.courier import Courier
from smtp_out.lanes import CourierSettings
from smtp_out.routing import Routing
from tests.support.clock import FakeClock

CABINET, CLINIQUE, EHPAD = "cabinet.mssante.fr", "clinique.mssante.fr", "ehpad.mssante.fr"
SILENT = tuple(f"muet{number}.mssante.fr" for number in range(6))
SENDER = f"dr.martin@{CABINET}"
PATIENTS = "patient.mssante.fr"
CONTENT = b"Subject: Compte rendu\r\nMessage-ID: <1@cabinet.mssante.fr>\r\n\r\nBonjour,\r\n.\r\n"
PREPEND = b"Received: by mx.cabinet.mssante.fr\r\n"
HOUR = 3600
DAY = 24 * HOUR
QUICK = Timeouts(connect=60, greeting=60, handshake=60, command=60, block=60, final=60, goodbye=60)


@dataclass
class Office:
    base: Path
    store: Store
    clock: FakeClock
    context: Callable[[], ssl.SSLContext]
    espace: EspaceConfiance
    bal_id: int
    routes: dict[str, int] = field(default_factory=dict)
    settings: CourierSettings = field(default_factory=lambda: CourierSettings("mx.cabinet.mssante.fr", timeouts=QUICK))
    lease_s: int = 900

    def deliveries(self, owner: str = "") -> Deliveries:
        return Deliveries(
            self.store,
            self.clock,
            hostname="mx.cabinet.mssante.fr",
            domains=frozenset({CABINET}),
            owner=owner,
            lease_s=self.lease_s,
        )

    @contextlib.asynccontextmanager
    async def courier(self, deliveries: Deliveries | None = None) -> AsyncIterator[Courier]:
        """A courier at work."""

        def route(domain: str) -> tuple[str, int] | None:
            return ("127.0.0.1", self.routes[domain]) if domain in self.routes else None

        courier = Courier(
            deliveries or self.deliveries(),
            Routing(route, Resolver(("127.0.0.1", 1), timeout=0.5)),
            self.espace,
            self.context,
            self.clock,
            self.settings,
        )
        running = asyncio.create_task(courier.run())
        try:
            yield courier
        finally:
            await courier.stop(5)
            await running

    async def post(
        self,
        *recipients: str,
        content: bytes = CONTENT,
        prepend: bytes = PREPEND,
        sender: str = SENDER,
        notify: Notify = DEFAULT,
        orcpt: str = "",
        envid: str = "",
        lifetime: int = 5 * DAY,
    ) -> int:
        """Queues a message as submission does; its id."""
        scanner = Scanner()
        scanner.feed(content)
        writer = self.store.contents.begin()
        writer.write(content)
        pending = writer.finish()
        now_us = self.clock.now_us()
        new = NewMessage(pending, now_us, prepend, scanner.finish().encode())
        wishes = [QueueRecipient(parse_address(each), notify, orcpt) for each in recipients]

        def accept(tx: Tx) -> int:
            message_id = add_message(tx, new)
            expires_us = now_us + lifetime * 1_000_000
            enqueue(tx, message_id, sender, wishes, envid=envid, expires_us=expires_us)
            return message_id

        return await self.store.write(accept, contents=(pending,))

    async def later(self, seconds: float) -> None:
        """Moves the clock and has the courier look at the queue."""
        self.clock.advance(seconds)
        await self.store.write(lambda tx: tx.hint("queue"))

    async def until(self, satisfied: Callable[[Sequence[QueueItem]], bool]) -> list[QueueItem]:
        """Waits for the queue, finished items included, to satisfy; gives it. Leases hint nobody, so it also looks."""
        changed = asyncio.Event()
        unsubscribe = self.store.hints.subscribe("queue", None, changed.set)
        try:
            while True:
                changed.clear()
                items = await self.items()
                if satisfied(items):
                    return items
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), 0.02)
        finally:
            unsubscribe()

    async def items(self) -> list[QueueItem]:
        return await self.store.read(_everything)

    async def states(self) -> list[QueueState]:
        return [item.state for item in await self.items()]

    async def inbox(self) -> list[Message]:
        """The sender's INBOX, parsed."""
        found = await self.store.read(_inbox, self.bal_id)
        return [BytesParser().parsebytes(row.prepend + await self.store.read_content(row.content)) for row in found]

    async def journal(self) -> list[journal.JournalEntry]:
        return list(await self.store.read(journal.entries))


def _everything(conn: Conn) -> list[QueueItem]:
    found = [item for state in QueueState for item in listing(conn, state)]
    return sorted(found, key=lambda item: item.id)


def _inbox(conn: Conn, bal_id: int) -> list[MessageRow]:
    inbox = folder_by_name(conn, bal_id, "INBOX")
    assert inbox is not None
    return rows(conn, inbox.id, [entry.uid for entry in entries(conn, inbox.id)])


def finished(items: Sequence[QueueItem]) -> bool:
    return all(item.state in (QueueState.SENT, QueueState.FAILED, QueueState.DROPPED) for item in items)


def tried(times: int) -> Callable[[Sequence[QueueItem]], bool]:
    """Every recipient was tried so many times."""
    return lambda items: all(item.attempts == times for item in items)
