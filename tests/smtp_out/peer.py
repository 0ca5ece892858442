"""Servers to send to: `Peer`, a small real SMTP server that can be told to refuse; `scripted`, which says anything."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field


class Session:
    """One connection as a script sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, *lines: str) -> None:
        await self.raw("".join(f"{line}\r\n" for line in lines).encode())

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def line(self) -> str:
        """The client's next command, without its end; EOFError when it is gone."""
        line = await self.reader.readline()
        if not line:
            raise EOFError
        return line[:-2].decode()

    async def content(self) -> bytes:
        """The message that follows a 354, dots unstuffed."""
        lines = []
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                raise EOFError
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    async def until_tls(self, context: ssl.SSLContext) -> None:
        """Greeting, EHLO, STARTTLS and the handshake."""
        await self.say("220 mx.clinique.mssante.fr ESMTP")
        assert (await self.line()).startswith("EHLO ")
        await self.say("250-mx.clinique.mssante.fr", "250 STARTTLS")
        assert await self.line() == "STARTTLS"
        await self.say("220 go")
        plain = self.writer.transport
        try:
            await self.writer.start_tls(context)
        except AttributeError as gone:  # the client left as the handshake ended: asyncio finds no transport
            self.writer._transport = plain  # type: ignore[attr-defined]
            raise EOFError from gone

    async def until_ready(self, context: ssl.SSLContext, *extensions: str) -> None:
        await self.until_tls(context)
        assert (await self.line()).startswith("EHLO ")
        lines = ["mx.clinique.mssante.fr", *extensions]
        await self.say(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")

    def reset(self) -> None:
        """Ends the connection as a crashed machine would."""
        self.writer.transport.abort()


Script = Callable[[Session], Awaitable[None]]


@contextlib.asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[int]:
    """Plays the script for each connection; gives the port. A script that fails on its own account fails the test."""
    faults: list[BaseException] = []
    callers: set[asyncio.WriteTransport] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.add(writer.transport)
        try:
            await script(Session(reader, writer))
        except (EOFError, OSError):
            pass  # the client left: often the very thing that is tested
        except AssertionError as fault:
            faults.append(fault)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for caller in callers:  # one that keeps its connection would be waited for from Python 3.12 on
            caller.abort()
        await server.wait_closed()
    if faults:
        raise faults[0]


@dataclass
class Received:
    sender: str
    recipients: list[str]
    content: bytes
    commands: list[str]


@dataclass
class Peer:
    """A small SMTP server with STARTTLS. `answers` replaces the answer to commands that start with a key, `final` the
    answer to contents (taken in turn, then "250 2.0.0 ok"; empty: the connection is cut instead)."""

    context: ssl.SSLContext
    extensions: Sequence[str] = ("PIPELINING", "SIZE 36700160", "8BITMIME", "DSN", "ENHANCEDSTATUSCODES")
    answers: dict[str, str] = field(default_factory=dict)
    final: list[str] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    most_at_once: int = 0
    hold: asyncio.Event | None = None
    """When given, contents are answered only once it is set."""
    has_content: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first complete content."""
    _open: int = 0

    async def talk(self, session: Session) -> None:
        self.connections += 1
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        try:
            await session.until_ready(self.context, *self.extensions)
            await self._serve(session)
        finally:
            self._open -= 1

    async def _serve(self, session: Session) -> None:
        sender, begun, recipients, commands = "", False, list[str](), list[str]()
        while (command := await session.line()) != "QUIT":
            commands.append(command)
            answer = next((text for start, text in self.answers.items() if command.startswith(start)), "")
            if answer:
                await session.say(answer)
                if answer.startswith("421"):
                    return
            elif command == "DATA":
                if not recipients:
                    await session.say("554 5.5.1 no valid recipients")
                    continue
                await session.say("354 go")
                content = await session.content()
                self.has_content.set()
                if self.hold is not None:
                    await self.hold.wait()
                final = self.final.pop(0) if self.final else "250 2.0.0 ok"
                if not final:
                    session.reset()
                    return
                if final.startswith("2"):
                    self.received.append(Received(sender, recipients, content, commands))
                sender, begun, recipients, commands = "", False, [], []
                await session.say(final)
            elif command == "RSET":
                sender, begun, recipients, commands = "", False, [], []
                await session.say("250 2.0.0 ok")
            else:
                verb, _, rest = command.partition(":<")
                address = rest.partition(">")[0]
                if verb == "MAIL FROM":
                    sender = address
                    begun = True
                elif not begun:
                    await session.say("503 5.5.1 MAIL first")
                    continue
                else:
                    assert verb == "RCPT TO"
                    recipients.append(address)
                await session.say("250 2.1.0 ok")
        await session.say("221 2.0.0 bye")
