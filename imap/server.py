"""Listeners of the IMAP edge, and what all its connections share.

Invariants: the TLS context is asked for at each connection, so that new certificates serve from the next one on; no
client, and no network address, holds more connections than the settings allow; closing tells every client BYE.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from imap.commands import COMMANDS
from imap.commands.append import receive
from imap.commands.notify import tell_news
from imap.connection import Connection
from imap.settings import ImapSettings
from mssante.services.accounts import Accounts
from mssante.services.mailboxes import Mailboxes

_SWEEP_SECONDS = 5.0
_MOST_TOLD: Final = 20
"""Connections over the limit that are told so at once, where that takes a TLS handshake; others are cut."""
_KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 300),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
)
"""A client that is gone without a word holds a connection for ten minutes, not until the autologout."""

_log = structlog.get_logger("imap")


class ImapServer:
    """`context` gives the TLS context for a connection that starts now."""

    commands = COMMANDS
    receive = staticmethod(receive)
    tell_news = staticmethod(tell_news)

    def __init__(
        self, settings: ImapSettings, accounts: Accounts, mailboxes: Mailboxes, context: Callable[[], ssl.SSLContext]
    ) -> None:
        self.settings = settings
        self.accounts = accounts
        self.mailboxes = mailboxes
        self.context = context
        self._listeners: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._per_ip: Counter[str] = Counter()
        self._telling = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event | None = None

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def listen(self, host: str, port: int, *, implicit_tls: bool) -> int:
        """Open a listener (also on `port` 0); the port it got. OSError when it cannot be had."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: Connection(self, implicit_tls=implicit_tls), host, port, backlog=1024, reuse_address=True
        )
        for accepting in listener.sockets:  # what they accept inherits it
            for level, option, value in _KEEP_ALIVE:
                accepting.setsockopt(level, option, value)
        self._listeners.append(listener)
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)
        return int(listener.sockets[0].getsockname()[1])

    async def close(self, grace_seconds: float = 5.0) -> None:
        """No new connections; every client is told BYE once its running command is answered."""
        for listener in self._listeners:
            listener.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._emptied = asyncio.Event()
        for connection in tuple(self._connections):
            connection.leave("Le serveur s'arrete, reconnectez-vous dans un instant", seconds=grace_seconds)
        if self._connections:
            try:
                await asyncio.wait_for(self._emptied.wait(), grace_seconds)
            except TimeoutError:
                for connection in tuple(self._connections):
                    connection.cut()

    def admit(self, connection: Connection) -> bool:
        """Count a new connection in, unless there are too many."""
        limits = self.settings
        if len(self._connections) >= limits.connections or self._per_ip[connection.peer] >= limits.connections_per_ip:
            _log.warning("too many connections", peer=connection.peer)
            return False
        self._connections.add(connection)
        self._per_ip[connection.peer] += 1
        return True

    def may_tell(self) -> bool:
        """Whether one more client that was not admitted may hear why over TLS; `told` ends that."""
        if self._telling >= _MOST_TOLD:
            return False
        self._telling += 1
        return True

    def told(self) -> None:
        self._telling -= 1

    def forget(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._per_ip[connection.peer] -= 1
            if not self._per_ip[connection.peer]:
                del self._per_ip[connection.peer]
        if self._emptied is not None and not self._connections:
            self._emptied.set()

    def expire(self, now: float) -> None:
        """Say farewell to the connections whose time is over; `now` on the loop's clock."""
        for connection in tuple(self._connections):
            if now >= connection.deadline:
                connection.leave("Deconnexion apres une longue inactivite")

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self.expire(loop.time())
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)
