"""The session of one SMTP client: TLS, and which command is whose. The only file that knows aiosmtpd.

aiosmtpd gives the protocol object, its session, its table of commands and the task that serves it; its reading, its
answers, its DATA, AUTH and STARTTLS are replaced, for the reasons said where they are.

What must always hold:
- The task that serves a connection is never cancelled. A peer that half-closes or resets stops what it has not finished
  saying; what it has finished saying (the end of DATA) is carried to its end.
- Octets received before the TLS handshake are never read after it.
- The octets of a chunk (BDAT) are passed by even when the command is refused: they are never read as commands; when
  their number cannot be read, the session ends.
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
from smtp_in.framer import LineFault
from smtp_in.grammar import LINE_LIMIT, LINE_LIMITS, CommandFault, parse_bdat
from smtp_in.incoming import Incoming
from smtp_in.pace import Pace
from smtp_in.settings import SmtpInSettings
from smtp_in.wire import LINGER_S, UNREAD, Farewell, Gone, Wire

_UNSENT: Final = 16 * 1024
_IDLE: Final = frozenset({"EHLO", "HELO", "NOOP", "RSET", "VRFY", "HELP"})
"""Commands that carry no mail."""

_log = structlog.get_logger("smtp_in")


@dataclass(frozen=True, slots=True)
class Door:
    """What all connections of a port have in common."""

    edge: Edge
    context: Callable[[], ssl.SSLContext]
    """Asked at each handshake, so that changed certificates count from the next one on."""
    admission: Admission
    implicit_tls: bool


class Connection(Wire, SMTP):
    """One client. It is in ``connections`` from its admission to its end."""

    def __init__(
        self, door: Door, reception: Reception, settings: SmtpInSettings, connections: set[Connection]
    ) -> None:
        SMTP.__init__(self, None, hostname=settings.hostname, loop=asyncio.get_running_loop())
        Wire.__init__(self, settings)
        self._door, self._reception, self._connections = door, reception, connections
        self._opened = self.loop.time()
        self._errors = self._idle = 0
        self._unwatch: Callable[[], None] | None = None
        self._peer = ""

    def __dir__(self) -> list[str]:
        """What aiosmtpd looks for by name in its constructor: 135 µs a connection become 20."""
        return _COMMANDS

    @property
    def task(self) -> asyncio.Task[None]:
        """Done when the connection is."""
        assert self._handler_coroutine is not None
        return self._handler_coroutine

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

    # --- the session -----------------------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        """The whole life of the connection; aiosmtpd's reads lines by LF and tells the peer its exceptions."""
        ending, linger = "gone", True
        try:
            if self._door.implicit_tls:
                await self._secure()
            self._say(f"220 {self._settings.hostname} ESMTP MSSante\r\n".encode("ascii"))
            while True:
                await self._command(await self._line(self._patience()))
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
        self._dialogue.reset()
        self._flush()
        try:
            if linger and self._live is self._raw:
                await self._linger()
        finally:
            self._live.close()
            if self._timeout_handle is not None:
                self._timeout_handle.cancel()

    def _patience(self) -> float:
        """Seconds to wait for a command. Whoever has not said who he is has no more for all of them together."""
        patience = self._settings.command_timeout_s
        return patience if self._dialogue.caller is not None else patience - (self.loop.time() - self._opened)

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
            if verb == "BDAT":
                raise Farewell(LINE_TOO_LONG)
            self._wrong(LINE_TOO_LONG)
            return
        if verb in _IDLE:
            self._passed_time()
        barred = self._dialogue.barred(verb)
        if barred is not None and verb != "BDAT":
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

    def _passed_time(self) -> None:
        """A command that brings no message nearer: too many of them end the session."""
        self._idle += 1
        if self._idle > self._settings.max_idle_commands:
            raise Farewell(REFUSALS[Rule.SESSION_TOO_MANY_COMMANDS])

    # --- TLS -------------------------------------------------------------------------------------------------------

    async def _secure(self) -> None:
        """The handshake, by asyncio's own call: aiosmtpd's leaves a failed one unnoticed by `connection_lost`."""
        self._flush()
        self._reset_timeout(self._settings.handshake_timeout_s + LINGER_S)
        try:
            secured = await self.loop.start_tls(
                self._live,
                self,
                self._door.context(),
                server_side=True,
                ssl_handshake_timeout=self._settings.handshake_timeout_s,
                ssl_shutdown_timeout=LINGER_S,
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
        cast(Any, secured).set_read_buffer_limits(high=UNREAD)
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
        self._say(b"334 " + challenge + b"\r\n")
        line = await self._line(self._patience())
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
        if self._dialogue.unknown_recipients >= self._settings.max_unknown_recipients:
            # Nobody writes to that many addresses that do not exist: somebody tries which do.
            raise Farewell(REFUSALS[Rule.SESSION_TOO_MANY_ERRORS])

    async def smtp_DATA(self, argument: str) -> None:
        """The message streams through: nothing of it is gathered here."""
        incoming = self._dialogue.data(argument, Pace(self._settings, self.loop.time()))
        if isinstance(incoming, bytes):
            self._answer(incoming)
            return
        self._say(GO_AHEAD)
        self._in_data = True
        try:
            await self._fill(incoming)
            self._in_data = False
            await self._store(incoming)
        finally:
            incoming.abort()

    async def _fill(self, incoming: Incoming) -> None:
        while (rest := incoming.rest) is None:
            await self._some(incoming.pace, incoming.size)
            incoming.feed(self._framer.take())
            if incoming.hopeless:
                raise Farewell(REFUSALS[Rule.MESSAGE_TOO_LARGE])
        self._framer.put_back(rest)

    async def smtp_BDAT(self, argument: str) -> None:
        """RFC 3030 §2. The chunk comes whatever is answered."""
        try:
            size, last = parse_bdat(argument)
        except CommandFault as fault:
            raise Farewell(fault.answer) from None
        if size > 2 * self._settings.max_size:
            raise Farewell(REFUSALS[Rule.MESSAGE_TOO_LARGE])
        pace = Pace(self._settings, self.loop.time())
        refusal = self._dialogue.barred("BDAT") or self._dialogue.chunk(pace)
        incoming = self._dialogue.incoming
        self._in_data = True
        await self._chunk(size, incoming, pace if incoming is None else incoming.pace)
        self._in_data = False
        if refusal is not None:
            self._wrong(refusal)
        elif incoming is None:
            self._passed_time()
            self._say(self._dialogue.refused_chunk(last))
        elif last:
            self._dialogue.incoming = None
            await self._store(incoming)
        else:
            self._say(self._dialogue.chunk_taken(incoming))

    async def _chunk(self, size: int, incoming: Incoming | None, pace: Pace) -> None:
        """Passes ``size`` octets on, or by."""
        passed = 0
        while passed < size:
            await self._some(pace, passed if incoming is None else incoming.size)
            octets = self._framer.take()
            piece = octets[: size - passed]
            self._framer.put_back(octets[len(piece) :])
            passed += len(piece)
            if incoming is not None:
                incoming.feed(piece)
                if incoming.hopeless:
                    raise Farewell(REFUSALS[Rule.MESSAGE_TOO_LARGE])

    async def _some(self, pace: Pace, octets: int) -> None:
        """Waits until there is some more of a message of which ``octets`` have come."""
        while not len(self._framer):
            left = pace.deadline(octets) - self.loop.time()
            await self._more(min(self._settings.data_timeout_s, left))

    async def _store(self, incoming: Incoming) -> None:
        """The whole message is there: nothing the peer does now stops it."""
        self._idle = 0
        self._hold_reading()
        try:
            self._answer(await self._dialogue.accept(incoming))
            self._flush()
        finally:
            incoming.abort()
            self._release_reading()


_COMMANDS: Final = [name for name in vars(Connection) if name.startswith("smtp_")]
