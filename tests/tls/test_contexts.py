from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.tls.conftest import NOW_US, OWN, Pki
from tls.certificates import TlsError
from tls.contexts import Contexts
from tls.files import replace_file, write_private


@pytest.fixture
def files(pki: Pki) -> Path:
    """cert.pem, key.pem, ca.pem and crl.pem of an operator."""
    issued = pki.issue(OWN)
    place = pki.directory / "files"
    place.mkdir()
    write_private(place / "key.pem", issued.key)
    replace_file(place / "cert.pem", issued.chain)
    replace_file(place / "ca.pem", pki.authority.roots)
    replace_file(place / "crl.pem", pki.authority.crl_path.read_bytes())
    return place


def opened(files: Path) -> Contexts:
    return Contexts(files / "cert.pem", files / "key.pem", files / "ca.pem", files / "crl.pem")


def drop_root_crl(files: Path) -> None:
    end = b"-----END X509 CRL-----\n"
    replace_file(files / "crl.pem", (files / "crl.pem").read_bytes().split(end)[1] + end)


def swap(files: Path, name: str, data: bytes) -> None:
    replace_file(files / name, data)


FAULTS: list[tuple[str, Callable[[Path], None], str]] = [
    ("no certificate file", lambda files: (files / "cert.pem").unlink(), r"cert\.pem: No such file"),
    ("no key file", lambda files: (files / "key.pem").unlink(), r"key\.pem: No such file"),
    ("no roots", lambda files: (files / "ca.pem").unlink(), r"ca\.pem: No such file"),
    ("certificate unreadable", lambda files: swap(files, "cert.pem", b"hello"), r"cert\.pem: no readable certificate"),
    ("key unreadable", lambda files: swap(files, "key.pem", b"hello"), r"key\.pem: no readable private key"),
    ("roots empty", lambda files: swap(files, "ca.pem", b""), r"ca\.pem: no readable certificate"),
    ("CRL empty", lambda files: swap(files, "crl.pem", b""), r"crl\.pem: no PEM CRL"),
    (
        "CRL damaged",
        lambda files: swap(files, "crl.pem", (files / "crl.pem").read_bytes().replace(b"M", b"N")),
        r"crl\.pem: a CRL in it cannot be read",
    ),
    (
        "a leaf among the roots",
        lambda files: swap(files, "ca.pem", (files / "cert.pem").read_bytes()),
        r"ca\.pem: .*mx\.cabinet\.mssante\.example.* is not an authority",
    ),
]


@pytest.mark.parametrize(("damage", "reason"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_faulty_file_is_named_and_the_old_contexts_stay(
    files: Path, damage: Callable[[Path], None], reason: str
) -> None:
    contexts = opened(files)
    before = (contexts.mx_server(), contexts.client_server(), contexts.outbound(), contexts.certificate)
    damage(files)
    for _ in range(2):
        with pytest.raises(TlsError, match=reason):
            contexts.reload()
    assert (contexts.mx_server(), contexts.client_server(), contexts.outbound(), contexts.certificate) == before
    with pytest.raises(TlsError, match=reason):
        opened(files)


@pytest.mark.parametrize("loss", [drop_root_crl, lambda files: (files / "crl.pem").unlink()], ids=["root's", "all"])
def test_a_crl_that_is_not_there_any_more_is_a_fault_but_one_that_never_was_is_a_state(
    files: Path, loss: Callable[[Path], None]
) -> None:
    contexts = opened(files)
    assert [crl.current(NOW_US) for crl in contexts.crls] == [True, True]
    loss(files)
    with pytest.raises(TlsError, match=r"crl\.pem: no CRL of .*TEST AC RACINE IGC-SANTE ELEMENTAIRE any more"):
        contexts.reload()
    assert [crl.held for crl in contexts.crls] == [True, True]
    started = opened(files)
    root = started.crls[0]
    assert (root.issuer, root.held, root.current(NOW_US)) == ("TEST AC RACINE IGC-SANTE ELEMENTAIRE", False, False)
    assert started.mx_server().verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN == ssl.VERIFY_CRL_CHECK_CHAIN


def test_a_crl_that_was_fetched_comes_into_force(files: Path) -> None:
    held = (files / "crl.pem").read_bytes()
    (files / "crl.pem").unlink()
    contexts = opened(files)
    assert not contexts.reload()
    replace_file(files / "crl.pem", held)
    assert contexts.reload()
    assert all(crl.current(NOW_US) for crl in contexts.crls)


def test_crl_of_a_namesake_is_refused(files: Path, namesake: Pki) -> None:
    replace_file(files / "crl.pem", namesake.authority.crl_path.read_bytes())
    with pytest.raises(TlsError, match="not signed by a trusted authority"):
        opened(files)


def test_encrypted_key_is_refused_without_asking(files: Path) -> None:
    key = load_pem_private_key((files / "key.pem").read_bytes(), None)
    write_private(
        files / "key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    with pytest.raises(TlsError, match="the key is encrypted"):
        opened(files)


def test_contexts_are_made_anew_only_when_files_change(files: Path, pki: Pki) -> None:
    contexts = opened(files)
    first = contexts.mx_server()
    assert not contexts.reload()
    assert contexts.mx_server() is first
    pki.authority.revoke(pki.issue().certificate, NOW_US)
    replace_file(files / "crl.pem", pki.authority.crl_path.read_bytes())
    assert contexts.reload()
    assert contexts.mx_server() is not first


def test_expiry_is_told_in_days(files: Path) -> None:
    facts = opened(files).certificate
    assert facts.dn.cn == OWN.cn
    assert facts.issuer.cn == "TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS"
    assert facts.days_left(NOW_US) in (1094, 1095)
    assert facts.days_left(facts.not_after_us) == 0
    assert facts.days_left(facts.not_after_us + 1) == -1


def test_policy_of_every_context(pki: Pki) -> None:
    contexts = pki.side(pki.issue(OWN))
    for context in (contexts.mx_server(), contexts.client_server(), contexts.outbound()):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        suites = [suite["name"] for suite in context.get_ciphers() if suite["protocol"] == "TLSv1.2"]
        assert suites and all(name.startswith("ECDHE-") and "GCM" in name for name in suites)
        assert context.options & ssl.OP_NO_COMPRESSION and context.options & ssl.OP_NO_RENEGOTIATION
    for context in (contexts.mx_server(), contexts.outbound()):
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN == ssl.VERIFY_CRL_CHECK_CHAIN
