"""Signing in, and the life of a mailbox: opened, suspended, closed, delegated, its password changed.

Always true here: who may sign in is read from the store at each sign-in, so a closed account is refused at once;
every change of an
account is one transaction with its journal entry and a hint that ends its open sessions; answers do not tell which
addresses exist.

The functions that change an account take a transaction, so that the running server (``await store.write(open_bal,
...)``) and a
command beside it (``store.write_now(open_bal, ...)``) do the very same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mssante.domain.address import AddressError, parse_address
from mssante.domain.bal import BalState, BalType, may_become
from mssante.domain.clock import Clock
from mssante.domain.verdict import Defer, Refuse, Rule
from mssante.services.passwords import Passwords
from mssante.services.throttle import Throttle
from mssante.store import Conn, NotFound, Store, StoreError, Tx
from mssante.store import accounts as rows
from mssante.store.accounts import Bal, Identity, NewBal, delegated_to, find_bal, get_bal
from mssante.store.journal import entries

MAY_SIGN_IN = frozenset({BalState.ACTIVE, BalState.CLOSING})


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The holder of an open session. ``addresses``: what this session may send as (its own, and those it may send
    for)."""

    bal_id: int
    address: str
    trace_name: str
    """What logs and the journal may show: never a patient's address."""
    bal_type: BalType
    addresses: frozenset[str]


class Accounts:
    """Sign-in for SMTP submission and IMAP alike."""

    def __init__(self, store: Store, passwords: Passwords, clock: Clock, throttle: Throttle | None = None) -> None:
        self._store = store
        self._passwords = passwords
        self._clock = clock
        self._throttle = throttle or Throttle()
        self._questions: set[asyncio.Future[bool]] = set()

    async def sign_in(self, login: str, password: str, *, peer: str) -> SignedIn | Refuse | Defer:
        """``login`` is the mailbox's address, ``peer`` the client's network address (for throttling only)."""
        now_us = self._clock.now_us()
        login = login.strip().lower()
        if self._throttle.blocked(peer, login, now_us):
            return Defer(Rule.AUTH_TOO_MANY, f"too many failures from {peer}")
        bal = await self._find(login)
        password_hash = bal.password_hash if bal is not None else None
        if not await self._passwords.verify(password_hash, login, password, now_us) or bal is None:
            self._throttle.failed(peer, login, now_us)
            return Refuse(Rule.AUTH_REFUSED, "unknown login or wrong password")
        self._throttle.succeeded(peer, login)
        if bal.state not in MAY_SIGN_IN:
            return Refuse(Rule.AUTH_REFUSED, f"account is {bal.state}")
        addresses = await self._store.read(_sends_as, bal)
        return SignedIn(bal.id, bal.address, self._store.keys.trace_name(bal.address), bal.type, addresses)

    def watch(self, bal_id: int, on_closed: Callable[[], None]) -> Callable[[], None]:
        """Calls ``on_closed`` on the loop when the account may no longer be used, whichever process decided so.

        Returns the way to stop watching.
        """

        def changed() -> None:
            task = asyncio.ensure_future(self._may_stay(bal_id))
            self._questions.add(task)
            task.add_done_callback(answered)

        def answered(task: asyncio.Future[bool]) -> None:
            self._questions.discard(task)
            if not task.cancelled() and not task.result():
                on_closed()

        return self._store.hints.subscribe("bal", bal_id, changed)

    async def _may_stay(self, bal_id: int) -> bool:
        try:
            bal = await self._store.read(get_bal, bal_id)
        except StoreError:
            # Cannot tell now: the session stays, as each of its acts asks the store again.
            return True
        return bal is not None and bal.state in MAY_SIGN_IN

    async def _find(self, login: str) -> Bal | None:
        try:
            address = parse_address(login)
        except AddressError:
            return None
        return await self._store.read(find_bal, address)


