"""Signing in, for SMTP submission and IMAP alike.

Always true here: who may sign in is read from the store at each sign-in, so a closed account is refused at once; a
session whose
account is suspended or closed hears of it; answers do not tell which addresses exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mssante.domain.address import Address, AddressError, parse_address
from mssante.domain.bal import BalState, BalType
from mssante.domain.clock import Clock
from mssante.domain.verdict import Defer, Refuse, Rule
from mssante.services.passwords import Passwords
from mssante.services.throttle import Throttle
from mssante.store import Conn, Store, StoreError
from mssante.store.accounts import Bal, find_bal, get_bal, lent_to


def may_sign_in(bal: Bal | None) -> bool:
    """Whether the holder may open a session, go on with it and send. One who leaves may still take his mail away."""
    return bal is not None and bal.state in (BalState.ACTIVE, BalState.CLOSING)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The holder of an open session. ``addresses``: what it may be used to send as (its own, and those it may send
    for)."""

    bal_id: int
    address: str
    trace_name: str
    """What logs and the journal may show: never a patient's address."""
    bal_type: BalType
    addresses: frozenset[str]


class Accounts:
    """Who a login and a password belong to, and whether they may still be used."""

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
        try:
            bal, addresses = await self._find(login)
        except StoreError as fault:
            return Defer(Rule.AUTH_UNAVAILABLE, str(fault))
        password_hash = bal.password_hash if bal is not None else None
        if not await self._passwords.verify(password_hash, login, password, now_us) or bal is None:
            self._throttle.failed(peer, login, now_us)
            return Refuse(Rule.AUTH_REFUSED, "unknown login or wrong password")
        self._throttle.succeeded(peer, login)
        if not may_sign_in(bal):
            return Refuse(Rule.AUTH_REFUSED, f"account is {bal.state}")
        return SignedIn(bal.id, bal.address, self._store.keys.trace_name(bal.address), bal.type, addresses)

    def watch(
        self, bal_id: int, on_closed: Callable[[], None], may_go_on: Callable[[], Awaitable[bool]] | None = None
    ) -> Callable[[], None]:
        """Calls ``on_closed`` on the loop when the account may no longer be used, whichever process decided so; or
        when ``may_go_on``, asked in place of that, says no. Returns the way to stop watching."""

        def changed() -> None:
            task = asyncio.ensure_future(may_go_on() if may_go_on is not None else self.may_stay(bal_id))
            self._questions.add(task)
            task.add_done_callback(answered)

        def answered(task: asyncio.Future[bool]) -> None:
            self._questions.discard(task)
            if not task.cancelled() and not task.result():
                on_closed()

        return self._store.hints.subscribe("bal", bal_id, changed)

    async def may_stay(self, bal_id: int) -> bool:
        try:
            bal = await self._store.read(get_bal, bal_id)
        except StoreError:
            # Cannot tell now: the session stays, as each of its acts asks the store again.
            return True
        return may_sign_in(bal)

    async def _find(self, login: str) -> tuple[Bal | None, frozenset[str]]:
        try:
            address = parse_address(login)
        except AddressError:
            return None, frozenset()
        return await self._store.read(_holder, address)


def _holder(conn: Conn, address: Address) -> tuple[Bal | None, frozenset[str]]:
    bal = find_bal(conn, address)
    return bal, frozenset() if bal is None else sends_as(conn, bal)


def sends_as(conn: Conn, bal: Bal) -> frozenset[str]:
    """What the holder may send as at this moment: nothing when he may not sign in; else his own address, and those of
    the active mailboxes that gave it, or him, the right to send."""
    if not may_sign_in(bal):
        return frozenset()
    lent = (one.address for one in lent_to(conn, bal.id) if (one.right, one.state) == ("send", BalState.ACTIVE))
    return frozenset((bal.address, *lent))


def sends_as_now(conn: Conn, bal_id: int) -> frozenset[str]:
    """`sends_as` of an open session's holder: mailboxes are closed and rights taken back while sessions last."""
    bal = get_bal(conn, bal_id)
    return frozenset() if bal is None else sends_as(conn, bal)
