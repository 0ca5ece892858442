"""A web server for tests: answers each request with what it is told, over https under a test authority or in clear."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import h11


@dataclass
class Web:
    """`answers`: by path, what is sent (raw octets), or a coroutine that talks itself; a path not there gets 404."""

    answers: dict[str, bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """(path, headers) of each request."""
    port: int = 0
    secure: bool = True
    host: str = "localhost"

    def url(self, path: str = "/liste.xml") -> str:
        """Where a path is."""
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}{path}"

    def publish(self, path: str, body: bytes, *, etag: str = "") -> None:
        """200 with this body."""
        self.answers[path] = answer(200, body, etag)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one connection."""
        with contextlib.suppress(ConnectionError):
            exchange = h11.Connection(h11.SERVER)
            while (event := exchange.next_event()) is h11.NEED_DATA:
                exchange.receive_data(await reader.read(65536))
            if isinstance(event, h11.Request):
                headers = {bytes(name).decode().lower(): bytes(value).decode() for name, value in event.headers}
                path = event.target.decode()
                self.requests.append((path, headers))
                await self._answer(path, headers, writer)
        writer.transport.abort() if writer.is_closing() else writer.close()

    async def _answer(self, path: str, headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        told = self.answers.get(path, answer(404))
        if not isinstance(told, bytes):
            await told(writer)
            return
        etag = headers.get("if-none-match")
        unchanged = etag is not None and f"ETag: {etag}\r\n".encode() in told
        writer.write(answer(304) if unchanged else told)
        await writer.drain()


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext | None, host: str = "localhost") -> AsyncIterator[Web]:
    """A server on loopback; context None: plain http."""
    web = Web(secure=context is not None, host=host)
    server = await asyncio.start_server(web.serve, host, 0, ssl=context)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()
        await server.wait_closed()


def answer(status: int, body: bytes = b"", etag: str = "", **headers: str) -> bytes:
    """A whole HTTP answer; headers of the caller replace ours (`content_length="7"`)."""
    said = {"Content-Length": str(len(body)), "Connection": "close"}
    if etag:
        said["ETag"] = etag
    said |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body
