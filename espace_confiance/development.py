"""A development trust space on disk: authority, certificates, signed white list and static routes.

Layout of the directory that created it (the *origin*), `pki/` and `espace/` of every operator:

    pki/authority/  (0700)   racine, organisations and signataire: certificates and keys; lock
    pki/ca.pem               root and intermediate to trust
    pki/crl.pem              both CRLs
    pki/operator.pem, .key   this operator's certificate with its chain; key 0600
    espace/listeblanche.xml  the signed list
    espace/signer.pem        the certificate that signs it
    espace/routes.toml       domain = "host:port"

Invariants
- An operator that joins has its own certificate and key; authority, CRL, list, signer and routes are symbolic links to
  the origin's files, so what one changes all see, and a joined directory can itself be joined.
- Every change of the shared files happens under one lock file and is whole: two joins at once lose nothing.
- Nothing is ever overwritten: a directory that already has `pki/` or `espace/` is refused, and a failed creation leaves
  neither behind.
- Times are int microseconds since the epoch, UTC.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from espace_confiance.liste_blanche import DOMAIN, Entree, ListeRefusee, SignerPin, read_liste, sign_liste
from espace_confiance.routes import RoutesError, read_routes, write_routes
from mssante.domain.address import AddressError, parse_address
from mssante.domain.identifiers import luhn_holds
from tls.authority import Authority, AuthorityError, Issued, Kind, Subject
from tls.files import replace_file, write_private
from tls.names import DNError, dn_of_certificate

SIGNER = Subject(cn="alb.test.mssante.fr", ou="300000000099622", o="TEST AGENCE DU NUMERIQUE EN SANTE")


class TrustSpaceError(ValueError):
    """The development trust space cannot be made or changed as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator to be: `name` is its O, `hostname` its CN, `domains` what it lists, (host, port) its MX.

    ou: `1` + FINESS or `3` + SIRET; empty: a fictive SIRET computed from the name. The citizens' domain is a domain
    like any other here.
    """

    name: str
    hostname: str
    domains: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 2500
    ou: str = ""


@dataclass(frozen=True, slots=True)
class TrustSpace:
    """The files that an operator's configuration names. crl, liste_blanche, signer and routes are the shared ones."""

    roots: Path
    certificate: Path
    key: Path
    crl: Path
    liste_blanche: Path
    signer: Path
    routes: Path


def create_trust_space(directory: Path, operator: Operator, *, now_us: int) -> TrustSpace:
    """Make a new trust space in `directory` with its first operator. Raises TrustSpaceError."""
    domains = _domains(operator)
    with _new_folders(directory) as (pki, espace):
        authority = Authority.create(pki / "authority", now_us)
        signer = authority.issue(SIGNER, Kind.SIGNER, now_us)
        write_private(authority.directory / "signataire.key", signer.key)
        for path in (authority.directory / "signataire.pem", espace / "signer.pem"):
            replace_file(path, signer.certificate.public_bytes(Encoding.PEM))
        replace_file(pki / "ca.pem", authority.roots)
        issued = _own_certificate(authority, operator, pki, now_us)
        key = _signer_key(authority)
        liste = sign_liste(_entries(operator, domains, issued, now_us), key, signer.certificate, now_us)
        replace_file(espace / "listeblanche.xml", liste)
        write_routes(espace / "routes.toml", dict.fromkeys(domains, (operator.host, operator.port)))
    return trust_space(directory)


def join_trust_space(directory: Path, other: Path, operator: Operator, *, now_us: int) -> TrustSpace:
    """Make `directory` an operator of the trust space of `other`, its domains in the shared list and routes.

    Raises TrustSpaceError: `other` has no trust space, or a domain is already served by another operator.
    """
    domains = _domains(operator)
    authority = _authority(other)
    shared = trust_space(_origin(authority))
    with _locked(authority), _new_folders(directory) as (pki, espace):
        try:
            liste = read_liste(shared.liste_blanche.read_bytes(), SignerPin.from_pem(shared.signer))
            routes = read_routes(shared.routes)
        except (ListeRefusee, RoutesError, OSError) as fault:
            raise TrustSpaceError(f"{other}: its trust space cannot be extended: {fault}") from fault
        if liste.signer_der != _signer(authority).public_bytes(Encoding.DER):
            raise TrustSpaceError(f"{other}: its white list is not signed by its test authority; nothing can join it")
        taken = [domain for domain in domains if domain in routes or liste.lists(domain)]
        if taken:
            raise TrustSpaceError(f"already served in this trust space: {', '.join(taken)}; choose another domain")
        replace_file(pki / "ca.pem", authority.roots)
        issued = _own_certificate(authority, operator, pki, now_us)
        for link, target in (
            (pki / "authority", authority.directory),
            (pki / "crl.pem", shared.crl),
            (espace / "listeblanche.xml", shared.liste_blanche),
            (espace / "signer.pem", shared.signer),
            (espace / "routes.toml", shared.routes),
        ):
            link.symlink_to(os.path.relpath(target, link.parent.resolve()))
        # Seconds are all that DateDeGeneration holds: a second join within one must still be newer.
        generated_us = max(now_us, liste.generated_us + 1_000_000)
        entries = [*liste.entries, *_entries(operator, domains, issued, now_us)]
        write_routes(shared.routes, routes | dict.fromkeys(domains, (operator.host, operator.port)))
        replace_file(
            shared.liste_blanche, sign_liste(entries, _signer_key(authority), _signer(authority), generated_us)
        )
    return trust_space(directory)


