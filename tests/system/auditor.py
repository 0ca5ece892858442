"""The auditor of the trust space: certificates of every kind under our own authority, one list, one operator to test.

What must always hold: every case has a domain of its own in the one signed list, so that cases share the operator and
never meet; what the auditor shows is made here from `Shown`, and nothing of it is more permissive than it says.
"""

import asyncio
import base64
import contextlib
import datetime
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from espace_confiance.development import SIGNER
from espace_confiance.liste_blanche import Entree, sign_liste
from espace_confiance.routes import write_routes
from mssante.app import Operator
from mssante.config import load
from mssante.domain.clock import SystemClock
from mssante.store.queue import QueueItem, QueueState, listing
from tests.smtp_in.client import Client
from tests.smtp_out.peer import Peer, Script, Session, scripted
from tests.support.operators import command, free_ports
from tests.system.people import with_luhn
from tls.authority import Authority, Subject, key_pem, new_key
from tls.files import replace_file, write_private

OURS, USER, PASSWORD = "cabinet.mssante.example", "dr.martin@cabinet.mssante.example", "mot de passe"
AUDIT = "espacedeconfiance.mssante.example"
OU = "300065432100018"
LETTER = b"Subject: audit\r\n\r\nBonjour.\r\n"
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}
DAY = datetime.timedelta(days=1)

HANDSHAKE = "the handshake fails"
PASSED = "accepted"


@dataclass(frozen=True)
class Shown:
    """The certificate that the auditor shows, and how. `of`: who issued it. `chain`: is the intermediate sent too?"""

    cn: str = "audit.example"
    o: str = "OPERATEUR D AUDIT"
    of: str = "organisations"
    expired: bool = False
    revoked: bool = False
    uses: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    key_usage: str = "digital_signature"
    chain: bool = True
    tls: bool = True

    def name(self) -> x509.Name:
        return Subject(cn=self.cn, ou=OU, o=self.o).name()

    @property
    def dn_text(self) -> str:
        """As the list usually writes it."""
        return f"CN={self.cn},OU={OU},O={self.o},ST=Paris (75),C=FR"


@dataclass
class Issuer:
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @classmethod
    def of(cls, directory: Path, name: str) -> "Issuer":
        key = load_pem_private_key((directory / f"{name}.key").read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return cls(x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes()), key)

    def sign(self, shown: Shown, key: rsa.RSAPrivateKey) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        bits = dict.fromkeys(
            (
                "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
            ),
            False,
        )  # fmt: skip
        return (
            x509.CertificateBuilder()
            .subject_name(shown.name())
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 30 * DAY)
            .not_valid_after(now - DAY if shown.expired else now + 30 * DAY)
            .add_extension(x509.ExtendedKeyUsage(shown.uses), critical=False)
            .add_extension(x509.KeyUsage(**bits | {shown.key_usage: True}), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def crl(self, *revoked: x509.Certificate, expired: bool = False) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - 2 * DAY)
            .next_update(now - DAY if expired else now + DAY)
            .add_extension(x509.CRLNumber(7), critical=False)
        )
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(now - DAY).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def intermediate(root: Issuer, cn: str) -> Issuer:
    """Another authority under the root."""
    key = new_key()
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)]))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 30 * DAY)
        .not_valid_after(now + 30 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root.key, hashes.SHA256())
    )
    return Issuer(certificate, key)


@dataclass(frozen=True)
class World:
    """One operator under test in `directory`, and the certificates of the auditor by name."""

    directory: Path
    issuers: dict[str, Issuer]
    files: dict[str, tuple[Path, Path]]
    roots: Path

    def context(self, name: str, protocol: ssl._SSLMethod, version: ssl.TLSVersion) -> ssl.SSLContext:
        """How the auditor speaks TLS as this case, in this version only. It verifies us, but for the name."""
        context = ssl.SSLContext(protocol)
        context.minimum_version = context.maximum_version = version
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.roots)
        if name in self.files:
            context.load_cert_chain(*self.files[name])
        return context


