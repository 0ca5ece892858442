"""A cabinet with its store, its white list and its reception of mail, all real; the other operator is a
certificate."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from espace_confiance.development import Operator, TrustSpace, create_trust_space, join_trust_space
from espace_confiance.holder import EspaceConfiance
from mssante.domain.address import parse_address
from mssante.domain.bal import BalType
from mssante.domain.ins import ins_key
from mssante.domain.transaction import Charter
from mssante.domain.verdict import Accept, Defer, Refuse
from mssante.services.accounts import Accounts, Client
from mssante.services.arrival import DkimKey, Intake, Stored
from mssante.services.passwords import PasswordCost, Passwords
from mssante.services.reception import Reception
from mssante.services.resolver import Resolver
from mssante.services.transaction import Caller, MailTransaction, Trace
from mssante.store import Conn, Store
from mssante.store.accounts import NewBal, create_bals, find_bal
from mssante.store.mail import entries, folder_by_name, rows
from tests.support.clock import FakeClock
from tls.certificates import load_certificates

CABINET, CLINIQUE, PATIENTS = "cabinet.mssante.example", "clinique.mssante.example", "patient.mssante.fr"
DOCTOR, SECRETARY = f"anne.exemple@{CABINET}", f"secretariat@{CABINET}"
COLLEAGUE = f"paul.exemple@{CLINIQUE}"
PATIENT = f"2790351215189{ins_key('2790351215189'):02d}@{PATIENTS}"
PASSWORD = "mot de passe de test"
CHEAP = PasswordCost(memory_kib=8192, passes=1)
TRACE = Trace("mx.clinique.example", "192.0.2.7", "ESMTPS", "TLSv1.3 TLS_AES_256_GCM_SHA384")


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrustSpace, TrustSpace]:
    """(cabinet, clinique) of one trust space."""
    base = tmp_path_factory.mktemp("espace")
    first = Operator("Cabinet Exemple", f"mx.{CABINET}", (CABINET, PATIENTS), "127.0.0.1", 2500)
    second = Operator("Clinique Exemple", f"mx.{CLINIQUE}", (CLINIQUE,), "127.0.0.1", 2510)
    cabinet = create_trust_space(base / "cabinet", first, now_us=FakeClock().now_us())
    return cabinet, join_trust_space(base / "clinique", base / "cabinet", second, now_us=FakeClock().now_us())


@pytest.fixture(scope="session")
def signing_key() -> DkimKey:
    return DkimKey("essai", rsa.generate_private_key(65537, 2048))


async def _silent(challenge: bytes) -> bytes:
    raise AssertionError(challenge)


@dataclass
class Cabinet:
    store: Store
    accounts: Accounts
    reception: Reception
    intake: Intake
    clock: FakeClock
    colleague: Caller

    async def signed_in(self, address: str = DOCTOR) -> Caller:
        response = f"\0{address}\0{PASSWORD}".encode()
        caller = await self.reception.authenticate("PLAIN", response, _silent, Client("127.0.0.1", "send"))
        assert isinstance(caller, Caller)
        return caller

    async def open(self, caller: Caller, sender: str, **announced: int) -> MailTransaction:
        size = announced.get("size")
        opened = await self.reception.open(caller, parse_address(sender) if sender else None, size=size)
        assert isinstance(opened, MailTransaction), opened
        return opened

    async def send(
        self,
        caller: Caller,
        sender: str,
        recipients: Sequence[str],
        message: bytes,
        *,
        piece: int = 0,
        notify: str = "",
    ) -> Stored | Refuse | Defer:
        """A whole transaction; ``piece`` cuts the message. Stops at the first refusal."""
        transaction = await self.open(caller, sender)
        for recipient in recipients:
            verdict = await self.reception.recipient(transaction, parse_address(recipient), notify=notify)
            if not isinstance(verdict, Accept):
                return verdict
        arrival = self.reception.receive(transaction, TRACE)
        for start in range(0, len(message), piece or len(message)):
            arrival.feed(message[start : start + (piece or len(message))])
        return await arrival.finish()

    def inbox(self, address: str) -> list[bytes]:
        """What the holder would read: our fields, then the message."""
        return self.store.read_now(self._inbox, address)

    def _inbox(self, conn: Conn, address: str) -> list[bytes]:
        bal = find_bal(conn, address)
        assert bal is not None
        folder = folder_by_name(conn, bal.id, "INBOX")
        assert folder is not None
        uids = [entry.uid for entry in entries(conn, folder.id)]
        return [row.prepend + self.store.contents.read(row.content) for row in rows(conn, folder.id, uids)]


@pytest.fixture
async def cabinet(tmp_path: Path, space: tuple[TrustSpace, TrustSpace], signing_key: DkimKey) -> AsyncIterator[Cabinet]:
    clock = FakeClock()
    store = Store.open(
        "sqlite:///data/mssante.db",
        "file:data/contents",
        bytes(range(32)),
        clock=clock,
        base=tmp_path,
        patient_domains=frozenset({PATIENTS}),
        create=True,
    )
    passwords = Passwords(CHEAP)
    password_hash = passwords.hash(PASSWORD)
    new = [
        NewBal(address=DOCTOR, type=BalType.PER, password_hash=password_hash),
        NewBal(address=SECRETARY, type=BalType.ORG, password_hash=password_hash),
        NewBal(address=PATIENT, type=BalType.PAT, password_hash=password_hash),
    ]
    store.write_now(create_bals, new)
    accounts = Accounts(store, passwords, clock)
    espace = EspaceConfiance(space[0].liste_blanche, space[0].signer)
    intake = Intake(
        store,
        Resolver(("127.0.0.1", 1), timeout=0.2),
        clock,
        hostname=f"mx.{CABINET}",
        sign=signing_key,
        verify=True,
        queue_lifetime_us=1_000_000_000,
        domains=frozenset({CABINET, PATIENTS}),
    )
    reception = Reception(
        store,
        accounts,
        espace,
        intake,
        Charter(frozenset({PATIENTS})),
        domains=frozenset({CABINET, PATIENTS}),
        max_size=1_000_000,
        max_size_patient=500_000,
        postmaster=parse_address(f"postmaster@{CABINET}"),
    )
    der = load_certificates(space[1].certificate)[0].public_bytes(Encoding.DER)
    yield Cabinet(store, accounts, reception, intake, clock, reception.peer_speaker(der))
    passwords.close()
    store.close()
