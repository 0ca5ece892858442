"""The outbound queue: one item a recipient.

Always true here: an item is queued, leased (somebody is trying, until the lease ends), held (by the operator) or
finished (sent, failed, dropped) for good; `due_us` says when an unfinished, unheld item may be taken and is empty
otherwise, so a lease that its owner does not answer for simply becomes due again; whoever leases an item alone may
try it until then, and nobody prolongs or ends the lease of another. Addresses, replies and ORCPT are sealed; the
recipient's domain stands in clear.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import BindParameter, ColumnElement, Connection, Select, bindparam, delete, func, insert, select, update

from mssante.domain.address import Address
from mssante.domain.dsn import DEFAULT, Notify
from mssante.store.engines import keys_of
from mssante.store.errors import NotFound
from mssante.store.keys import Keys
from mssante.store.messages import UNFINISHED, forget_unreferenced, id_digest
from mssante.store.prepared import Prepared
from mssante.store.schema import queue_item
from mssante.store.writer import Tx


class QueueState(StrEnum):
    QUEUED = "queued"
    LEASED = "leased"
    HELD = "held"
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"


class QueueRecipient(msgspec.Struct, frozen=True):
    """A recipient with its RFC 3461 wishes; `orcpt` as it was given, "" when it was not."""

    address: Address
    notify: Notify = DEFAULT
    orcpt: str = ""


class QueueItem(msgspec.Struct, frozen=True):
    """One recipient of one message. `sender` "" is the null sender; `message_id` is None once the message is erased;
    `due_us` None: finished or held; `last_reply` what the last try got; `accepted_as` the identifier that the sender
    was told, None of notices and of items older than the column."""

    id: int
    message_id: int | None
    sender: str
    recipient: str
    domain: str
    state: QueueState
    due_us: int | None
    attempts: int
    lease_owner: str | None
    last_reply: str
    notify: Notify
    orcpt: str
    envid: str
    ret: str
    created_us: int
    expires_us: int
    changed_us: int
    accepted_as: str | None = None

    @property
    def traced_as(self) -> str:
        """The object of its journal entries."""
        return self.accepted_as or f"message {self.message_id}"


ASKED = "asked"
"""Key of the hint that tells of the operator's wish to have mail tried at once, peers that were down included."""

MOST_OF_ONE = 1000
"""Items looked at as those of one message."""

