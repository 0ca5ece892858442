"""The test authority of a development trust space, shaped like IGC-Santé (facts 1.3).

Invariants
- Root `TEST AC RACINE IGC-SANTE ELEMENTAIRE`, under it `TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS`, which alone signs
  leaves. Every name says TEST: nothing made here can be taken for a certificate of the real authority.
- Keys are RSA 2048, signatures SHA-256, serial numbers random and positive (RFC 5280 §4.1.2.2).
- Private keys are written 0600 in a directory 0700, before anything names them.
- The CRL file always holds both CRLs (root's and intermediate's) and is replaced whole, never edited in place.
- Times are int microseconds since the epoch, UTC.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tls.certificates import microseconds
from tls.files import replace_file, write_private
from tls.names import O_LENGTH

ROOT_CN = "TEST AC RACINE IGC-SANTE ELEMENTAIRE"
INTERMEDIATE_CN = "TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS"

_DAY = timedelta(days=1)
_AUTHORITY_LIFE = 3650 * _DAY
_LEAF_LIFE = 3 * 365 * _DAY
_CRL_LIFE = 365 * _DAY
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.I)


class Kind(StrEnum):
    """The offers of IGC-Santé that matter here (facts 1.3)."""

    SERV = "serv"  # SERV SSL: server and client, the certificate of an operator
    ORG = "org"  # ORG AUTH_CLI: client only; it names no operator
    SIGNER = "signer"  # SERV S/MIME: signs the white list


_USES: dict[Kind, list[ObjectIdentifier]] = {
    Kind.SERV: [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    Kind.ORG: [ExtendedKeyUsageOID.CLIENT_AUTH],
    Kind.SIGNER: [ExtendedKeyUsageOID.EMAIL_PROTECTION],
}

_KEY_USES: dict[Kind, tuple[str, ...]] = {
    Kind.SERV: ("digital_signature", "key_encipherment"),
    Kind.ORG: ("digital_signature",),
    Kind.SIGNER: ("digital_signature", "content_commitment"),
}
_KEY_USAGE_BITS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class AuthorityError(ValueError):
    """A certificate cannot be issued as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Subject of an operator's certificate. ou: `1` + FINESS or `3` + SIRET; o is cut at 40 characters as IGC does."""

    cn: str
    ou: str
    o: str
    st: str = "Paris (75)"

    def name(self) -> x509.Name:
        """The X.509 name, C first. Raises AuthorityError when a value is empty or too long."""
        values = (
            (NameOID.COUNTRY_NAME, "FR"),
            (NameOID.STATE_OR_PROVINCE_NAME, self.st),
            (NameOID.ORGANIZATION_NAME, self.o[:O_LENGTH]),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, self.ou),
            (NameOID.COMMON_NAME, self.cn),
        )
        try:
            return x509.Name([x509.NameAttribute(oid, value) for oid, value in values])
        except ValueError as fault:
            raise AuthorityError(f"no certificate for CN={self.cn}, OU={self.ou}, O={self.o}: {fault}") from fault


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate: `chain` is PEM (leaf, then the intermediate), `key` is PEM PKCS#8."""

    certificate: x509.Certificate
    chain: bytes
    key: bytes


