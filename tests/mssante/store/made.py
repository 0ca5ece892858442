"""Stores, bals and messages for the tests of this folder."""

from collections.abc import Sequence
from pathlib import Path

from mssante.domain.bal import BalType
from mssante.domain.clock import Clock
from mssante.domain.ins import ins_key
from mssante.store import Conn, PendingContent, Store, Tx
from mssante.store.accounts import NewBal, create_bals
from mssante.store.exchanges import Exchange, list_exchanges
from mssante.store.mail import Delivered, NewMessage, add_message, deliver, folder_by_name

MASTER_KEY = bytes(range(32))
PATIENT_DOMAIN = "patient.mssante.fr"
MATRICULE = f"2790351215189{ins_key('2790351215189'):02d}"
PATIENT = f"{MATRICULE}@{PATIENT_DOMAIN}"
DOCTOR = "marie.durand@cabinet.mssante.fr"


def open_store(base: Path, database_url: str, clock: Clock, *, publish: bool = False, create: bool = True) -> Store:
    return Store.open(
        database_url,
        "file:data/contents",
        MASTER_KEY,
        clock=clock,
        base=base,
        patient_domains=frozenset({PATIENT_DOMAIN}),
        publish=publish,
        create=create,
    )


def make_bals(store: Store, *locals_: str, **fields: object) -> list[int]:
    new = [NewBal(address=f"{local}@cabinet.mssante.fr", type=BalType.PER, **fields) for local in locals_]  # type: ignore[arg-type]
    return store.write_now(create_bals, new)


def pending(store: Store, body: bytes) -> PendingContent:
    writer = store.contents.begin()
    writer.write(body)
    return writer.finish()


def arrive(store: Store, body: bytes, bal_ids: Sequence[int], flags: int = 0) -> list[Delivered]:
    """A message of this body, delivered to the INBOX of each bal."""
    content = pending(store, body)
    return store.write_now(accept, content, bal_ids, flags, contents=(content,))


def accept(tx: Tx, content: PendingContent, bal_ids: Sequence[int], flags: int = 0) -> list[Delivered]:
    message_id = add_message(tx, NewMessage(content, tx.now_us, b"Received: from here\r\n", b"card"))
    return deliver(tx, message_id, bal_ids, flags)


def exchange(conn: Conn, professional: str, patient: str) -> Exchange | None:
    """What the professional's own messages made of the pair's exchange."""
    return next((one for one in list_exchanges(conn, professional, patient) if not one.through), None)


def inbox_of(store: Store, bal_id: int) -> int:
    folder = store.read_now(folder_by_name, bal_id, "INBOX")
    assert folder is not None
    return folder.id