_table = queue_item
_SEALED = {"last_reply": "sealed_reply"} | {name: f"sealed_{name}" for name in ("sender", "recipient", "orcpt")}
_COLUMNS = [_table.c[_SEALED.get(name, name)] for name in QueueItem.__struct_fields__]
_IDS: BindParameter[int] = bindparam("ids", expanding=True)
_OPEN = _table.c.state.in_(UNFINISHED)
_ADD = Prepared(insert(_table).inline())
_NEXT_DUE = Prepared(select(func.min(_table.c.due_us)))
_IS_DUE = _table.c.due_us <= bindparam("now")
_DUE_DOMAINS = (
    select(_table.c.domain)
    .where(_IS_DUE, _table.c.domain.not_in(bindparam("without", expanding=True)))
    .group_by(_table.c.domain)
    .order_by(func.min(_table.c.due_us), func.min(_table.c.id))
    .limit(bindparam("spread"))
)
_DUE = (
    select(_table.c.id)
    .where(_IS_DUE, _table.c.domain.in_(_DUE_DOMAINS.scalar_subquery()))
    .order_by(_table.c.due_us, _table.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_LEASE_DUE = Prepared(
    update(_table)
    .where(_table.c.id.in_(_DUE.scalar_subquery()))
    .values(state="leased", due_us=bindparam("until"), lease_owner=bindparam("owner"), changed_us=bindparam("now"))
    .returning(*_COLUMNS)
)
_MINE = _table.c.id.in_(_IDS), _table.c.state == "leased", _table.c.lease_owner == bindparam("owner")
_RENEW = Prepared(update(_table).where(*_MINE).values(due_us=bindparam("until")).returning(_table.c.id))
_GIVE_BACK = Prepared(
    update(_table)
    .where(*_MINE)
    .values(state="queued", due_us=bindparam("now"), lease_owner=None, changed_us=bindparam("now"))
)
_END = Prepared(
    update(_table)
    .where(_table.c.id.in_(_IDS), _OPEN)
    .values(
        state=bindparam("new_state"),
        due_us=bindparam("new_due"),
        attempts=_table.c.attempts + bindparam("tries"),
        lease_owner=None,
        sealed_reply=func.coalesce(bindparam("new_reply"), _table.c.sealed_reply),
        changed_us=bindparam("now"),
    )
    .returning(_table.c.message_id)
)


def enqueue(
    tx: Tx,
    message_id: int,
    sender: str,
    recipients: Sequence[QueueRecipient],
    *,
    envid: str = "",
    ret: str = "",
    expires_us: int,
    accepted_as: str | None = None,
    header_id: str = "",
) -> None:
    """One item for each recipient, due at once. `accepted_as` is what the sender was told, `header_id` the Message-ID:
    what reports of the message may name it by (`told_of`)."""
    seal = tx.keys.seal
    same = {
        "message_id": message_id,
        "sealed_sender": seal(sender.encode()),
        "state": "queued",
        "attempts": 0,
        "envid": envid,
        "ret": ret,
        **dict.fromkeys(("due_us", "created_us", "changed_us"), tx.now_us),
        "expires_us": expires_us,
        "accepted_as": accepted_as,
        "header_id": id_digest(header_id) if header_id else None,
    }
    _ADD.many(
        tx.conn,
        [
            {
                **same,
                "sealed_recipient": seal(str(one.address).encode()),
                "domain": one.address.domain,
                "notify": one.notify.value,
                "sealed_orcpt": seal(one.orcpt.encode()) if one.orcpt else None,
            }
            for one in recipients
        ],
    )
    tx.hint("queue")


def lease_due(
    tx: Tx, owner: str, limit: int, lease_us: int, *, spread: int = 50, without: Collection[str] = ()
) -> list[QueueItem]:
    """Takes up to `limit` due items for `lease_us` microseconds, of the `spread` domains that have waited longest but
    those `without`: what goes to one domain is taken together, so that it goes by one connection. No other process
    gets them before the lease ends."""
    values = {"now": tx.now_us, "until": tx.now_us + lease_us, "owner": owner, "most": limit}
    rows = _LEASE_DUE.rows(tx.conn, values | {"spread": spread, "without": list(without)})
    return sorted((_item(tx.keys, row) for row in rows), key=lambda item: item.id)


def renew(tx: Tx, owner: str, ids: Sequence[int], until_us: int) -> set[int]:
    """Prolongs the leases of `owner` to `until_us`. Those of `ids` that it still has: the others were taken by another
    process after they ended, held, dropped or finished meanwhile, and must not be tried by `owner`."""
    return {id_ for (id_,) in _RENEW.rows(tx.conn, {"ids": list(ids), "owner": owner, "until": until_us})}


def give_back(tx: Tx, owner: str, ids: Sequence[int]) -> int:
    """Ends leases of `owner` without an attempt: due at once. How many of `ids` it still had."""
    tx.hint("queue")
    return _GIVE_BACK.count(tx.conn, {"ids": list(ids), "owner": owner, "now": tx.now_us})


def record_sent(tx: Tx, ids: Sequence[int], reply: str) -> None:
    """The next hop took the message for these recipients."""
    _end(tx, ids, QueueState.SENT, reply=reply, tries=1)


def record_failed(tx: Tx, ids: Sequence[int], reply: str) -> None:
    """Given up for these recipients. A notice, if one is due, is stored in the same transaction before this call."""
    _end(tx, ids, QueueState.FAILED, reply=reply, tries=1)


def record_deferred(tx: Tx, ids: Sequence[int], reply: str, next_us: int) -> None:
    """Not this time: due again at `next_us`."""
    _end(tx, ids, QueueState.QUEUED, due_us=next_us, reply=reply, tries=1)


def retry(tx: Tx, ids: Sequence[int] | None) -> int:
    """Makes unfinished items that nobody is trying due at once (None: all of them); how many."""
    change = update(_table).where(_table.c.state == "queued").values(due_us=tx.now_us, changed_us=tx.now_us)
    if ids is not None:
        change = change.where(_table.c.id.in_(list(ids)))
    tx.hint("queue", ASKED)
    return int(tx.conn.execute(change).rowcount)


def hold(tx: Tx, ids: Sequence[int], motif: str = "") -> int:
    """Takes unfinished items out of the schedule until `release`; how many."""
    return _end(tx, ids, QueueState.HELD, reply=motif)


def release(tx: Tx, ids: Sequence[int]) -> int:
    """Puts held items back, due at once; how many."""
    change = update(_table).where(_table.c.state == "held", _table.c.id.in_(list(ids)))
    tx.hint("queue", ASKED)
    return int(tx.conn.execute(change.values(state="queued", due_us=tx.now_us, changed_us=tx.now_us)).rowcount)


def drop(tx: Tx, ids: Sequence[int], motif: str) -> int:
    """Gives items up by the operator's will, without notice; how many."""
    return _end(tx, ids, QueueState.DROPPED, reply=motif)


def _end(
    tx: Tx, ids: Sequence[int], state: QueueState, *, due_us: int | None = None, reply: str = "", tries: int = 0
) -> int:
    values = {
        "ids": list(ids),
        "new_state": str(state),
        "new_due": due_us,
        "tries": tries,
        "new_reply": tx.keys.seal(reply.encode()) if reply else None,
        "now": tx.now_us,
    }
    ended = _END.rows(tx.conn, values)
    if state in (QueueState.SENT, QueueState.FAILED, QueueState.DROPPED):
        forget_unreferenced(tx, [message_id for (message_id,) in ended if message_id is not None])
    tx.hint("queue")
    return len(ended)


def prune_finished(tx: Tx, before_us: int) -> int:
    """Removes items that were finished before `before_us`; how many."""
    return int(tx.conn.execute(delete(_table).where(~_OPEN, _table.c.changed_us < before_us)).rowcount)


def listing(conn: Connection, state: QueueState | None = None, limit: int = 1000, after_id: int = 0) -> list[QueueItem]:
    """Items in the order of their making, unfinished ones unless a state is given, at most `limit` after `after_id`."""
    of_state = _OPEN if state is None else _table.c.state == str(state)
    return _items(conn, select(*_COLUMNS).where(_table.c.id > after_id, of_state).order_by(_table.c.id).limit(limit))


def show(conn: Connection, item_id: int) -> QueueItem:
    """Raises NotFound."""
    for item in _items(conn, select(*_COLUMNS).where(_table.c.id == item_id)):
        return item
    raise NotFound(f"no queue item {item_id}")


def of_accepted(conn: Connection, accepted_as: str) -> list[QueueItem]:
    """All items of the message that its sender was told this identifier of."""
    return _newest(conn, _table.c.accepted_as == accepted_as)


def told_of(conn: Connection, sender: str, *, envid: str = "", header_id: str = "") -> list[QueueItem]:
    """The items that a report to `sender` is about: its message by ENVID (as it was given, xtext), or else by
    Message-ID. Sent by another: none."""
    found: list[QueueItem] = []
    if envid:
        found = _newest(conn, _table.c.envid == envid)
    if not found and header_id:
        found = _newest(conn, _table.c.header_id == id_digest(header_id))
    return [item for item in found if item.sender == sender]


def _newest(conn: Connection, condition: ColumnElement[bool]) -> list[QueueItem]:
    """The newest ones first chosen, in the order of their making."""
    query = select(*_COLUMNS).where(condition).order_by(_table.c.id.desc()).limit(MOST_OF_ONE)
    return _items(conn, query)[::-1]


def _items(conn: Connection, query: "Select[*tuple[Any, ...]]") -> list[QueueItem]:
    keys = keys_of(conn)
    return [_item(keys, row) for row in conn.execute(query)]


def next_due_us(conn: Connection) -> int | None:
    """When the first item becomes due (perhaps in the past), or None."""
    ((due,),) = _NEXT_DUE.rows(conn)
    return None if due is None else int(due)


def counts(conn: Connection) -> dict[QueueState, int]:
    """How many items there are in each state."""
    rows = conn.execute(select(_table.c.state, func.count()).group_by(_table.c.state))
    return {QueueState(state): number for state, number in rows}


def _item(keys: Keys, row: Sequence[Any]) -> QueueItem:
    values = dict(zip(QueueItem.__struct_fields__, row, strict=True))
    for name in _SEALED:
        values[name] = keys.unseal(values[name]).decode() if values[name] else ""
    values |= {"state": QueueState(values["state"]), "notify": Notify(values["notify"])}
    return QueueItem(**values)
