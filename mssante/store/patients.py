"""The registry of citizens: who has which matricule, why one has no mailbox, who his parents are.

Always true here: a citizen is his bal, of type PAT; a matricule and the five traits stand sealed only, and are found by
the exact matricule's keyed hash, so that nobody can look for a name; an earlier matricule leads to the bal for ever
(`accounts.find_bals`); a parent's right has its end from the start, whenever its row is taken away (`outgrown`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, delete, insert, select, update

from mssante.domain.address import Address
from mssante.domain.bal import BalState, BalType
from mssante.domain.patient import Authority, Standing
from mssante.store import patient_notices, schema
from mssante.store.accounts import BAL_COLUMNS, Bal, NewBal, bal_of, create_bals, find_bal, get_bal
from mssante.store.engines import keys_of
from mssante.store.errors import AlreadyExists
from mssante.store.exchanges import rename_patient
from mssante.store.prepared import Prepared, put
from mssante.store.schema import bal, matricule, parent
from mssante.store.writer import Tx

_table = schema.patient
_PAGE = 1000


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A citizen as the INS knows him: the matricule (15 characters), who gave it, and the five traits; `notify` his
    own e-mail address."""

    ins: str
    nom: str
    prenoms: str
    naissance: str
    sexe: str
    lieu: str
    notify: str | None = None
    authority: Authority = Authority.NIR


class NewPatient(msgspec.Struct, frozen=True):
    """A citizen to be registered; one who is opposed gets a bal that takes no mail."""

    address: Address
    identity: Identity
    password_hash: str | None = None
    standing: Standing = Standing.OPEN


class Patient(msgspec.Struct, frozen=True):
    bal: Bal
    identity: Identity
    standing: Standing


_ADD = Prepared(insert(_table).inline())
_PATIENT = select(_table.c.sealed_identity, _table.c.standing, *BAL_COLUMNS).join_from(_table, bal)
_ONE = _PATIENT.where(_table.c.bal_id == bindparam("of_bal"))
_NEXT = _PATIENT.where(_table.c.bal_id > bindparam("after")).order_by(_table.c.bal_id).limit(_PAGE)
_STANDING = Prepared(select(_table.c.standing).where(_table.c.bal_id == bindparam("of_bal")))
_IS_PARENT = Prepared(
    select(parent.c.until_us).where(
        parent.c.child_id == bindparam("child"),
        parent.c.parent_id == bindparam("parent"),
        parent.c.until_us > bindparam("now"),
    )
)


def create_patients(tx: Tx, new: Sequence[NewPatient]) -> list[int]:
    """Registers citizens and opens their bals, all or none, in their order; the bals' ids. Raises AlreadyExists."""
    states = {Standing.OPPOSED: BalState.DRAFT}
    bals = [
        NewBal(
            address=str(one.address),
            type=BalType.PAT,
            state=states.get(one.standing, BalState.ACTIVE),
            password_hash=one.password_hash,
        )
        for one in new
    ]
    ids = create_bals(tx, bals)
    rows = [
        {"bal_id": bal_id, "sealed_identity": _sealed(tx, bal_id, one.identity), "standing": str(one.standing)}
        for bal_id, one in zip(ids, new, strict=True)
    ]
    _ADD.many(tx.conn, rows)
    patient_notices.begin(tx, [bal_id for bal_id, one in zip(ids, new, strict=True) if one.identity.notify])
    return ids


def patient(conn: Connection, bal_id: int) -> Patient | None:
    return next(_patients(conn, _ONE, of_bal=bal_id), None)


def patients(conn: Connection, after_id: int = 0) -> list[Patient]:
    """All citizens, closed ones too, in the order of their registration: a page of those whose bal's id is greater."""
    return list(_patients(conn, _NEXT, after=after_id))


def _patients(conn: Connection, query: "Select[*tuple[Any, ...]]", **values: int) -> Iterator[Patient]:
    keys = keys_of(conn)
    for sealed, standing, *columns in conn.execute(query, values):
        one = bal_of(keys, columns)
        identity = msgspec.msgpack.decode(keys.unseal(sealed, b"patient %d" % one.id), type=Identity)
        yield Patient(one, identity, Standing(standing))


def standing(conn: Connection, bal_id: int) -> Standing:
    """OPEN of a bal that is no citizen's."""
    rows = _STANDING.rows(conn, {"of_bal": bal_id})
    return Standing(rows[0][0]) if rows else Standing.OPEN


def set_standing(tx: Tx, bal_id: int, new: Standing) -> None:
    _change(tx, bal_id, standing=str(new))
    for child_id in tx.conn.execute(select(parent.c.child_id).where(parent.c.parent_id == bal_id)).scalars():
        tx.hint("bal", child_id)


