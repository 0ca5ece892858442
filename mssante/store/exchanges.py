"""Exchanges between professionals' mailboxes and patients, as they stand.

Always true here: one row a pair; a patient's address is found by its keyed hash and kept sealed; which state follows
which is the domain's question (`domain.exchange`), this file only keeps the answer. An introduction is a row for as
long as it holds: it goes with the exchange that it came through. Message-IDs of ended threads are kept as digests.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, literal_column, select, update

from mssante.domain.exchange import ExchangeState, Relation
from mssante.store import schema
from mssante.store.engines import keys_of
from mssante.store.keys import Keys
from mssante.store.messages import id_digest
from mssante.store.prepared import Prepared, upsert
from mssante.store.writer import Tx

_table, _introduced, _ended = schema.exchange, schema.introduction, schema.ended_thread

EVERYBODY = "*"
"""In the place of a patient: citizens may write to this mailbox first."""


class Exchange(msgspec.Struct, frozen=True):
    """Who may write to whom: the state, since when (µs), by which Message-ID; through whose message, when it is not
    the professional's own ("" when it is)."""

    professional: str
    patient: str
    state: ExchangeState
    since_us: int
    message_id: str
    through: str = ""


_EXCHANGE = select(
    _table.c.professional, _table.c.sealed_patient, _table.c.state, _table.c.since_us, _table.c.message_id
)
_INTRODUCED = select(
    _introduced.c.professional,
    _introduced.c.sealed_patient,
    literal_column(f"'{ExchangeState.OPEN}'").label("state"),
    _introduced.c.since_us,
    _introduced.c.message_id,
    _introduced.c.through,
).where(_introduced.c.patient != EVERYBODY)
_PAIR = (_table.c.professional == bindparam("of_professional")) & (_table.c.patient == bindparam("of_patient"))
_STATE = Prepared(select(_table.c.state).where(_PAIR))
_ADD = Prepared(insert(_table).inline())
_CHANGE = Prepared(
    update(_table)
    .where(_PAIR)
    .values(state=bindparam("new_state"), since_us=bindparam("new_since"), message_id=bindparam("new_message"))
)
_TO_PATIENT = _introduced.c.patient.in_([bindparam("of_patient"), EVERYBODY])
_IS_INTRODUCED = Prepared(
    select(_introduced.c.through)
    .where(_introduced.c.professional == bindparam("of_professional"), _TO_PATIENT)
    .limit(1)
)
_INTRODUCE = Prepared(upsert(_introduced).on_conflict_do_nothing())
_FORGET_INTRODUCED = Prepared(
    delete(_introduced).where(
        _introduced.c.patient == bindparam("of_patient"), _introduced.c.through == bindparam("of_through")
    )
)
_THREADS = (_ended.c.professional == bindparam("of_professional")) & (_ended.c.patient == bindparam("of_patient"))
_IN_THREADS = _THREADS & _ended.c.reference.in_(bindparam("references", expanding=True))
_ENDED_BY = Prepared(select(_ended.c.ended_by).where(_IN_THREADS))
_REOPEN = Prepared(delete(_ended).where(_THREADS, _ended.c.ended_by.in_(bindparam("ends", expanding=True))))
_END_THREAD = Prepared(insert(_ended).inline())


def relation(conn: Connection, professional: str, patient: str) -> Relation:
    """What decides whether the patient may write to the professional, and what a professional's message changes."""
    pair = _pair(keys_of(conn), professional, patient)
    rows = _STATE.rows(conn, pair)
    if rows:
        return Relation(ExchangeState(rows[0][0]))
    return Relation(None, bool(_IS_INTRODUCED.rows(conn, pair)))


def record_exchange(tx: Tx, professional: str, patient: str, state: ExchangeState, message_id: str) -> bool:
    """Keeps the state the exchange is in after a professional's message; True when that changed it. Since when and by
    which message are those of the change. One that ends takes its introductions with it. Hints "exchange" on a
    change."""
    pair = _pair(tx.keys, professional, patient)
    known = _STATE.rows(tx.conn, pair)
    if known and known[0][0] == state:
        return False
    if not known:
        values = {
            "professional": professional,
            "patient": pair["of_patient"],
            "sealed_patient": tx.keys.seal(patient.encode()),
            "state": str(state),
            "since_us": tx.now_us,
            "message_id": message_id,
        }
        _ADD.count(tx.conn, values)
    else:
        _CHANGE.count(tx.conn, pair | {"new_state": str(state), "new_since": tx.now_us, "new_message": message_id})
    if state is ExchangeState.ENDED:
        end_introductions(tx, patient, through=professional)
    tx.hint("exchange")
    return True


