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
