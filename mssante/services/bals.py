"""The life of a bal, one use-case a function: opened, suspended, reopened, closed, delegated, its password changed.

Always true here: each change is one transaction with its journal entry, and the store hints it, so that a closed
account's open sessions end in every process; only the regulator reopens what the regulator closed; an address is never
given twice.

The functions take a transaction, so that a command beside the server (``store.write_now(open_bals, ...)``) and the
server itself (``await store.write(open_bals, ...)``) do the very same. ``actor`` is who acts, for the journal.
"""

from collections.abc import Sequence

from mssante.domain.address import Address
from mssante.domain.bal import BalState, BalType, may_become
from mssante.domain.rights import letters_of
from mssante.services.shared import show
from mssante.store import Conn, NotFound, StoreError, Tx, accounts, journal
from mssante.store.accounts import Bal, Delegation, Identity, NewBal
from mssante.store.journal import JournalEntry

RIGHTS = ("read", "write", "send")
REGULATOR = "regulateur"

_CLOSED = "bal.closed"


class NotAllowed(StoreError):
    """The state of the bal does not permit the step; the text says which state and what may be done."""


def open_bals(tx: Tx, new: Sequence[NewBal], actor: str) -> list[int]:
    """Opens the bals, all or none; their ids. Raises AlreadyExists."""
    ids = accounts.create_bals(tx, new)
    for one in new:
        tx.journal("bal.opened", actor=actor, object=one.address, type=str(one.type))
    return ids


def open_patient(tx: Tx, address: Address, identity: Identity, password_hash: str | None, actor: str) -> int:
    """Opens a citizen's bal; its id. Raises AlreadyExists."""
    bal_id = accounts.create_patient(tx, str(address), identity, password_hash)
    tx.journal("bal.opened", actor=actor, object=str(address), type="PAT")
    return bal_id


def suspend(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Nobody signs in any more; the mail waits. Raises NotFound, NotAllowed."""
    _want(motif)
    _step(tx, address, BalState.SUSPENDED, "bal.suspended", motif, actor)


def reopen(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Ends a suspension or a closing under way. A closed bal stays closed. Raises NotFound, NotAllowed."""
    if known_bal(tx.conn, address).state is BalState.CLOSED:
        raise NotAllowed(
            f"{tx.trace_name(str(address))} is closed: only the regulator reopens what the regulator closed"
        )
    _step(tx, address, BalState.ACTIVE, "bal.reopened", motif, actor)


def close(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Closes for good: the address stays taken, open sessions end. Raises NotFound, NotAllowed."""
    _want(motif)
    _step(tx, address, BalState.CLOSED, _CLOSED, motif, actor)


def reopen_by_regulator(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Reopens, to the same holder, what the regulator closed. Raises NotFound, NotAllowed."""
    known_bal(tx.conn, address)
    closings = [entry for entry in journal.entries(tx.conn, object=str(address)) if entry.action == _CLOSED]
    if not closings or not acts_as_regulator(closings[-1]):
        raise NotAllowed(f"{tx.trace_name(str(address))} was not closed by the regulator: see mssante bal show")
    _step(tx, address, BalState.ACTIVE, "bal.reopened", motif, actor)


def acts_as_regulator(entry: JournalEntry) -> bool:
    """Whether the journal entry is an act of the regulator."""
    return entry.actor.partition(":")[0] == REGULATOR


def change_password(tx: Tx, address: Address, password_hash: str, actor: str) -> None:
    """Raises NotFound, NotAllowed (closed)."""
    bal = known_bal(tx.conn, address)
    if bal.state is BalState.CLOSED:
        raise NotAllowed(f"{tx.trace_name(str(address))} is closed: it has no password any more")
    accounts.set_password_hash(tx, bal.id, password_hash)
    tx.journal("bal.password", actor=actor, object=str(address))


def give_right(tx: Tx, address: Address, to: str, right: str, actor: str) -> None:
    """``to`` may ``right`` on the bal from now on: a professional's mailbox here, or an RPPS (held already or not).

    Raises NotFound (the bal, or that of ``to``), NotAllowed (one is closed, or a citizen's; ``to`` is its holder).
    """
    bal = known_bal(tx.conn, address)
    if bal.state is BalState.CLOSED:
        raise NotAllowed(f"{tx.trace_name(str(address))} is closed: nobody may do anything on it")
    if bal.type is BalType.PAT:
        raise NotAllowed(f"{tx.trace_name(str(address))} is a citizen's mailbox: it is his alone")
    if to in (bal.address, bal.rpps):
        raise NotAllowed(f"{tx.trace_name(to)} is the holder of {tx.trace_name(str(address))}: he may already")
    if "@" in to:
        _may_act_for_others(tx, to)
    accounts.delegate(tx, bal.id, to, right)
    if letters_of([right]):
        show(tx, bal.id, bal.address, to)
    tx.journal("bal.delegated", actor=actor, object=str(address), to=to, right=right)


def take_right_back(tx: Tx, address: Address, to: str, right: str, actor: str) -> None:
    """``to`` may no longer ``right`` on the bal. Raises NotFound (the bal, or the right)."""
    bal = known_bal(tx.conn, address)
    if not any((one.delegate, one.right) == (to, right) for one in accounts.delegations(tx.conn, bal.id)):
        raise NotFound(f"{tx.trace_name(to)} has no right to {right} on {tx.trace_name(str(address))}")
    accounts.withdraw(tx, bal.id, to, right)
    tx.journal("bal.undelegated", actor=actor, object=str(address), to=to, right=right)


def known_bal(conn: Conn, address: Address) -> Bal:
    """The bal of this address, in whatever state. Raises NotFound."""
    bal = accounts.find_bal(conn, address)
    if bal is None:
        raise NotFound(f"no such mailbox: {address}")
    return bal


def bal_and_delegations(conn: Conn, address: Address) -> tuple[Bal, list[Delegation]]:
    """A bal with who may act on it. Raises NotFound."""
    bal = known_bal(conn, address)
    return bal, accounts.delegations(conn, bal.id)


def _may_act_for_others(tx: Tx, to: str) -> None:
    delegate = accounts.find_bal(tx.conn, to)
    name = tx.trace_name(to)
    if delegate is None:
        raise NotFound(f"no such mailbox: {name}: a right is given to a mailbox of this operator, or to an RPPS")
    if delegate.type is BalType.PAT:
        raise NotAllowed(f"{name} is a citizen's mailbox: only professionals act for others")
    if delegate.state is BalState.CLOSED:
        raise NotAllowed(f"{name} is closed: nobody signs in there to use a right")


def _want(motif: str) -> None:
    if not motif.strip():
        raise NotAllowed("the motif is empty: say why, for the journal and for whoever is asked later")


def _step(tx: Tx, address: Address, state: BalState, action: str, motif: str, actor: str) -> None:
    bal = known_bal(tx.conn, address)
    if not may_become(bal.state, state):
        raise NotAllowed(f"{tx.trace_name(str(address))} is {bal.state}: it cannot become {state}")
    accounts.set_state(tx, bal.id, state, motif)
    tx.journal(action, actor=actor, object=str(address), motif=motif, before=str(bal.state))
