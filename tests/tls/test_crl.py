"""Reading, judging and ordering CRLs; whatever the octets, the reader ends in a CRL or in CrlRefused."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tls.conftest import NOW_US, Pki
from tls.certificates import load_certificates, load_crls
from tls.crl import Crl, CrlFacts, CrlRefused, distribution_points, pem, read_crl, remaining_s, replaced

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.fromtimestamp(NOW_US // 1_000_000, datetime.UTC)


def organisations(pki: Pki) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    place = pki.authority.directory
    key = load_pem_private_key((place / "organisations.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return load_certificates(place / "organisations.pem")[0], key


def made(pki: Pki, number: int | None = 5, *, age: int = 1, critical: x509.ExtensionType | None = None) -> Crl:
    """A CRL of AC ORGANISATIONS, `age` days old."""
    certificate, key = organisations(pki)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(NOW - age * DAY)
        .next_update(NOW + 30 * DAY)
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    if critical is not None:
        builder = builder.add_extension(critical, critical=True)
    return builder.sign(key, hashes.SHA256())


def part(**scope: bool) -> x509.IssuingDistributionPoint:
    name = [x509.UniformResourceIdentifier("http://crl.example/")]
    flags = dict.fromkeys(
        ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs"), False
    )
    return x509.IssuingDistributionPoint(full_name=name, relative_name=None, only_some_reasons=None, **(flags | scope))


def test_der_and_pem_are_read(pki: Pki) -> None:
    crl = made(pki)
    assert read_crl(crl.public_bytes(Encoding.DER)) == crl
    assert read_crl(b"\n" + crl.public_bytes(Encoding.PEM)) == crl


def test_a_newer_one_takes_the_place_of_the_older(pki: Pki) -> None:
    held = tuple(load_crls(pki.authority.crl_path))
    roots = load_certificates(pki.roots)
    first = replaced(held, made(pki, 5), roots, NOW_US)
    assert len(first) == 2
    assert first[0] == held[0], "the root's stays"
    second = made(pki, 6, age=0)
    assert replaced(first, second, roots, NOW_US) == (held[0], second)
    assert replaced(first, made(pki, 5), roots, NOW_US)[0] == held[0]
    (pki.directory / "two.pem").write_bytes(pem(first))
    assert tuple(load_crls(pki.directory / "two.pem")) == first


@pytest.mark.parametrize(("number", "age"), [(4, 0), (6, 2), (None, 0)], ids=["number", "thisUpdate", "no number"])
def test_it_never_goes_back(pki: Pki, number: int | None, age: int) -> None:
    with pytest.raises(CrlRefused, match=r"number \d\) is older than the one held \(number 5\)"):
        replaced((made(pki, 5),), made(pki, number, age=age), load_certificates(pki.roots), NOW_US)


def test_the_same_again_changes_nothing(pki: Pki) -> None:
    held = (made(pki, 5),)
    assert replaced(held, read_crl(held[0].public_bytes(Encoding.DER)), load_certificates(pki.roots), NOW_US) == held


def test_only_trusted_authorities_and_no_future(pki: Pki, namesake: Pki) -> None:
    roots = load_certificates(pki.roots)
    with pytest.raises(CrlRefused, match="not signed by a trusted authority"):
        replaced((), made(namesake, 9), roots, NOW_US)
    with pytest.raises(CrlRefused, match="in the future"):
        replaced((), made(pki, 9, age=-2), roots, NOW_US)


@pytest.mark.parametrize(
    ("extension", "reason"),
    [
        (x509.DeltaCRLIndicator(1), "delta"),
        (part(indirect_crl=True), "indirect or partial"),
        (part(only_contains_attribute_certs=True), "indirect or partial"),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), r"unknown critical .*1\.2\.3\.4"),
    ],
)
def test_what_the_handshake_would_stumble_over(pki: Pki, extension: x509.ExtensionType, reason: str) -> None:
    with pytest.raises(CrlRefused, match=reason):
        read_crl(made(pki, critical=extension).public_bytes(Encoding.DER))


def test_a_whole_crl_that_names_its_place_is_read(pki: Pki) -> None:
    crl = made(pki, critical=part())
    assert read_crl(crl.public_bytes(Encoding.DER)) == crl


def test_one_that_nobody_trusts_any_more_is_let_go(pki: Pki, namesake: Pki) -> None:
    held = (made(namesake, 5),)
    assert replaced(held, made(pki, 5), load_certificates(pki.roots), NOW_US) == (made(pki, 5),)


@pytest.mark.parametrize(
    "data", [b"", b"<html>maintenance</html>", b"\x30\x80", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"]
)
def test_what_is_no_crl(data: bytes) -> None:
    with pytest.raises(CrlRefused, match="no readable CRL"):
        read_crl(data)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6), cut=st.integers(0, 40)
)
def test_a_damaged_crl_is_refused_one_way_or_another(pki: Pki, edits: list[tuple[int, int]], cut: int) -> None:
    original = pem_of(pki)
    data = bytearray(original)
    for place, octet in edits:
        data[place % len(data)] = octet
    damaged = bytes(data[: len(data) - cut])
    if damaged == original:
        return
    with pytest.raises(CrlRefused):
        replaced((), read_crl(damaged), load_certificates(pki.roots), NOW_US)


def pem_of(pki: Pki) -> bytes:
    return load_crls(pki.authority.crl_path)[1].public_bytes(Encoding.DER)


def test_distribution_points_over_http_only(pki: Pki) -> None:
    certificate, key = organisations(pki)
    urls = ["http://a.example/a.crl", "ldap://b.example/cn=b", "https://a.example/a.crl", "http://a.example/a.crl"]
    points = [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in urls]
    leaf = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.CRLDistributionPoints(points), critical=False)
        .sign(key, hashes.SHA256())
    )
    assert distribution_points([certificate, leaf]) == ("http://a.example/a.crl", "https://a.example/a.crl")


def test_the_time_that_is_left() -> None:
    good, missing = CrlFacts("A", 0, NOW_US + 5_000_000), CrlFacts("B", 0, 0, held=False)
    assert remaining_s([], NOW_US) == float("inf")
    assert remaining_s([good], NOW_US) == 5
    assert remaining_s([good, missing], NOW_US) == -1
    assert good.current(NOW_US + 4_999_999) and not good.current(NOW_US + 5_000_000)
