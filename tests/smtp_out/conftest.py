"""One trust space for the whole folder: `cabinet` sends, `clinique` receives, and certificates of every bad kind."""

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from espace_confiance.development import (
    Operator,
    TrustSpace,
    create_trust_space,
    issue_certificate,
    join_trust_space,
)
from espace_confiance.holder import EspaceConfiance
from mssante.domain.bal import BalType
from mssante.store import Store
from mssante.store.accounts import NewBal, create_bal
from tests.smtp_out.office import CABINET, CLINIQUE, EHPAD, PATIENTS, SENDER, SILENT, Office
from tests.support.clock import FakeClock
from tls.contexts import Contexts

# OpenSSL compares certificates with the machine's clock, so they are made "now".
NOW_US = time.time_ns() // 1000


@dataclass(frozen=True)
class World:
    """The files of both operators, and a folder for further certificates."""

    directory: Path
    cabinet: TrustSpace
    clinique: TrustSpace

    def outbound(self) -> ssl.SSLContext:
        """What cabinet presents and verifies when it sends."""
        own = self.cabinet
        return Contexts(own.certificate, own.key, own.roots, own.crl).outbound()

    def espace(self) -> EspaceConfiance:
        return EspaceConfiance(self.cabinet.liste_blanche, self.cabinet.signer)

    def server(self, name: str = "clinique") -> ssl.SSLContext:
        """The TLS context of a peer that shows this certificate and wants one of ours."""
        roots, crl = self.cabinet.roots, self.cabinet.crl
        if name == "clinique":
            return Contexts(self.clinique.certificate, self.clinique.key, roots, crl).mx_server()
        place = self.directory / name
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place / "cert.pem", place / "cert.key")
        return context


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    place = tmp_path_factory.mktemp("espace")
    cabinet = create_trust_space(
        place / "cabinet", Operator("CABINET DES LILAS", "mx.cabinet.mssante.fr", (CABINET,)), now_us=NOW_US
    )
    clinique = join_trust_space(
        place / "clinique",
        place / "cabinet",
        Operator("CLINIQUE DU PARC", "mx.clinique.mssante.fr", (CLINIQUE, EHPAD, PATIENTS, *SILENT), port=2600),
        now_us=NOW_US,
    )
    for name, cn, expired, revoked in (
        ("stranger", "mx.inconnu.mssante.fr", False, False),
        ("expired", "mx.clinique.mssante.fr", True, False),
        ("revoked", "mx.clinique.mssante.fr", False, True),
    ):
        issue_certificate(
            place / "cabinet",
            cn=cn,
            ou="300065432100018",
            o="CLINIQUE DU PARC",
            kind="serv",
            out=place / name,
            now_us=NOW_US,
            expired=expired,
            revoked=revoked,
        )
    elsewhere = place / "elsewhere"
    create_trust_space(elsewhere, Operator("CLINIQUE DU PARC", "mx.clinique.mssante.fr", (CLINIQUE,)), now_us=NOW_US)
    issue_certificate(
        elsewhere,
        cn="mx.clinique.mssante.fr",
        ou="300065432100018",
        o="CLINIQUE DU PARC",
        kind="serv",
        out=place / "other_authority",
        now_us=NOW_US,
    )
    return World(place, cabinet, clinique)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_US)


@pytest.fixture
def office(tmp_path: Path, clock: FakeClock, world: World) -> Iterator[Office]:
    store = Store.open(
        "sqlite:///mssante.db",
        "file:contents",
        bytes(range(32)),
        clock=clock,
        base=tmp_path,
        patient_domains=frozenset({PATIENTS}),
        create=True,
    )
    bal_id = store.write_now(create_bal, NewBal(address=SENDER, type=BalType.PER))
    yield Office(tmp_path, store, clock, world.outbound, world.espace(), bal_id)
    store.close()