def issue_certificate(
    directory: Path,
    *,
    cn: str,
    ou: str,
    o: str,
    kind: Literal["serv", "org"],
    out: Path,
    now_us: int,
    expired: bool = False,
    revoked: bool = False,
) -> None:
    """A further test certificate of the authority of `directory`: `out/cert.pem` (with its chain) and `out/cert.key`.

    revoked: it is on the shared CRL when this returns. Raises TrustSpaceError; files of `out` are not overwritten.
    """
    authority = _authority(directory)
    if any((out / name).exists() for name in ("cert.pem", "cert.key")):
        raise TrustSpaceError(f"{out}: cert.pem or cert.key is already there; choose another directory")
    try:
        issued = authority.issue(Subject(cn=cn, ou=ou, o=o), Kind(kind), now_us, expired=expired)
        dn_of_certificate(issued.certificate.public_bytes(Encoding.DER))
    except (AuthorityError, DNError) as fault:
        raise TrustSpaceError(str(fault)) from fault
    if revoked:
        with _locked(authority):
            authority.revoke(issued.certificate, now_us)
    out.mkdir(parents=True, exist_ok=True)
    write_private(out / "cert.key", issued.key)
    replace_file(out / "cert.pem", issued.chain)


def trust_space(directory: Path) -> TrustSpace:
    """The files of an operator's directory, shared ones by their real path."""
    pki, espace = directory / "pki", directory / "espace"
    return TrustSpace(
        roots=pki / "ca.pem",
        certificate=pki / "operator.pem",
        key=pki / "operator.key",
        crl=(pki / "crl.pem").resolve(),
        liste_blanche=(espace / "listeblanche.xml").resolve(),
        signer=(espace / "signer.pem").resolve(),
        routes=(espace / "routes.toml").resolve(),
    )


def _origin(authority: Authority) -> Path:
    return authority.directory.parent.parent


def _authority(directory: Path) -> Authority:
    try:
        return Authority((directory / "pki" / "authority").resolve())
    except AuthorityError as fault:
        raise TrustSpaceError(f"{directory}: no development trust space there ({fault})") from fault


@contextmanager
def _locked(authority: Authority) -> Iterator[None]:
    """Alone with the shared files, across processes; the kernel lets go if we die."""
    with (authority.directory / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _new_folders(directory: Path) -> Iterator[tuple[Path, Path]]:
    """New `pki` and `espace`, removed again when their filling fails."""
    folders = (directory / "pki", directory / "espace")
    present = [str(folder) for folder in folders if os.path.lexists(folder)]
    if present:
        raise TrustSpaceError(f"{', '.join(present)} already there; nothing is overwritten, choose another directory")
    try:
        for folder in folders:
            folder.mkdir(parents=True)
        yield folders
    except BaseException as fault:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(fault, AuthorityError | DNError | OSError):
            raise TrustSpaceError(str(fault)) from fault
        raise


def _domains(operator: Operator) -> tuple[str, ...]:
    """The operator's domains as A-labels, each once. Raises TrustSpaceError."""
    if not operator.domains:
        raise TrustSpaceError("an operator needs at least one domain")
    if not operator.name.isprintable() or not operator.name.strip():
        raise TrustSpaceError(f"not a name for an operator: {operator.name!r}")
    domains = []
    for text in operator.domains:
        try:
            domain = parse_address(f"postmaster@{text}").domain
        except AddressError as fault:
            raise TrustSpaceError(f"not a domain: {text!r} ({fault})") from fault
        if DOMAIN.fullmatch(domain) is None:
            raise TrustSpaceError(f"not a domain: {text!r} (at least two labels, like cabinet.mssante.example)")
        domains.append(domain)
    return tuple(dict.fromkeys(domains))


def _own_certificate(authority: Authority, operator: Operator, pki: Path, now_us: int) -> Issued:
    ou = operator.ou or _fictive_siret(f"{operator.name}\n{operator.hostname}")
    issued = authority.issue(Subject(cn=operator.hostname, ou=ou, o=operator.name), Kind.SERV, now_us)
    write_private(pki / "operator.key", issued.key)
    replace_file(pki / "operator.pem", issued.chain)
    return issued


def _fictive_siret(seed: str) -> str:
    """`3` + a SIRET whose keys hold and whose SIREN begins with 000, as test certificates of IGC-Santé have it."""
    siren = f"000{int(hashlib.sha256(seed.encode()).hexdigest(), 16) % 100_000:05d}"
    siren += next(key for key in "0123456789" if luhn_holds(siren + key))
    siret = f"{siren}0001"
    return "3" + siret + next(key for key in "0123456789" if luhn_holds(siret + key))


def _entries(operator: Operator, domains: tuple[str, ...], issued: Issued, now_us: int) -> list[Entree]:
    dn = dn_of_certificate(issued.certificate.public_bytes(Encoding.DER))
    return [
        Entree(
            nom=domain,
            description=f"Domaine de messagerie MSSanté de test de {operator.name}",
            dn=dn,
            dn_text=str(dn),
            responsable=f"00 00 00 00 00, postmaster@{domain}",
            support=f"00 00 00 00 00, postmaster@{domain}",
            maj_us=now_us,
        )
        for domain in domains
    ]


def _signer(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificate((authority.directory / "signataire.pem").read_bytes())


def _signer_key(authority: Authority) -> RSAPrivateKey:
    key = load_pem_private_key((authority.directory / "signataire.key").read_bytes(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise TrustSpaceError(f"{authority.directory}: the signer's key is not RSA")
    return key
