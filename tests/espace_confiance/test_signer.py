"""The signer pinned by its authority and its name: who else might try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espace_confiance.holder import EspaceConfiance
from espace_confiance.liste_blanche import ListeRefusee, read_liste, sign_liste
from espace_confiance.signer import SignerFiles, SignerPin
from tests.espace_confiance.conftest import ENTRIES, NOW_US, SECOND_US
from tests.system.auditor import Issuer, Shown
from tls.authority import Authority, new_key

ALB = Shown("alb.mssante.fr", uses=(ExtendedKeyUsageOID.EMAIL_PROTECTION,))
DAY_US = 86_400 * SECOND_US


@dataclass(frozen=True)
class Ans:
    """The authority that issues the signers, and its file."""

    root: Issuer
    issuing: Issuer
    other: Issuer
    directory: Path

    def liste(self, shown: Shown = ALB, *, of: Issuer | None = None, generated_us: int = NOW_US) -> bytes:
        return self.signed(shown, of=of, generated_us=generated_us)[0]

    def signed(
        self, shown: Shown = ALB, *, of: Issuer | None = None, generated_us: int = NOW_US
    ) -> tuple[bytes, x509.Certificate]:
        key = new_key()
        certificate = (of or self.issuing).sign(shown, key)
        return sign_liste(ENTRIES, key, certificate, generated_us), certificate

    def files(self, *authorities: Issuer, crl: bytes | None = None) -> SignerFiles:
        path, crl_path = self.directory / "signer_ca.pem", self.directory / "crl.pem"
        chosen = authorities or (self.issuing, self.root)
        path.write_bytes(b"".join(one.certificate.public_bytes(Encoding.PEM) for one in chosen))
        if crl is not None:
            crl_path.write_bytes(crl)
        return SignerFiles(self.directory / "none.pem", authority=path, crl=crl_path)

    def pin(self, *authorities: Issuer, crl: bytes | None = None) -> SignerPin:
        return self.files(*authorities, crl=crl).load()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ans:
    place = tmp_path_factory.mktemp("ans")
    Authority.create(place / "one" / "authority", NOW_US)
    Authority.create(place / "two" / "authority", NOW_US)
    one, two = place / "one" / "authority", place / "two" / "authority"
    return Ans(Issuer.of(one, "racine"), Issuer.of(one, "organisations"), Issuer.of(two, "organisations"), place)


@pytest.fixture
def ans(made: Ans, tmp_path: Path) -> Ans:
    return replace(made, directory=tmp_path)


def test_any_certificate_of_that_name_and_authority_signs(ans: Ans) -> None:
    for data in (ans.liste(), ans.liste()):
        assert len(read_liste(data, ans.pin()).entries) == len(ENTRIES)
        assert read_liste(data, ans.pin(ans.issuing)).lists("cabinet.mssante.example")


Wrong = Callable[[Ans], bytes]
SERVER, SEALING = (ExtendedKeyUsageOID.SERVER_AUTH,), "key_encipherment"
WRONG: dict[str, tuple[Wrong, str]] = {
    "another name": (lambda ans: ans.liste(replace(ALB, cn="mx.cabinet.mssante.fr")), "not by alb.mssante.fr"),
    "a longer name": (lambda ans: ans.liste(replace(ALB, cn="alb.mssante.fr.example")), "not by alb.mssante.fr"),
    "namesake of the authority": (lambda ans: ans.liste(of=ans.other), "not of the pinned authority"),
    "a web server": (
        lambda ans: ans.liste(replace(ALB, uses=(ExtendedKeyUsageOID.SERVER_AUTH,))),
        "not one for signing",
    ),
    "a key for other things": (
        lambda ans: ans.liste(replace(ALB, key_usage="key_encipherment")),
        "not one for signing",
    ),
    "expired at DateDeGeneration": (lambda ans: ans.liste(replace(ALB, expired=True)), "not valid at DateDeGeneration"),
    "before it was issued": (lambda ans: ans.liste(generated_us=NOW_US - 60 * DAY_US), "not valid at DateDeGeneration"),
}


@pytest.mark.parametrize(("made_by", "reason"), WRONG.values(), ids=WRONG)
def test_who_else_signs_is_refused(ans: Ans, made_by: Wrong, reason: str) -> None:
    with pytest.raises(ListeRefusee, match=reason):
        read_liste(made_by(ans), ans.pin())


def test_an_old_list_of_an_expired_signer_stays_authentic(ans: Ans) -> None:
    old = ans.liste(replace(ALB, expired=True), generated_us=NOW_US - 5 * DAY_US)
    assert read_liste(old, ans.pin()).generated_us < NOW_US


def test_a_revoked_signer_is_refused_under_either_pin(ans: Ans) -> None:
    data, certificate = ans.signed()
    crl = ans.issuing.crl(certificate)
    with pytest.raises(ListeRefusee, match="was revoked"):
        read_liste(data, ans.pin(crl=crl))
    (ans.directory / "signer.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    by_certificate = SignerFiles(ans.directory / "signer.pem", crl=ans.directory / "crl.pem")
    with pytest.raises(ListeRefusee, match="was revoked"):
        read_liste(data, by_certificate.load())
    assert read_liste(data, ans.pin(crl=ans.issuing.crl()))


def test_a_revoked_issuing_authority_brings_its_signer_down(ans: Ans) -> None:
    with pytest.raises(ListeRefusee, match=r"ORGANISATIONS.* was revoked"):
        read_liste(ans.liste(), ans.pin(crl=ans.root.crl(ans.issuing.certificate)))


def test_what_is_pinned_must_be_an_authority(ans: Ans) -> None:
    key = new_key()
    leaf = Issuer(ans.issuing.sign(ALB, key), key)
    with pytest.raises(ListeRefusee, match="is not an authority"):
        ans.pin(leaf)


def test_a_successor_signs_and_the_list_still_never_goes_back(ans: Ans) -> None:
    path, files = ans.directory / "liste.xml", ans.files()
    path.write_bytes(ans.liste())
    espace = EspaceConfiance(path, files)
    (ans.directory / "next.xml").write_bytes(ans.liste(generated_us=NOW_US + 60 * SECOND_US))
    espace.import_file(ans.directory / "next.xml")
    (ans.directory / "old.xml").write_bytes(ans.liste(generated_us=NOW_US - 60 * SECOND_US))
    with pytest.raises(ListeRefusee, match="older than the list in force"):
        espace.import_file(ans.directory / "old.xml")
    with pytest.raises(ListeRefusee, match="pinned by its authority"):
        espace.import_file(ans.directory / "next.xml", files.authority)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_damaged_signer_is_refused(ans: Ans, edits: list[tuple[int, int]]) -> None:
    der = ans.issuing.sign(ALB, _KEY).public_bytes(Encoding.DER)
    damaged = bytearray(der)
    for place, octet in edits:
        damaged[place % len(damaged)] = octet
    if bytes(damaged) == der:
        return
    with pytest.raises(ListeRefusee):
        ans.pin().signer(bytes(damaged))


_KEY = new_key()
