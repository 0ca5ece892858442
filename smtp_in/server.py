"""The connection of one SMTP client: bytes, TLS, time, and which command is whose. The only file that knows aiosmtpd.

aiosmtpd gives the protocol object, its session, its table of commands and the task that serves it; its reading, its
answers, its DATA, AUTH and STARTTLS are replaced, for the reasons said where they are.

What must always hold:
- Answers leave in the order of the commands, and all of them before the server waits for anything from the peer
  (RFC 2920 §3.2): never one write for one command of a group.
- The task that serves a connection is never cancelled. A peer that half-closes or resets stops what it has not finished
  saying; what it has finished saying (the end of DATA) is carried to its end.
- Octets received before the TLS handshake are never read after it.
- What is kept of a peer's octets is bounded: `_UNREAD` here and as much in the TLS layer, whatever it sends.
- A peer reads nothing of an exception.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from aiosmtpd.smtp import SMTP

from mssante.domain.transaction import Edge
from mssante.domain.verdict import Rule
from mssante.services.reception import Reception
from smtp_in import sasl
from smtp_in.admission import Admission
from smtp_in.answers import (
    AFTER_STARTTLS,
    AUTH_CANCELLED,
    AUTH_LINE_TOO_LONG,
    AUTH_MALFORMED,
    BYE,
    CANNOT_VERIFY,
    FAULT,
    GO_AHEAD,
    HELP,
    LINE_TOO_LONG,
    OK,
    REFUSALS,
    START_TLS,
)
from smtp_in.dialogue import Dialogue, Tls
from smtp_in.framer import Framer, LineFault
from smtp_in.grammar import LINE_LIMIT, LINE_LIMITS, CommandFault
from smtp_in.incoming import Incoming
from smtp_in.settings import SmtpInSettings

_UNREAD: Final = 64 * 1024
_UNSENT: Final = 16 * 1024
_LINGER_S: Final = 5.0

_log = structlog.get_logger("smtp_in")


class Farewell(Exception):
    """The session ends with this answer."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer


class Gone(Exception):
    """The peer is no longer there, or will say no more."""


@dataclass(frozen=True, slots=True)
class Door:
    """What all connections of a port have in common."""

    edge: Edge
    context: Callable[[], ssl.SSLContext]
    """Asked at each handshake, so that changed certificates count from the next one on."""
    admission: Admission
    implicit_tls: bool


