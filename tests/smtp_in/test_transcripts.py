"""Every dialogue of ``transcripts/``: octets sent whole, one by one, and cut at random have the same answers."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.smtp_in.conftest import Serve
from tests.smtp_in.reception import MemoryReception
from tests.smtp_in.transcript import Cut, play, read

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.smtp"))


def whole(data: bytes) -> Iterable[bytes]:
    return (data,)


def one_by_one(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def at_random(data: bytes) -> Iterable[bytes]:
    places = random.Random(len(data))
    cuts = sorted(places.randrange(len(data) + 1) for _ in range(8))
    return (data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end)


@pytest.mark.parametrize("cut", [whole, one_by_one, at_random])
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_transcript(path: Path, cut: Cut, serve: Serve, reception: MemoryReception) -> None:
    transcript = read(path)
    if transcript.whole and cut is not whole:
        cut = whole  # played again all the same: a second run costs nothing and finds races
    reception.refusals.update(transcript.refusals)
    doors = await serve(**transcript.settings)
    await play(transcript, doors, reception, cut)


TOKENS = [
    b"EHLO mx.clinique.mssante.test\r\n",
    b"MAIL FROM:<a@clinique.mssante.test>\r\n",
    b"MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n",
    b"RCPT TO:<a@cabinet.mssante.test>\r\n",
    b"RCPT TO:<a@cabinet.mssante.test> NOTIFY=NEVER\r\n",
    b"DATA\r\n",
    b"Subject: essai\r\n\r\n",
    b"..deux points\r\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"x" * 600,
    b"x" * 999,
    b"\r",
    b"\0",
    b"NOOP\r\n",
    b"RSET\r\n",
    b"BDAT 3\r\nabc",
    b"\xff\r\n",
    b"MAIL FROM:<a@clinique.mssante.test>\r\nRCPT TO:<a@cabinet.mssante.test>\r\nDATA\r\n",
]


@pytest.mark.parametrize("seed", range(12))
async def test_what_is_answered_does_not_depend_on_the_cuts(
    seed: int, serve: Serve, reception: MemoryReception
) -> None:
    """Commands, bodies and rubbish in any order: the same answers and the same messages, whole and cut."""
    dice = random.Random(seed)
    doors = await serve(max_errors=1000, max_size=3000)
    tokens = dice.choices(TOKENS, k=40)
    stream = b"".join(tokens) + b"\r\n.\r\n\r\n.\r\nQUIT\r\n"
    outcomes = []
    for cut in (whole, one_by_one, at_random):
        stored = len(reception.stored)
        client = await doors.mx()
        await client.send(cut(stream))
        said = [line.partition("accepte: ")[0] for line in (await client.rest()).decode("ascii").splitlines()]
        outcomes.append((said, [message.content for message in reception.stored[stored:]]))
    assert outcomes[0][0][-1].startswith("221")
    assert outcomes[1] == outcomes[0]
    assert outcomes[2] == outcomes[0]
