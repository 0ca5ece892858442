"""Senders who take their time, and messages that come by chunks over a connection that breaks."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.domain.verdict import Defer, Rule
from smtp_in.pace import Pace
from smtp_in.settings import SmtpInSettings
from tests.smtp_in.conftest import Serve
from tests.smtp_in.doors import SENDER
from tests.smtp_in.reception import MemoryReception
from tests.smtp_in.test_connection import begin, ended, only

CHUNKED = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<a@cabinet.mssante.test>\r\n".encode()


@given(st.integers(0, 1 << 36), st.integers(0, 1 << 36))
def test_more_octets_give_more_time_up_to_the_whole(octets: int, more: int) -> None:
    settings = SmtpInSettings("mx.test", data_total_s=3600, data_grace_s=60, min_rate=512)
    pace = Pace(settings, now=1000.0)
    assert 1060 <= pace.deadline(octets) <= pace.deadline(octets + more) <= 4600


def test_the_rate_is_that_of_the_whole_message() -> None:
    pace = Pace(SmtpInSettings("mx.test", data_total_s=3600, data_grace_s=60, min_rate=512), now=0.0)
    assert pace.deadline(5120) == 70
    assert pace.deadline(1 << 30) == 3600


@pytest.mark.parametrize(
    "limits",
    [
        {"data_grace_s": 0.05, "min_rate": 1_000_000},
        {"data_total_s": 0.05},
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_sender_too_slow_is_told_so(
    limits: dict[str, float], chunked: bool, serve: Serve, reception: MemoryReception
) -> None:
    """Octet by octet it is never silent for as long as `data_timeout_s`, and is ended all the same."""
    client = await (await serve(**limits)).mx()
    if chunked:
        await client.send(CHUNKED + b"BDAT 100000\r\n")
        assert [(await client.line())[:3] for _ in range(2)] == ["250", "250"]
    else:
        await begin(client)
    answer = asyncio.create_task(client.line())
    while not answer.done():
        await client.send(b"x")
        await asyncio.wait([answer], timeout=0.001)
    assert answer.result().startswith("421 4.4.2")
    assert (reception.stored, reception.aborted) == ([], 1)


async def test_chunks_of_one_message_share_its_time(serve: Serve) -> None:
    doors = await serve()
    client = await doors.mx()
    await client.send(CHUNKED)
    assert [(await client.line())[:3] for _ in range(2)] == ["250", "250"]
    paces = []
    for _ in range(3):
        assert (await client.ask(b"BDAT 4\r\nun\r\n")).startswith("250")
        incoming = only(doors)._dialogue.incoming
        assert incoming is not None
        paces.append(incoming.pace)
    assert paces[0] is paces[1] is paces[2]


async def test_commands_do_not_prolong_a_session_of_nobody(serve: Serve) -> None:
    client = await (await serve(command_timeout_s=0.1, max_idle_commands=1 << 40)).connect("submissions")
    await client.reply()
    while (answer := await client.ask("NOOP")).startswith("250"):
        continue
    assert answer.startswith("421 4.4.2")


@pytest.mark.parametrize("said", [b"", b"BDAT 100\r\nun", b"BDAT 4\r\nun\r\nBDAT 4 LA"])
async def test_reset_before_the_last_chunk_stores_nothing(
    said: bytes, serve: Serve, reception: MemoryReception
) -> None:
    doors = await serve()
    client = await doors.mx()
    await client.send(CHUNKED + b"BDAT 4\r\nun\r\n")
    assert [(await client.line())[:3] for _ in range(3)] == ["250"] * 3
    await client.send(said)
    client.reset()
    await ended(doors)
    assert (reception.stored, reception.aborted) == ([], 1)


async def test_reset_behind_the_last_chunk_cancels_nothing(serve: Serve, reception: MemoryReception) -> None:
    doors = await serve()
    client = await doors.mx()
    reception.holding = asyncio.Event()
    await client.send(CHUNKED + b"BDAT 4 LAST\r\nun\r\n")
    await reception.finishing.wait()
    client.reset()
    reception.holding.set()
    await ended(doors)
    assert [said.content for said in reception.stored] == [b"un\r\n"]


async def test_a_chunk_refused_in_the_middle(serve: Serve, reception: MemoryReception) -> None:
    """The rest of it is passed by, and later chunks have the same answer, a temporary one too."""
    client = await (await serve()).mx()
    reception.refuse_content = (10, Defer(Rule.STORE_CONTENTS, "disk full"))
    await client.send(CHUNKED + b"BDAT 18\r\n0123456789\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
    answers = [(await client.line())[:9] for _ in range(5)]
    assert answers == ["250 2.1.0", "250 2.1.5", "452 4.3.1", "452 4.3.1", "250 2.0.0"]
    assert (reception.stored, reception.aborted) == ([], 1)


async def test_refused_chunks_without_end_are_a_flood(serve: Serve) -> None:
    """What is passed by costs, too: each counts like NOOP (two EHLO came before)."""
    client = await (await serve(max_idle_commands=20)).mx()
    await client.send(f"MAIL FROM:<{SENDER}>\r\n".encode() + b"BDAT 6\r\nQUIT\r\n" * 21)
    lines = (await client.rest()).decode("ascii").splitlines()
    assert [line[:9] for line in lines] == ["250 2.1.0", *["554 5.5.1"] * 18, "421 4.7.0"]


async def test_stopping_between_two_chunks(serve: Serve, reception: MemoryReception) -> None:
    doors = await serve()
    client = await doors.mx()
    await client.send(CHUNKED + b"BDAT 4\r\nun\r\n")
    assert [(await client.line())[:3] for _ in range(3)] == ["250"] * 3
    draining = asyncio.create_task(doors.listeners.drain(5))
    assert (await client.line()).startswith("421 4.3.2")
    assert await client.rest() == b""
    await draining
    assert (reception.stored, reception.aborted) == ([], 1)
