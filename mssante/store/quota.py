"""How full bals are, and how full they were when their holders were last told.

Always true here: `warned_percent` is the highest level told since the bal was below it; two processes that look at once
tell it once.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, select, update

from mssante.domain.quota import level_of
from mssante.store.accounts import BAL_COLUMNS, Bal, bal_of
from mssante.store.engines import keys_of
from mssante.store.schema import bal
from mssante.store.writer import Tx

_PAGE = 1000


class Filled(msgspec.Struct, frozen=True):
    """A bal whose level (percent, 0 below all of them) is other than what was told."""

    bal: Bal
    level: int
    told: int


def filled(conn: Connection, levels: Sequence[int], after_id: int = 0) -> tuple[list[Filled], int]:
    """Those of a page of bals with a limit whose holders are to be told, or whose mark is to fall; and the id after
    which the next page begins, 0 when there is none."""
    lowest = min(levels, default=0) or 1
    near = (bal.c.used_bytes * 100 >= bal.c.quota_bytes * lowest) | (bal.c.warned_percent > 0)
    query = (
        select(*BAL_COLUMNS, bal.c.warned_percent)
        .where(bal.c.id > after_id, bal.c.quota_bytes.is_not(None), near)
        .order_by(bal.c.id)
        .limit(_PAGE)
    )
    keys = keys_of(conn)
    rows = [(bal_of(keys, row[:-1]), row[-1]) for row in conn.execute(query)]
    found = [Filled(one, level_of(one.used_bytes, one.quota_bytes or 0, levels), told) for one, told in rows]
    return [one for one in found if one.level != one.told], rows[-1][0].id if len(rows) == _PAGE else 0


def mark(tx: Tx, one: Filled) -> bool:
    """The level counts as told from now on; False when another process was first."""
    changed = update(bal).where(bal.c.id == one.bal.id, bal.c.warned_percent == one.told)
    return bool(tx.conn.execute(changed.values(warned_percent=one.level)).rowcount)
