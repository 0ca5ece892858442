from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.tls.conftest import NOW_US, OWN, Pki
from tls.authority import Kind
from tls.certificates import TlsError, describe, load_certificates, load_crls, operator_dn, peer_dn
from tls.names import DNError, dn_of_certificate

KEY_USAGE, EXTENDED_KEY_USAGE, COMMON_NAME = b"\x55\x1d\x0f", b"\x55\x1d\x25", b"\x06\x03\x55\x04\x03"


def test_only_a_server_certificate_names_an_operator(pki: Pki) -> None:
    names = {kind: operator_dn(pki.issue(OWN, kind).certificate.public_bytes(Encoding.DER)) for kind in Kind}
    assert names[Kind.ORG] is names[Kind.SIGNER] is None
    serv = names[Kind.SERV]
    assert serv is not None
    assert (serv.cn, serv.ou, serv.o) == (OWN.cn, OWN.ou, OWN.o)
    assert peer_dn(None) is None


def test_a_damaged_certificate_names_nobody(pki: Pki) -> None:
    der = pki.issue(OWN).certificate.public_bytes(Encoding.DER)
    damaged = {
        "extension twice": der.replace(KEY_USAGE, EXTENDED_KEY_USAGE),
        "no such use": der.replace(EXTENDED_KEY_USAGE, b"\x55\x1d\x7f"),
        "control character in the name": der.replace(OWN.cn.encode(), OWN.cn.replace(".", "\0").encode()),
        "name of a wrong type": der.replace(COMMON_NAME + b"\x0c", COMMON_NAME + b"\x03"),
        "cut short": der[:-1],
        "empty": b"",
    }
    for octets in damaged.values():
        assert octets != der
    assert {name: operator_dn(octets) for name, octets in damaged.items()} == dict.fromkeys(damaged)
    for name in ("control character in the name", "name of a wrong type", "cut short", "empty"):
        with pytest.raises(DNError):
            dn_of_certificate(damaged[name])


def test_a_certificate_is_described(pki: Pki) -> None:
    certificate = pki.issue(OWN).certificate
    facts = describe(certificate)
    assert facts.dn.cn == OWN.cn
    assert facts.serial == certificate.serial_number
    assert len(facts.fingerprint) == 64
    assert facts.not_before_us < NOW_US < facts.not_after_us


def test_pem_and_der_are_read(pki: Pki, tmp_path: Path) -> None:
    issued = pki.issue(OWN)
    (tmp_path / "chain.pem").write_bytes(issued.chain)
    (tmp_path / "one.der").write_bytes(issued.certificate.public_bytes(Encoding.DER))
    assert len(load_certificates(tmp_path / "chain.pem")) == 2
    assert load_certificates(tmp_path / "one.der") == [issued.certificate]


@pytest.mark.parametrize(
    ("read", "reason"), [(load_certificates, "no readable certificate"), (load_crls, "no PEM CRL")]
)
def test_an_unusable_file_is_named(tmp_path: Path, read: object, reason: str) -> None:
    assert callable(read)
    (tmp_path / "file").write_bytes(b"hello")
    with pytest.raises(TlsError, match=f"file: {reason}"):
        read(tmp_path / "file")
    with pytest.raises(TlsError, match="gone: No such file"):
        read(tmp_path / "gone")
