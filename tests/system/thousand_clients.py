"""Many IMAP clients in one process, so that what they take is not the operator's: run by `test_imap_many`.

`thousand_clients.py PORT CA`; reads `[address, password, count]` (JSON) and says `N idle`; `N heard` once each was told
of a new message; reads a line, signs out and says `N left`.
"""

import asyncio
import json
import resource
import ssl
import sys

HANDSHAKES = 32
"""At once."""


async def one(
    port: int, trust: ssl.SSLContext, gate: asyncio.Semaphore, address: str, password: str
) -> asyncio.Task[None]:
    """A client that idles; the task that ends when it is told of a message."""
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
        assert (await reader.readline()).startswith(b"* OK ")
        writer.write(f'a1 LOGIN {address} "{password}"\r\na2 SELECT INBOX\r\na3 IDLE\r\n'.encode())
        await until(reader, b"+ idling")
    return asyncio.create_task(hear(reader, writer))


async def until(reader: asyncio.StreamReader, words: bytes) -> None:
    while words not in (line := await reader.readline()):
        assert line, "the server has gone"
        assert b" NO " not in line, line


async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await until(reader, b" EXISTS")
    finally:
        streams.append((reader, writer))


async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"DONE\r\na4 LOGOUT\r\n")
    await until(reader, b"a4 OK")
    writer.close()


streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []


async def main(port: int, ca: str) -> None:
    address, password, count = json.loads(await asyncio.to_thread(sys.stdin.readline))
    trust, gate = ssl.create_default_context(cafile=ca), asyncio.Semaphore(HANDSHAKES)
    trust.check_hostname = False
    hearing = await asyncio.gather(*(one(port, trust, gate, address, password) for _ in range(count)))
    print(len(hearing), "idle", flush=True)
    await asyncio.gather(*hearing)
    print(len(streams), "heard", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.gather(*(leave(*stream) for stream in streams))
    print(len(streams), "left", flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
