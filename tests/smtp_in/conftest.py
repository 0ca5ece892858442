"""A server on loopback with a Reception in memory, and the certificates of those who come to it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from mssante.services.reception import Reception
from smtp_in.listeners import Listeners, start
from smtp_in.settings import SmtpInSettings
from tests.smtp_in.doors import Doors, Pki
from tests.smtp_in.reception import MemoryReception
from tls.authority import Authority, Kind
from tls.contexts import Contexts

Serve = Callable[..., Awaitable[Doors]]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    directory = tmp_path_factory.mktemp("pki")
    now_us = time.time_ns() // 1000  # OpenSSL compares certificates with the machine's clock
    made = Pki(directory, Authority.create(directory / "authority", now_us), now_us)
    (directory / "ca.pem").write_bytes(made.authority.roots)
    made.issue("cabinet")
    made.issue("clinique")
    made.issue("expired", expired=True)
    made.issue("revoked", revoked=True)
    made.issue("signer", kind=Kind.SIGNER)
    return made


@pytest.fixture
def reception() -> MemoryReception:
    return MemoryReception()


@pytest.fixture
async def serve(reception: MemoryReception, pki: Pki) -> AsyncIterator[Serve]:
    """``await serve(command_timeout_s=1, ...)`` opens the three doors with these settings."""
    opened: list[Listeners] = []

    async def open_doors(contexts: Contexts | None = None, **settings: Any) -> Doors:
        wanted = SmtpInSettings("mx.cabinet.mssante.test", mx=0, submission=0, submissions=0, **settings)
        opened.append(await start(cast(Reception, reception), wanted, contexts or pki.server()))
        return Doors(opened[-1], pki)

    yield open_doors
    for listeners in opened:
        await listeners.drain(0)
