"""One connection to a peer: the dialogue of `dialogue.py` on an asyncio transport.

What always holds here:
- a connection that `open()` returned is encrypted, and the peer's certificate was verified by the TLS context; whether
  that certificate is listed for a domain is the caller's question, before `send()`;
- bytes that arrived in clear are never read as if they had come by TLS;
- memory does not grow with the message: the body is pulled as fast as the peer takes it, and no faster;
- every wait has a limit (RFC 5321 §4.5.3.2), and every end of a connection has one of the names of `Fault`;
- a body that cannot be read to its end closes the connection without the final dot, so the peer drops what it got.
"""

import asyncio
import os
import ssl
from collections import deque
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from typing import Self, cast

from smtp_out.dialogue import Dialogue, Done, Envelope, Event, Fault, Lost, Over, SendBody, State
from smtp_out.replies import Reply
from tls.certificates import peer_dn
from tls.names import DN

_CERTIFICATE_ALERTS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE", "DECRYPT_ERROR")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds without progress in each phase. Defaults are the minima of RFC 5321 §4.5.3.2 where it sets one."""

    connect: float = 30.0
    greeting: float = 300.0
    handshake: float = 60.0
    command: float = 300.0
    block: float = 180.0
    final: float = 600.0
    goodbye: float = 5.0


class ConnectionLost(Exception):
    """The connection could not be made, or is no more; `lost` says why."""

    def __init__(self, lost: Lost) -> None:
        super().__init__(str(lost))
        self.lost = lost


