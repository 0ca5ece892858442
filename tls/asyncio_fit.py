"""What of asyncio's TLS is not as servers with many connections and strict peers need it.

Invariants
- Changes of the class `asyncio.sslproto.SSLProtocol`, made by `fit_asyncio` and nowhere else; tests notice when a new
  Python renames what they lean on.
- All TLS connections of a thread are read through one buffer, and what comes during a handshake in small pieces: each
  connection keeps as much memory as it was ever given at once (OpenSSL's memory BIO).
- The peer's certificate is not kept a second time as Python's dictionary.
- A peer whose certificate is refused is told so by TLS's alert (RFC 8446 §6.2), not by a bare close: in TLS 1.3 it
  believes by then that the handshake has ended well.
"""

from __future__ import annotations

import asyncio.sslproto
import ssl
import threading
from asyncio.sslproto import SSLProtocolState
from typing import Any

SSL_BUFFER = 16 * 1024 + 512
"""Octets read from a socket at once: one whole TLS record (16,384 octets and its envelope). Exactly 16 KB cut every
full record in two."""
HANDSHAKE_PIECE = 1024


class _OneBuffer(threading.local):
    """What a thread's loop reads from its sockets into."""

    def __init__(self) -> None:
        self.octets = bytearray(SSL_BUFFER)
        self.view = memoryview(self.octets)


_ONE = _OneBuffer()
_Protocol: Any = asyncio.sslproto.SSLProtocol
_handshake_over = _Protocol._on_handshake_complete


def fit_asyncio() -> None:
    """Before the first connection; doing it again changes nothing.

    asyncio gives each connection a buffer of 256 KB. What was read is passed on before the loop turns to another
    socket, so that one is enough; what the constructor makes is let go at once. Measured on 3.11 with 1,000 idle
    connections of other operators (bench/delivery.py held): 38 KB each, and 50 with a buffer of one record each.
    """
    _Protocol.max_size = SSL_BUFFER
    _Protocol._ssl_buffer, _Protocol._ssl_buffer_view = _shared("octets"), _shared("view")
    _Protocol.get_buffer = _small_while_shaking_hands
    _Protocol._on_handshake_complete = _tell_then_end


def _shared(name: str) -> property:
    return property(lambda _: getattr(_ONE, name), lambda _, own: None)


def _small_while_shaking_hands(protocol: Any, wanted: int) -> memoryview:
    return _ONE.view[:HANDSHAKE_PIECE] if protocol._state is SSLProtocolState.DO_HANDSHAKE else _ONE.view


def _tell_then_end(protocol: Any, fault: Exception | None) -> None:
    if isinstance(fault, ssl.SSLError):
        protocol._process_outgoing()  # OpenSSL has written the alert; asyncio would drop it
    _handshake_over(protocol, fault)
    protocol._extra.pop("peercert", None)
