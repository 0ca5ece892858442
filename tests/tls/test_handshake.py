"""Real sockets on loopback: who gets through the handshake, in both directions, on TLS 1.2 and 1.3."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.tls.conftest import NOW_US, OTHER, OWN, YEAR_US, Pki
from tls.authority import Issued, Kind, key_pem, new_key
from tls.certificates import TlsError, peer_dn
from tls.contexts import Contexts
from tls.files import replace_file, write_private
from tls.names import DN

# What a refused handshake looks like: an alert, or the connection simply ends.
REFUSED = (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)


@asynccontextmanager
async def listening(context: Callable[[], ssl.SSLContext]) -> AsyncIterator[tuple[int, list[DN | None]]]:
    """A server that upgrades each connection with the context of that moment, says hello and notes the peer's name."""
    seen: list[DN | None] = []
    loop = asyncio.get_running_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await writer.start_tls(context())
            seen.append(peer_dn(writer.get_extra_info("ssl_object")))
            writer.write(b"hello\n")
            await writer.drain()
            await reader.read(1)
        except REFUSED:
            return
        finally:
            writer.close()

    # start_tls on the server side reports a failed handshake to its caller and, once more, to the loop's handler.
    loop.set_exception_handler(lambda _, __: None)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()
        await server.wait_closed()


async def call(port: int, context: ssl.SSLContext) -> DN | None:
    """Connect, finish the handshake, and read: a refusal in TLS 1.3 shows only then. The server's name."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await writer.start_tls(context, server_hostname="localhost")
        assert await reader.readexactly(6) == b"hello\n"
        return peer_dn(writer.get_extra_info("ssl_object"))
    finally:
        writer.close()


async def meet(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[DN | None, DN | None]:
    """(the client as the server sees it, the server as the client sees it)"""
    async with listening(lambda: server) as (port, seen):
        server_dn = await call(port, client)
        return seen[0], server_dn


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["tls1.2", "tls1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    chosen: ssl.TLSVersion = request.param
    return chosen


def client_of(contexts: Contexts, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = contexts.outbound()
    context.minimum_version = context.maximum_version = version
    return context


async def test_two_operators_know_each_other(pki: Pki, version: ssl.TLSVersion) -> None:
    own, other = pki.side(pki.issue(OWN)), pki.side(pki.issue(OTHER))
    client, server = await meet(own.mx_server(), client_of(other, version))
    assert client is not None and server is not None
    assert (client.cn, client.ou, client.o) == (OTHER.cn, OTHER.ou, OTHER.o)
    assert (server.cn, server.ou, server.o) == (OWN.cn, OWN.ou, OWN.o)


def self_signed(key: rsa.RSAPrivateKey, *, authority: bool = False) -> x509.Certificate:
    """A certificate of nobody, with every right it could wish for."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, OTHER.cn)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .sign(key, hashes.SHA256())
    )


def signed_by_a_leaf(pki: Pki) -> Issued:
    """An operator plays authority with its own certificate."""
    leaf = pki.issue(OTHER)
    key = new_key()
    parent_key = load_pem_private_key(leaf.key, None)
    assert isinstance(parent_key, rsa.RSAPrivateKey)
    forged = (
        x509.CertificateBuilder()
        .subject_name(OWN.name())
        .issuer_name(leaf.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(leaf.certificate.not_valid_before_utc)
        .not_valid_after(leaf.certificate.not_valid_after_utc)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .sign(parent_key, hashes.SHA256())
    )
    return Issued(forged, forged.public_bytes(Encoding.PEM) + leaf.chain, key_pem(key))


def wrong(case: str, pki: Pki, namesake: Pki) -> Issued:
    match case:
        case "expired":
            return pki.issue(expired=True)
        case "revoked":
            issued = pki.issue()
            pki.authority.revoke(issued.certificate, NOW_US)
            return issued
        case "another authority of the same name":
            return namesake.issue()
        case "unknown, self-signed":
            key = new_key()
            certificate = self_signed(key)
            return Issued(certificate, certificate.public_bytes(Encoding.PEM), key_pem(key))
        case "signed by an operator":
            return signed_by_a_leaf(pki)
        case _:
            return pki.issue(kind=Kind.SIGNER)  # made for signing mail, neither client nor server


CASES = [
    "expired",
    "revoked",
    "another authority of the same name",
    "unknown, self-signed",
    "signed by an operator",
    "not meant for this use",
]


@pytest.mark.parametrize("case", CASES)
async def test_wrong_client_is_turned_away(case: str, pki: Pki, namesake: Pki, version: ssl.TLSVersion) -> None:
    bad = wrong(case, pki, namesake)
    own = pki.side(pki.issue(OWN))
    async with listening(own.mx_server) as (port, seen):
        with pytest.raises(REFUSED):
            await call(port, client_of(pki.side(bad), version))
        assert seen == []
        await call(port, client_of(pki.side(pki.issue()), version))
        assert len(seen) == 1


@pytest.mark.parametrize("case", [*CASES, "client only"])
async def test_wrong_server_is_not_spoken_to(case: str, pki: Pki, namesake: Pki, version: ssl.TLSVersion) -> None:
    bad = pki.issue(kind=Kind.ORG) if case == "client only" else wrong(case, pki, namesake)
    own = pki.side(pki.issue(OWN))
    async with listening(pki.side(bad).client_server) as (port, _):
        with pytest.raises(ssl.SSLCertVerificationError):
            await call(port, client_of(own, version))


async def test_client_without_certificate_is_turned_away(pki: Pki, version: ssl.TLSVersion) -> None:
    own = pki.side(pki.issue(OWN))
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.load_verify_locations(pki.roots)
    bare.minimum_version = bare.maximum_version = version
    with pytest.raises(REFUSED):
        await meet(own.mx_server(), bare)
    client, server = await meet(own.client_server(), bare)
    assert client is None
    assert server is not None and server.cn == OWN.cn


async def test_an_org_certificate_is_a_client_but_no_operator(pki: Pki) -> None:
    own = pki.side(pki.issue(OWN))
    client, _ = await meet(own.mx_server(), pki.side(pki.issue(kind=Kind.ORG)).outbound())
    assert client is None


async def test_tls_before_1_2_and_weak_suites_are_refused(pki: Pki) -> None:
    own, other = pki.side(pki.issue(OWN)), pki.side(pki.issue(OTHER))
    weak = client_of(other, ssl.TLSVersion.TLSv1_2)
    weak.set_ciphers("ECDHE+AESGCM")
    await meet(own.mx_server(), weak)
    weak.set_ciphers("AES128-SHA256:ECDHE-RSA-AES128-SHA256:AES128-GCM-SHA256")
    with pytest.raises(REFUSED):
        await meet(own.mx_server(), weak)
    with pytest.warns(DeprecationWarning, match="deprecated"):
        weak.minimum_version, weak.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    weak.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(REFUSED):
        await meet(own.mx_server(), weak)


async def test_a_revoked_intermediate_brings_down_its_leaves(pki: Pki) -> None:
    directory = pki.authority.directory
    ca = x509.load_pem_x509_certificate((directory / "organisations.pem").read_bytes())
    root_key = load_pem_private_key((directory / "racine.key").read_bytes(), None)
    assert isinstance(root_key, rsa.RSAPrivateKey)
    now = datetime.datetime.now(datetime.UTC)
    entry = x509.RevokedCertificateBuilder().serial_number(ca.serial_number).revocation_date(now).build()
    root_crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.issuer)
        .last_update(now - datetime.timedelta(days=1))
        .next_update(now + datetime.timedelta(days=1))
        .add_revoked_certificate(entry)
        .sign(root_key, hashes.SHA256())
    )
    leaf_crl = pki.authority.crl_path.read_bytes().split(b"-----END X509 CRL-----\n")[1] + b"-----END X509 CRL-----\n"
    crl = pki.directory / "root-revokes.pem"
    replace_file(crl, root_crl.public_bytes(Encoding.PEM) + leaf_crl)
    own = pki.side(pki.issue(OWN), crl=crl)
    with pytest.raises(REFUSED):
        await meet(own.mx_server(), pki.side(pki.issue()).outbound())


