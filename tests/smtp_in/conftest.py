"""A server on loopback with a Reception in memory, and the certificates of those who come to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from mssante.services.reception import Reception
from smtp_in.listeners import start
from smtp_in.settings import SmtpInSettings
from tests.smtp_in.doors import Doors, Pki
from tests.smtp_in.reception import MemoryReception
from tls.authority import Kind
from tls.contexts import Contexts

Serve = Callable[..., Awaitable[Doors]]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = Pki.create(tmp_path_factory.mktemp("pki"))
    made.issue("cabinet")
    made.issue("clinique")
    made.issue("expired", expired=True)
    made.issue("revoked", revoked=True)
    made.issue("signer", kind=Kind.SIGNER)
    return made


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Another authority, with the same names."""
    made = Pki.create(tmp_path_factory.mktemp("strangers"))
    made.issue("clinique")
    return made


@pytest.fixture
def reception() -> MemoryReception:
    return MemoryReception()


@pytest.fixture
async def serve(reception: MemoryReception, pki: Pki) -> AsyncIterator[Serve]:
    """``await serve(command_timeout_s=1, ...)`` opens the three doors with these settings."""
    opened: list[Doors] = []

    async def open_doors(contexts: Contexts | None = None, **settings: Any) -> Doors:
        wanted = SmtpInSettings("mx.cabinet.mssante.test", mx=0, submission=0, submissions=0, **settings)
        opened.append(Doors(await start(cast(Reception, reception), wanted, contexts or pki.server()), pki))
        return opened[-1]

    yield open_doors
    for doors in opened:
        for client in doors.clients:
            client.close()
        await doors.listeners.drain(1)
        assert doors.listeners.connections == 0
