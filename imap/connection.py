"""One client's socket: the only file of this room with I/O.

Invariants:
- One task serves a connection; commands are answered one after the other, in the order they came.
- No more than `window_octets` waits for a slow reader; reading stops while a command runs and enough has arrived.
- Clear-text octets never pass for encrypted ones: those that follow STARTTLS end the connection (RFC 9051 §11.1).
- A BYE is never written inside an answer: a connection that is too busy for its farewell is cut.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar, cast

import structlog

from imap import responses
from imap.framer import Event, Fault, Framer, Line
from imap.session import Farewell, Session
from mssante.services.accounts import Client
from mssante.services.mailboxes import MailboxRefused
from tls.certificates import peer_certificate

if TYPE_CHECKING:
    from imap.server import ImapServer

_READ_AHEAD = 65536
"""Octets received and not yet used from which on reading stops until they are."""
_FLUSH = 65536
"""Octets of answers that are written at once."""
_FAREWELL_SECONDS = 0.8
"""How long a connection that has to go may take to notice, before it is cut."""

_SHUTDOWN_SECONDS = 5.0
"""How long a client that stopped reading may keep a closed connection from ending."""

_TURN_AWAY_SECONDS = 5.0
"""How long a client that is not served may take to hear why."""
_TOO_MANY = b"* BYE [UNAVAILABLE] Trop de connexions, reessayez plus tard\r\n"

Promised = TypeVar("Promised")

_log = structlog.get_logger("imap")


class Connection(asyncio.Protocol):
    def __init__(self, server: ImapServer, *, implicit_tls: bool) -> None:
        self._server = server
        self._implicit = implicit_tls
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused: asyncio.Future[None] | None = None  # set while the client reads too slowly
        self._farewell: Farewell | None = None
        self._news = self._ended = False
        self._reading = True
        self._out: list[bytes] = []
        self._out_size = 0
        self.framer = Framer(server.settings.before_login)
        self.encrypted = False
        self.idling = False
        self.meanwhile: Callable[[], Awaitable[None]] | None = None  # what to do before waiting for a command
        self.peer = ""
        self.client = Client("", "write")
        self.deadline = 0.0

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else ""
        self.client = Client(self.peer, "write")
        self.deadline = self._loop.time() + self._server.settings.login_seconds
        if self._implicit:
            self._transport.pause_reading()
        if self._server.admit(self):
            self._task = self._loop.create_task(self._serve())
        elif not self._implicit:
            self._transport.write(_TOO_MANY)
            self._transport.close()
        elif self._server.may_tell():
            self._task = self._loop.create_task(self._turn_away())
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self.framer.feed(data)
        self.touch()
        if (
            self._waiter is None
            and self._reading
            and self.framer.buffered > _READ_AHEAD
            and self._transport is not None
        ):
            self._transport.pause_reading()
            self._reading = False
        self.wake()

    def eof_received(self) -> None:
        self._ended = True
        self.wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        self.wake()

    def pause_writing(self) -> None:
        if self._paused is None:
            self._paused = self._loop.create_future()

    def resume_writing(self) -> None:
        self.touch()
        paused, self._paused = self._paused, None
        if paused is not None and not paused.done():
            paused.set_result(None)

    # -- what the session and the server call

    def touch(self) -> None:
        """The client shows life: the autologout timer starts again (RFC 9051 §5.4)."""
        seconds = self._server.settings.idle_seconds if self.framer.limits.message else 0.0
        if seconds:
            self.deadline = self._loop.time() + seconds

    def wake(self) -> None:
        """Something happened that the task may be waiting for."""
        self._news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def leave(self, words: str, code: str = "", seconds: float = _FAREWELL_SECONDS) -> None:
        """End the session with a BYE at the next occasion, without one when there is none within `seconds`."""
        if self._farewell is None:
            self._farewell = Farewell(words, code)
            self._loop.call_later(seconds, self.cut)
            self.wake()

    def cut(self) -> None:
        if self._transport is not None and self._task is not None and not self._task.done():
            self._transport.abort()
            self._task.cancel()

    def write(self, data: bytes) -> None:
        self._out.append(data)
        self._out_size += len(data)

    @property
    def full(self) -> bool:
        """Enough is written to be worth a `flush`."""
        return self._out_size >= _FLUSH

    async def flush(self) -> None:
        """Hand over what was written; wait while the client's window is full. ConnectionError when it is gone."""
        if self._out and self._transport is not None:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._out_size = 0
            self._transport.write(data)
        while self._paused is not None and not self._ended:
            await asyncio.shield(self._paused)
        if self._ended:
            raise ConnectionResetError

    def checkpoint(self) -> None:
        """Between two answers: Farewell when the session has to end."""
        if self._farewell is not None:
            raise self._farewell

    async def wait(self) -> None:
        """Until something happens: octets, a hint, a farewell (raised), the end of the connection (raised)."""
        if not self._news:
            if not self._reading and self._transport is not None:
                self._reading = True
                self._transport.resume_reading()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._news = False
        self.checkpoint()
        if self._ended:
            raise ConnectionResetError

    async def event(self) -> Event:
        """The framer's next event."""
        while (event := self.framer.next_event()) is None:
            if self.meanwhile is not None and self.framer.idle:
                await self.meanwhile()
            if self._out:
                await self.flush()
            await self.wait()
        return event

    async def breathe(self, *, within: bool = False) -> None:
        """Between two answers of many, or `within` one: hand over what is worth it, let others run. Between two:
        Farewell when the session has to end."""
        if self.full:
            await self.flush()
            await asyncio.sleep(0)
        if not within:
            self.checkpoint()

    async def or_cut(self, octets: Awaitable[Promised]) -> Promised:
        """Octets that were promised already: without them the answer cannot be ended but by the connection's end."""
        try:
            return await octets
        except MailboxRefused as refused:
            _log.error("a content was lost while it was sent", peer=self.peer, cause=refused.cause)
            self.cut()
            raise ConnectionResetError from refused

    async def line(self) -> Line:
        """The client's answer to a continuation just written."""
        await self.flush()
        while True:
            line = self.framer.next_line()
            if isinstance(line, Fault):
                raise Farewell(line.text, line.code)
            if line is not None:
                return line
            await self.wait()

    async def secure(self) -> None:
        """Begin TLS on this connection."""
        if self.framer.buffered or self._transport is None:
            raise Farewell("Octets in clear after STARTTLS")
        self._transport.pause_reading()
        transport = await self._loop.start_tls(
            self._transport,
            self,
            self._server.context(),
            server_side=True,
            ssl_handshake_timeout=self._server.settings.login_seconds,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        if transport is None:
            raise ConnectionResetError
        self._transport = transport
        self._reading = True
        self.encrypted = True
        certificate = peer_certificate(transport.get_extra_info("ssl_object"))
        self.client = Client(self.peer, "write", certificate)
        transport.set_write_buffer_limits(high=self._server.settings.window_octets)

    # -- the task

    async def _turn_away(self) -> None:
        """Say why over TLS, which is all that the client understands."""
        try:
            async with asyncio.timeout(_TURN_AWAY_SECONDS):
                await self.secure()
                self.write(_TOO_MANY)
                await self.flush()
        except (ConnectionError, ssl.SSLError, TimeoutError) as error:
            _log.debug("connection ended", peer=self.peer, error=type(error).__name__)
        finally:
            self._server.told()
            if self._transport is not None:
                self._transport.close()

    async def _serve(self) -> None:
        session = Session(self._server, self)
        try:
            if self._implicit:
                await self.secure()
            self.write(session.greeting())
            while not session.over:
                await session.take(await self.event())
                self.checkpoint()
                if self.full:
                    await self.flush()
            await self.flush()
        except Farewell as farewell:
            self.write(b"* " + responses.condition("BYE", str(farewell), farewell.code) + b"\r\n")
        except (ConnectionError, ssl.SSLError, TimeoutError) as error:
            _log.debug("connection ended", peer=self.peer, error=type(error).__name__)
        except Exception:  # noqa: BLE001 - the last resort of a connection: logged with its trace, told without
            _log.exception("a connection failed", peer=self.peer)
            self.write(b"* BYE [SERVERBUG] Erreur interne, reconnectez-vous\r\n")
        finally:
            session.close()
            self._server.forget(self)
            if self._transport is not None:
                if self._out and not self._ended:
                    self._transport.write(b"".join(self._out))
                self._out.clear()
                self._transport.close()
