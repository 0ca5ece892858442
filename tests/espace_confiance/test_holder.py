from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from espace_confiance.holder import EspaceConfiance
from espace_confiance.liste_blanche import ListeRefusee
from tests.espace_confiance.conftest import CABINET, CLINIQUE, ENTRIES, NOW_US, SECOND_US, Signer
from tls.files import replace_file
from tls.names import parse_dn


@pytest.fixture
def path(tmp_path: Path, signer: Signer) -> Path:
    """A list in place."""
    path = tmp_path / "espace" / "listeblanche.xml"
    path.parent.mkdir()
    replace_file(path, signer.sign())
    return path


@pytest.fixture
def espace(path: Path, signer: Signer) -> EspaceConfiance:
    return EspaceConfiance(path, signer.path)


def later(signer: Signer, seconds: int) -> bytes:
    """A list with the first entry only, generated later (or earlier)."""
    return signer.sign(ENTRIES[0], generated_us=NOW_US + seconds * SECOND_US)


def test_the_list_on_disk_is_in_force_from_the_start(espace: EspaceConfiance) -> None:
    assert espace.lists("clinique.mssante.example")
    assert espace.accepts("clinique.mssante.example", parse_dn(CLINIQUE))
    assert not espace.accepts("cabinet.mssante.example", parse_dn(CLINIQUE))
    assert espace.knows(parse_dn(CABINET))
    assert not espace.reload_if_changed()
    status = espace.status()
    assert (status["in_force"], status["refused"], status["entries"], status["domains"]) == (True, "", 3, 2)


def test_without_a_usable_list_nobody_is_trusted(tmp_path: Path, signer: Signer) -> None:
    espace = EspaceConfiance(tmp_path / "none.xml", signer.path)
    assert espace.liste is None
    assert not espace.lists("cabinet.mssante.example")
    assert not espace.accepts("cabinet.mssante.example", parse_dn(CABINET))
    assert not espace.knows(parse_dn(CABINET))
    assert espace.status() == {
        "path": str(tmp_path / "none.xml"),
        "in_force": False,
        "stopped": False,
        "url": "",
        "refused": f"{tmp_path / 'none.xml'}: No such file or directory",
    }
    replace_file(tmp_path / "none.xml", signer.sign())
    assert espace.reload_if_changed()
    assert espace.lists("cabinet.mssante.example")


def test_an_unreadable_signer_trusts_nobody_and_says_so(path: Path, tmp_path: Path) -> None:
    (tmp_path / "signer.pem").write_bytes(b"hello")
    espace = EspaceConfiance(path, tmp_path / "signer.pem")
    assert espace.liste is None
    assert "signer certificate" in espace.status()["refused"]


def test_a_newer_list_is_taken_when_the_file_changes(espace: EspaceConfiance, path: Path, signer: Signer) -> None:
    replace_file(path, later(signer, 60))
    assert espace.lists("clinique.mssante.example")
    assert espace.reload_if_changed()
    assert not espace.lists("clinique.mssante.example")
    assert not espace.reload_if_changed()


@pytest.mark.parametrize("fault", ["older", "damaged", "other signer", "gone"])
def test_a_faulty_file_leaves_the_old_list_in_force(
    espace: EspaceConfiance, path: Path, signer: Signer, impostor: Signer, fault: str
) -> None:
    before = espace.liste
    match fault:
        case "older":
            replace_file(path, later(signer, -60))
        case "damaged":
            replace_file(path, signer.sign()[:-30])
        case "other signer":
            replace_file(path, later(impostor, 60))
        case _:
            path.unlink()
    assert not espace.reload_if_changed()
    assert espace.liste is before
    assert espace.status()["refused"] != ""
    assert espace.status()["in_force"] is True
    replace_file(path, later(signer, 60))
    assert espace.reload_if_changed()
    assert espace.status()["refused"] == ""


def test_import_replaces_the_file_and_the_list(
    espace: EspaceConfiance, path: Path, signer: Signer, tmp_path: Path
) -> None:
    data = later(signer, 60)
    (tmp_path / "new.xml").write_bytes(data)
    espace.import_file(tmp_path / "new.xml")
    assert path.read_bytes() == data
    assert not espace.lists("clinique.mssante.example")
    assert not espace.reload_if_changed()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "fault", ["older", "damaged", "other signer", "gone", "damaged gzip", "too large", "gzip bomb"]
)
def test_a_refused_import_changes_nothing(
    path: Path, signer: Signer, impostor: Signer, tmp_path: Path, fault: str
) -> None:
    espace = EspaceConfiance(path, signer.path, max_bytes=50_000)
    before, held = path.read_bytes(), espace.liste
    source = tmp_path / "new.xml"
    match fault:
        case "older":
            source.write_bytes(later(signer, -60))
        case "damaged":
            source.write_bytes(later(signer, 60)[:-30])
        case "other signer":
            source.write_bytes(later(impostor, 60))
        case "damaged gzip":
            source.write_bytes(b"\x1f\x8b" + later(signer, 60))
        case "too large":
            source.write_bytes(later(signer, 60).ljust(50_001))
        case "gzip bomb":
            source.write_bytes(gzip.compress(later(signer, 60).ljust(20_000_000)))
        case _:
            pass
    with pytest.raises(ListeRefusee):
        espace.import_file(source)
    assert path.read_bytes() == before
    assert espace.liste is held
    assert espace.status()["refused"] == ""


def test_the_same_list_again_is_no_fault(espace: EspaceConfiance, path: Path) -> None:
    espace.import_file(path)
    assert espace.lists("clinique.mssante.example")


def test_another_signer_is_a_change_of_trust_space(
    espace: EspaceConfiance, path: Path, signer: Signer, impostor: Signer, tmp_path: Path
) -> None:
    """It may be older than the list in force, it is pinned from then on, and the former signer no longer counts."""
    (tmp_path / "new.xml").write_bytes(later(impostor, -60))
    pinned = tmp_path / "pinned.pem"
    pinned.write_bytes(signer.path.read_bytes())
    serving = EspaceConfiance(path, pinned)
    EspaceConfiance(path, pinned).import_file(tmp_path / "new.xml", impostor.path)
    assert serving.reload_if_changed()
    assert serving.liste is not None and serving.liste.signer == impostor.issued.certificate
    assert EspaceConfiance(path, pinned).status()["refused"] == ""
    (tmp_path / "old.xml").write_bytes(later(signer, 60))
    with pytest.raises(ListeRefusee, match="not the expected one"):
        serving.import_file(tmp_path / "old.xml")


def test_a_shared_file_behind_a_link_stays_shared(path: Path, signer: Signer, tmp_path: Path) -> None:
    link = tmp_path / "link.xml"
    link.symlink_to(os.path.relpath(path, tmp_path))
    here, there = EspaceConfiance(link, signer.path), EspaceConfiance(path, signer.path)
    (tmp_path / "new.xml").write_bytes(later(signer, 60))
    here.import_file(tmp_path / "new.xml")
    assert link.is_symlink()
    assert there.reload_if_changed()
    assert not there.lists("clinique.mssante.example")
