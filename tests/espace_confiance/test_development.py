from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509

from espace_confiance.development import (
    Operator,
    TrustSpace,
    TrustSpaceError,
    create_trust_space,
    issue_certificate,
    join_trust_space,
    trust_space,
)
from espace_confiance.holder import EspaceConfiance
from espace_confiance.routes import Routes
from mssante.domain.identifiers import Siret
from tests.espace_confiance.conftest import NOW_US
from tls.certificates import load_certificates, load_crls
from tls.contexts import Contexts

CABINET = Operator(
    "Cabinet des Lilas", "mx.cabinet.mssante.example", ("cabinet.mssante.example", "Patient.mssante.example")
)


def clinique(number: int = 0) -> Operator:
    domain = f"clinique{number}.mssante.example"
    return Operator(f"Clinique {number}", f"mx.{domain}", (domain,), port=2600 + number)


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: keys are slow."""
    directory = tmp_path_factory.mktemp("created") / "cabinet"
    create_trust_space(directory, CABINET, now_us=NOW_US)
    return directory


@pytest.fixture
def cabinet(created: Path, tmp_path: Path) -> Path:
    """The first operator, this test's own copy."""
    shutil.copytree(created, tmp_path / "cabinet")
    return tmp_path / "cabinet"


def seen(directory: Path) -> EspaceConfiance:
    return EspaceConfiance(directory / "espace" / "listeblanche.xml", directory / "espace" / "signer.pem")


def contexts(space: TrustSpace) -> Contexts:
    return Contexts(space.certificate, space.key, space.roots, space.crl)


def test_the_first_operator_is_listed_with_its_certificate(cabinet: Path) -> None:
    files = sorted(str(path.relative_to(cabinet)) for path in cabinet.rglob("*") if path.is_file())
    assert files == [
        "espace/listeblanche.xml",
        "espace/routes.toml",
        "espace/signer.pem",
        "pki/authority/organisations.key",
        "pki/authority/organisations.pem",
        "pki/authority/racine.key",
        "pki/authority/racine.pem",
        "pki/authority/signataire.key",
        "pki/authority/signataire.pem",
        "pki/ca.pem",
        "pki/crl.pem",
        "pki/operator.key",
        "pki/operator.pem",
    ]
    assert (cabinet / "pki" / "authority").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in cabinet.rglob("*.key")} == {0o600}
    own = contexts(trust_space(cabinet)).certificate.dn
    assert (own.cn, own.o) == ("mx.cabinet.mssante.example", "Cabinet des Lilas")
    assert own.ou.startswith("3000")
    Siret.parse(own.ou[1:])
    espace = seen(cabinet)
    assert espace.status()["refused"] == ""
    assert espace.accepts("cabinet.mssante.example", own)
    assert espace.accepts("patient.mssante.example", own)
    assert Routes(cabinet / "espace" / "routes.toml").lookup("patient.mssante.example") == ("127.0.0.1", 2500)


def test_who_joins_is_seen_by_all(cabinet: Path, tmp_path: Path) -> None:
    before = seen(cabinet)
    join_trust_space(tmp_path / "a", cabinet, clinique(1), now_us=NOW_US)
    join_trust_space(tmp_path / "b", tmp_path / "a", clinique(2), now_us=NOW_US)  # through one that had joined
    assert before.reload_if_changed()
    names = {directory: contexts(trust_space(directory)).certificate.dn for directory in (cabinet, tmp_path / "a")}
    for directory in (cabinet, tmp_path / "a", tmp_path / "b"):
        espace = seen(directory)
        assert espace.accepts("clinique1.mssante.example", names[tmp_path / "a"])
        assert not espace.accepts("clinique1.mssante.example", names[cabinet])
        assert espace.accepts("patient.mssante.example", names[cabinet])
        assert espace.lists("clinique2.mssante.example")
        routes = Routes(directory / "espace" / "routes.toml")
        assert routes.lookup("clinique2.mssante.example") == ("127.0.0.1", 2602)
    shared = {
        getattr(trust_space(directory), name)
        for directory in (cabinet, tmp_path / "a", tmp_path / "b")
        for name in ("crl", "liste_blanche", "signer", "routes")
    }
    assert len(shared) == 4


def test_two_joins_at_once_lose_nothing(cabinet: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda n: join_trust_space(tmp_path / f"o{n}", cabinet, clinique(n), now_us=NOW_US),
                range(6),
            )
        )
    espace = seen(cabinet)
    assert espace.status()["domains"] == 8
    routes = Routes(cabinet / "espace" / "routes.toml")
    assert [routes.lookup(f"clinique{n}.mssante.example") for n in range(6)] == [
        ("127.0.0.1", 2600 + n) for n in range(6)
    ]


def test_nothing_is_overwritten(cabinet: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in cabinet.rglob("*") if path.is_file()}
    with pytest.raises(TrustSpaceError, match="nothing is overwritten"):
        create_trust_space(cabinet, CABINET, now_us=NOW_US)
    with pytest.raises(TrustSpaceError, match="nothing is overwritten"):
        join_trust_space(cabinet, cabinet, clinique(), now_us=NOW_US)
    (tmp_path / "half" / "espace").mkdir(parents=True)
    with pytest.raises(TrustSpaceError, match="nothing is overwritten"):
        create_trust_space(tmp_path / "half", CABINET, now_us=NOW_US)
    assert [path.name for path in (tmp_path / "half").iterdir()] == ["espace"]
    after = {path: path.read_bytes() for path in cabinet.rglob("*") if path.is_file() and path.name != "lock"}
    assert after == before