def make_world(directory: Path, cases: Mapping[str, tuple[Shown, tuple[str, ...]]], *, crl: str = "current") -> World:
    """An initialised operator whose list has a domain for each case and TLS version, with the DN texts of the case.

    crl: "current", "missing" or "expired".
    """
    ours = directory / "cabinet"
    port = free_ports(7)
    said = ("--operator", "Cabinet", "--domain", OURS, "--port-base", str(port), "--dns", "127.0.0.1:9")
    done = command("init", str(ours), *said)
    assert done.code == 0, done.err
    bal = ("bal", "create", USER, "--type", "PER", "--rpps", with_luhn("8000000001"), "--password-stdin")
    done = command("-c", str(ours / "mssante.toml"), *bal, given=PASSWORD)
    assert done.code == 0, done.err
    issuers = _issuers(ours, directory)
    revoked, files = [], {}
    for name, (shown, _) in cases.items():
        if not shown.tls:
            continue
        key, issuer = new_key(), issuers[shown.of]
        certificate = issuer.sign(shown, key)
        if shown.revoked:
            revoked.append(certificate)
        place = directory / f"{len(files)}"
        write_private(place.with_suffix(".key"), key_pem(key))
        above = issuer.certificate.public_bytes(Encoding.PEM) if shown.chain else b""
        replace_file(place.with_suffix(".pem"), certificate.public_bytes(Encoding.PEM) + above)
        files[name] = (place.with_suffix(".pem"), place.with_suffix(".key"))
    pki, organisations, fallen = ours / "pki", issuers["organisations"], issuers["revoked intermediate"]
    replace_file(pki / "ca.pem", (pki / "ca.pem").read_bytes() + fallen.certificate.public_bytes(Encoding.PEM))
    late = crl == "expired"
    lists = issuers["racine"].crl(fallen.certificate, expired=late) + organisations.crl(*revoked, expired=late)
    replace_file(pki / "crl.pem", lists + fallen.crl(expired=late))
    if crl == "missing":
        (pki / "crl.pem").unlink()
    _sign_list(ours, cases)
    return World(ours, issuers, files, pki / "ca.pem")


def _issuers(ours: Path, directory: Path) -> dict[str, Issuer]:
    authority, now_us = ours / "pki" / "authority", time.time_ns() // 1000
    Authority.create(directory / "namesake" / "authority", now_us)
    root = Issuer.of(authority, "racine")
    return {
        "racine": root,
        "organisations": Issuer.of(authority, "organisations"),
        "revoked intermediate": intermediate(root, "TEST AC DECHUE"),
        "an authority of the same name": Issuer.of(directory / "namesake" / "authority", "organisations"),
        "a public authority": _public(),
    }


