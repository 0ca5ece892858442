from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.tls.conftest import NOW_US, OTHER, OWN, YEAR_US, Pki
from tls.authority import Authority, AuthorityError, Kind, Subject
from tls.certificates import load_crls, microseconds
from tls.files import replace_file, write_private


def common_name(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_shape_of_the_authority(pki: Pki) -> None:
    root, ca = x509.load_pem_x509_certificates(pki.authority.roots)
    assert common_name(root.subject) == common_name(root.issuer) == "TEST AC RACINE IGC-SANTE ELEMENTAIRE"
    assert common_name(ca.subject) == "TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS"
    assert [attribute.value for attribute in ca.subject][:4] == ["FR", "ASIP-SANTE", "0002 187512751", "IGC-SANTE TEST"]
    ca.verify_directly_issued_by(root)
    for certificate in (root, ca):
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_shape_of_an_operator_certificate(pki: Pki) -> None:
    certificate = pki.issue(OWN).certificate
    assert certificate.subject.rfc4514_string() == (
        "CN=mx.cabinet.mssante.example,OU=300012345600012,O=CABINET DES LILAS,ST=Paris (75),C=FR"
    )
    assert certificate.serial_number > 0
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [OWN.cn, "localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert microseconds(certificate.not_valid_after_utc) > NOW_US + 2 * YEAR_US


@pytest.mark.parametrize(
    ("kind", "uses"),
    [(Kind.ORG, [ExtendedKeyUsageOID.CLIENT_AUTH]), (Kind.SIGNER, [ExtendedKeyUsageOID.EMAIL_PROTECTION])],
)
def test_other_kinds_have_other_uses(pki: Pki, kind: Kind, uses: list[x509.ObjectIdentifier]) -> None:
    certificate = pki.issue(OWN, kind).certificate
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == uses


def test_the_organisation_is_cut_at_40_characters(pki: Pki) -> None:
    subject = Subject(cn="mx.a.example", ou="3000", o="AGENCE DES SYSTEMES D'INFORMATION PARTAGES DE SANTE")
    organisation = pki.issue(subject).certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
    assert organisation == "AGENCE DES SYSTEMES D'INFORMATION PARTAG"


@pytest.mark.parametrize("cn", ["", "x" * 65])
def test_an_impossible_subject_is_refused(pki: Pki, cn: str) -> None:
    with pytest.raises(AuthorityError):
        pki.issue(Subject(cn=cn, ou="3000", o="A"))


def test_a_common_name_that_is_no_host_has_no_dns_name(pki: Pki) -> None:
    certificate = pki.issue(Subject(cn="Cabinet à l'essai", ou="3000", o="A")).certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]


def test_revocations_add_up_and_the_number_grows(pki: Pki) -> None:
    serials = []
    for count in range(1, 4):
        certificate = pki.issue().certificate
        serials.append(certificate.serial_number)
        pki.authority.revoke(certificate, NOW_US + count)
        root, leaf = load_crls(pki.authority.crl_path)
        assert len(root) == 0
        assert sorted(entry.serial_number for entry in leaf) == sorted(serials)
        assert leaf.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == count + 1
        assert leaf.next_update_utc is not None
        assert microseconds(leaf.next_update_utc) > NOW_US + YEAR_US - 1_000_000


def test_openssl_agrees_with_chain_and_crl(pki: Pki, tmp_path: Path) -> None:
    good, revoked = pki.issue(OWN), pki.issue(OTHER)
    pki.authority.revoke(revoked.certificate, NOW_US)
    for name, issued in (("good", good), ("revoked", revoked)):
        (tmp_path / name).write_bytes(issued.chain)
    command = ["openssl", "verify", "-x509_strict", "-crl_check_all", "-purpose", "sslserver"]
    command += ["-CAfile", str(pki.roots), "-CRLfile", str(pki.authority.crl_path)]
    assert subprocess.run([*command, str(tmp_path / "good")], capture_output=True).returncode == 0
    refused = subprocess.run([*command, str(tmp_path / "revoked")], capture_output=True, text=True)
    assert refused.returncode != 0
    assert "certificate revoked" in refused.stderr + refused.stdout


def test_keys_are_private(tmp_path: Path) -> None:
    directory = Authority.create(tmp_path / "pki" / "authority", NOW_US).directory
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.glob("*.key")} == {0o600}
    assert (tmp_path / "pki" / "crl.pem").stat().st_mode & 0o777 == 0o644


def test_no_authority_is_a_clear_fault(tmp_path: Path, pki: Pki) -> None:
    with pytest.raises(AuthorityError, match="no test authority there"):
        Authority(tmp_path / "nowhere")
    (pki.authority.directory / "racine.key").write_bytes(b"hello")
    with pytest.raises(AuthorityError, match="no test authority there"):
        Authority(pki.authority.directory)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "file"
    replace_file(target, b"old")
    with pytest.raises(TypeError):
        replace_file(target, "not bytes")  # type: ignore[arg-type]
    assert target.read_bytes() == b"old"
    replace_file(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_private_file_that_was_public_becomes_private(tmp_path: Path) -> None:
    target = tmp_path / "key"
    target.write_bytes(b"old")
    target.chmod(0o644)
    write_private(target, b"new")
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o600
