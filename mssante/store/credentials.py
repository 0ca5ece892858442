"""What opens a bal beside its password: the app passwords of devices, and certificates.

Always true here: a bal has one credential of a kind and name; what is stored opens nothing (an argon2 hash, the digest
of a certificate's name); each change hints "bal".
"""

from enum import StrEnum

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select

from mssante.store.accounts import Bal, bals_where
from mssante.store.errors import AlreadyExists
from mssante.store.schema import bal, credential
from mssante.store.writer import Tx


class Kind(StrEnum):
    DEVICE = "device"
    CERTIFICATE = "certificate"


class Credential(msgspec.Struct, frozen=True):
    """`name`: the device's, or the certificate's own. `mark`: what it is found by (a device's: `Keys.mark` of the
    password; a certificate's: a digest of its name). `password_hash`: None for a certificate."""

    bal_id: int
    kind: Kind
    name: str
    mark: str
    password_hash: str | None
    created_us: int


_OF_BAL = (
    select(*(credential.c[name] for name in Credential.__struct_fields__))
    .where(credential.c.bal_id == bindparam("bal_id"))
    .order_by(credential.c.id)
)


def add(tx: Tx, new: Credential) -> None:
    """One more way to open the bal. Raises AlreadyExists when it has one of this kind and name."""
    if any((one.kind, one.name) == (new.kind, new.name) for one in credentials(tx.conn, new.bal_id)):
        raise AlreadyExists(f"the mailbox has a {new.kind} {new.name!r} already: revoke it first")
    tx.conn.execute(insert(credential), {**msgspec.structs.asdict(new), "kind": str(new.kind)})
    tx.hint("bal", new.bal_id)


def revoke(tx: Tx, bal_id: int, kind: Kind, name: str) -> bool:
    """Whether there was one."""
    which = (credential.c.bal_id == bal_id, credential.c.kind == str(kind), credential.c.name == name)
    tx.hint("bal", bal_id)
    return tx.conn.execute(delete(credential).where(*which)).rowcount == 1


def credentials(conn: Connection, bal_id: int) -> list[Credential]:
    """Those of a bal, in the order in which they were added."""
    found = conn.execute(_OF_BAL, {"bal_id": bal_id})
    return [Credential(row[0], Kind(row[1]), *row[2:]) for row in found]


def bals_by_mark(conn: Connection, kind: Kind, mark: str) -> list[Bal]:
    """The bals that have a credential of this mark."""
    marked = select(credential.c.bal_id).where(credential.c.mark == mark, credential.c.kind == str(kind))
    return bals_where(conn, bal.c.id.in_(marked))
