"""The one place that builds an `ssl.SSLContext`.

Invariants
- TLS 1.2 at least; TLS 1.2 suites are ECDHE with AES-GCM only; no compression, no renegotiation.
- Between operators both sides verify chain, dates, purpose (extended key usage) and, when a CRL file is named, the
  revocation of every certificate of the chain (`VERIFY_CRL_CHECK_CHAIN`). A missing or expired CRL refuses everybody:
  it is for `status` to warn before, never for the handshake to look away.
- A context is never changed after it was made: changed files make new contexts, used by the connections that start
  afterwards. Swapping `.context` in an SNI callback would leave the old roots and CRLs in force (measured), so it is
  not done. Edges therefore ask `Contexts` for the context of *each* connection.
- Faulty new files leave the old contexts in force.
- No session tickets: a resumed session would skip the revocation check, and making two of them costs a mutual
  handshake 0.29 ms of the server's CPU (1.05 instead of 0.76 ms, RSA 2048; 0.04 of it are the CRLs).
"""

from __future__ import annotations

import asyncio.sslproto
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from tls.certificates import CertificateFacts, TlsError, describe, load_certificates, load_crls, microseconds
from tls.names import DNError, dn_of_name

TLS12_SUITES = "ECDHE+AESGCM"
SSL_BUFFER = 16 * 1024 + 512
"""One whole TLS record (16,384 octets and its envelope). A buffer of exactly 16 KB cuts every full record in two."""

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class CrlFacts:
    """One revocation list in force: issuer's CN, number of revoked certificates, expiry (0 = never)."""

    issuer: str
    revoked: int
    next_update_us: int


@dataclass(frozen=True, slots=True)
class _Made:
    stamp: _Stamp
    mx_server: ssl.SSLContext
    client_server: ssl.SSLContext
    outbound: ssl.SSLContext
    certificate: CertificateFacts
    crls: tuple[CrlFacts, ...]