@pytest.mark.parametrize(
    "operator",
    [
        Operator("Clinique", "mx.clinique.example", (), port=2600),
        Operator("Clinique", "mx.clinique.example", ("clinique",), port=2600),
        Operator("Clinique", "mx.clinique.example", ("clinique..example",), port=2600),
        Operator("Clinique", "mx.clinique.example", ("a@clinique.example",), port=2600),
        Operator("Clinique", "mx.clinique.example", ('clinique.example" = "x:1',), port=2600),
        Operator("", "mx.clinique.example", ("clinique.example",), port=2600),
        Operator("Clinique\nX", "mx.clinique.example", ("clinique.example",), port=2600),
        Operator("Clinique", "", ("clinique.example",), port=2600),
        Operator("Clinique", "mx." + "clinique" * 10 + ".example", ("clinique.example",), port=2600),
        Operator("Clinique", "mx.clinique.example", ("cabinet.mssante.example",), port=2600),
    ],
)
def test_an_impossible_operator_leaves_nothing_behind(cabinet: Path, tmp_path: Path, operator: Operator) -> None:
    before = seen(cabinet).status()
    with pytest.raises(TrustSpaceError):
        join_trust_space(tmp_path / "new", cabinet, operator, now_us=NOW_US)
    assert not (tmp_path / "new" / "pki").exists() and not (tmp_path / "new" / "espace").exists()
    assert seen(cabinet).status() == before


def test_names_with_commas_and_quotes_survive_the_list(tmp_path: Path) -> None:
    name = 'GCS "Dupont, Martin + Fils" de la santé en région'
    operator = Operator(name, "mx.gcs.mssante.example", ("gcs.mssante.example",))
    space = create_trust_space(tmp_path / "gcs", operator, now_us=NOW_US)
    own = contexts(space).certificate.dn
    assert own.o == name[:40]
    assert seen(tmp_path / "gcs").accepts("gcs.mssante.example", own)


def test_an_international_domain_is_listed_in_ascii(tmp_path: Path) -> None:
    operator = Operator("Santé", "mx.sante.example", ("santé.mssante.example",))
    create_trust_space(tmp_path / "sante", operator, now_us=NOW_US)
    assert seen(tmp_path / "sante").lists("xn--sant-epa.mssante.example")


def test_no_trust_space_to_join(tmp_path: Path) -> None:
    with pytest.raises(TrustSpaceError, match="no development trust space there"):
        join_trust_space(tmp_path / "new", tmp_path / "nowhere", clinique(), now_us=NOW_US)
    assert not (tmp_path / "new").exists()


def test_a_list_of_another_signer_cannot_be_extended(cabinet: Path, tmp_path: Path) -> None:
    create_trust_space(tmp_path / "elsewhere", clinique(), now_us=NOW_US)
    elsewhere = trust_space(tmp_path / "elsewhere")
    seen(cabinet).import_file(elsewhere.liste_blanche, elsewhere.signer)
    with pytest.raises(TrustSpaceError, match="not signed by its test authority"):
        join_trust_space(tmp_path / "new", cabinet, clinique(1), now_us=NOW_US)


@pytest.mark.parametrize("through_joined", [False, True])
def test_further_certificates(cabinet: Path, tmp_path: Path, through_joined: bool) -> None:
    directory = cabinet
    if through_joined:
        join_trust_space(tmp_path / "a", cabinet, clinique(), now_us=NOW_US)
        directory = tmp_path / "a"
    issue = partial(issue_certificate, directory, cn="mx.autre.example", ou="1750160012", o="AUTRE", now_us=NOW_US)
    own = contexts(trust_space(cabinet))
    issue(kind="serv", out=tmp_path / "good")
    assert not own.reload()
    issue(kind="serv", out=tmp_path / "revoked", revoked=True)
    assert own.reload()
    issue(kind="org", out=tmp_path / "expired", expired=True)
    good, chain = load_certificates(tmp_path / "good" / "cert.pem")
    good.verify_directly_issued_by(chain)
    assert (tmp_path / "good" / "cert.key").stat().st_mode & 0o777 == 0o600
    revoked = load_certificates(tmp_path / "revoked" / "cert.pem")[0]
    _, crl = load_crls(directory / "pki" / "crl.pem")
    assert [entry.serial_number for entry in crl] == [revoked.serial_number]
    expired = load_certificates(tmp_path / "expired" / "cert.pem")[0]
    assert expired.not_valid_after_utc.timestamp() * 1e6 < NOW_US
    assert x509.SubjectAlternativeName not in {type(extension.value) for extension in expired.extensions}
    with pytest.raises(TrustSpaceError, match="already there"):
        issue(kind="serv", out=tmp_path / "good")


@pytest.mark.parametrize("cn", ["", "x" * 65, "a\x00b"])
def test_an_impossible_certificate_is_refused(cabinet: Path, tmp_path: Path, cn: str) -> None:
    with pytest.raises(TrustSpaceError):
        issue_certificate(cabinet, cn=cn, ou="1", o="A", kind="serv", out=tmp_path / "out", now_us=NOW_US)
    assert not (tmp_path / "out").exists()
