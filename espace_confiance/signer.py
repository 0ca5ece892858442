"""Who may sign the white list: pinned certificates, or a pinned issuing authority and the signer's name.

Invariants
- With pinned certificates the signer is one of them, octet for octet; another leaf of the same authority is not.
- With a pinned authority the signer is issued by it (signature verified), carries exactly the expected CN, and is a
  certificate for signing mail (S/MIME): a server's certificate of the same name is not a signer.
- The signer and the authorities above it, as far as they are pinned, were valid at DateDeGeneration.
- A signer that a CRL at hand names is refused, under either pin and whatever the dates: the key may be in other hands.
- Only ListeRefusee is raised, whatever the certificate's octets.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tls.certificates import TlsError, fingerprint, load_certificates, load_crls, microseconds
from tls.crl import Crl

SIGNER_CN = "alb.mssante.fr"
"""Whom the ANS has sign its list (facts 1.4). The certificate changes every three years, the name has not."""

_MIN_BITS = 2048
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
_ODD = (x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


class ListeRefusee(Exception):
    """A white list that must not be used; the message is the reason."""


@dataclass(frozen=True, slots=True)
class SignerPin:
    """The permitted signers. Either `certificates` (several while the ANS changes signer), or `authorities` and `cn`.

    authorities: the issuing one, and those above it when they are to be verified too. crls: those at hand.
    """

    certificates: tuple[x509.Certificate, ...] = ()
    authorities: tuple[x509.Certificate, ...] = ()
    cn: str = SIGNER_CN
    crls: tuple[Crl, ...] = ()

    @classmethod
    def from_pem(cls, path: Path) -> SignerPin:
        """Every certificate of a PEM file is a permitted signer. Raises ListeRefusee naming the file."""
        return SignerFiles(path).load()

    def signer(self, der: bytes) -> x509.Certificate:
        """The certificate that a list names as its signer, if it may be that. Raises ListeRefusee."""
        certificate = self._named(der)
        self._refuse_revoked(certificate)
        return certificate

    def permits(self, certificate: x509.Certificate) -> bool:
        """Is this certificate under the pin, revoked or not?"""
        try:
            self._named(certificate.public_bytes(Encoding.DER))
        except ListeRefusee:
            return False
        return True

    def check_dates(self, certificate: x509.Certificate, generated_us: int) -> None:
        """The signer and the pinned authorities above it must have been valid then. Raises ListeRefusee."""
        if not _valid_at(certificate, generated_us):
            raise ListeRefusee("the signer's certificate was not valid at DateDeGeneration")
        for authority in self._above(certificate):
            if not _valid_at(authority, generated_us):
                raise ListeRefusee(f"the authority {authority.subject.rfc4514_string()} was not valid then")

    def _named(self, der: bytes) -> x509.Certificate:
        return self._pinned(der) if self.certificates else self._issued(der)

    def _pinned(self, der: bytes) -> x509.Certificate:
        # Compared octet by octet: a certificate that is not ours is not even parsed.
        for pinned in self.certificates:
            if pinned.public_bytes(Encoding.DER) == der:
                return pinned
        raise ListeRefusee(f"signed by a certificate that is not the expected one (SHA-256 {fingerprint(der)})")

    def _issued(self, der: bytes) -> x509.Certificate:
        try:
            certificate = x509.load_der_x509_certificate(der)
            names = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            uses = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
            usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
            key = certificate.public_key()
        except x509.ExtensionNotFound:
            raise ListeRefusee("the signer's certificate does not say what it is for") from None
        except (*_UNREADABLE, *_ODD) as fault:
            raise ListeRefusee("the signer's certificate cannot be read") from fault
        if names != [self.cn]:
            raise ListeRefusee(f"signed by {names!r:.100}, not by {self.cn}")
        if ExtendedKeyUsageOID.EMAIL_PROTECTION not in uses or not usage.digital_signature:
            raise ListeRefusee("the signer's certificate is not one for signing (S/MIME)")
        if not isinstance(key, RSAPublicKey) or key.key_size < _MIN_BITS:
            raise ListeRefusee(f"the signer's key is not RSA of {_MIN_BITS} bits or more")
        if not self._above(certificate):
            raise ListeRefusee(f"the signer's certificate is not of the pinned authority (SHA-256 {fingerprint(der)})")
        return certificate

    def _above(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """The pinned authorities above a certificate, the issuing one first, each signature verified."""
        chain: list[x509.Certificate] = []
        while issuer := next((one for one in self.authorities if one not in chain and _issued(certificate, one)), None):
            chain.append(issuer)
            certificate = issuer
        return chain

    def _refuse_revoked(self, certificate: x509.Certificate) -> None:
        for each in (certificate, *self._above(certificate)):
            for crl in self.crls:
                if crl.issuer == each.issuer and crl.get_revoked_certificate_by_serial_number(each.serial_number):
                    raise ListeRefusee(f"the certificate of {each.subject.rfc4514_string()} was revoked")


@dataclass(frozen=True, slots=True)
class SignerFiles:
    """Where the pin stands. `authority`: PEM of the issuing CA, then `certificate` is not read. crl: those at hand."""

    certificate: Path
    authority: Path | None = None
    cn: str = SIGNER_CN
    crl: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that `load` reads."""
        return tuple(path for path in (self.authority or self.certificate, self.crl) if path is not None)

    def load(self) -> SignerPin:
        """The pin as the files say it now. Raises ListeRefusee naming the file; a CRL file may be missing."""
        try:
            certificates = tuple(load_certificates(self.authority or self.certificate))
        except TlsError as fault:
            raise ListeRefusee(f"signer certificate: {fault}") from fault
        try:
            crls = tuple(load_crls(self.crl)) if self.crl is not None and self.crl.exists() else ()
        except TlsError as fault:
            raise ListeRefusee(f"revocation of the signer: {fault}") from fault
        if self.authority is None:
            return SignerPin(certificates, crls=crls)
        for certificate in certificates:
            if not _is_authority(certificate):
                subject = certificate.subject.rfc4514_string()
                raise ListeRefusee(f"signer authority: {self.authority}: {subject} is not an authority")
        return SignerPin(authorities=certificates, cn=self.cn, crls=crls)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNREADABLE):
        return False
    hash_algorithm = certificate.signature_hash_algorithm
    return hash_algorithm is not None and hash_algorithm.name in ("sha256", "sha384", "sha512")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *_UNREADABLE, *_ODD):
        return False


def _valid_at(certificate: x509.Certificate, moment_us: int) -> bool:
    start, end = microseconds(certificate.not_valid_before_utc), microseconds(certificate.not_valid_after_utc)
    return start <= moment_us <= end
