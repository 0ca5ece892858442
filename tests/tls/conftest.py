"""A test authority, its operators, and everything that may come knocking with a wrong certificate."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tls.authority import Authority, Issued, Kind, Subject
from tls.contexts import Contexts
from tls.files import replace_file, write_private

# OpenSSL compares certificates with the machine's clock, so the authority is made "now".
NOW_US = time.time_ns() // 1000
YEAR_US = 365 * 86_400_000_000

OWN = Subject(cn="mx.cabinet.mssante.example", ou="300012345600012", o="CABINET DES LILAS")
OTHER = Subject(cn="mx.clinique.mssante.example", ou="300065432100018", o="CLINIQUE DU PARC")


@dataclass(frozen=True)
class Pki:
    """An authority and a place for certificates: `side(issued)` gives the contexts of who holds that certificate."""

    authority: Authority
    directory: Path

    @property
    def roots(self) -> Path:
        path = self.directory / "ca.pem"
        if not path.exists():
            replace_file(path, self.authority.roots)
        return path

    def issue(self, subject: Subject = OTHER, kind: Kind = Kind.SERV, *, expired: bool = False) -> Issued:
        return self.authority.issue(subject, kind, NOW_US, expired=expired)

    def side(self, issued: Issued, *, crl: Path | str | None = "own") -> Contexts:
        place = self.directory / f"{issued.certificate.serial_number:x}"
        place.mkdir(exist_ok=True)
        write_private(place / "key.pem", issued.key)
        replace_file(place / "cert.pem", issued.chain)
        revocations = self.authority.crl_path if crl == "own" else crl
        assert not isinstance(revocations, str)
        return Contexts(place / "cert.pem", place / "key.pem", self.roots, revocations)


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities of the same name, made once: keys are slow."""
    place = tmp_path_factory.mktemp("authorities")
    for name in ("pki", "other"):
        Authority.create(place / name / "authority", NOW_US)
    return place


@pytest.fixture
def pki(authorities: Path, tmp_path: Path) -> Pki:
    """The authority of the trust space, this test's own copy."""
    return _copy(authorities / "pki", tmp_path / "pki")


@pytest.fixture
def namesake(authorities: Path, tmp_path: Path) -> Pki:
    """Another authority with the same names."""
    return _copy(authorities / "other", tmp_path / "other")


def _copy(source: Path, place: Path) -> Pki:
    shutil.copytree(source, place)
    return Pki(Authority(place / "authority"), place)