class Connection(SMTP):
    """One client. It is in ``connections`` from its admission to its end."""

    def __init__(
        self, door: Door, reception: Reception, settings: SmtpInSettings, connections: set[Connection]
    ) -> None:
        super().__init__(None, hostname=settings.hostname, loop=asyncio.get_running_loop())
        self._door, self._reception, self._settings, self._connections = door, reception, settings, connections
        self._framer = Framer(sasl.MAX_LINE)
        self._answers: list[bytes] = []
        self._unsent = 0
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._raw: asyncio.Transport
        """The socket."""
        self._live: asyncio.Transport
        """What octets of the dialogue go through: the socket, then TLS over it."""
        self._reading_paused = False
        self._reading_held = False
        self._eof = False
        self._lost = False
        self._in_data = False
        self._farewell: bytes | None = None
        self._farewell_at_once = False
        self._deadline = 0.0
        self._errors = 0
        self._unwatch: Callable[[], None] | None = None
        self._peer = ""

    def __dir__(self) -> list[str]:
        """What aiosmtpd looks for by name in its constructor: 135 µs a connection become 20."""
        return _COMMANDS

    # --- the transport's calls -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client. Counted in, or told that there are too many and closed."""
        self._raw = self._live = cast(asyncio.Transport, transport)
        self._peer = (transport.get_extra_info("peername") or ("?",))[0]
        self._session_log = _log.bind(peer=self._peer, edge=str(self._door.edge))
        if not self._door.admission.enter(self._peer):
            self._session_log.warning("smtp_in.too_many_connections")
            if not self._door.implicit_tls:
                self._raw.write(REFUSALS[Rule.SESSION_TOO_MANY])
            self._lost = True
            self._raw.close()
            return
        self._connections.add(self)
        self._dialogue = Dialogue(self._door.edge, self._reception, self._settings, self._peer, self._session_log)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._framer.feed(data)
        if len(self._framer) >= _UNREAD and not self._reading_paused:
            self._reading_paused = True
            self._live.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """The peer will say no more. In clear it may still listen; over TLS asyncio closes at once."""
        self._eof = True
        self._wake()
        return self._live is self._raw

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._raw.close()
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._room = self.loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # --- time ------------------------------------------------------------------------------------------------------

    def _reset_timeout(self, duration: float | None = None) -> None:
        """A deadline is a number that the connection's one timer looks at when it fires; mostly nothing is armed."""
        self._deadline = self.loop.time() + (duration or self._settings.delivery_timeout_s)
        if self._timeout_handle is not None and self._timeout_handle.when() > self._deadline:
            self._timeout_handle.cancel()
            self._timeout_handle = None
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)

    def _timeout_cb(self) -> None:
        if self.loop.time() < self._deadline:
            self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)
            return
        self._timeout_handle = None
        if self._waiter is not None:
            self.leave(REFUSALS[Rule.SESSION_TIMEOUT], at_once=True)
        else:
            # It does not read our answers, or our own work takes too long: nothing can be said any more.
            self._session_log.warning("smtp_in.stuck")
            self._live.abort()

    # --- reading and answering -------------------------------------------------------------------------------------

    def leave(self, answer: bytes, *, at_once: bool) -> None:
        """Ends the session with ``answer`` before the next command; unless ``at_once``, after the message under way."""
        if self._farewell is None or at_once:
            self._farewell = answer
        self._farewell_at_once |= at_once
        self._wake()

    def abort(self) -> None:
        """Cuts the connection; what is being stored goes on."""
        self._live.abort()

    @property
    def task(self) -> asyncio.Task[None]:
        """Done when the connection is."""
        assert self._handler_coroutine is not None
        return self._handler_coroutine

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _say(self, answer: bytes) -> None:
        self._answers.append(answer)
        self._unsent += len(answer)

    def _answer(self, answer: bytes) -> None:
        """What Reception decided. A 421 of its own ends the session like ours."""
        if answer.startswith(b"421"):
            raise Farewell(answer)
        self._say(answer)

    def _flush(self) -> None:
        if self._answers and not self._lost:
            self._live.write(b"".join(self._answers))
        self._answers.clear()
        self._unsent = 0

    async def _send(self) -> None:
        """Writes the answers gathered, and waits while the peer does not read them."""
        self._flush()
        while self._room is not None:
            self._reset_timeout(self._settings.command_timeout_s)
            await self._room

    async def _more(self, seconds: float) -> None:
        """Waits for more from the peer, at most ``seconds``. Raises Farewell or Gone."""
        await self._send()
        if self._farewell is not None and (self._farewell_at_once or not self._in_data):
            raise Farewell(self._farewell)
        if self._lost or self._eof:
            raise Gone
        if self._reading_paused:
            self._reading_paused = False
            self._live.resume_reading()
        self._reset_timeout(seconds)
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._reset_timeout()

    async def _line(self) -> bytes | LineFault:
        while (line := self._framer.line()) is None:
            await self._more(self._settings.command_timeout_s)
        if self._lost:
            raise Gone
        return line

    # --- the session -----------------------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        """The whole life of the connection; aiosmtpd's reads lines by LF and tells the peer its exceptions."""
        ending, linger = "gone", True
        try:
            if self._door.implicit_tls:
                await self._secure()
            self._say(f"220 {self._settings.hostname} ESMTP MSSante\r\n".encode("ascii"))
            while True:
                await self._command(await self._line())
                if self._farewell is not None:
                    raise Farewell(self._farewell)
                if self._unsent > _UNSENT:
                    await self._send()
        except Farewell as farewell:
            self._say(farewell.answer)
            ending, linger = farewell.answer[:9].decode("ascii"), farewell.answer is not BYE
        except Gone:
            pass
        except Exception:  # noqa: BLE001  # the peer is told that something failed here, and nothing of it
            self._session_log.exception("smtp_in.fault")
            self._say(FAULT)
            ending = "fault"
        finally:
            self._session_log.info("smtp_in.session_closed", ending=ending, errors=self._errors)
            try:
                await self._close(linger)
            finally:
                self._door.admission.leave(self._peer)
                self._connections.discard(self)

    async def _close(self, linger: bool) -> None:
        """Sends what is to be sent, and closes."""
        if self._unwatch is not None:
            self._unwatch()
        self._flush()
        try:
            if linger and self._live is self._raw:
                await self._linger()
        finally:
            self._live.close()
            if self._timeout_handle is not None:
                self._timeout_handle.cancel()

    async def _linger(self) -> None:
        """In clear, closing a socket with unread octets in it resets it, and the last answer may never be read."""
        try:
            self._live.write_eof()
        except OSError:
            return  # reset by the peer, which asyncio will tell us next
        self._reset_timeout(_LINGER_S)
        while not self._eof and not self._lost and self.loop.time() < self._deadline:
            self._framer.take()
            if self._reading_paused:
                self._reading_paused = False
                self._live.resume_reading()
            self._waiter = self.loop.create_future()
            await self._waiter

    async def _command(self, line: bytes | LineFault) -> None:
        if isinstance(line, LineFault):
            if line is LineFault.BARE_LF:
                raise Farewell(REFUSALS[Rule.COMMAND_MALFORMED])
            self._wrong(LINE_TOO_LONG if line is LineFault.TOO_LONG else REFUSALS[Rule.COMMAND_MALFORMED])
            return
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            self._wrong(REFUSALS[Rule.COMMAND_MALFORMED])
            return
        word, _, argument = text.partition(" ")
        verb = word.upper()
        if len(line) + 2 > LINE_LIMITS.get(verb, LINE_LIMIT):
            self._wrong(LINE_TOO_LONG)
            return
        barred = self._dialogue.barred(verb)
        if barred is not None:
            self._wrong(barred)
            return
        method: Callable[[str], Awaitable[None]] | None = self._smtp_methods.get(verb)
        if method is None:
            self._wrong(REFUSALS[Rule.COMMAND_UNKNOWN if verb else Rule.COMMAND_MALFORMED])
            return
        try:
            await method(argument.rstrip(" "))
        except CommandFault as fault:
            self._wrong(fault.answer)
        except (Farewell, Gone):
            raise
        except Exception:  # as above; the session goes on, unless what comes next is the rest of a message
            if self._in_data:
                raise
            self._session_log.exception("smtp_in.fault", stage=verb)
            self._say(REFUSALS[Rule.INTERNAL_FAULT])

    def _wrong(self, answer: bytes) -> None:
        """A command that should not have been sent: answered, counted, and one too many ends the session."""
        self._errors += 1
        if self._errors >= self._settings.max_errors:
            raise Farewell(REFUSALS[Rule.SESSION_TOO_MANY_ERRORS])
        self._say(answer)

    # --- TLS -------------------------------------------------------------------------------------------------------

    async def _secure(self) -> None:
        """The handshake, by asyncio's own call: aiosmtpd's leaves a failed one unnoticed by `connection_lost`."""
        self._flush()
        self._reset_timeout(self._settings.handshake_timeout_s + _LINGER_S)
        try:
            secured = await self.loop.start_tls(
                self._live,
                self,
                self._door.context(),
                server_side=True,
                ssl_handshake_timeout=self._settings.handshake_timeout_s,
                ssl_shutdown_timeout=_LINGER_S,
            )
        except (OSError, ssl.SSLError) as fault:
            reason = getattr(fault, "reason", None) or type(fault).__name__
            verify = getattr(fault, "verify_message", "")
            self._session_log.info("smtp_in.handshake_failed", reason=str(reason), verify=verify)
            self._lost = True
            raise Gone from None
        if secured is None or self._lost:
            raise Gone
        self._live = secured
        cast(Any, secured).set_read_buffer_limits(high=_UNREAD)
        ssl_object: ssl.SSLObject = secured.get_extra_info("ssl_object")
        cipher = ssl_object.cipher()
        tls = Tls(ssl_object.version() or "", cipher[0] if cipher else "", ssl_object.getpeercert(binary_form=True))
        self._dialogue.secured(tls)
        caller = self._dialogue.caller.name if self._dialogue.caller else ""
        self._session_log.info("smtp_in.secured", tls=tls.version, cipher=tls.cipher, caller=caller)

    async def smtp_STARTTLS(self, argument: str) -> None:
        """RFC 3207 §4. What was sent behind the command in clear ends the session: it may be another's injection."""
        if argument:
            raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
        if self._live is not self._raw:
            raise CommandFault(REFUSALS[Rule.COMMAND_ORDER])
        if len(self._framer):
            raise Farewell(AFTER_STARTTLS)
        self._say(START_TLS)
        await self._secure()

    # --- the commands ----------------------------------------------------------------------------------------------

    async def smtp_EHLO(self, argument: str) -> None:
        self._say(self._dialogue.hello(argument, extended=True))

    async def smtp_HELO(self, argument: str) -> None:
        self._say(self._dialogue.hello(argument, extended=False))

    async def smtp_NOOP(self, argument: str) -> None:
        self._say(OK)

    async def smtp_RSET(self, argument: str) -> None:
        if argument:
            raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
        self._dialogue.reset()
        self._say(OK)

    async def smtp_QUIT(self, argument: str) -> None:
        raise Farewell(BYE)

    async def smtp_HELP(self, argument: str) -> None:
        self._say(HELP)

    async def smtp_VRFY(self, argument: str) -> None:
        if not argument:
            raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
        self._say(CANNOT_VERIFY)

    async def smtp_EXPN(self, argument: str) -> None:
        raise CommandFault(REFUSALS[Rule.COMMAND_UNKNOWN])

    async def smtp_AUTH(self, argument: str) -> None:
        """RFC 4954 §4. aiosmtpd's refuses TLS that it did not start, tells cases apart, and blocks the loop."""
        self._answer(await self._dialogue.authenticate(argument, self._ask))
        if self._dialogue.caller is not None:
            self._unwatch = self._reception.watch(self._dialogue.caller, self._account_closed)
        elif self._dialogue.failed_auth >= self._settings.max_failed_auth:
            raise Farewell(REFUSALS[Rule.AUTH_TOO_MANY])

    async def _ask(self, challenge: bytes) -> bytes:
        self._say(challenge)
        line = await self._line()
        if line is LineFault.BARE_LF:
            raise Farewell(REFUSALS[Rule.COMMAND_MALFORMED])
        if isinstance(line, LineFault):
            raise CommandFault(AUTH_LINE_TOO_LONG if line is LineFault.TOO_LONG else AUTH_MALFORMED)
        if line == b"*":
            raise CommandFault(AUTH_CANCELLED)
        return line

    def _account_closed(self) -> None:
        self.leave(REFUSALS[Rule.SESSION_CLOSED], at_once=True)

    async def smtp_MAIL(self, argument: str) -> None:
        self._answer(await self._dialogue.mail(argument))

    async def smtp_RCPT(self, argument: str) -> None:
        self._answer(await self._dialogue.rcpt(argument))

    async def smtp_DATA(self, argument: str) -> None:
        """The message streams through: nothing of it is gathered here."""
        incoming = self._dialogue.data(argument)
        if isinstance(incoming, bytes):
            self._answer(incoming)
            return
        self._say(GO_AHEAD)
        self._in_data = True
        try:
            await self._fill(incoming)
            self._in_data = False
            self._hold_reading()
            self._answer(await self._dialogue.accept(incoming))
            self._flush()
        finally:
            incoming.abort()
            self._release_reading()

    async def _fill(self, incoming: Incoming) -> None:
        while incoming.rest is None:
            if not len(self._framer):
                await self._more(self._settings.data_timeout_s)
            incoming.feed(self._framer.take())
            if incoming.hopeless:
                raise Farewell(REFUSALS[Rule.MESSAGE_TOO_LARGE])
        self._framer.put_back(incoming.rest)

    def _hold_reading(self) -> None:
        """Nothing is read from the socket while a message is stored: asyncio would close TLS both ways at the peer's
        half-close, and the answer that it waits for would be lost."""
        if not self._reading_paused:
            self._reading_held = True
            self._raw.pause_reading()

    def _release_reading(self) -> None:
        if self._reading_held:
            self._reading_held = False
            self._raw.resume_reading()


_COMMANDS: Final = [name for name in vars(Connection) if name.startswith("smtp_")]
