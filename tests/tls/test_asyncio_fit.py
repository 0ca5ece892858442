"""What is changed of asyncio's TLS has its effect."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import os
import ssl
from typing import cast

import pytest

from tests.tls.conftest import NOW_US, OWN, Pki
from tls.asyncio_fit import SSL_BUFFER


async def test_all_connections_are_read_through_one_buffer(pki: Pki) -> None:
    """The attributes are asyncio's own affair; this is how we notice when a new Python renames them."""
    own, other = pki.side(pki.issue(OWN)), pki.side(pki.issue())
    received = bytearray()
    done = asyncio.Event()
    buffers: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = writer.transport._ssl_protocol  # type: ignore[attr-defined]
        buffers.append(protocol._ssl_buffer)
        while piece := await reader.read(1 << 20):
            received.extend(piece)
        buffers.extend((protocol._ssl_buffer, protocol._ssl_buffer_view.obj))
        writer.close()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=own.mx_server())
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=other.outbound(), server_hostname="localhost")
    buffers.append(writer.transport._ssl_protocol._ssl_buffer)  # type: ignore[attr-defined]
    body = os.urandom(1 << 20)
    writer.write(body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await done.wait()
    server.close()
    await server.wait_closed()
    assert len(buffers) == 4
    assert len({id(each) for each in buffers}) == 1
    assert len(cast(bytearray, buffers[0])) == SSL_BUFFER
    assert received == body


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", ["nothing", "revoked"])
async def test_a_refused_certificate_is_told_by_an_alert(pki: Pki, version: ssl.TLSVersion, shown: str) -> None:
    """RFC 8446 §6.2; the client's handshake of TLS 1.3 has ended well by then."""
    issued = pki.issue()
    pki.authority.revoke(issued.certificate, NOW_US)
    own = pki.side(pki.issue(OWN))
    client = pki.side(issued).outbound() if shown == "revoked" else ssl.create_default_context(cafile=pki.roots)
    client.check_hostname, client.maximum_version = False, version

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("a refused peer is served")

    server = await asyncio.start_server(never, "127.0.0.1", 0, ssl=own.mx_server())
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # told the peer, not us

    async def call() -> None:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=client)
        try:
            await reader.read()
        finally:
            writer.close()

    with pytest.raises(ssl.SSLError) as told:
        await call()
    server.close()
    await server.wait_closed()
    words = {"nothing": ("HANDSHAKE_FAILURE", "CERTIFICATE_REQUIRED"), "revoked": ("CERTIFICATE_REVOKED",)}
    assert any(word in str(told.value.reason) for word in words[shown]), told.value.reason
