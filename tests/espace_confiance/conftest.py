"""A test authority with a signer, and a small white list signed by it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from espace_confiance.development import SIGNER
from espace_confiance.liste_blanche import Entree, SignerPin, sign_liste
from tls.authority import Authority, Issued, Kind
from tls.names import parse_dn

# The signer's certificate is valid from the day before it is made.
NOW_US = time.time_ns() // 1_000_000 * 1_000_000 // 1000
SECOND_US = 1_000_000


def entree(nom: str, dn_text: str) -> Entree:
    return Entree(
        nom=nom,
        description=f"Domaine de messagerie MSSanté de {nom}",
        dn=parse_dn(dn_text),
        dn_text=dn_text,
        responsable="00 00 00 00 00, contact@example.invalid",
        support="00 00 00 00 00, contact@example.invalid",
        maj_us=NOW_US // SECOND_US * SECOND_US,
    )


CABINET = "CN=mx.cabinet.mssante.example,OU=300012345600012,O=CABINET DES LILAS,ST=Paris (75),C=FR"
CLINIQUE = "CN=mx.clinique.mssante.example,OU=1750160012,O=CLINIQUE DU PARC,ST=Paris (75),C=FR"
ENTRIES = (
    entree("cabinet.mssante.example", CABINET),
    entree("clinique.mssante.example", CLINIQUE),
    entree("clinique.mssante.example", CABINET),
)


@dataclass(frozen=True)
class Signer:
    """Who signs test lists, and where its certificate lies."""

    issued: Issued
    path: Path

    @property
    def pin(self) -> SignerPin:
        return SignerPin((self.issued.certificate,))

    @cached_property
    def key(self) -> RSAPrivateKey:
        key = load_pem_private_key(self.issued.key, None)
        assert isinstance(key, RSAPrivateKey)
        return key

    def sign(self, *entries: Entree, generated_us: int = NOW_US) -> bytes:
        return sign_liste(entries or ENTRIES, self.key, self.issued.certificate, generated_us)


@pytest.fixture(scope="session")
def signers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Signer, Signer]:
    """Two signers of the same name under the same authority; only the first is pinned."""
    place = tmp_path_factory.mktemp("signers")
    authority = Authority.create(place / "authority", NOW_US)

    def new(name: str) -> Signer:
        issued = authority.issue(SIGNER, Kind.SIGNER, NOW_US)
        path = place / name
        path.write_bytes(issued.certificate.public_bytes(Encoding.PEM))
        return Signer(issued, path)

    return new("first.pem"), new("second.pem")


@pytest.fixture
def signer(signers: tuple[Signer, Signer]) -> Signer:
    return signers[0]


@pytest.fixture
def impostor(signers: tuple[Signer, Signer]) -> Signer:
    """The same name, the same authority, another certificate."""
    return signers[1]
