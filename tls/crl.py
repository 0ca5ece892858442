"""Certificate revocation lists (RFC 5280 §5): read, judged, ordered in time, and where they are published.

Invariants
- `read_crl` and `replaced` raise nothing but CrlRefused, whatever the octets; its message is the reason.
- A CRL is kept only when a trusted authority of its issuer's name signed it, with SHA-2.
- A CRL never goes back: neither its number nor its thisUpdate may be lower than those of the one that is held.
- What OpenSSL would not understand at the handshake, and then refuse everybody for, is refused here: delta and
  indirect CRLs, those of some reasons only, unknown critical extensions.
- Times are int microseconds since the epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from tls.certificates import microseconds
from tls.names import DNError, dn_of_name

MAX_BYTES = 32 * 1024 * 1024
_HASHES = {"sha256", "sha384", "sha512"}
# What cryptography's readers raise for octets that are no certificate, no CRL, or an odd one.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)

Crl = x509.CertificateRevocationList


class CrlRefused(ValueError):
    """A CRL that must not be used; the message is the reason."""


@dataclass(frozen=True, slots=True)
class CrlFacts:
    """The revocation list in force of one authority (its CN), or that there is none (`held` False).

    revoked: how many certificates it names. next_update_us: until when it counts, 0 when it does not say.
    """

    issuer: str
    revoked: int
    next_update_us: int
    held: bool = True

    def current(self, now_us: int) -> bool:
        """Does it count at this moment?"""
        return self.held and (not self.next_update_us or now_us < self.next_update_us)


def remaining_s(crls: Iterable[CrlFacts], now_us: int) -> float:
    """Seconds until the first of them expires, -1 when one is missing, infinite without any that does."""
    left = [
        (crl.next_update_us - now_us) / 1e6 if crl.held else -1.0 for crl in crls if crl.next_update_us or not crl.held
    ]
    return min(left, default=float("inf"))


def read_crl(data: bytes) -> Crl:
    """A CRL as published: DER, or one PEM block. Raises CrlRefused."""
    try:
        textual = data.lstrip()[:11] == b"-----BEGIN "
        crl = x509.load_pem_x509_crl(data) if textual else x509.load_der_x509_crl(data)
    except _UNREADABLE as fault:
        raise CrlRefused(f"no readable CRL ({_why(fault)})") from fault
    return checked(crl)


def checked(crl: Crl) -> Crl:
    """The same CRL, all that is used later looked at (the library reads lazily). Raises CrlRefused."""
    try:
        return _sound(crl)
    except _UNREADABLE as fault:
        if isinstance(fault, CrlRefused):
            raise
        raise CrlRefused(f"no readable CRL ({_why(fault)})") from fault


def _why(fault: BaseException) -> str:
    return str(fault)[:200] or type(fault).__name__


def _sound(crl: Crl) -> Crl:
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.IssuingDistributionPoint):
            if value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs:
                raise CrlRefused("an indirect or partial CRL cannot be used")
        elif extension.oid == ExtensionOID.DELTA_CRL_INDICATOR:
            raise CrlRefused("a delta CRL cannot be used: name the complete one")
        elif extension.critical:
            raise CrlRefused(f"unknown critical extension {extension.oid.dotted_string}")
    algorithm = crl.signature_hash_algorithm
    if algorithm is None or algorithm.name not in _HASHES:
        raise CrlRefused(f"signed with {algorithm.name if algorithm else 'an unknown algorithm'}, not SHA-2")
    facts_of(crl)
    crl.get_revoked_certificate_by_serial_number(0)
    return crl


def facts_of(crl: Crl) -> CrlFacts:
    """The facts of a CRL. Raises CrlRefused when its issuer's name is ambiguous."""
    until = crl.next_update_utc
    try:
        issuer = dn_of_name(crl.issuer).cn
    except DNError as fault:
        raise CrlRefused(f"its issuer: {fault}") from fault
    return CrlFacts(issuer, len(crl), microseconds(until) if until else 0)


def signed_by(crl: Crl, authority: x509.Certificate) -> bool:
    """Is this authority the issuer by name, and does its key verify the signature?"""
    if crl.issuer != authority.subject:
        return False
    try:
        return crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # other key kinds raise TypeError
    except (InvalidSignature, *_UNREADABLE):
        return False


def replaced(held: Sequence[Crl], new: Crl, authorities: Sequence[x509.Certificate], now_us: int) -> tuple[Crl, ...]:
    """The CRLs to hold once `new` has come: itself in the place of the one it follows. The same `held` when it is
    known already; what no trusted authority signs any more is left out. Raises CrlRefused: not of a trusted authority,
    older than the one held, or not yet valid."""
    name, scope = facts_of(new).issuer, _scope(new, authorities)
    if scope is None:
        raise CrlRefused(f"the CRL of {name} is not signed by a trusted authority")
    if microseconds(new.last_update_utc) > now_us:
        raise CrlRefused(f"the CRL of {name} is of {new.last_update_utc:%Y-%m-%dT%H:%M:%SZ}, in the future")
    kept = []
    for old in held:
        other = _scope(old, authorities)
        if other == scope and old != new and (_number(new) < _number(old) or new.last_update_utc < old.last_update_utc):
            raise CrlRefused(
                f"the CRL of {name} (number {_number(new)}) is older than the one held (number {_number(old)})"
            )
        if old == new or other not in (scope, None):
            kept.append(old)
    return tuple(kept) if new in kept else (*kept, new)


def pem(crls: Iterable[Crl]) -> bytes:
    """One PEM file of them all."""
    return b"".join(crl.public_bytes(Encoding.PEM) for crl in crls)


def distribution_points(certificates: Iterable[x509.Certificate]) -> tuple[str, ...]:
    """The http and https addresses where the certificates say that their issuers' CRLs are, each once; no LDAP."""
    found: dict[str, None] = {}
    for certificate in certificates:
        try:
            points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        except (x509.ExtensionNotFound, *_UNREADABLE):
            continue
        for point in points:
            for name in point.full_name or ():
                if isinstance(name, x509.UniformResourceIdentifier) and name.value.startswith(("http://", "https://")):
                    found[name.value] = None
    return tuple(found)


def _number(crl: Crl) -> int:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def _scope(crl: Crl, authorities: Iterable[x509.Certificate]) -> tuple[bytes, bytes] | None:
    """CRLs of one scope follow each other: the key that signs them, the part of its certificates. None: untrusted."""
    signer = next((authority for authority in authorities if signed_by(crl, authority)), None)
    if signer is None:
        return None
    part = b""
    for extension in crl.extensions:
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            part = extension.value.public_bytes()
    return signer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), part
