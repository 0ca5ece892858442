"""Who opened which bal when, and how far the warnings of an unused one went.

Always true here: visits are sums by bal and month, with the time of the last one; nothing is known of what was read or
from where. A row of `inactivity` stands for a bal that was warned, or whose holder objected.
"""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, select

from mssante.domain.bal import BalState, BalType
from mssante.domain.clock import month_of
from mssante.domain.life_cycle import Unused
from mssante.store.accounts import BAL_COLUMNS, Bal, bal_of
from mssante.store.engines import keys_of
from mssante.store.prepared import Prepared, put, upsert
from mssante.store.schema import bal, inactivity, visit
from mssante.store.writer import Tx

_PAGE = 1000

_visit = upsert(visit)
_ADD = Prepared(
    _visit.on_conflict_do_update(
        index_elements=[visit.c.bal_id, visit.c.month],
        set_={"sessions": visit.c.sessions + _visit.excluded.sessions, "last_us": _visit.excluded.last_us},
    )
)
_KNOWN = select(bal.c.id).where(bal.c.id.in_(bindparam("ids", expanding=True)))


def add_visits(tx: Tx, visits: Mapping[int, tuple[int, int]]) -> None:
    """`visits`: by bal, how many sessions began since the last call and when the last one did."""
    known = sorted(tx.conn.execute(_KNOWN, {"ids": list(visits)}).scalars())
    rows = [(bal_id, *visits[bal_id]) for bal_id in known]
    _ADD.many(
        tx.conn,
        [
            {"bal_id": bal_id, "month": month_of(last_us), "sessions": sessions, "last_us": last_us}
            for bal_id, sessions, last_us in rows
        ],
    )


_LAST = func.coalesce(select(func.max(visit.c.last_us)).where(visit.c.bal_id == bal.c.id).scalar_subquery(), 0)
_SINCE = func.coalesce(inactivity.c.since_us, 0)
_UNUSED = (
    select(*BAL_COLUMNS, _LAST, _SINCE, inactivity.c.warnings, inactivity.c.warned_us)
    .join_from(bal, inactivity, inactivity.c.bal_id == bal.c.id, isouter=True)
    .where(
        bal.c.id > bindparam("after"),
        bal.c.type.in_(bindparam("types", expanding=True)),
        bal.c.state.in_([BalState.ACTIVE.value, BalState.CLOSING.value]),
        (inactivity.c.bal_id.is_not(None)) | ((bal.c.created_us < bindparam("before")) & (bindparam("before") > _LAST)),
    )
    .order_by(bal.c.id)
    .limit(_PAGE)
)


def unused_bals(conn: Connection, types: list[BalType], before_us: int, after_id: int = 0) -> list[tuple[Bal, Unused]]:
    """A page of bals that nobody opened since `before_us`, or that were warned, in the order of their ids."""
    keys = keys_of(conn)
    names = [str(one) for one in types]
    found = []
    for row in conn.execute(_UNUSED, {"after": after_id, "types": names, "before": before_us}):
        *columns, last_us, since_us, warnings, warned_us = row
        one = bal_of(keys, columns)
        since_us = max(one.created_us, last_us, since_us)
        found.append((one, Unused(one.state, since_us, warnings or 0, warned_us or 0)))
    return found


def set_warnings(tx: Tx, bal_id: int, warnings: int, since_us: int) -> None:
    """The bal has had so many warnings, the last one now."""
    row = {"bal_id": bal_id, "warnings": warnings, "since_us": since_us, "warned_us": tx.now_us}
    put(tx.conn, inactivity, row)


class TypeFigures(msgspec.Struct, frozen=True):
    """Bals of one type: how many there are (not the closed ones), how many were opened in the month, and in how many
    sessions."""

    bals: int
    active: int
    sessions: int


def month_figures(conn: Connection, month: int, until_us: int) -> dict[BalType, TypeFigures]:
    """`until_us`: bals opened after it did not exist in that month."""
    counts = dict[str, int](
        conn.execute(
            select(bal.c.type, func.count())
            .where(bal.c.created_us < until_us, bal.c.state != BalState.CLOSED.value)
            .group_by(bal.c.type)
        ).all()
    )
    used = {
        type_: (active, sessions)
        for type_, active, sessions in conn.execute(
            select(bal.c.type, func.count(), func.sum(visit.c.sessions))
            .join_from(visit, bal)
            .where(visit.c.month == month)
            .group_by(bal.c.type)
        )
    }
    return {
        kind: TypeFigures(counts.get(kind.value, 0), *(int(value) for value in used.get(kind.value, (0, 0))))
        for kind in BalType
    }


def prune_visits(tx: Tx, before_month: int) -> int:
    """Forgets the visits of earlier months, but for the last one of each bal; how many rows."""
    later = visit.alias("later")
    newer = select(later.c.bal_id).where(later.c.bal_id == visit.c.bal_id, later.c.month > visit.c.month).exists()
    return tx.conn.execute(delete(visit).where(visit.c.month < before_month, newer)).rowcount