class Contexts:
    """The operator's TLS contexts from its four files (PEM). The constructor raises TlsError naming the faulty file.

    certificate: own certificate followed by its chain. key: its private key, not encrypted. roots: authorities trusted
    for other operators. crl: CRLs of *all* these authorities in one file, or None for no revocation check.
    """

    def __init__(self, certificate: Path, key: Path, roots: Path, crl: Path | None) -> None:
        self._certificate, self._key, self._roots, self._crl = certificate, key, roots, crl
        self._made = self._make()

    def mx_server(self) -> ssl.SSLContext:
        """Server side between operators: the client's certificate is required and verified."""
        return self._made.mx_server

    def client_server(self) -> ssl.SSLContext:
        """Server side for users (submission, IMAP, portal): no client certificate is asked for."""
        return self._made.client_server

    def outbound(self) -> ssl.SSLContext:
        """Client side between operators: presents the own certificate and verifies the server's.

        The host name is not checked: the name that counts is the DN, compared by the caller with the white list
        (`peer_dn`) before MAIL. A refused client certificate shows at the first read after a TLS 1.3 handshake.
        """
        return self._made.outbound

    @property
    def certificate(self) -> CertificateFacts:
        """The own certificate in force."""
        return self._made.certificate

    @property
    def crls(self) -> tuple[CrlFacts, ...]:
        """The revocation lists in force; empty when none is named."""
        return self._made.crls

    def reload(self) -> bool:
        """Make new contexts if a file changed; True when new ones are in force.

        Raises TlsError (file and reason) when the new files cannot be used; the old contexts stay in force and the next
        call tries again. Reads files and keys: call it in a thread, not on the loop.
        """
        if self._stamp() == self._made.stamp:
            return False
        self._made = self._make()
        return True

    def _paths(self) -> tuple[Path, ...]:
        paths = (self._certificate, self._key, self._roots)
        return paths if self._crl is None else (*paths, self._crl)

    def _stamp(self) -> _Stamp:
        stamps = []
        for path in self._paths():
            try:
                stat = path.stat()
            except OSError as fault:
                raise TlsError(f"{path}: {fault.strerror}") from fault
            stamps.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(stamps)

    def _make(self) -> _Made:
        stamp = self._stamp()
        facts = self._own_certificate()
        roots = self._authorities()
        crls = self._revocations(roots)
        made = _Made(
            stamp=stamp,
            mx_server=self._between_operators(ssl.PROTOCOL_TLS_SERVER),
            client_server=self._own(ssl.PROTOCOL_TLS_SERVER),
            outbound=self._between_operators(ssl.PROTOCOL_TLS_CLIENT),
            certificate=facts,
            crls=crls,
        )
        if self._stamp() != stamp:
            raise TlsError(f"{self._certificate.parent}: the files changed while they were read; try again")
        return made

    def _own_certificate(self) -> CertificateFacts:
        """The own certificate, checked against its key here so that the fault has a name, not an OpenSSL code."""
        leaf = load_certificates(self._certificate)[0]
        try:
            key = serialization.load_pem_private_key(self._key.read_bytes(), password=None)
        except OSError as fault:
            raise TlsError(f"{self._key}: {fault.strerror}") from fault
        except TypeError:
            raise TlsError(f"{self._key}: the key is encrypted; a server cannot ask for its password") from None
        except ValueError as fault:
            raise TlsError(f"{self._key}: no readable private key in it ({fault})") from fault
        if key.public_key() != leaf.public_key():
            raise TlsError(f"{self._key}: not the key of the certificate {self._certificate}")
        try:
            return describe(leaf)
        except DNError as fault:
            raise TlsError(f"{self._certificate}: {fault}") from fault

    def _authorities(self) -> list[x509.Certificate]:
        roots = load_certificates(self._roots)
        for certificate in roots:
            try:
                constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
            except (x509.ExtensionNotFound, ValueError):
                constraints = None
            if constraints is None or not constraints.ca:
                raise TlsError(f"{self._roots}: {certificate.subject.rfc4514_string()} is not an authority")
        return roots

    def _revocations(self, roots: list[x509.Certificate]) -> tuple[CrlFacts, ...]:
        """The CRLs' facts; each must be signed by a trusted authority, and each authority must have one."""
        if self._crl is None:
            return ()
        facts = []
        silent = {root.subject for root in roots}
        for crl in load_crls(self._crl):
            issuers = [root for root in roots if root.subject == crl.issuer]
            if not any(_signed_by(crl, root) for root in issuers):
                issuer = crl.issuer.rfc4514_string()
                raise TlsError(f"{self._crl}: the CRL of {issuer} is not signed by a trusted authority")
            silent.discard(crl.issuer)
            until = crl.next_update_utc
            facts.append(CrlFacts(dn_of_name(crl.issuer).cn, len(crl), microseconds(until) if until else 0))
        if silent:
            names = "; ".join(sorted(name.rfc4514_string() for name in silent))
            raise TlsError(f"{self._crl}: no CRL of {names}: every certificate would be refused")
        return tuple(facts)

    def _own(self, protocol: ssl._SSLMethod) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(TLS12_SUITES)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        try:
            context.load_cert_chain(self._certificate, self._key)
        except (ssl.SSLError, OSError) as fault:
            raise TlsError(f"{self._certificate}: {fault}") from fault
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
        return context

    def _between_operators(self, protocol: ssl._SSLMethod) -> ssl.SSLContext:
        context = self._own(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(self._roots)
            if self._crl is not None:
                context.load_verify_locations(self._crl)
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        except (ssl.SSLError, OSError) as fault:
            raise TlsError(f"{self._roots}: {fault}") from fault
        return context


def _signed_by(crl: x509.CertificateRevocationList, root: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(root.public_key())  # type: ignore[arg-type]  # other key kinds raise TypeError
    except (TypeError, InvalidSignature):
        return False


def slim_ssl_buffers() -> None:
    """Make asyncio's buffer of a TLS connection one record instead of 256 KB. Once, before the first connection.

    Each `SSLProtocol` allocates and touches `max_size` octets at once. Measured on 3.11, resident octets of an idle
    mutual TLS connection / CPU to receive 10 MB: 256 KB 268 KB / 9 ms; 64 KB 75 KB / 10 ms; one record 30 KB / 12 ms.
    """
    asyncio.sslproto.SSLProtocol.max_size = SSL_BUFFER
