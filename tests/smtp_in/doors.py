"""The server under test and the ways into it."""

from __future__ import annotations

import base64
import ssl
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smtp_in.listeners import Listeners
from smtp_in.settings import SmtpInSettings
from tests.smtp_in.client import Client
from tests.smtp_in.reception import PASSWORD
from tls.authority import Authority, Kind, Subject
from tls.contexts import Contexts

SENDER = "dr.lambert@clinique.mssante.test"


def client_context(roots: Path, own: tuple[Path, Path] | None) -> ssl.SSLContext:
    """A client's TLS; ``own``: its certificate and key, when it has one."""
    context = ssl.create_default_context(cafile=str(roots))
    context.check_hostname = False
    if own is not None:
        context.load_cert_chain(*own)
    return context


@dataclass(frozen=True)
class Pki:
    """An authority and certificates under it, by name; each is ``name.pem`` and ``name.key``."""

    directory: Path
    authority: Authority
    now_us: int

    @classmethod
    def create(cls, directory: Path) -> Pki:
        now_us = time.time_ns() // 1000  # OpenSSL compares certificates with the machine's clock
        made = cls(directory, Authority.create(directory / "authority", now_us), now_us)
        (directory / "ca.pem").write_bytes(made.authority.roots)
        return made

    def issue(self, name: str, *, kind: Kind = Kind.SERV, expired: bool = False, revoked: bool = False) -> None:
        subject = Subject(cn=f"mx.{name}.mssante.test", ou="300012345600012", o=name.upper())
        issued = self.authority.issue(subject, kind, self.now_us, expired=expired)
        (self.directory / f"{name}.pem").write_bytes(issued.chain)
        (self.directory / f"{name}.key").write_bytes(issued.key)
        if revoked:
            self.authority.revoke(issued.certificate, self.now_us)

    def client(self, name: str | None) -> ssl.SSLContext:
        """The TLS of a client that presents that certificate, or none."""
        own = (self.directory / f"{name}.pem", self.directory / f"{name}.key") if name is not None else None
        return client_context(self.directory / "ca.pem", own)

    def server(self, name: str = "cabinet") -> Contexts:
        return Contexts(
            self.directory / f"{name}.pem",
            self.directory / f"{name}.key",
            self.directory / "ca.pem",
            self.authority.crl_path,
        )


@dataclass
class Doors:
    """Open doors, and clients let through them as far as MAIL."""

    listeners: Listeners
    pki: Pki
    clients: list[Client] = field(default_factory=list)

    def settings(self, **changed: Any) -> SmtpInSettings:
        """Those in force, some changed."""
        return replace(self.listeners._settings, **changed)

    async def connect(self, door: str) -> Client:
        """A connection, its greeting not yet read."""
        return await self.connect_with(door, self.pki.client(None) if door == "submissions" else None)

    async def connect_with(self, door: str, context: ssl.SSLContext | None) -> Client:
        self.clients.append(await Client.connect(self.listeners.ports[door], context))
        return self.clients[-1]

    async def mx(self, certificate: str | None = "clinique") -> Client:
        """Another operator after STARTTLS and EHLO."""
        client = await self.connect("mx")
        await client.reply()
        await client.ask("EHLO mx.clinique.mssante.test")
        assert (await client.ask("STARTTLS")).startswith("220")
        await client.start_tls(self.pki.client(certificate))
        assert (await client.ask("EHLO mx.clinique.mssante.test")).startswith("250")
        return client

    async def submission(self, login: str = "a@cabinet.mssante.test") -> Client:
        """A signed-in client on the door of implicit TLS."""
        client = await self.connect("submissions")
        await client.reply()
        await client.ask("EHLO poste.cabinet.test")
        response = base64.b64encode(f"\0{login}\0{PASSWORD}".encode()).decode("ascii")
        assert (await client.ask(f"AUTH PLAIN {response}")).startswith("235")
        return client
