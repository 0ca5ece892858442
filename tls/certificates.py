"""Reading certificates: load, describe, expiry, fingerprint, the peer's certificate and the operator it names.

Invariants
- Nothing here decides trust: chain, dates, purpose and revocation are the handshake's (see `contexts`).
- Times are int microseconds since the epoch, UTC.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tls.names import DN, DNError, dn_of_certificate, dn_of_name

_ODD_EXTENSIONS = (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


class TlsError(Exception):
    """A certificate, key, root or CRL file is unusable; the message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What an operator wants to know of a certificate."""

    dn: DN
    issuer: DN
    serial: int
    fingerprint: str
    not_before_us: int
    not_after_us: int

    def days_left(self, now_us: int) -> int:
        """Whole days before expiry, negative after it. Renewal is impossible after expiry (facts 1.3)."""
        return (self.not_after_us - now_us) // 86_400_000_000


def microseconds(moment: datetime) -> int:
    """Aware datetime → int microseconds since the epoch, exact."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def load_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file, or the one of a DER file. Raises TlsError naming the file."""
    data = _read(path)
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except (ValueError, x509.InvalidVersion) as fault:
        raise TlsError(f"{path}: no readable certificate in it ({fault})") from fault


def load_crls(path: Path) -> list[x509.CertificateRevocationList]:
    """All CRLs of a PEM file. Raises TlsError naming the file."""
    data = _read(path)
    end = b"-----END X509 CRL-----"
    try:
        crls = [x509.load_pem_x509_crl(block + end + b"\n") for block in data.split(end)[:-1]]
    except ValueError as fault:
        raise TlsError(f"{path}: a CRL in it cannot be read ({fault})") from fault
    if not crls:
        raise TlsError(f"{path}: no PEM CRL in it")
    return crls


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise TlsError(f"{path}: {fault.strerror}") from fault


def describe(certificate: x509.Certificate) -> CertificateFacts:
    """The facts of one certificate. Raises DNError when its names are ambiguous."""
    der = certificate.public_bytes(Encoding.DER)
    return CertificateFacts(
        dn=dn_of_certificate(der),
        issuer=dn_of_name(certificate.issuer),
        serial=certificate.serial_number,
        fingerprint=fingerprint(der),
        not_before_us=microseconds(certificate.not_valid_before_utc),
        not_after_us=microseconds(certificate.not_valid_after_utc),
    )


def fingerprint(der: bytes) -> str:
    """SHA-256 of a DER certificate, lower-case hexadecimal."""
    return hashlib.sha256(der).hexdigest()


def peer_certificate(ssl_object: ssl.SSLObject | ssl.SSLSocket | None) -> bytes | None:
    """DER of the certificate that the other side presented and the handshake verified, or None."""
    if ssl_object is None:
        return None
    return ssl_object.getpeercert(binary_form=True)


def peer_dn(ssl_object: ssl.SSLObject | ssl.SSLSocket | None) -> DN | None:
    """The DN of the *operator* at the other side of a finished handshake, for comparison with the white list.

    None when there is no certificate, when its subject is ambiguous, or when it is not of the server kind (SERV SSL,
    the only one for exchanges between operators, facts 1.2): an ORG certificate passes the handshake as a client but
    names no operator. For any other purpose use `dn_of_certificate(peer_certificate(...))`.
    """
    der = peer_certificate(ssl_object)
    return operator_dn(der) if der else None


@lru_cache(maxsize=4096)
def operator_dn(der: bytes) -> DN | None:
    """`peer_dn` for a certificate that a handshake verified, given as DER."""
    return _dn_for(der, ExtendedKeyUsageOID.SERVER_AUTH)


@lru_cache(maxsize=4096)
def organisation_dn(der: bytes) -> DN | None:
    """The DN of the structure's software behind a certificate (DER) that a handshake verified; None when it is not of
    the kind ORG AUTH_CLI (facts 1.3, 3.1), which is for clients only, or when its name is not whole."""
    dn = _dn_for(der, ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
    return dn if dn is not None and dn.complete else None


def _dn_for(der: bytes, use: x509.ObjectIdentifier, not_use: x509.ObjectIdentifier | None = None) -> DN | None:
    """The DN of a certificate with the extended key usage ``use`` and without ``not_use``."""
    try:
        dn = dn_of_certificate(der)
        usage = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (DNError, ValueError, TypeError, *_ODD_EXTENSIONS):
        return None
    return dn if use in usage and not_use not in usage else None