def set_notify(tx: Tx, known: Patient, notify: str | None) -> None:
    """Where the citizen is told of new mail, if at all."""
    identity = msgspec.structs.replace(known.identity, notify=notify)
    _change(tx, known.bal.id, sealed_identity=_sealed(tx, known.bal.id, identity))
    if notify and not known.identity.notify:
        patient_notices.begin(tx, [known.bal.id])
    elif known.identity.notify and not notify:
        patient_notices.stop(tx, known.bal.id)


def change_matricule(tx: Tx, known: Patient, address: Address, authority: Authority) -> None:
    """The citizen is at `address` from now on; his present address leads there too, and his exchanges go on. One of
    his earlier matricules may come back. Raises AlreadyExists when it is another's."""
    taken = find_bal(tx.conn, address)
    if taken is not None and taken.id != known.bal.id:
        raise AlreadyExists(f"the address {tx.trace_name(str(address))} is taken")
    before, after = known.bal.address, str(address)
    if before != after:
        tx.conn.execute(delete(matricule).where(matricule.c.locator == tx.keys.locator(after)))
        old = {"locator": tx.keys.locator(before), "bal_id": known.bal.id, "until_us": tx.now_us}
        tx.conn.execute(insert(matricule), old | {"sealed_matricule": tx.keys.seal(before.encode())})
        new = {"locator": tx.keys.locator(after), "sealed_address": tx.keys.seal(after.encode())}
        tx.conn.execute(update(bal).where(bal.c.id == known.bal.id).values(new))
        rename_patient(tx, before, after)
    identity = msgspec.structs.replace(known.identity, ins=address.local.upper(), authority=authority)
    _change(tx, known.bal.id, sealed_identity=_sealed(tx, known.bal.id, identity))


def earlier(conn: Connection, bal_id: int) -> list[tuple[str, int]]:
    """The citizen's former addresses, each with the time (µs) at which the next one came."""
    query = select(matricule.c.sealed_matricule, matricule.c.until_us).where(matricule.c.bal_id == bal_id)
    keys = keys_of(conn)
    rows = conn.execute(query.order_by(matricule.c.until_us))
    return [(keys.unseal(sealed).decode(), until_us) for sealed, until_us in rows]


def forget(tx: Tx, bal_id: int) -> None:
    """The bal was purged: of a citizen only his matricules and standing are left, that senders be told why."""
    known = patient(tx.conn, bal_id)
    if known is not None:
        blank = Identity(ins=known.identity.ins, nom="", prenoms="", naissance="", sexe="", lieu="")
        _change(tx, bal_id, sealed_identity=_sealed(tx, bal_id, blank))
        tx.conn.execute(delete(parent).where((parent.c.child_id == bal_id) | (parent.c.parent_id == bal_id)))
        patient_notices.stop(tx, bal_id)


def set_parent(tx: Tx, child_id: int, parent_id: int, until_us: int) -> bool:
    """The parent may open the child's mailbox until then; at once no more when that is past. True when it changes."""
    pair = {"child_id": child_id, "parent_id": parent_id}
    tx.hint("bal", parent_id)
    tx.hint("bal", child_id)
    if until_us > tx.now_us:
        put(tx.conn, parent, {**pair, "until_us": until_us})
        return True
    return tx.conn.execute(delete(parent).filter_by(**pair)).rowcount > 0


def may_open_as_parent(conn: Connection, parent_id: int, child_id: int, now_us: int) -> bool:
    """Whether the holder of `parent_id` may open the mailbox of his child, still a minor."""
    return bool(_IS_PARENT.rows(conn, {"child": child_id, "parent": parent_id, "now": now_us}))


def outgrown(conn: Connection, now_us: int) -> list[tuple[Bal, Bal]]:
    """Children with a parent whose right has come to its end, each pair once: some of them, while there are any."""
    query = select(parent.c.child_id, parent.c.parent_id).where(parent.c.until_us <= now_us).limit(_PAGE)
    pairs = [tuple(get_bal(conn, id_) for id_ in row) for row in conn.execute(query)]
    return [(child, adult) for child, adult in pairs if child is not None and adult is not None]


def parents(conn: Connection, child_id: int) -> list[tuple[Bal, int]]:
    """A child's parents, each with the end of his right (µs)."""
    query = select(parent.c.until_us, *BAL_COLUMNS).join_from(parent, bal, parent.c.parent_id == bal.c.id)
    rows = conn.execute(query.where(parent.c.child_id == child_id).order_by(bal.c.id))
    return [(bal_of(keys_of(conn), columns), until_us) for until_us, *columns in rows]


def _sealed(tx: Tx, bal_id: int, identity: Identity) -> bytes:
    return tx.keys.seal(msgspec.msgpack.encode(identity), b"patient %d" % bal_id)


def _change(tx: Tx, bal_id: int, **values: object) -> None:
    tx.conn.execute(update(_table).where(_table.c.bal_id == bal_id).values(values))
    tx.hint("bal", bal_id)
    tx.hint("accounts")
