"""The annuaire while serving: read, fed and published by itself; each failure on its own."""

import asyncio
from pathlib import Path

from annuaire.source import Extraction
from mssante.services.annuaire import Guard
from mssante.services.annuaire_upkeep import AnnuaireUpkeep
from mssante.services.publication import Policy
from mssante.store import annuaire as copies
from tests.annuaire.fictive import LINES
from tests.mssante.services.conftest import Cabinet


def upkeep(cabinet: Cabinet, path: Path) -> AnnuaireUpkeep:
    return AnnuaireUpkeep(
        cabinet.store,
        cabinet.clock,
        spec=Extraction(path=str(path)),
        guard=Guard(),
        refresh_s=3600,
        carnet=None,
        holders=False,
        way=None,
        policy=Policy(),
        interval_s=60,
        first_s=0,
    )


async def test_the_source_is_read_and_the_lease_given_back(cabinet: Cabinet, tmp_path: Path) -> None:
    path = tmp_path / "extraction.txt"
    path.write_text("\n".join(LINES))
    seen = asyncio.Event()
    cabinet.store.hints.subscribe("annuaire", None, seen.set)
    kept = upkeep(cabinet, path)
    running = asyncio.create_task(kept.run())
    await seen.wait()
    await kept.stop()
    assert running.cancelled()
    copy = await cabinet.store.read(copies.copy)
    assert (copy.fiches, copy.owner) == (3, "")


async def test_a_source_that_is_away_is_counted_and_the_copy_serves_on(cabinet: Cabinet, tmp_path: Path) -> None:
    kept = upkeep(cabinet, tmp_path / "absent.txt")
    running = asyncio.create_task(kept.run())
    while not kept.failures:  # noqa: ASYNC110 - a counter has no event
        await asyncio.sleep(0)
    await kept.stop()
    assert running.cancelled()
    copy = await cabinet.store.read(copies.copy)
    assert "absent.txt" in copy.problem
    assert copy.owner == ""
