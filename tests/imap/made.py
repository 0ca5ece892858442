"""A real IMAP server for the tests of this folder: a store on disk, TLS, mailboxes with mail in them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imap.server import ImapServer
from imap.settings import ImapSettings
from mssante.domain.bal import BalState, BalType
from mssante.domain.clock import SystemClock
from mssante.domain.flags import SEEN
from mssante.mime.scanner import Scanner
from mssante.services.accounts import Accounts
from mssante.services.mailboxes import Mailboxes
from mssante.services.passwords import PasswordCost, Passwords
from mssante.store import Conn, PendingContent, Store, Tx
from mssante.store.accounts import NewBal, create_bal, set_state
from mssante.store.mail import NewMessage, add_message, deliver, entries, folder_by_name
from tests.support.clock import FakeClock
from tls.authority import Authority, Kind, Subject
from tls.contexts import Contexts

PASSWORD = 'Secret 12\\3"'
ALICE, BOB = "alice.martin@cabinet.test", "bob.petit@cabinet.test"
PREPEND = b"Received: from mx.clinique.test by mx.cabinet.test with ESMTPS;\r\n Mon, 3 Nov 2025 09:00:00 +0000\r\n"


@dataclass(frozen=True)
class Pki:
    """Files of a test authority and of a certificate for localhost."""

    roots: Path
    certificate: Path
    key: Path

    def contexts(self) -> Contexts:
        return Contexts(self.certificate, self.key, self.roots, None)

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.roots))


def make_pki(directory: Path) -> Pki:
    clock = SystemClock()  # real clients look at the dates of certificates
    authority = Authority.create(directory / "authority", clock.now_us())
    issued = authority.issue(Subject("imap.cabinet.test", "1750000001", "CABINET TEST"), Kind.SERV, clock.now_us())
    pki = Pki(directory / "roots.pem", directory / "cert.pem", directory / "cert.key")
    pki.roots.write_bytes(authority.roots)
    pki.certificate.write_bytes(issued.chain)
    pki.key.write_bytes(issued.key)
    return pki


class Operator:
    """The store and the IMAP server on it, on two loopback ports (`starttls` and `tls`)."""

    def __init__(self, base: Path, pki: Pki, settings: ImapSettings) -> None:
        self.clock = FakeClock()
        self.pki = pki
        self.store = Store.open(
            "sqlite:///mssante.db", "file:contents", bytes(range(32)), clock=self.clock, base=base, create=True
        )
        self.passwords = Passwords(PasswordCost(memory_kib=64, passes=1))
        self.accounts = Accounts(self.store, self.passwords, self.clock)
        self.mailboxes = Mailboxes(self.store, self.clock)
        contexts = pki.contexts()
        self.server = ImapServer(settings, self.accounts, self.mailboxes, contexts.client_server)
        self.starttls = self.tls = 0
        self.bals: dict[str, int] = {}

    async def start(self) -> None:
        self.starttls = await self.server.listen("127.0.0.1", 0, implicit_tls=False)
        self.tls = await self.server.listen("127.0.0.1", 0, implicit_tls=True)

    async def stop(self) -> None:
        await self.server.close(2.0)
        self.store.close()

    async def open_bal(self, address: str, quota_bytes: int | None = None) -> int:
        password_hash = await asyncio.to_thread(self.passwords.hash, PASSWORD)
        new = NewBal(address=address, type=BalType.PER, password_hash=password_hash, quota_bytes=quota_bytes)
        self.bals[address] = await self.store.write(create_bal, new)
        return self.bals[address]

    async def close_bal(self, address: str) -> None:
        await self.store.write(set_state, self.bals[address], BalState.SUSPENDED, "essai")

    def seen_in(self, address: str, name: str) -> list[tuple[int, bool]]:
        """(uid, whether it was read) of each message of a folder, as the store has it."""
        return self.store.read_now(_flags_in, self.bals[address], name)

    async def deliver(self, message: bytes, *addresses: str, prepend: bytes = PREPEND) -> None:
        """As if the message had arrived: into the INBOX of each address."""
        writer = self.store.contents.begin()
        scanner = Scanner()
        for start in range(0, len(message), 65536):
            writer.write(message[start : start + 65536])
            scanner.feed(message[start : start + 65536])
        pending = writer.finish()
        card = scanner.finish().encode()
        bal_ids = [self.bals[address] for address in addresses]
        await self.store.write(_arrive, pending, prepend, card, bal_ids, contents=(pending,))


def _flags_in(conn: Conn, bal_id: int, name: str) -> list[tuple[int, bool]]:
    folder = folder_by_name(conn, bal_id, name)
    assert folder is not None
    return [(entry.uid, bool(entry.flags & SEEN)) for entry in entries(conn, folder.id)]


def _arrive(tx: Tx, content: PendingContent, prepend: bytes, card: bytes, bal_ids: Sequence[int]) -> None:
    deliver(tx, add_message(tx, NewMessage(content, tx.now_us, prepend, card)), bal_ids)


def letter(number: int, body: str = "Bonjour,\r\n\r\nvoici le compte rendu.\r\n") -> bytes:
    """A small message; numbers make it unlike the others."""
    return (
        "From: =?utf-8?q?H=C3=A9l=C3=A8ne?= Dupont <helene.dupont@clinique.test>\r\n"
        f"To: {ALICE}\r\n"
        f"Subject: =?utf-8?q?Compte_rendu_n=C2=B0{number}?=\r\n"
        f"Date: Mon, 3 Nov 2025 10:{number % 60:02d}:00 +0100\r\n"
        f"Message-ID: <{number}@clinique.test>\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "\r\n"
        f"{body}"
    ).encode()


class Line:
    """A client that speaks raw IMAP: what tests of the dialogue need and no library offers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._tag = 0

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext | None = None) -> Line:
        name = "localhost" if context else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name, limit=2**20))

    async def line(self) -> bytes:
        """The next line, with the literals in it, its end taken off; b"" at the end of the connection."""
        whole = b""
        while True:
            piece = await self.reader.readline()
            whole += piece
            if not piece.endswith(b"}\r\n"):
                return whole.removesuffix(b"\r\n")
            size = int(piece[piece.rindex(b"{") + 1 : -3])
            whole += await self.reader.readexactly(size)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until(self, tag: bytes) -> list[bytes]:
        """The lines up to and with the tagged answer."""
        lines = []
        while True:
            line = await self.line()
            lines.append(line)
            if line.startswith(tag + b" ") or not line:
                return lines

    async def command(self, text: str | bytes) -> list[bytes]:
        self._tag += 1
        tag = b"t%d" % self._tag
        await self.send(tag + b" " + (text.encode() if isinstance(text, str) else text) + b"\r\n")
        return await self.until(tag)

    async def sign_in(self, address: str = ALICE) -> None:
        quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        lines = await self.command(f'LOGIN {address} "{quoted}"')
        assert b" OK " in lines[-1], lines

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            return