async def test_an_expired_crl_refuses_everybody(pki: Pki) -> None:
    pki.authority.write_crl((), NOW_US - 2 * YEAR_US)
    own, other = pki.side(pki.issue(OWN)), pki.side(pki.issue())
    assert all(crl.next_update_us < NOW_US for crl in own.crls)
    with pytest.raises(REFUSED):
        await meet(own.mx_server(), other.outbound())


async def test_without_crl_a_revoked_certificate_passes(pki: Pki) -> None:
    """What naming no CRL file means; the setting's documentation says so."""
    revoked = pki.issue()
    pki.authority.revoke(revoked.certificate, NOW_US)
    own = pki.side(pki.issue(OWN), crl=None)
    client, _ = await meet(own.mx_server(), pki.side(revoked, crl=None).outbound())
    assert client is not None


async def test_a_new_crl_counts_for_the_next_connection(pki: Pki, version: ssl.TLSVersion) -> None:
    own, issued = pki.side(pki.issue(OWN)), pki.issue()
    client = client_of(pki.side(issued), version)
    async with listening(own.mx_server) as (port, seen):
        await call(port, client)
        pki.authority.revoke(issued.certificate, NOW_US)
        assert own.reload()
        with pytest.raises(REFUSED):
            await call(port, client)
        assert len(seen) == 1
    assert [crl.revoked for crl in own.crls] == [0, 1]


async def test_a_renewed_certificate_is_presented_without_restart(pki: Pki) -> None:
    first, second = pki.issue(OWN), pki.issue(OWN)
    place = pki.directory / "own"
    place.mkdir()
    write_private(place / "key.pem", first.key)
    replace_file(place / "cert.pem", first.chain)
    own = Contexts(place / "cert.pem", place / "key.pem", pki.roots, pki.authority.crl_path)
    client = pki.side(pki.issue())
    replace_file(place / "cert.pem", second.chain)
    with pytest.raises(TlsError, match=r"key\.pem: not the key of the certificate"):
        own.reload()  # half of the renewal is there
    await meet(own.mx_server(), client.outbound())
    assert own.certificate.serial == first.certificate.serial_number
    write_private(place / "key.pem", second.key)
    assert own.reload()
    assert not own.reload()
    await meet(own.mx_server(), client.outbound())
    assert own.certificate.serial == second.certificate.serial_number


async def test_nothing_is_resumed(pki: Pki, version: ssl.TLSVersion) -> None:
    """A resumed session would skip the revocation check."""
    own, other = pki.side(pki.issue(OWN)), pki.side(pki.issue())
    client = client_of(other, version)

    def handshake(session: ssl.SSLSession | None) -> ssl.SSLObject:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = own.mx_server().wrap_bio(to_server, to_client, server_side=True)
        caller = client.wrap_bio(to_client, to_server, session=session)
        for _ in range(3):
            for side in (caller, server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        server.write(b"hello\n")
        assert caller.read(6) == b"hello\n"
        return caller

    first = handshake(None)
    assert first.session is None or not first.session.has_ticket
    assert not handshake(first.session).session_reused
