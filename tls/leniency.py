"""Handshakes that go on without a current CRL, when the operator's settings accept that.

Invariants
- Only what cannot be known is let pass: a certificate that a held CRL names is refused, however old that CRL is, and
  so is one whose issuer, as far as the trusted authorities tell, was revoked.
- Every handshake that ends well here leaves a warning in the log, with the peer's name.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from cryptography import x509

from tls.certificates import operator_dn
from tls.crl import Crl

log = structlog.get_logger("tls")

_X509_V_ERR_CERT_REVOKED = 23
_REVOKED = "certificate revoked (by a list that is no longer current)"


@dataclass(frozen=True, slots=True)
class Revoked:
    """Certificates by (issuer's name in DER, serial number), and the names (DER) of revoked authorities."""

    certificates: frozenset[tuple[bytes, int]]
    authorities: frozenset[bytes]

    @classmethod
    def by(cls, crls: Sequence[Crl], roots: Sequence[x509.Certificate]) -> Revoked:
        """What these verified CRLs say."""
        named = frozenset((crl.issuer.public_bytes(), entry.serial_number) for crl in crls for entry in crl)
        fallen: set[bytes] = set()
        for _ in roots:  # as many rounds as a chain can have links
            fallen |= {
                root.subject.public_bytes()
                for root in roots
                if root.issuer.public_bytes() in fallen or (root.issuer.public_bytes(), root.serial_number) in named
            }
        return cls(named, frozenset(fallen))

    def names(self, der: bytes) -> bool:
        """Is this certificate (DER, verified by the handshake) revoked?"""
        certificate = x509.load_der_x509_certificate(der)
        issuer = certificate.issuer.public_bytes()
        return issuer in self.authorities or (issuer, certificate.serial_number) in self.certificates


def unchecked(revoked: Revoked) -> type[ssl.SSLObject]:
    """The `sslobject_class` of a context without CRLs: it asks `revoked` at the end of each handshake."""

    class Unchecked(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            der = self.getpeercert(binary_form=True)
            if der is None:
                return
            if revoked.names(der):
                fault = ssl.SSLCertVerificationError(1, _REVOKED)
                fault.verify_code, fault.verify_message = _X509_V_ERR_CERT_REVOKED, _REVOKED
                raise fault
            log.warning("accepted without a current revocation list", peer=str(operator_dn(der)))

    return Unchecked
