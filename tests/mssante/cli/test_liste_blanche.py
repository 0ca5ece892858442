"""`mssante liste-blanche`: what is in force, and what is refused."""

import asyncio
from pathlib import Path

import pytest

from mssante.domain.clock import SystemClock
from tests.mssante.cli.conftest import Operator, Run
from tests.support.web import serving
from tls.contexts import Contexts


def test_status_and_show(operator: Operator) -> None:
    status = operator("liste-blanche", "status", "--json").json
    assert (status["in_force"], status["entries"], status["domains"]) == (True, 2, 2)
    assert status["generated"].endswith("Z")
    (entry,) = operator("liste-blanche", "show", "Cabinet.test", "--json").json
    assert entry["domain"] == "cabinet.test"
    assert entry["dn"].startswith("CN=mx.cabinet.test,OU=3")
    assert "cabinet.test" in operator("liste-blanche", "show", "cabinet.test").out
    unknown = operator("liste-blanche", "show", "elsewhere.test")
    assert (unknown.code, len(unknown.lines)) == (1, 1)
    assert operator("liste-blanche", "refresh").code == 0


@pytest.fixture
def other(run: Run, tmp_path: Path) -> Path:
    """Another trust space, with its own signer; older than the operator's."""
    directory = tmp_path / "other"
    assert run("init", str(directory), "--operator", "Autre", "--domain", "autre.test").code == 0
    return directory / "espace"


def test_a_list_of_another_signer(operator: Operator, other: Path) -> None:
    before = operator("liste-blanche", "status", "--json").json
    refused = operator("liste-blanche", "import", str(other / "listeblanche.xml"))
    assert (refused.code, len(refused.lines)) == (1, 1)
    assert "the list in force stays" in refused.err
    after = operator("liste-blanche", "status", "--json").json
    assert (after["signer"], after["generated"], after["refused"]) == (before["signer"], before["generated"], "")
    signer = ("--signer", str(other / "signer.pem"))
    taken = operator("liste-blanche", "import", str(other / "listeblanche.xml"), *signer, "--json")
    assert (taken.code, taken.json["entries"]) == (0, 1)
    assert operator("liste-blanche", "show", "autre.test").code == 0
    assert operator("liste-blanche", "show", "cabinet.test").code == 1
    assert operator("liste-blanche", "import", str(other / "listeblanche.xml")).code == 0


def test_a_wrong_signer_changes_nothing(operator: Operator, other: Path) -> None:
    pinned = operator.settings.espace_confiance.signer.read_bytes()
    own = str(operator.settings.espace_confiance.liste)
    ended = operator("liste-blanche", "import", own, "--signer", str(other / "signer.pem"))
    assert ended.code == 1
    assert operator.settings.espace_confiance.signer.read_bytes() == pinned
    assert operator("liste-blanche", "status").code == 0


def test_the_list_never_goes_back(operator: Operator, run: Run, tmp_path: Path) -> None:
    liste = operator.settings.espace_confiance.liste
    older = tmp_path / "older.xml"
    older.write_bytes(liste.read_bytes())
    joined = tmp_path / "joined"
    joining = ("--operator", "B", "--domain", "b.test", "--join", str(operator.directory), "--port-base", "2600")
    assert run("init", str(joined), *joining).code == 0
    ended = operator("liste-blanche", "import", str(older))
    assert (ended.code, len(ended.lines)) == (1, 1)
    assert "older" in ended.err
    assert operator("liste-blanche", "show", "b.test").code == 0


def test_a_file_that_was_changed(operator: Operator, tmp_path: Path) -> None:
    liste = operator.settings.espace_confiance.liste
    changed = tmp_path / "changed.xml"
    changed.write_bytes(liste.read_bytes().replace(b"cabinet.test", b"cabinez.test"))
    assert operator("liste-blanche", "import", str(changed)).code == 1
    liste.write_bytes(changed.read_bytes())
    status = operator("liste-blanche", "status", "--json")
    assert (status.code, status.json["in_force"]) == (1, False)
    assert status.json["refused"]
    assert operator("liste-blanche", "refresh").code == 1
    assert operator("liste-blanche", "show", "cabinet.test").code == 1


def test_no_such_file(operator: Operator) -> None:
    assert operator("liste-blanche", "import", "none.xml").code == 2
    liste = str(operator.settings.espace_confiance.liste)
    assert operator("liste-blanche", "import", liste, "--signer", "none.pem").code == 2


def test_dates_are_told_in_utc(operator: Operator) -> None:
    generated = operator("liste-blanche", "status", "--json").json["generated"]
    assert SystemClock().now_us() > 0
    assert len(generated) == len("2026-01-01T00:00:00Z")


async def test_refresh_fetches_from_the_url(operator: Operator) -> None:
    where, tls = operator.settings.espace_confiance, operator.settings.tls
    published = where.liste.read_bytes()
    async with serving(Contexts(tls.certificate, tls.key, tls.roots, None).client_server()) as web:
        file = operator.directory / "mssante.toml"
        file.write_text(file.read_text().replace('\nurl = ""', f'\nurl = "{web.url()}"'))
        gone = await asyncio.to_thread(operator, "liste-blanche", "refresh")
        assert (gone.code, len(gone.lines)) == (3, 1)
        assert "answers 404" in gone.err
        web.publish("/liste.xml", published, etag='"1"')
        taken = (await asyncio.to_thread(operator, "liste-blanche", "refresh", "--json")).json
        assert (taken["in_force"], taken["last_fault"], taken["url"]) == (True, "", web.url())
        assert taken["last_check"] == taken["confirmed"] < taken["next_refresh"]
        web.publish("/liste.xml", published.replace(b"cabinet.test", b"cabinez.test"))
        refused = await asyncio.to_thread(operator, "liste-blanche", "refresh")
        assert (refused.code, len(refused.lines)) == (1, 1)
    status = operator("liste-blanche", "status", "--json").json
    assert (status["in_force"], "signature does not hold" in status["last_fault"]) == (True, True)
