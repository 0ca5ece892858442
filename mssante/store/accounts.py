"""Bals, their holders and delegations; citizens have theirs too (`patients`).

Always true here: an address is given once for ever (a closed bal's row is the tombstone that keeps it); a bal is born
with its folders; a patient's address and identity are sealed, the row is found by a keyed hash; each change hints "bal"
(its id; of a bal just born nobody knows one) and "accounts" after the commit. Passwords come as argon2 hashes, never in
clear.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, case, delete, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from mssante.domain.address import Address
from mssante.domain.bal import BalState, BalType
from mssante.domain.identifiers import Adeli, Rpps
from mssante.store.engines import keys_of
from mssante.store.errors import AlreadyExists, NotFound
from mssante.store.folders import first_folders
from mssante.store.keys import Keys
from mssante.store.prepared import Prepared, chunks, put
from mssante.store.schema import annotation, bal, credential, delegation, folder, matricule, subscription
from mssante.store.writer import Tx


class NewBal(msgspec.Struct, frozen=True, kw_only=True):
    """A bal to be opened. Fields as `bal create` of the command line."""

    address: str
    type: BalType
    state: BalState = BalState.ACTIVE
    rpps: str | None = None
    adeli: str | None = None
    finess: str | None = None
    siret: str | None = None
    responsable: str = ""
    nom: str = ""
    prenom: str = ""
    profession: str | None = None
    liste_rouge: bool = False
    password_hash: str | None = None
    quota_bytes: int | None = None


class Bal(msgspec.Struct, frozen=True):
    """A bal as of one moment. `rpps`: the professional whose it is, or who answers for a structure's; `responsable`:
    his name as the annuaire shows it. `quota_bytes` None: no limit. `motif`: why it is in its state. `closed_by`: who
    closed it, empty when it is not closed. `purged_us`: when it became a tombstone and no more."""

    id: int
    address: str
    type: BalType
    state: BalState
    liste_rouge: bool
    rpps: str | None
    adeli: str | None
    finess: str | None
    siret: str | None
    responsable: str
    nom: str
    prenom: str
    profession: str | None
    password_hash: str | None
    used_bytes: int
    quota_bytes: int | None
    created_us: int
    motif: str
    closed_by: str
    purged_us: int | None

    @property
    def full(self) -> bool:
        return self.quota_bytes is not None and self.used_bytes >= self.quota_bytes


class Delegation(msgspec.Struct, frozen=True):
    """`delegate` (an address or an RPPS) may `right` (read, write or send) on the bal."""

    bal_id: int
    delegate: str
    right: str
    since_us: int


class Lent(msgspec.Struct, frozen=True):
    """A right that somebody has on another's bal, and that bal."""

    bal_id: int
    address: str
    state: str
    right: str


BAL_COLUMNS = [bal.c[name] for name in ("id", "locator", "sealed_address", *Bal.__struct_fields__[2:])]
"""What `bal_of` makes a Bal of."""
_BAL = select(*BAL_COLUMNS)
_BY_LOCATOR = Prepared(_BAL.where(bal.c.locator.in_(bindparam("locators", expanding=True))))
_BY_MATRICULE = Prepared(
    select(matricule.c.locator, *BAL_COLUMNS)
    .join_from(matricule, bal)
    .where(matricule.c.locator.in_(bindparam("locators", expanding=True)))
)
_BY_ID = Prepared(_BAL.where(bal.c.id == bindparam("id")))
_PAGE = Prepared(
    _BAL.where(bal.c.id > bindparam("after"), bal.c.type != bindparam("citizen", type_=bal.c.type.type))
    .order_by(bal.c.id)
    .limit(1000)
)
_HOLDER = bal.alias("holder")
_HIS_RPPS = case((_HOLDER.c.type == BalType.PER.value, _HOLDER.c.rpps))
"""That of who answers for a structure opens nothing to those who sign in as the structure."""
_LENT = Prepared(
    select(bal.c.id, bal.c.locator, bal.c.state, delegation.c.right)
    .select_from(_HOLDER)
    .join(delegation, delegation.c.delegate.in_([_HOLDER.c.locator, _HIS_RPPS]))
    .join(bal, bal.c.id == delegation.c.bal_id)
    .where(_HOLDER.c.id == bindparam("holder"), bal.c.type != bindparam("citizen", type_=bal.c.type.type))
    .order_by(bal.c.locator)
)
_ADD = insert(bal).returning(bal.c.id, sort_by_parameter_order=True)