class ChangeRefused(StoreError):
    """What was asked of an account is not possible as it stands; the text says why and what to do."""


def _sends_as(conn: Conn, bal: Bal) -> frozenset[str]:
    """Its own address, and those of the active mailboxes that gave it, or its holder, the right to send."""
    names = [bal.address] if bal.rpps is None else [bal.address, bal.rpps]
    lent = (other.address for other, _ in delegated_to(conn, names, "send") if other.state is BalState.ACTIVE)
    return frozenset((bal.address, *lent))


def open_bals(tx: Tx, new: Sequence[NewBal], *, actor: str) -> list[int]:
    """Opens mailboxes of professionals, all or none. Raises AlreadyExists."""
    ids = rows.create_bals(tx, new)
    for one in new:
        tx.journal("bal.opened", actor=actor, object=one.address, type=one.type)
    return ids


def open_patient(tx: Tx, address: str, identity: Identity, password_hash: str | None, *, actor: str) -> int:
    """Opens a citizen's mailbox. Raises AlreadyExists."""
    bal_id = rows.create_patient(tx, address, identity, password_hash)
    tx.journal("patient.opened", actor=actor, object=address)
    return bal_id


def change_state(tx: Tx, address: str, state: BalState, motif: str, *, actor: str, action: str) -> Bal:
    """Suspends, reopens or closes; its open sessions hear of it after the commit. Raises NotFound, ChangeRefused."""
    bal = _known(tx, address)
    if not may_become(bal.state, state):
        raise ChangeRefused(f"{address} is {bal.state}: it cannot become {state}")
    rows.set_state(tx, bal.id, state, motif)
    tx.journal(action, actor=actor, object=address, before=bal.state, after=state, motif=motif)
    return bal


def reopen(tx: Tx, address: str, *, actor: str) -> Bal:
    """Ends a suspension. What the regulator closed only the regulator opens (`regulator.rouvrir`)."""
    if _known(tx, address).state is BalState.CLOSED:
        raise ChangeRefused(
            f"{address} is closed: its address is kept for ever; the regulator's closing is undone by rouvrir"
        )
    return change_state(tx, address, BalState.ACTIVE, "", actor=actor, action="bal.reopened")


def set_password(tx: Tx, address: str, password_hash: str, *, actor: str) -> None:
    rows.set_password_hash(tx, _known(tx, address).id, password_hash)
    tx.journal("bal.password", actor=actor, object=address)


def delegate(tx: Tx, address: str, to: str, right: str, *, actor: str) -> None:
    """Lets ``to`` (an address or an RPPS) read, write or send in the name of ``address``."""
    rows.delegate(tx, _known(tx, address).id, to, right)
    tx.journal("bal.delegated", actor=actor, object=address, to=to, right=right)


def clore(tx: Tx, address: str, motif: str, *, actor: str) -> Bal:
    """The regulator closes an abusive account: no sign-in, no mail, open sessions end (seed 004, facts 7)."""
    return change_state(tx, address, BalState.CLOSED, motif, actor=actor, action=CLOTURE)


def rouvrir(tx: Tx, address: str, motif: str, *, actor: str) -> Bal:
    """Undoes `clore`, for the same holder. What the holder or the operator closed stays closed."""
    last = [entry.action for entry in entries(tx.conn, object=address, limit=1_000_000) if entry.action in _CLOSINGS]
    if not last or last[-1] != CLOTURE:
        raise ChangeRefused(f"{address} was not closed by the regulator: nothing to undo")
    return change_state(tx, address, BalState.ACTIVE, motif, actor=actor, action="regulateur.rouvrir")


CLOTURE = "regulateur.clore"
_CLOSINGS = frozenset({CLOTURE, "bal.closed", "patient.closed"})


def _known(tx: Tx, address: str) -> Bal:
    bal = find_bal(tx.conn, address)
    if bal is None:
        raise NotFound(f"{address}: no such mailbox")
    return bal
