"""The life of a bal, one use-case a function: opened, identified, suspended, reopened, closed, purged, delegated, its
password changed.

Always true here: each change is one transaction with its journal entry, and the store hints it, so that a closed
account's open sessions end in every process; only the regulator reopens what the regulator closed; an address is never
given twice.

The functions take a transaction, so that a command beside the server (``store.write_now(open_bals, ...)``) and the
server itself (``await store.write(open_bals, ...)``) do the very same. ``actor`` is who acts, for the journal.
"""

from collections.abc import Mapping, Sequence

from mssante.domain.address import Address
from mssante.domain.bal import BalState, BalType, holder_faults, may_become
from mssante.domain.rights import letters_of
from mssante.services.shared import show
from mssante.store import Conn, NotFound, StoreError, Tx, accounts, mail
from mssante.store.accounts import Bal, Delegation, NewBal
from mssante.store.engines import keys_of
from mssante.store.folders import folders
from mssante.store.journal import JournalEntry

RIGHTS = ("read", "write", "send")
HOLDER = ("rpps", "adeli", "finess", "siret", "responsable")
REGULATOR = "regulateur"


class NotAllowed(StoreError):
    """The state of the bal does not permit the step; the text says which state and what may be done."""


def open_bals(tx: Tx, new: Sequence[NewBal], actor: str) -> list[int]:
    """Opens the bals, all or none; their ids. Raises AlreadyExists."""
    ids = accounts.create_bals(tx, new)
    for one in new:
        tx.journal("bal.opened", actor=actor, object=one.address, type=str(one.type), state=str(one.state))
    return ids


def open_postmaster(tx: Tx, address: Address) -> Bal | None:
    """The mailbox for which there is mail and which nobody opened: every domain has a postmaster (RFC 5321 §4.5.1).
    None when another one was named and is not there."""
    if accounts.find_bal(tx.conn, address) is None and address.local == "postmaster":
        open_bals(tx, [NewBal(address=str(address), type=BalType.ORG, nom="Postmaster", liste_rouge=True)], "mssante")
    return accounts.find_bal(tx.conn, address)


def identify(tx: Tx, address: Address, holder: Mapping[str, str], actor: str) -> None:
    """Completes what the bal is known by (rpps, adeli, finess, siret, responsable): an ADELI that turns into an RPPS, a
    structure whose responsable changed. Raises NotFound, NotAllowed."""
    _professional(tx.conn, address)
    bal = living_bal(tx.conn, address, "it stays known as it was")
    before = {name: getattr(bal, name) for name in HOLDER}
    if faults := list(holder_faults(bal.type, {**before, **holder}, before)):
        raise NotAllowed("; ".join(faults))
    accounts.set_holder(tx, bal.id, holder)
    was = {f"{name}_before": before[name] for name in holder if before[name]}
    tx.journal("bal.identified", actor=actor, object=str(address), **holder, **was)