def introduce(tx: Tx, professionals: Iterable[str], patient: str, *, through: str, message_id: str) -> None:
    """The patient may write to these too, while the exchange with `through` is open. Twice is once."""
    row = {
        "patient": tx.keys.locator(patient),
        "sealed_patient": tx.keys.seal(patient.encode()),
        "through": through,
        "since_us": tx.now_us,
        "message_id": message_id,
    }
    _INTRODUCE.many(tx.conn, [{"professional": professional, **row} for professional in sorted(professionals)])


def end_introductions(tx: Tx, patient: str, *, through: str) -> None:
    """Those whom a message of `through` named to the patient are no longer introduced by it."""
    _FORGET_INTRODUCED.count(tx.conn, {"of_patient": tx.keys.locator(patient), "of_through": through})


def welcome(tx: Tx, professional: str, first: bool) -> bool:
    """Whether citizens may write to this mailbox first (a pharmacy's, facts 4.1); True when that changes it."""
    if first:
        row = {"professional": professional, "patient": EVERYBODY, "through": "", "message_id": ""}
        return _INTRODUCE.count(tx.conn, {**row, "sealed_patient": b"", "since_us": tx.now_us}) > 0
    return tx.conn.execute(delete(_introduced).filter_by(professional=professional, patient=EVERYBODY)).rowcount > 0


def welcoming(conn: Connection) -> list[str]:
    """The mailboxes that citizens may write to first."""
    query = select(_introduced.c.professional).filter_by(patient=EVERYBODY).order_by(_introduced.c.professional)
    return list(conn.execute(query).scalars())


def end_thread(tx: Tx, professional: str, patient: str, references: Sequence[str], ended_by: str) -> None:
    """The patient may no longer answer in the thread of these Message-IDs. `ended_by` is the name under which
    `reopen_thread` finds them together."""
    reopen_thread(tx, professional, patient, references)
    values = {"professional": professional, "patient": tx.keys.locator(patient), "ended_by": ended_by}
    _END_THREAD.many(tx.conn, [values | {"reference": one} for one in sorted(set(map(id_digest, references)))])


def reopen_thread(tx: Tx, professional: str, patient: str, references: Sequence[str]) -> None:
    """The thread of these Message-IDs goes on: whatever ended it, ends it no more."""
    pair: dict[str, Any] = _pair(tx.keys, professional, patient)
    ends = _ENDED_BY.rows(tx.conn, pair | {"references": [*map(id_digest, references)]}) if references else []
    if ends:
        _REOPEN.count(tx.conn, pair | {"ends": sorted({end for (end,) in ends})})


def thread_ended(conn: Connection, professional: str, patient: str, references: Sequence[str]) -> bool:
    """Whether the professional ended the thread that one of these Message-IDs belongs to."""
    pair: dict[str, Any] = _pair(keys_of(conn), professional, patient)
    return bool(references) and bool(_ENDED_BY.rows(conn, pair | {"references": [*map(id_digest, references)]}))


def rename_patient(tx: Tx, before: str, after: str) -> None:
    """The patient's exchanges go on under another address: his matricule changed."""
    old, new = tx.keys.locator(before), tx.keys.locator(after)
    sealed = tx.keys.seal(after.encode())
    for table in (_table, _introduced):
        tx.conn.execute(update(table).where(table.c.patient == old).values(patient=new, sealed_patient=sealed))
    tx.conn.execute(update(_ended).where(_ended.c.patient == old).values(patient=new))
    tx.hint("exchange")


def list_exchanges(conn: Connection, professional: str | None = None, patient: str | None = None) -> list[Exchange]:
    """All exchanges, or those of one professional, of one patient; those through a colleague after their own."""
    keys = keys_of(conn)
    found = []
    for query, table in ((_EXCHANGE, _table), (_INTRODUCED, _introduced)):
        query = query.order_by(table.c.professional, table.c.since_us)
        if professional is not None:
            query = query.where(table.c.professional == professional)
        if patient is not None:
            query = query.where(table.c.patient == keys.locator(patient))
        found += [_exchange(keys, row) for row in conn.execute(query)]
    return sorted(found, key=lambda one: (one.professional, bool(one.through)))


def _pair(keys: Keys, professional: str, patient: str) -> dict[str, str]:
    return {"of_professional": professional, "of_patient": keys.locator(patient)}


def _exchange(keys: Keys, row: Sequence[Any]) -> Exchange:
    professional, sealed, state, since_us, message_id, *through = row
    return Exchange(professional, keys.unseal(sealed).decode(), ExchangeState(state), since_us, message_id, *through)
