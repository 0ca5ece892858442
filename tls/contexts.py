"""The one place that builds an `ssl.SSLContext`.

Invariants
- TLS 1.2 at least; TLS 1.2 suites are ECDHE with AES-GCM only; no compression, no renegotiation.
- Between operators both sides verify chain, dates, purpose (extended key usage) and, when a CRL file is named, the
  revocation of every certificate of the chain (`VERIFY_CRL_CHECK_CHAIN`). A missing or expired CRL refuses everybody
  of that authority: `crls` says so in time. Only with `crl_required` False does the handshake go on without it; even
  then a certificate that a held CRL names is refused, and every connection accepted so leaves a line in the log.
- A context is never changed after it was made: changed files make new contexts, used by the connections that start
  afterwards. Swapping `.context` in an SNI callback would leave the old roots and CRLs in force (measured), so it is
  not done. Edges therefore ask `Contexts` for the context of *each* connection.
- Faulty new files leave the old contexts in force.
- No session tickets: a resumed session would skip the revocation check, and making two of them costs a mutual
  handshake 0.29 ms of the server's CPU (1.05 instead of 0.76 ms, RSA 2048; 0.04 of it are the CRLs).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tls.certificates import CertificateFacts, TlsError, describe, load_certificates, load_crls
from tls.crl import Crl, CrlFacts, CrlRefused, checked, facts_of, signed_by
from tls.leniency import Revoked, unchecked
from tls.names import DNError, dn_of_name

TLS12_SUITES = "ECDHE+AESGCM"

_Stamp = tuple[tuple[int, int, int], ...]


class FilesChanging(TlsError):
    """The files were being written while they were read."""


class _Verifying(NamedTuple):
    """The contexts that verify who is at the other side."""

    mx_server: ssl.SSLContext
    client_server: ssl.SSLContext
    outbound: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class _Made:
    stamp: _Stamp
    strict: _Verifying
    lenient: _Verifying | None
    """For the time when a CRL is missing or expired and the settings accept that."""
    https_client: ssl.SSLContext
    certificate: CertificateFacts
    crls: tuple[CrlFacts, ...]

    @property
    def verifying(self) -> _Verifying:
        # OpenSSL judges CRLs by the machine's clock, and so does this.
        now_us = time.time_ns() // 1000
        return self.strict if self.lenient is None or all(crl.current(now_us) for crl in self.crls) else self.lenient


class Contexts:
    """The operator's TLS contexts from its four files (PEM). The constructor raises TlsError naming the faulty file.

    certificate: own certificate followed by its chain. key: its private key, not encrypted. roots: authorities trusted
    for other operators. crl: CRLs of *all* these authorities in one file, or None for no revocation check; it may be
    missing, or lack some (`crls` says so), until they have been fetched. crl_required: what is missing or expired
    refuses; False: it does not. client_certificates: users' software is asked for one.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        roots: Path,
        crl: Path | None,
        *,
        crl_required: bool = True,
        client_certificates: bool = True,
    ) -> None:
        self._certificate, self._key, self._roots, self._crl = certificate, key, roots, crl
        self._crl_required, self._client_certificates = crl_required, client_certificates
        self._made = self._make(())

    def mx_server(self) -> ssl.SSLContext:
        """Server side between operators: the client's certificate is required and verified."""
        return self._made.verifying.mx_server

    def client_server(self) -> ssl.SSLContext:
        """Server side for users (submission, IMAP). Software may show its certificate (ORG AUTH_CLI): it is verified as
        between operators, and a bad one ends the handshake; whoever shows none is none the worse. Not asked for at all
        without `client_certificates`."""
        return self._made.verifying.client_server

    def outbound(self) -> ssl.SSLContext:
        """Client side between operators: presents the own certificate and verifies the server's.

        The host name is not checked: the name that counts is the DN, compared by the caller with the white list
        (`peer_dn`) before MAIL. A refused client certificate shows at the first read after a TLS 1.3 handshake.
        """
        return self._made.verifying.outbound

    def https_client(self) -> ssl.SSLContext:
        """Client side towards the authority's web servers: chain and host name verified, no certificate shown.

        Revocation is not asked for: CRLs are fetched through here, and what is fetched is signed.
        """
        return self._made.https_client

    @property
    def certificate(self) -> CertificateFacts:
        """The own certificate in force."""
        return self._made.certificate

    @property
    def crls(self) -> tuple[CrlFacts, ...]:
        """One for each trusted authority, `held` or not, in the order of the roots; none when no CRL file is named."""
        return self._made.crls

    @property
    def crl_required(self) -> bool:
        """Does a missing or expired CRL refuse?"""
        return self._crl_required

    def reload(self) -> bool:
        """Make new contexts if a file changed; True when new ones are in force.

        Raises TlsError (file and reason) when the new files cannot be used; the old contexts stay in force and the next
        call tries again. Reads files and keys: call it in a thread, not on the loop.
        """
        if self._stamp() == self._made.stamp:
            return False
        try:
            self._made = self._make(self._made.crls)
        except FilesChanging:
            # Somebody is just writing them: no fault, the next call finds them whole.
            return False
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
                if path == self._crl and isinstance(fault, FileNotFoundError):
                    stamps.append((0, 0, 0))
                    continue
                raise TlsError(f"{path}: {fault.strerror}") from fault
            stamps.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(stamps)

    def _make(self, before: tuple[CrlFacts, ...]) -> _Made:
        stamp = self._stamp()
        facts = self._own_certificate()
        roots = self._authorities()
        present = self._crl is not None and stamp[-1] != (0, 0, 0)
        crls = self._checked_crls(roots) if present else []
        states = self._states(roots, crls, before) if self._crl is not None else ()
        lenient = None
        if self._crl is not None and not self._crl_required:
            accepting = unchecked(Revoked.by(crls, roots))
            lenient = self._verifying(crl=False)
            for context in lenient:
                context.sslobject_class = accepting
        made = _Made(
            stamp=stamp,
            strict=self._verifying(crl=present),
            lenient=lenient,
            https_client=https_client(self._roots),
            certificate=facts,
            crls=states,
        )
        if not present and self._crl is not None:
            # Without a list every check ends in a refusal: that is what is wanted.
            for context in made.strict:
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        if self._stamp() != stamp:
            raise FilesChanging(f"{self._certificate.parent}: the files changed while they were read; try again")
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

    def _checked_crls(self, roots: list[x509.Certificate]) -> list[Crl]:
        """The CRLs of the file; each must be signed by a trusted authority."""
        assert self._crl is not None
        try:
            crls = [checked(crl) for crl in load_crls(self._crl)]
        except CrlRefused as fault:
            raise TlsError(f"{self._crl}: {fault}") from fault
        for crl in crls:
            if not any(signed_by(crl, root) for root in roots):
                issuer = crl.issuer.rfc4514_string()
                raise TlsError(f"{self._crl}: the CRL of {issuer} is not signed by a trusted authority")
        return crls

    def _states(
        self, roots: list[x509.Certificate], crls: Sequence[Crl], before: tuple[CrlFacts, ...]
    ) -> tuple[CrlFacts, ...]:
        """How each authority stands. One that had its CRL and is without one now is a fault of the new file."""
        states = []
        for name in dict.fromkeys(root.subject for root in roots):
            own = [facts_of(crl) for crl in crls if crl.issuer == name]
            try:
                missing = CrlFacts(dn_of_name(name).cn, 0, 0, held=False)
            except DNError as fault:
                raise TlsError(f"{self._roots}: {fault}") from fault
            states.append(min(own, key=lambda crl: crl.next_update_us, default=missing))
        lost = {crl.issuer for crl in before if crl.held} & {crl.issuer for crl in states if not crl.held}
        if lost:
            names = "; ".join(sorted(lost))
            raise TlsError(f"{self._crl}: no CRL of {names} any more: their certificates would be refused")
        return tuple(states)

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

    def _verifying(self, *, crl: bool) -> _Verifying:
        asked = ssl.CERT_OPTIONAL if self._client_certificates else ssl.CERT_NONE
        return _Verifying(
            self._context(ssl.PROTOCOL_TLS_SERVER, ssl.CERT_REQUIRED, crl=crl),
            self._context(ssl.PROTOCOL_TLS_SERVER, asked, crl=crl),
            self._context(ssl.PROTOCOL_TLS_CLIENT, ssl.CERT_REQUIRED, crl=crl),
        )

    def _context(self, protocol: ssl._SSLMethod, asked: ssl.VerifyMode, *, crl: bool) -> ssl.SSLContext:
        context = self._own(protocol)
        context.check_hostname = False
        context.verify_mode = asked
        try:
            context.load_verify_locations(self._roots)
            if crl and self._crl is not None:
                context.load_verify_locations(self._crl)
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        except (ssl.SSLError, OSError) as fault:
            raise TlsError(f"{self._roots}: {fault}") from fault
        return context


def https_client(roots: Path | None) -> ssl.SSLContext:
    """Client side towards web servers: chain and host name verified, no certificate shown. None: the roots of this
    machine. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the chain and the host's name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS12_SUITES)
    try:
        if roots is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(roots)
    except (ssl.SSLError, OSError) as fault:
        raise TlsError(f"{roots}: {fault}") from fault
    return context