def suspend(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Nobody signs in any more; the mail waits. Raises NotFound, NotAllowed."""
    want(motif)
    step(tx, address, BalState.SUSPENDED, "bal.suspended", motif, actor)


def reopen(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Ends a draft, a suspension or a closing under way. A closed bal stays closed. Raises NotFound, NotAllowed."""
    bal = known_bal(tx.conn, address)
    if bal.state is BalState.CLOSED:
        why = "only the regulator reopens it" if closed_by_regulator(bal) else "it stays so, open another address"
        raise NotAllowed(f"{tx.trace_name(bal.address)} is closed: {why}")
    step(tx, address, BalState.ACTIVE, "bal.reopened", motif, actor)


def begin_closing(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Nothing arrives any more; the holder may take his mail away until it is closed. Raises NotFound, NotAllowed."""
    want(motif)
    step(tx, address, BalState.CLOSING, "bal.closing", motif, actor)


def close(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Closes for good: the address stays taken, open sessions end. Raises NotFound, NotAllowed."""
    want(motif)
    step(tx, address, BalState.CLOSED, "bal.closed", motif, actor)


def purge(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Destroys what a closed bal holds, the keys of its messages first of all; the tombstone stays, so the address is
    never given to another. Raises NotFound, NotAllowed."""
    want(motif)
    empty(tx, _professional(tx.conn, address), motif, actor)


def empty(tx: Tx, bal: Bal, motif: str, actor: str) -> None:
    """`purge`, for whichever kind of bal. Raises NotAllowed."""
    if bal.state is not BalState.CLOSED or bal.purged_us is not None:
        name = tx.trace_name(bal.address)
        raise NotAllowed(f"{name} is {'purged already' if bal.purged_us else bal.state}: closed mailboxes are purged")
    if closed_by_regulator(bal):
        raise NotAllowed(
            f"{tx.trace_name(bal.address)} was closed by the regulator, who may reopen it: "
            "mssante regulateur rouvrir, then close and purge"
        )
    gone = 0
    for folder in folders(tx.conn, bal.id):
        gone += len(mail.expunge(tx, folder.id, [entry.uid for entry in mail.entries(tx.conn, folder.id)]))
    accounts.entomb(tx, bal.id)
    tx.journal("bal.purged", actor=actor, object=bal.address, motif=motif, messages=gone)


def reopen_by_regulator(tx: Tx, address: Address, motif: str, actor: str) -> None:
    """Reopens, to the same holder, what the regulator closed. Raises NotFound, NotAllowed."""
    if not closed_by_regulator(known_bal(tx.conn, address)):
        raise NotAllowed(f"{tx.trace_name(str(address))} was not closed by the regulator: see mssante bal show")
    step(tx, address, BalState.ACTIVE, "bal.reopened", motif, actor)


def closed_by_regulator(bal: Bal) -> bool:
    """Whether the bal is closed, and by the regulator."""
    return bal.closed_by.partition(":")[0] == REGULATOR


def acts_as_regulator(entry: JournalEntry) -> bool:
    """Whether the journal entry is an act of the regulator."""
    return entry.actor.partition(":")[0] == REGULATOR


def change_password(tx: Tx, address: Address, password_hash: str, actor: str) -> None:
    """Raises NotFound, NotAllowed (closed)."""
    bal = living_bal(tx.conn, address, "it has no password any more")
    accounts.set_password_hash(tx, bal.id, password_hash)
    tx.journal("bal.password", actor=actor, object=str(address))


def limit(tx: Tx, address: Address, quota_bytes: int | None, actor: str) -> None:
    """What the bal may hold from now on, in octets; None without a limit. Raises NotFound."""
    bal = known_bal(tx.conn, address)
    accounts.set_quota(tx, bal.id, quota_bytes)
    tx.journal("bal.quota", actor=actor, object=str(address), octets=quota_bytes or 0)


def give_right(tx: Tx, address: Address, to: str, right: str, actor: str) -> None:
    """``to`` may ``right`` on the bal from now on: a professional's mailbox here, or an RPPS (held already or not).

    Raises NotFound (the bal, or that of ``to``), NotAllowed (one is closed, or a citizen's; ``to`` is its holder).
    """
    bal = living_bal(tx.conn, address, "nobody may do anything on it")
    if bal.type is BalType.PAT:
        raise NotAllowed(f"{tx.trace_name(str(address))} is a citizen's mailbox: it is his alone")
    if to == bal.address or (to == bal.rpps and bal.type is BalType.PER):
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


def living_bal(conn: Conn, address: Address, otherwise: str) -> Bal:
    """The bal, which is not closed. Raises NotFound, NotAllowed (closed: what that means, in the words `otherwise`)."""
    bal = known_bal(conn, address)
    if bal.state is BalState.CLOSED:
        raise NotAllowed(f"{keys_of(conn).trace_name(bal.address)} is closed: {otherwise}")
    return bal


def bal_and_delegations(conn: Conn, address: Address) -> tuple[Bal, list[Delegation]]:
    """A bal with who may act on it. Raises NotFound."""
    bal = known_bal(conn, address)
    return bal, accounts.delegations(conn, bal.id)


def _professional(conn: Conn, address: Address) -> Bal:
    bal = known_bal(conn, address)
    if bal.type is BalType.PAT:
        raise NotAllowed("that is a citizen's mailbox: see mssante patient --help")
    return bal


def _may_act_for_others(tx: Tx, to: str) -> None:
    delegate = accounts.find_bal(tx.conn, to)
    name = tx.trace_name(to)
    if delegate is None:
        raise NotFound(f"no such mailbox: {name}: a right is given to a mailbox of this operator, or to an RPPS")
    if delegate.type is BalType.PAT:
        raise NotAllowed(f"{name} is a citizen's mailbox: only professionals act for others")
    if delegate.state is BalState.CLOSED:
        raise NotAllowed(f"{name} is closed: nobody signs in there to use a right")


def want(motif: str) -> None:
    """Raises NotAllowed: an act is told with its reason."""
    if not motif.strip():
        raise NotAllowed("the motif is empty: say why, for the journal and for whoever is asked later")


def step(tx: Tx, address: Address, state: BalState, action: str, motif: str, actor: str) -> None:
    """Puts the bal in another state, as `action` in the journal. Raises NotFound, NotAllowed."""
    bal = known_bal(tx.conn, address)
    if bal.purged_us is not None:
        raise NotAllowed(f"{tx.trace_name(str(address))} was purged: only its tombstone is left")
    if not may_become(bal.state, state):
        raise NotAllowed(f"{tx.trace_name(str(address))} is {bal.state}: it cannot become {state}")
    accounts.set_state(tx, bal.id, state, motif, actor)
    tx.journal(action, actor=actor, object=str(address), motif=motif, before=str(bal.state))
