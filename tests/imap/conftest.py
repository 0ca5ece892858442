"""A running operator with two mailboxes, for every test of this folder that asks for one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from imap.settings import ImapSettings
from tests.imap.made import ALICE, BOB, Line, Operator, Pki, make_pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def imap_settings() -> ImapSettings:
    """Overridden by tests of limits."""
    return ImapSettings()


@pytest.fixture
async def operator(tmp_path: Path, pki: Pki, imap_settings: ImapSettings) -> AsyncIterator[Operator]:
    operator = Operator(tmp_path, pki, imap_settings)
    await operator.start()
    await operator.open_bal(ALICE)
    await operator.open_bal(BOB)
    yield operator
    await operator.stop()


@pytest.fixture
async def connect(operator: Operator) -> AsyncIterator[Callable[[], Awaitable[Line]]]:
    """Opens raw connections over TLS, past the greeting."""
    lines: list[Line] = []

    async def open_one() -> Line:
        line = await Line.connect(operator.tls, operator.pki.client())
        lines.append(line)
        assert (await line.line()).startswith(b"* OK ")
        return line

    yield open_one
    for line in lines:
        await line.close()


@pytest.fixture
async def alice(connect: Callable[[], Awaitable[Line]]) -> Line:
    """Signed in as Alice."""
    line = await connect()
    await line.sign_in()
    return line
