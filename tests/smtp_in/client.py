"""A bare SMTP client for tests: it sends exactly the octets it is given, in the pieces it is given, and reads lines."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Iterable

from cryptography import x509


class Client:
    """One connection to the server under test, which runs in the same loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int, tls: ssl.SSLContext | None = None) -> Client:
        client = cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls))
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    @property
    def socket(self) -> socket.socket:
        found: socket.socket = self._writer.get_extra_info("socket")
        return found

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self._writer.start_tls(context)

    async def send(self, pieces: bytes | Iterable[bytes]) -> None:
        """Each piece in its own segment, the server let to read in between; no more once it has closed."""
        for piece in (pieces,) if isinstance(pieces, bytes) else pieces:
            if self._writer.transport.is_closing():
                return
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def line(self) -> str:
        """The next line without its CRLF; "" when the server has closed."""
        octets = await self._reader.readline()
        assert not octets or octets.endswith(b"\r\n"), octets
        return octets[:-2].decode("ascii")

    async def reply(self) -> list[str]:
        """The next reply, all its lines; empty when the server has closed."""
        lines = [await self.line()]
        while lines[-1][3:4] == "-":
            lines.append(await self.line())
        return lines if lines[0] else []

    async def ask(self, command: str | bytes) -> str:
        """Sends a line, gives the last line of the reply."""
        await self.send(command if isinstance(command, bytes) else command.encode() + b"\r\n")
        return (await self.reply() or [""])[-1]

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        return await self._reader.read()

    async def rest_or_reset(self) -> bytes:
        """The same, a cut connection being an end like another."""
        try:
            return await self.rest()
        except (ConnectionError, ssl.SSLError):
            return b""

    def write(self, data: bytes) -> None:
        """Sends as fast as the server takes it, without waiting."""
        self._writer.write(data)

    def write_and_half_close(self, data: bytes) -> None:
        """Nothing lies between the last octet and the end of what is sent."""
        self._writer.write(data)
        self.half_close()

    def stop_reading(self) -> None:
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # a write transport by its annotation only

    @property
    def certificate_name(self) -> str:
        """The server's certificate: its subject, RFC 4514."""
        ssl_object: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        der = ssl_object.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).subject.rfc4514_string()

    def half_close(self) -> None:
        """The TCP connection's other half: nothing more is sent, answers may still come."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """A TCP reset, as a client that dies gives."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.transport.abort()
