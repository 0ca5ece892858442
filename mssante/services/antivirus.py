"""The antivirus: clamd asked by INSTREAM whether a message may be taken, over its unix or TCP socket.

Always true here: a message is read and sent on piece by piece, no faster than the scanner takes it, so that memory is
bounded and the loop is not held; a scanner that is away, slow, full or unintelligible never means "clean": the message
is put off, or taken unscanned where the operator's settings say so and the log too; what the scanner calls the find
goes to the log alone.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import structlog

from mssante.domain.verdict import ACCEPT, Defer, Refuse, Rule, Verdict

PIECE: Final = 128 * 1024
"""Octets of a message that are best given at a time."""

log = structlog.get_logger("mssante.antivirus")


class AntivirusAway(Exception):
    """The scanner gave no answer that says yes or no; the message is the reason."""


class Antivirus:
    """One for the process. `socket` is the path of a unix socket, or host:port; `at_once` bounds the scans under way
    (below clamd's MaxThreads), `timeout_s` the time of one scan with its turn waited for."""

    def __init__(self, socket: str, *, timeout_s: float, at_once: int, accept_unscanned: bool) -> None:
        self._socket, self._timeout_s, self._accept_unscanned = socket, timeout_s, accept_unscanned
        self._turns = asyncio.Semaphore(at_once)
        self.found = 0
        """Messages refused for what was found in them."""
        self.away = 0
        """Scans that came to nothing."""

    async def examine(self, pieces: AsyncIterator[bytes]) -> Verdict:
        """The verdict on a message of these octets. What `pieces` raises is passed on."""
        try:
            answer = await self._answer(pieces)
        except AntivirusAway as away:
            self.away += 1
            log.warning("antivirus.away", reason=str(away), accepted=self._accept_unscanned)
            return ACCEPT if self._accept_unscanned else Defer(Rule.ANTIVIRUS_UNAVAILABLE, str(away))
        if answer is None:
            return ACCEPT
        self.found += 1
        return Refuse(Rule.MESSAGE_VIRUS, answer)

    async def _answer(self, pieces: AsyncIterator[bytes]) -> str | None:
        """The name of what was found, None for nothing."""
        try:
            async with asyncio.timeout(self._timeout_s), self._turns:
                said = await self._instream(pieces)
        except TimeoutError:
            raise AntivirusAway(f"no answer in {self._timeout_s} s") from None
        except OSError as fault:
            raise AntivirusAway(f"{fault.strerror or fault}: does clamd run, with StreamMaxLength enough?") from None
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise AntivirusAway("no whole answer") from None
        if said == "stream: OK":
            return None
        name, found, rest = said.removeprefix("stream: ").rpartition(" FOUND")
        if not found or rest:
            raise AntivirusAway(f"answer {said[:200]!r}")
        return name

    async def _instream(self, pieces: AsyncIterator[bytes]) -> str:
        """clamd(8), INSTREAM: lengths of four octets before each piece, a zero one at the end; NUL ends the answer."""
        reader, writer = await _connect(self._socket)
        try:
            writer.write(b"zINSTREAM\0")
            async for piece in pieces:
                writer.write(len(piece).to_bytes(4, "big"))
                writer.write(piece)
                await writer.drain()
            writer.write(bytes(4))
            return (await reader.readuntil(b"\0"))[:-1].decode("utf-8", "replace").strip()
        finally:
            writer.transport.abort()


async def ping(socket: str, timeout_s: float = 3) -> str:
    """What clamd says it is. Raises OSError or EOFError when it does not answer."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await _connect(socket)
        try:
            writer.write(b"zVERSION\0")
            return (await reader.readuntil(b"\0"))[:-1].decode("utf-8", "replace").strip()
        finally:
            writer.transport.abort()


async def _connect(socket: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if socket.startswith("/"):
        return await asyncio.open_unix_connection(socket)
    host, _, port = socket.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))
