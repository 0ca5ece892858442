"""How pages are served: Starlette applications over uvicorn's HTTP, in the loop of the other services.

Always true here:
- a request is bounded: its head in octets, head and answer in time, connections in number;
- TLS is asked for at each connection, so that a new certificate serves from the next one on;
- nothing of a request is logged, a fault of ours is logged with its trace and told as 500 without.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEAD_LIMIT: Final = 8192
"""Octets of a request's line and header fields."""
REQUEST_SECONDS: Final = 10.0
"""For the head of a request to come, from the first octet of a connection or of the request."""
CONNECTIONS: Final = 500

Tls = Callable[[], ssl.SSLContext]


class _Peer(H11Protocol):
    """uvicorn's connection, which waits for a head no longer than `REQUEST_SECONDS`."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif not answering and self._timer is None:
            self._timer = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)


class _Secured(asyncio.Protocol):
    """A connection on which TLS begins before anything else; then `peer` has it."""

    def __init__(self, peer: _Peer, tls: Tls) -> None:
        self._peer, self._tls = peer, tls
        self._early = b""  # octets that came with the end of the handshake

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raw = cast(asyncio.Transport, transport)
        raw.pause_reading()
        self._task = asyncio.ensure_future(self._begin(raw))

    async def _begin(self, raw: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                raw, self, self._tls(), server_side=True, ssl_handshake_timeout=REQUEST_SECONDS
            )
        except (OSError, ssl.SSLError):
            raw.abort()  # whoever speaks no TLS with us is owed nothing but the end
            return
        if secured is None or secured.is_closing():
            return
        secured.set_protocol(self._peer)
        self._peer.connection_made(secured)
        if self._early:
            self._peer.data_received(self._early)

    def data_received(self, data: bytes) -> None:
        self._early += data


class Pages:
    """One listener with the pages of `app`, over TLS where `tls` is given."""

    def __init__(self, app: ASGIApp, tls: Tls | None = None) -> None:
        self._config = Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=HEAD_LIMIT,
            limit_concurrency=CONNECTIONS,
        )
        self._config.load()
        self._state = ServerState()
        self._tls = tls

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """OSError when the port cannot be had."""
        return await asyncio.get_running_loop().create_server(self._connection, host, port)

    def _connection(self) -> asyncio.Protocol:
        peer = _Peer(config=self._config, server_state=self._state, app_state={})
        return peer if self._tls is None else _Secured(peer, self._tls)
