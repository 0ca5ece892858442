"""The annuaire while serving: read, fed and published by itself; each failure on its own."""

import asyncio
from pathlib import Path

from annuaire.ldap3_client import connected
from annuaire.source import Extraction, Ldap, SourceError
from mssante.domain.address import parse_address
from mssante.services import bals
from mssante.services.annuaire import Guard
from mssante.services.annuaire_upkeep import AnnuaireUpkeep
from mssante.services.publication import Policy
from mssante.store import annuaire as copies
from tests.annuaire.fictive import LINES
from tests.annuaire.test_carnet import BASE, configured, target
from tests.mssante.services.conftest import DOCTOR, PASSWORD, Cabinet
from tests.support import slapd
from tests.support.debian import require


def upkeep(cabinet: Cabinet, path: Path | None, carnet: Ldap | None = None) -> AnnuaireUpkeep:
    return AnnuaireUpkeep(
        cabinet.store,
        cabinet.clock,
        spec=Extraction(path=str(path)) if path is not None else None,
        guard=Guard(),
        refresh_s=3600,
        carnet=carnet,
        holders=carnet is not None,
        way=None,
        policy=Policy(),
        interval_s=60,
        first_s=0,
        rest_s=0,
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


async def test_who_may_sign_in_no_longer_is_told_to_the_address_books_at_once(cabinet: Cabinet, tmp_path: Path) -> None:
    """The next feeding by the clock is an hour away."""
    require("slapd", "slapd")
    doctor = parse_address(DOCTOR)
    folder = tmp_path / "carnet"
    folder.mkdir()
    with slapd.running(configured(folder, "users"), folder) as running:
        secret = tmp_path / "holder"
        secret.write_text(PASSWORD)
        holder = target(running, bind_dn=f"uid={DOCTOR},ou=comptes,{BASE}", password_file=str(secret))

        async def until_signs_in(wanted: bool) -> None:
            signs_in = not wanted
            while signs_in is not wanted:
                try:
                    (await asyncio.to_thread(connected, holder)).unbind()
                    signs_in = True
                except SourceError:
                    signs_in = False

        kept = upkeep(cabinet, None, target(running))
        upkept = asyncio.create_task(kept.run())
        await until_signs_in(True)
        await cabinet.store.write(bals.suspend, doctor, "enquete", "operateur")
        await until_signs_in(False)
        await cabinet.store.write(bals.reopen, doctor, "", "operateur")
        await until_signs_in(True)
        await kept.stop()
        assert upkept.cancelled()