def create_bal(tx: Tx, new: NewBal) -> int:
    """Opens a bal with its folders; its id. Raises AlreadyExists, also when the address belonged to a closed bal."""
    return create_bals(tx, [new])[0]


def create_bals(tx: Tx, new: Sequence[NewBal]) -> list[int]:
    """Opens many bals, all or none, in their order. Raises AlreadyExists naming the first address that is taken."""
    if not new:
        return []
    taken = find_bals(tx.conn, [one.address for one in new])
    seen: set[str] = set()
    for one in new:
        if one.address in taken or one.address in seen:
            raise AlreadyExists(f"the address {tx.trace_name(one.address)} is taken")
        seen.add(one.address)
    try:
        ids = list(tx.conn.execute(_ADD, [_values(tx, one) for one in new]).scalars())
    except IntegrityError as error:
        raise AlreadyExists("an address was taken a moment ago") from error
    tx.conn.execute(insert(folder).inline(), [row for id_ in ids for row in first_folders(id_, tx.now_us)[0]])
    tx.hint("accounts")
    return ids


def _values(tx: Tx, new: NewBal) -> dict[str, object]:
    values = msgspec.structs.asdict(new)
    address: str = values.pop("address")
    return values | {
        "type": str(new.type),
        "state": str(new.state),
        "locator": tx.keys.locator(address),
        "sealed_address": tx.keys.seal(address.encode()) if tx.keys.is_patient(address) else None,
        "used_bytes": 0,
        "last_uidvalidity": first_folders(0, tx.now_us)[1],
        "created_us": tx.now_us,
        "motif": "",
    }


def find_bal(conn: Connection, address: Address | str) -> Bal | None:
    """The bal of this address, in whatever state, or None."""
    return find_bals(conn, [address]).get(str(address))


def find_bals(conn: Connection, addresses: Iterable[Address | str]) -> dict[str, Bal]:
    """The bals of those addresses that have one, by address. A citizen's former address finds his bal too, whose own
    address is another then."""
    keys = keys_of(conn)
    names = {keys.locator(str(address)): str(address) for address in addresses}
    found: dict[str, Bal] = {}
    for some in chunks(names):
        for row in _BY_LOCATOR.rows(conn, {"locators": some}):
            found[names[row[1]]] = bal_of(keys, row)
    for some in chunks(locator for locator, name in names.items() if name not in found and keys.is_patient(name)):
        for locator, *columns in _BY_MATRICULE.rows(conn, {"locators": some}):
            found[names[locator]] = bal_of(keys, columns)
    return found


def get_bal(conn: Connection, bal_id: int) -> Bal | None:
    rows = _BY_ID.rows(conn, {"id": bal_id})
    return bal_of(keys_of(conn), rows[0]) if rows else None


def list_bals(conn: Connection, type: BalType | None = None) -> list[Bal]:
    """All bals, tombstones too, in the order of their opening; of one type when asked."""
    return bals_where(conn, literal(True) if type is None else bal.c.type == str(type))


def bals_after(conn: Connection, after_id: int = 0) -> list[Bal]:
    """The bals of professionals, tombstones too, in the order of their opening: a page of those with a greater id."""
    keys = keys_of(conn)
    return [bal_of(keys, row) for row in _PAGE.rows(conn, {"after": after_id, "citizen": BalType.PAT.value})]


def bals_of(conn: Connection, who: Rpps | Adeli) -> list[Bal]:
    """The bals of a professional, in whatever state: his own, and those of structures that he answers for."""
    return bals_where(conn, (bal.c.rpps if isinstance(who, Rpps) else bal.c.adeli) == who.number)