class Connection(asyncio.Protocol):
    """Made by `Connection.open`; one transaction at a time; `close()` it."""

    def __init__(self, name: str, timeouts: Timeouts) -> None:
        self._dialogue = Dialogue(name)
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._closed = self._loop.create_future()
        self._heard_by_tls = False
        self.heard_at = self._loop.time()
        """When the peer last said something or took some of the content, by the loop's clock."""
        self.lost: Lost | None = None
        self.peer_dn: DN | None = None
        """Whose certificate the peer showed; None before TLS, and for a certificate without an operator's name."""
        self.transactions = 0

    @classmethod
    async def open(
        cls, address: str, port: int, *, server_name: str, name: str, context: ssl.SSLContext, timeouts: Timeouts
    ) -> Self:
        """Connects, greets, upgrades to TLS and greets again. Raises ConnectionLost.

        `address` is an IP address, `server_name` the host's name for SNI (not checked: the certificate's DN is what
        counts), `name` what we call ourselves, `context` has our certificate and the roots that we trust.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeouts.connect):
                _, self = await loop.create_connection(lambda: cls(name, timeouts), address, port)
        except (OSError, TimeoutError) as error:
            raise ConnectionLost(Lost(Fault.UNREACHABLE, _network_words(error))) from error
        try:
            await self._event()
            await self._upgrade(context, server_name)
            await self._event()
        except BaseException:
            self.abort()
            raise
        return self

    @property
    def usable(self) -> bool:
        """True when a transaction may start."""
        return self._dialogue.state is State.READY and not self._closed.done()

    def offers(self, extension: str) -> bool:
        """Whether the peer's EHLO offered `extension` (upper-case keyword)."""
        return extension in self._dialogue.extensions

    async def send(self, envelope: Envelope, body: AsyncIterable[bytes]) -> Sequence[Reply | Lost]:
        """One transaction: for each recipient, in order, the peer's reply, or why there is none.

        Raises ConnectionLost when a kept connection turns out to be gone before the peer said a word to this
        transaction (another connection may be tried at once), and whatever `body` raises: then the connection is
        closed and the peer has nothing.
        """
        if self.lost is not None:
            raise ConnectionLost(self.lost)
        replies = self._dialogue.replies
        self.transactions += 1
        self._take(self._dialogue.send(envelope))
        while True:
            event = await self._event()
            if isinstance(event, Done):
                if self.lost is not None and self._dialogue.replies == replies and self.transactions > 1:
                    raise ConnectionLost(self.lost)
                return event.results
            if isinstance(event, SendBody):
                try:
                    await self._stream(body)
                except BaseException:
                    self.abort()
                    raise

    async def close(self) -> None:
        """Says QUIT when possible, waits a moment for the peer to close, closes."""
        self._dialogue.quit()
        self._flush()
        if self._transport is not None and not self._closed.done() and self._dialogue.state is State.QUIT:
            await asyncio.wait((self._closed,), timeout=self._timeouts.goodbye)
        self.abort()

    def abort(self) -> None:
        """Closes at once, without a word."""
        if self._transport is not None:
            self._transport.abort()

    # -- waiting -------------------------------------------------------------------------------------------------

    async def _event(self) -> Event:
        """The next event; when none is left and the connection has ended, ConnectionLost."""
        while not self._events:
            if self.lost is not None:
                raise ConnectionLost(self.lost)
            replies = self._dialogue.replies
            if not await self._wait(self._patience()) and replies == self._dialogue.replies:
                self._take(self._dialogue.lose(Lost(Fault.TIMEOUT, f"in {self._dialogue.state.name.lower()}")))
        return self._events.popleft()

    def _patience(self) -> float:
        match self._dialogue.state:
            case State.GREETING:
                return self._timeouts.greeting
            case State.FINAL:
                return self._timeouts.final
            case _:
                return self._timeouts.command

    async def _wait(self, seconds: float) -> bool:
        """Waits for an event or a reply; False when there is no event, perhaps because the time is over."""
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
        return bool(self._events)

    def _take(self, events: Sequence[Event]) -> None:
        self._flush()
        if not events:
            return
        for event in events:
            if isinstance(event, Over):
                self.lost = event.lost
                self.abort()
            else:
                self._events.append(event)
        if self._waiter is not None:
            _wake(self._waiter)
        if self._writable is not None:
            _wake(self._writable)

    def _flush(self) -> None:
        out = self._dialogue.take()
        if out and self._transport is not None:
            self._transport.write(out)

    # -- TLS -----------------------------------------------------------------------------------------------------

    async def _upgrade(self, context: ssl.SSLContext, server_name: str) -> None:
        if self._events or self._dialogue.state is not State.HANDSHAKE or self._transport is None:
            await self._event()
        plain = cast(asyncio.Transport, self._transport)
        try:
            secured = await self._loop.start_tls(
                plain,
                self,
                context,
                server_hostname=server_name,
                ssl_handshake_timeout=self._timeouts.handshake,
                ssl_shutdown_timeout=self._timeouts.goodbye,
            )
        except (OSError, EOFError) as error:
            lost = _handshake_fault(error)
            self._take(self._dialogue.lose(lost))
            raise ConnectionLost(lost) from error
        if secured is None:
            # The transport was closed at the very moment when the handshake ended.
            raise ConnectionLost(Lost(Fault.CLOSED_AFTER_HANDSHAKE))
        self._transport = secured
        self.peer_dn = peer_dn(secured.get_extra_info("ssl_object"))
        self._dialogue.secured()
        self._flush()

    # -- the body ------------------------------------------------------------------------------------------------

    async def _stream(self, body: AsyncIterable[bytes]) -> None:
        """Writes the body, one chunk behind, so that the last one leaves together with the final dot."""
        held = b""
        async for chunk in body:
            if self._dialogue.state is not State.BODY:
                return
            if held:
                await self._write(held)
                if self._dialogue.state is not State.BODY:
                    return
            held = self._dialogue.body(chunk)
        if self._dialogue.state is State.BODY:
            end = self._dialogue.end_body()
            await self._write(held + end)

    async def _write(self, data: bytes) -> None:
        cast(asyncio.Transport, self._transport).write(data)
        if self._writable is not None:
            timer = self._loop.call_later(self._timeouts.block, _wake, self._writable)
            writable = self._writable
            try:
                await writable
            finally:
                timer.cancel()
            if self._writable is writable and self.lost is None:
                self._take(self._dialogue.lose(Lost(Fault.TIMEOUT, "the peer stopped taking the content")))

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._dialogue.state is State.EHLO_SECURED:
            self._heard_by_tls = True
        replies = self._dialogue.replies
        self._take(self._dialogue.receive(data))
        if self._dialogue.replies != replies:
            # Each reply is progress: what is waited for next has its own limit.
            self.heard_at = self._loop.time()
            if self._waiter is not None:
                _wake(self._waiter)

    def eof_received(self) -> None:
        """The peer will say no more; there is nothing to tell it either: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed.done():
            self._closed.set_result(None)
        self._take(self._dialogue.lose(self._closing_fault(exc)))

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        self.heard_at = self._loop.time()
        if writable is not None:
            _wake(writable)

    def _closing_fault(self, exc: Exception | None) -> Lost:
        """Names the end. TLS 1.3 tells a client that its certificate is refused only after the handshake."""
        if isinstance(exc, ssl.SSLError):
            return _tls_fault(exc)
        if self._dialogue.state is State.EHLO_SECURED and not self._heard_by_tls:
            return Lost(Fault.CLOSED_AFTER_HANDSHAKE, "the peer may have refused our certificate")
        return Lost(Fault.CLOSED, _network_words(exc) if exc else "")


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _handshake_fault(error: OSError | EOFError) -> Lost:
    if isinstance(error, ssl.SSLError):
        return _tls_fault(error)
    return Lost(Fault.TLS_FAILED, _network_words(error))


def _tls_fault(error: ssl.SSLError) -> Lost:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Lost(Fault.PEER_CERTIFICATE, error.verify_message)
    reason = error.reason or type(error).__name__
    if "ALERT" in reason and any(word in reason for word in _CERTIFICATE_ALERTS):
        return Lost(Fault.CERTIFICATE_REFUSED, reason.lower())
    return Lost(Fault.TLS_FAILED, reason.lower())


def _network_words(error: BaseException) -> str:
    """A short text for the log, without addresses."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno).lower()
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
