"""What the annuaire has been told of own bals, and what it answered; own bals by what near addresses are found from.

Always true here: one row a bal, its last operation; `reference` names that operation in what is sent and in what comes
back, and is never used twice.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, case, select, update

from mssante.store.annuaire import following
from mssante.store.prepared import put
from mssante.store.schema import bal, publication
from mssante.store.writer import Tx

MOST = 1000


def bals_beginning(conn: Connection, beginning: str, domain: str) -> list[str]:
    """Addresses of professionals' bals of this domain whose local part begins so, at most MOST."""
    if not beginning:
        return []
    query = select(bal.c.locator).where(
        bal.c.locator >= beginning,
        bal.c.locator < following(beginning),
        bal.c.locator.endswith(f"@{domain}", autoescape=True),
    )
    return list(conn.execute(query.limit(MOST)).scalars())


class Told(msgspec.Struct, frozen=True):
    """The last operation for a bal. ``state``: pending (not told yet), sent, published, withdrawn or rejected.
    ``record``: what was said, as the caller encodes it. Times in microseconds."""

    bal_id: int
    operation: str
    state: str
    record: bytes
    reference: str
    attempts: int
    due_us: int
    changed_us: int
    report: str


def told(conn: Connection, bal_id: int | None = None) -> dict[int, Told]:
    """By bal, all that were ever told, or one."""
    query = select(publication) if bal_id is None else select(publication).where(publication.c.bal_id == bal_id)
    return {row.bal_id: Told(*row) for row in conn.execute(query)}


def keep(tx: Tx, rows: Sequence[Told]) -> None:
    """What is going to be told, or cannot be; in the place of what was told of these bals before."""
    put(tx.conn, publication, *map(msgspec.structs.asdict, rows))


def settle(tx: Tx, outcomes: Sequence[tuple[str, str, str]]) -> int:
    """(reference, state, report) of operations; how many of them are known. A taken withdrawal is withdrawn."""
    known = 0
    for reference, state, report in outcomes:
        taken = case((publication.c.operation == "withdraw", "withdrawn"), else_="published")
        values = {"state": taken if state == "published" else state, "report": report, "changed_us": tx.now_us}
        known += tx.conn.execute(
            update(publication).where(publication.c.reference == reference).values(values)
        ).rowcount
    return known
