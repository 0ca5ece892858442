"""Exchanges between a professional and a patient, as they stand.

Always true here: one row a pair; the patient's address is found by its keyed hash and kept sealed; which state follows
which is the domain's question (`domain.exchange`), this file only keeps the answer.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from mssante.domain.exchange import ExchangeState
from mssante.store import schema
from mssante.store.engines import keys_of
from mssante.store.keys import Keys
from mssante.store.writer import Tx

_table = schema.exchange


class Exchange(msgspec.Struct, frozen=True):
    """Who may write to whom: the state, since when (µs), by which Message-ID."""

    professional: str
    patient: str
    state: ExchangeState
    since_us: int
    message_id: str


_EXCHANGE = select(
    _table.c.professional, _table.c.sealed_patient, _table.c.state, _table.c.since_us, _table.c.message_id
)
_PAIR = (_table.c.professional == bindparam("of_professional")) & (_table.c.patient == bindparam("of_patient"))
_ONE = _EXCHANGE.where(_PAIR)
_ADD = insert(_table).inline()
_CHANGE = (
    update(_table)
    .where(_PAIR)
    .values(state=bindparam("new_state"), since_us=bindparam("new_since"), message_id=bindparam("new_message"))
)


def exchange(conn: Connection, professional: str, patient: str) -> Exchange | None:
    keys = keys_of(conn)
    row = conn.execute(_ONE, {"of_professional": professional, "of_patient": keys.locator(patient)}).first()
    return _exchange(keys, row) if row else None


def record_exchange(tx: Tx, professional: str, patient: str, state: ExchangeState, message_id: str) -> bool:
    """Keeps the state the exchange is in after a professional's message; True when that changed it. Since when and by
    which message are those of the change. Hints "exchange" on a change."""
    known = exchange(tx.conn, professional, patient)
    if known is not None and known.state is state:
        return False
    locator = tx.keys.locator(patient)
    if known is None:
        values = {
            "professional": professional,
            "patient": locator,
            "sealed_patient": tx.keys.seal(patient.encode()),
            "state": str(state),
            "since_us": tx.now_us,
            "message_id": message_id,
        }
        tx.conn.execute(_ADD, values)
    else:
        where = {"of_professional": professional, "of_patient": locator}
        tx.conn.execute(_CHANGE, where | {"new_state": str(state), "new_since": tx.now_us, "new_message": message_id})
    tx.hint("exchange")
    return True


def list_exchanges(conn: Connection, professional: str | None = None, patient: str | None = None) -> list[Exchange]:
    """All exchanges, or those of one professional, of one patient."""
    keys = keys_of(conn)
    query = _EXCHANGE.order_by(_table.c.professional, _table.c.since_us)
    if professional is not None:
        query = query.where(_table.c.professional == professional)
    if patient is not None:
        query = query.where(_table.c.patient == keys.locator(patient))
    return [_exchange(keys, row) for row in conn.execute(query)]


def _exchange(keys: Keys, row: Sequence[Any]) -> Exchange:
    professional, sealed, state, since_us, message_id = row
    return Exchange(professional, keys.unseal(sealed).decode(), ExchangeState(state), since_us, message_id)
