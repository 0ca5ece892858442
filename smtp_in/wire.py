"""One client's connection below the commands: octets in and out, TLS or not, deadlines, and how a session ends.

What must always hold:
- Answers leave in the order of the commands, and all of them before the server waits for anything from the peer
  (RFC 2920 §3.2): never one write for one command of a group.
- What is kept of a peer's octets is bounded: `UNREAD` here and as much in the TLS layer, whatever it sends.
- Every wait for the peer has an end: a 421 when it is silent, a cut when it does not read.
"""

from __future__ import annotations

import asyncio
from typing import Final

from structlog.typing import FilteringBoundLogger

from mssante.domain.verdict import Rule
from mssante.services.sasl import MAX_LINE
from smtp_in.answers import REFUSALS
from smtp_in.framer import Framer, LineFault
from smtp_in.settings import SmtpInSettings

UNREAD: Final = 64 * 1024
LINGER_S: Final = 5.0


class Farewell(Exception):
    """The session ends with this answer."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer


class Gone(Exception):
    """The peer is no longer there, or will say no more."""


class Wire(asyncio.Protocol):
    """The transport's side of a connection; a session is built upon it."""

    loop: asyncio.AbstractEventLoop
    _timeout_handle: asyncio.TimerHandle | None
    _session_log: FilteringBoundLogger
    _raw: asyncio.Transport
    """The socket."""
    _live: asyncio.Transport
    """What octets of the dialogue go through: the socket, then TLS over it."""

    def __init__(self, settings: SmtpInSettings) -> None:
        self._settings = settings
        self._framer = Framer(MAX_LINE)
        self._answers: list[bytes] = []
        self._unsent = 0
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._reading_held = False
        self._eof = False
        self._lost = False
        self._in_data = False
        self._farewell: bytes | None = None
        self._farewell_at_once = False
        self._deadline = 0.0

    def data_received(self, data: bytes) -> None:
        self._framer.feed(data)
        if len(self._framer) >= UNREAD and not self._reading_paused:
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
        if seconds <= 0:
            raise Farewell(REFUSALS[Rule.SESSION_TIMEOUT])
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

    async def _line(self, seconds: float) -> bytes | LineFault:
        """The next command line, its beginning waited for ``seconds`` and so is each further piece."""
        while (line := self._framer.line()) is None:
            await self._more(seconds)
        if self._lost:
            raise Gone
        return line

    async def _linger(self) -> None:
        """In clear, closing a socket with unread octets in it resets it, and the last answer may never be read."""
        try:
            self._live.write_eof()
        except OSError:
            return  # reset by the peer, which asyncio will tell us next
        self._reset_timeout(LINGER_S)
        while not self._eof and not self._lost and self.loop.time() < self._deadline:
            self._framer.take()
            if self._reading_paused:
                self._reading_paused = False
                self._live.resume_reading()
            self._waiter = self.loop.create_future()
            await self._waiter

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
