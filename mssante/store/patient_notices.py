"""Which citizens are to be told of new mail on their own e-mail address, and when.

Always true here: only who gave an address has a row; `told_us` moves before anything is sent, so that a crash can lose
a notice but never send two within `every_us`; mail that comes meanwhile waits for the next one. No message, sender or
subject is in a row.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update

from mssante.store.prepared import Prepared
from mssante.store.schema import patient_notice
from mssante.store.writer import Tx

_table = patient_notice
_OF_BALS = _table.c.bal_id.in_(bindparam("ids", expanding=True))
_ADD = Prepared(insert(_table).inline())
_GONE = Prepared(delete(_table).where(_OF_BALS))
_ARRIVED = Prepared(
    update(_table)
    .where(_OF_BALS)
    .values(
        arrived_us=bindparam("now"),
        due_us=func.coalesce(
            _table.c.due_us,
            case(
                (_table.c.told_us + bindparam("every") > bindparam("now"), _table.c.told_us + bindparam("every")),
                else_=bindparam("now"),
            ),
        ),
    )
)
_DUE = (
    select(_table.c.bal_id)
    .where(_table.c.due_us <= bindparam("now"))
    .order_by(_table.c.due_us)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_CLAIM = Prepared(
    update(_table)
    .where(_table.c.bal_id.in_(_DUE.scalar_subquery()))
    .values(told_us=bindparam("now"), due_us=bindparam("again"), attempts=_table.c.attempts + 1)
    .returning(_table.c.bal_id, _table.c.attempts)
)
_TOLD = Prepared(
    update(_table)
    .where(_OF_BALS)
    .values(attempts=0, due_us=case((_table.c.arrived_us > _table.c.told_us, _table.c.due_us), else_=None))
)
_LATER = Prepared(update(_table).where(_OF_BALS).values(due_us=bindparam("again")))
_NEXT = Prepared(select(func.min(_table.c.due_us)))


def begin(tx: Tx, bal_ids: Sequence[int]) -> None:
    """These citizens want to be told from now on."""
    blank = {"due_us": None, "arrived_us": 0, "told_us": 0, "attempts": 0}
    _ADD.many(tx.conn, [blank | {"bal_id": bal_id} for bal_id in bal_ids])


def stop(tx: Tx, bal_id: int) -> None:
    """This one no longer."""
    _GONE.count(tx.conn, {"ids": [bal_id]})


def mail_arrived(tx: Tx, bal_ids: Sequence[int], every_us: int) -> None:
    """New mail in these citizens' mailboxes: who wants to be told will be, once in `every_us`. Hints
    "patient_notices"."""
    if _ARRIVED.count(tx.conn, {"ids": list(bal_ids), "now": tx.now_us, "every": every_us}):
        tx.hint("patient_notices")


def claim(tx: Tx, most: int, every_us: int) -> list[tuple[int, int]]:
    """(bal id, which attempt this is) of citizens to be told now. No other process gets them, nor this one again,
    within `every_us` unless `later` says so."""
    return [*_CLAIM.rows(tx.conn, {"now": tx.now_us, "again": tx.now_us + every_us, "most": most})]


def told(tx: Tx, bal_ids: Sequence[int]) -> None:
    """These were told, or cannot be; of mail that has come since they will be in their next turn."""
    _TOLD.count(tx.conn, {"ids": list(bal_ids)})


def later(tx: Tx, bal_ids: Sequence[int], due_us: int) -> None:
    """These were not told: the relay did not take the notice."""
    _LATER.count(tx.conn, {"ids": list(bal_ids), "again": due_us})


def next_due_us(conn: Connection) -> int | None:
    """When the first is to be told (perhaps in the past), or None."""
    ((due_us,),) = _NEXT.rows(conn)
    return None if due_us is None else int(due_us)