def bals_where(conn: Connection, condition: ColumnElement[bool]) -> list[Bal]:
    """In the order of their opening."""
    keys = keys_of(conn)
    return [bal_of(keys, row) for row in conn.execute(_BAL.where(condition).order_by(bal.c.id))]


def bal_of(keys: Keys, row: Sequence[Any]) -> Bal:
    """`row`: BAL_COLUMNS."""
    id_, locator, sealed, type_, state, liste_rouge, *rest = row
    address = locator if sealed is None else keys.unseal(sealed).decode()
    return Bal(id_, address, BalType(type_), BalState(state), bool(liste_rouge), *rest)


def set_state(tx: Tx, bal_id: int, state: BalState, motif: str = "", actor: str = "") -> None:
    """Changes the state; whether the step is allowed is the caller's question (`domain.bal.may_become`)."""
    _change(tx, bal_id, state=str(state), motif=motif, closed_by=actor if state is BalState.CLOSED else "")


def set_password_hash(tx: Tx, bal_id: int, password_hash: str | None) -> None:
    _change(tx, bal_id, password_hash=password_hash)


def set_quota(tx: Tx, bal_id: int, quota_bytes: int | None) -> None:
    _change(tx, bal_id, quota_bytes=quota_bytes)


def set_holder(tx: Tx, bal_id: int, holder: Mapping[str, str | None]) -> None:
    """Changes identifiers and names; which may change is the caller's question (`domain.bal.holder_faults`)."""
    _change(tx, bal_id, **holder)


def entomb(tx: Tx, bal_id: int) -> None:
    """What is left is the tombstone: address, type, state, motif and dates. Its messages must be gone already."""
    for table in (folder, annotation, subscription, credential, delegation):
        tx.conn.execute(delete(table).where(table.c.bal_id == bal_id))
    gone = dict.fromkeys(("rpps", "adeli", "finess", "siret", "profession", "password_hash"))
    names = dict.fromkeys(("responsable", "nom", "prenom"), "")
    _change(tx, bal_id, **gone, **names, liste_rouge=False, purged_us=tx.now_us)


def _change(tx: Tx, bal_id: int, **values: object) -> None:
    if tx.conn.execute(update(bal).where(bal.c.id == bal_id).values(values)).rowcount != 1:
        raise NotFound(f"no bal {bal_id}")
    _tell(tx, bal_id)


def _tell(tx: Tx, bal_id: int) -> None:
    tx.hint("bal", bal_id)
    tx.hint("accounts")


def delegate(tx: Tx, bal_id: int, to: str, right: str) -> None:
    """Gives `to` (an address or an RPPS) the right; giving it twice is giving it once."""
    put(tx.conn, delegation, {"bal_id": bal_id, "delegate": to, "right": right, "since_us": tx.now_us})
    _tell(tx, bal_id)


def withdraw(tx: Tx, bal_id: int, to: str, right: str) -> None:
    """Takes the right back, if it was given."""
    tx.conn.execute(delete(delegation).filter_by(bal_id=bal_id, delegate=to, right=right))
    _tell(tx, bal_id)


def delegations(conn: Connection, bal_id: int) -> list[Delegation]:
    """Who may do what on this bal."""
    query = select(delegation).where(delegation.c.bal_id == bal_id).order_by(delegation.c.delegate, delegation.c.right)
    return [Delegation(*row) for row in conn.execute(query)]


def lent_to(conn: Connection, bal_id: int) -> list[Lent]:
    """What the holder of `bal_id` has been lent, under his address or his RPPS. Nobody is lent a citizen's mailbox."""
    return [Lent(*row) for row in _LENT.rows(conn, {"holder": bal_id, "citizen": BalType.PAT.value})]


def delegates(conn: Connection, to: str) -> list[int]:
    """The bals whose holder a delegation to `to` (an address or an RPPS) means."""
    return list(conn.execute(select(_HOLDER.c.id).where(literal(to).in_([_HOLDER.c.locator, _HIS_RPPS]))).scalars())
