"""The doors: MX, submission, submission over implicit TLS; opened together, closed together.

What must always hold:
- `start` opens all the doors asked for or none.
- After `drain` nothing is accepted any more; a message whose end had been read is stored and answered.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

import structlog

from mssante.domain.transaction import Edge
from mssante.domain.verdict import Rule
from mssante.services.reception import Reception
from smtp_in.admission import Admission
from smtp_in.answers import REFUSALS
from smtp_in.server import Connection, Door
from smtp_in.settings import SmtpInSettings
from tls.contexts import Contexts

_BACKLOG: Final = 512
_GRACE_S: Final = 5.0
_log = structlog.get_logger("smtp_in")


class Listeners:
    """What `start` opened. ``ports``: the door's name (mx, submission, submissions) → the port it listens on."""

    def __init__(self, reception: Reception, settings: SmtpInSettings) -> None:
        self._reception, self._settings = reception, settings
        self.ports: dict[str, int] = {}
        self._servers: list[asyncio.Server] = []
        self._admissions: list[Admission] = []
        self._connections: set[Connection] = set()

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._connections)

    def adopt(self, settings: SmtpInSettings) -> None:
        """Changed limits and times hold for the connections that begin from now on; hosts and ports stay."""
        self._settings = settings
        for admission in self._admissions:
            admission.adopt(settings.connections, settings.connections_per_ip)

    async def open(
        self, name: str, port: int, edge: Edge, context: Callable[[], ssl.SSLContext], *, implicit_tls: bool = False
    ) -> None:
        """One more door. Raises OSError when the port is not to be had."""
        admission = Admission(self._settings.connections, self._settings.connections_per_ip)
        door = Door(edge, context, admission, implicit_tls)

        def connection() -> Connection:
            return Connection(door, self._reception, self._settings, self._connections)

        server = await asyncio.get_running_loop().create_server(
            connection, self._settings.host, port, reuse_port=self._settings.reuse_port or None, backlog=_BACKLOG
        )
        self._servers.append(server)
        self._admissions.append(admission)
        self.ports[name] = server.sockets[0].getsockname()[1]

    async def drain(self, timeout: float) -> None:
        """Accepts no more; 421 4.3.2 now to whoever is not sending a message, to the others after their answer.

        After ``timeout`` seconds those still sending get it too. What has not ended a few seconds later is cut: only a
        peer that does not read, or a store that does not answer, and nothing was promised to it.
        """
        for server in self._servers:
            server.close()
        for at_once, seconds in ((False, timeout), (True, _GRACE_S)):
            for connection in self._connections:
                connection.leave(REFUSALS[Rule.SERVER_STOPPING], at_once=at_once)
            if not self._connections:
                return
            await asyncio.wait([connection.task for connection in self._connections], timeout=seconds)
        if self._connections:
            _log.warning("smtp_in.cut", connections=len(self._connections))
        for connection in self._connections:
            connection.abort()


async def start(reception: Reception, settings: SmtpInSettings, contexts: Contexts) -> Listeners:
    """Opens the doors that the settings name. Raises OSError when a port is taken; then none is open."""
    listeners = Listeners(reception, settings)
    try:
        if settings.mx is not None:
            await listeners.open("mx", settings.mx, Edge.MX, contexts.mx_server)
        if settings.submission is not None:
            await listeners.open("submission", settings.submission, Edge.SUBMISSION, contexts.client_server)
        if settings.submissions is not None:
            await listeners.open(
                "submissions", settings.submissions, Edge.SUBMISSION, contexts.client_server, implicit_tls=True
            )
    except OSError:
        await listeners.drain(0)
        raise
    return listeners