def _public() -> Issuer:
    key = new_key()
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Public Trust Services")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 30 * DAY)
        .not_valid_after(now + 30 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Issuer(certificate, key)


def _sign_list(ours: Path, cases: Mapping[str, tuple[Shown, tuple[str, ...]]]) -> None:
    now_us = time.time_ns() // 1_000_000_000 * 1_000_000
    entries = [
        Entree(domain_of(name, version), "Domaine d'audit", None, text, "contact", "support", now_us)
        for name, (_, texts) in cases.items()
        for version in VERSIONS
        for text in texts
    ]
    authority = ours / "pki" / "authority"
    signer = Issuer.of(authority, "signataire")
    assert signer.certificate.subject == SIGNER.name()
    replace_file(
        ours / "espace" / "listeblanche.xml", sign_liste(entries, signer.key, signer.certificate, now_us + 1_000_000)
    )


def domain_of(name: str, version: str) -> str:
    """The domain of a case."""
    slug = "".join(c if c.isalnum() else "-" for c in f"{name} {version}".lower())
    return f"{slug}-audit.{AUDIT}"


class UnderTest:
    """The operator, serving in this process on real sockets, and the two ways of the auditor."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings = load(world.directory / "mssante.toml")
        self.operator = Operator(self.settings, SystemClock())

    @contextlib.asynccontextmanager
    async def serving(self, **tls: object) -> AsyncIterator["UnderTest"]:
        """`tls`: settings of [tls] that differ."""
        if tls:
            text = (self.world.directory / "mssante.toml").read_text()
            for key, value in tls.items():
                text = text.replace(f"{key} = {'false' if value else 'true'}", f"{key} = {str(value).lower()}")
            (self.world.directory / "mssante.toml").write_text(text)
            self.settings = load(self.world.directory / "mssante.toml")
            assert all(getattr(self.settings.tls, key) == value for key, value in tls.items())
            self.operator = Operator(self.settings, SystemClock())
        try:
            await self.operator.start()
            yield self
        finally:
            await self.operator.stop()

    async def receive(self, name: str, version: str) -> str:
        """The auditor writes to us: "accepted", the refusing answer and its command, or that the handshake fails."""
        client = await Client.connect(self.settings.listen.mx)
        sender = f"controle@{domain_of(name, version)}"
        try:
            await client.reply()
            await client.ask(f"EHLO {name.split()[0]}")
            if name in self.world.files or name == "no certificate":
                context = self.world.context(name, ssl.PROTOCOL_TLS_CLIENT, VERSIONS[version])
                try:
                    assert (await client.ask("STARTTLS")).startswith("220")
                    await client.start_tls(context)
                    # In TLS 1.3 the refusal of a client's certificate shows at the first read only.
                    greeted = await client.ask("EHLO audit")
                except (ssl.SSLError, ConnectionError):
                    return HANDSHAKE
                if not greeted:
                    return HANDSHAKE
            for line in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{USER}>", "DATA"):
                answer = await client.ask(line)
                if answer[0] not in "23":
                    return f"{answer[:9]} at {line.split()[0]}"
            letter = f"From: {sender}\r\n".encode() + LETTER
            return PASSED if (await client.ask(letter + b".\r\n")).startswith("250 ") else "refused after DATA"
        finally:
            client.close()

    async def deliver(self, name: str, version: str) -> str:
        """We write to the auditor: "accepted", or what the queue notes of the first attempt."""
        if name not in self.world.files:
            return await self._deliver(name, version, _without_tls)
        peer = Peer(self.world.context(name, ssl.PROTOCOL_TLS_SERVER, VERSIONS[version]))
        noted = await self._deliver(name, version, peer.talk)
        assert (noted == PASSED) == bool(peer.received), "what the queue says and what the auditor got differ"
        return noted

    async def deliver_to(self, name: str, version: str, script: Script) -> str:
        """We write to an auditor that follows a script."""
        return await self._deliver(name, version, script)

    async def _deliver(self, name: str, version: str, script: Script) -> str:
        domain = domain_of(name, version)
        async with scripted(script) as port:
            write_routes(self.world.directory / "espace" / "routes.toml", {domain: ("127.0.0.1", port)})
            await self._submit(f"tests@{domain}")
            item = await self._attempted(domain)
        return PASSED if item.state is QueueState.SENT else item.last_reply

    async def _submit(self, recipient: str) -> None:
        context = ssl.create_default_context(cafile=str(self.world.roots))
        context.check_hostname = False
        client = await Client.connect(self.settings.listen.submissions, context)
        await client.reply()
        await client.ask("EHLO poste")
        response = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode("ascii")
        assert (await client.ask(f"AUTH PLAIN {response}")).startswith("235")
        for line in (f"MAIL FROM:<{USER}>", f"RCPT TO:<{recipient}>", "DATA"):
            answer = await client.ask(line)
            assert answer[0] in "23", answer
        answer = await client.ask(f"From: {USER}\r\n".encode() + LETTER + b".\r\n")
        assert answer.startswith("250"), answer
        client.close()

    async def _attempted(self, domain: str) -> QueueItem:
        """The domain's only recipient once it was tried, waited for."""
        store = self.operator._store
        changed = asyncio.Event()
        unsubscribe = store.hints.subscribe("queue", None, changed.set)
        try:
            async with asyncio.timeout(120):
                while True:
                    changed.clear()
                    for state in (QueueState.SENT, QueueState.QUEUED, QueueState.FAILED):
                        for item in await store.read(listing, state):
                            if item.domain == domain and item.last_reply:
                                return item
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), 0.05)
        finally:
            unsubscribe()


async def _without_tls(session: Session) -> None:
    """A peer that offers no STARTTLS."""
    await session.say("220 audit")
    await session.line()
    await session.say("250-audit", "250 SIZE 1000000")
    await session.line()


def refusing(world: World, name: str, version: ssl.TLSVersion) -> Script:
    """A good peer that trusts another authority than ours, with OpenSSL's alerts: our certificate is refused."""
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    other.minimum_version = other.maximum_version = version
    other.load_cert_chain(*world.files[name])
    other.verify_mode = ssl.CERT_REQUIRED
    other.load_verify_locations(cadata=world.issuers["a public authority"].certificate.public_bytes(Encoding.DER))

    async def talk(session: Session) -> None:
        await session.say("220 mx")
        await session.line()
        await session.say("250-mx", "250 STARTTLS")
        await session.line()
        await session.say("220 go")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = other.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await session.raw(outgoing.read())
                incoming.write(await session.reader.read(65536))
            except ssl.SSLCertVerificationError:
                break
        await session.raw(outgoing.read())

    return talk