class Authority:
    """The authority of a private directory: `racine.pem/.key`, `organisations.pem/.key`; the CRLs lie beside it."""

    def __init__(self, directory: Path) -> None:
        """Open an existing authority. Raises AuthorityError when the directory holds none."""
        self.directory = directory
        try:
            self._root, self._root_key = _load(directory, "racine")
            self._ca, self._ca_key = _load(directory, "organisations")
        except (OSError, ValueError) as fault:
            raise AuthorityError(f"{directory}: no test authority there ({fault})") from fault

    @classmethod
    def create(cls, directory: Path, now_us: int) -> Authority:
        """Make keys, both certificates and empty CRLs in a new directory (mode 0700)."""
        directory.mkdir(mode=0o700, parents=True)
        root_key, ca_key = new_key(), new_key()
        root = _authority_certificate(ROOT_CN, root_key, None, root_key, now_us)
        ca = _authority_certificate(INTERMEDIATE_CN, ca_key, root, root_key, now_us)
        for name, certificate, key in (("racine", root, root_key), ("organisations", ca, ca_key)):
            write_private(directory / f"{name}.key", key_pem(key))
            replace_file(directory / f"{name}.pem", certificate.public_bytes(Encoding.PEM))
        authority = cls(directory)
        authority.write_crl((), now_us)
        return authority

    @property
    def crl_path(self) -> Path:
        """Both CRLs, PEM, for everybody to read: beside the directory, not in it."""
        return self.directory.parent / "crl.pem"

    @property
    def roots(self) -> bytes:
        """PEM of what others must trust: root and intermediate."""
        return self._root.public_bytes(Encoding.PEM) + self._ca.public_bytes(Encoding.PEM)

    def issue(self, subject: Subject, kind: Kind, now_us: int, *, expired: bool = False) -> Issued:
        """Sign a new certificate for three years (ended yesterday when `expired`). Raises AuthorityError."""
        key = new_key()
        now = _moment(now_us)
        start, end = (now - _LEAF_LIFE, now - _DAY) if expired else (now - _DAY, now + _LEAF_LIFE)
        builder = (
            _builder(subject.name(), self._ca.subject, key, start, end)
            .add_extension(x509.ExtendedKeyUsage(_USES[kind]), critical=False)
            .add_extension(_key_usage(*_KEY_USES[kind]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_issuer_key(self._ca), critical=False)
        )
        names = _alternative_names(subject.cn, kind)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._ca_key, hashes.SHA256())
        chain = certificate.public_bytes(Encoding.PEM) + self._ca.public_bytes(Encoding.PEM)
        return Issued(certificate, chain, key_pem(key))

    def revoke(self, certificate: x509.Certificate, now_us: int) -> None:
        """Add a certificate to the CRL and replace the CRL file. The caller holds the trust space's lock."""
        self.write_crl((certificate.serial_number,), now_us)

    def write_crl(self, serials: tuple[int, ...], now_us: int) -> None:
        """Sign both CRLs anew: everything revoked so far and `serials`; valid one year from now."""
        revoked = dict.fromkeys(serials, now_us)
        number = 1
        if self.crl_path.exists():
            held = x509.load_pem_x509_crl(_last_crl(self.crl_path.read_bytes()))
            number = held.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
            revoked |= {entry.serial_number: microseconds(entry.revocation_date_utc) for entry in held}
        root = _crl(self._root, self._root_key, {}, number, now_us)
        leaf = _crl(self._ca, self._ca_key, revoked, number, now_us)
        replace_file(self.crl_path, root.public_bytes(Encoding.PEM) + leaf.public_bytes(Encoding.PEM))


def new_key() -> rsa.RSAPrivateKey:
    """RSA 2048, as IGC-Santé's (facts 1.2). About 60 ms."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_pem(key: rsa.RSAPrivateKey) -> bytes:
    """PKCS#8 PEM, not encrypted: the file's mode protects it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load(directory: Path, name: str) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    certificate = x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes())
    key = load_pem_private_key((directory / f"{name}.key").read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise AuthorityError(f"{directory / name}.key: not an RSA key")
    return certificate, key


def _authority_name(cn: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ASIP-SANTE"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "0002 187512751"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "IGC-SANTE TEST"),
            x509.NameAttribute(NameOID.COMMON_NAME, cn),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority_certificate(
    cn: str, key: rsa.RSAPrivateKey, issuer: x509.Certificate | None, issuer_key: rsa.RSAPrivateKey, now_us: int
) -> x509.Certificate:
    name = _authority_name(cn)
    now = _moment(now_us)
    builder = _builder(name, issuer.subject if issuer else name, key, now - _LEAF_LIFE - _DAY, now + _AUTHORITY_LIFE)
    if issuer:
        builder = builder.add_extension(_issuer_key(issuer), critical=False)
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0 if issuer else 1), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def _key_usage(*bits: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{bit: bit in bits for bit in _KEY_USAGE_BITS})


def _issuer_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _alternative_names(cn: str, kind: Kind) -> list[x509.GeneralName]:
    if kind is Kind.SERV:
        host: list[x509.GeneralName] = [x509.DNSName(cn.lower())] if _HOST.fullmatch(cn) else []
        return [*host, x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    if kind is Kind.SIGNER:
        return [x509.RFC822Name(f"alb@{cn.partition('.')[2]}")]
    return []


def _crl(
    issuer: x509.Certificate, key: rsa.RSAPrivateKey, revoked: dict[int, int], number: int, now_us: int
) -> x509.CertificateRevocationList:
    now = _moment(now_us)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - _DAY)
        .next_update(now + _CRL_LIFE)
        .add_extension(_issuer_key(issuer), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for serial, revoked_us in sorted(revoked.items()):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_moment(revoked_us)).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA256())


def _last_crl(pem: bytes) -> bytes:
    return pem[pem.rindex(b"-----BEGIN X509 CRL-----") :]


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC)
