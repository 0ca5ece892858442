"""Signing in, for SMTP submission and IMAP alike: by password, by Pro Santé Connect, by certificate.

Always true here: who may sign in is read from the store at each sign-in, so a closed account is refused at once; a
session ends when its account, or that of who opened it, is suspended or closed and when what opened it is taken away (a
password changed, a device or certificate revoked, a delegation withdrawn, a child of age), but not because a token
expired or its issuer is away: that is judged at AUTH only; answers do not tell which addresses exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from mssante.domain.address import AddressError, parse_address
from mssante.domain.bal import BalState, BalType, may_open
from mssante.domain.clock import Clock
from mssante.domain.identifiers import Adeli, Rpps
from mssante.domain.verdict import Defer, Refuse, Rule
from mssante.services import sasl
from mssante.services.life_cycle import Visits
from mssante.services.passwords import Passwords
from mssante.services.throttle import Throttle, ThrottleLimits
from mssante.store import Conn, Store, StoreError
from mssante.store.accounts import Bal, bals_of, delegations, find_bal, get_bal, lent_to
from mssante.store.credentials import Kind, bals_by_mark, credentials
from mssante.store.engines import keys_of
from mssante.store.patients import may_open_as_parent
from tls.certificates import organisation_dn
from tls.names import DN

if TYPE_CHECKING:
    from mssante.services.pro_sante_connect import ProSanteConnect

Still = Callable[[Conn], bool]


@dataclass(frozen=True, slots=True)
class Client:
    """Who knocks. ``certificate``: DER, verified by the handshake. ``right``: what a delegate needs on a mailbox to
    open it at this door."""

    peer: str
    right: str
    certificate: bytes | None = None


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
    by: str
    """What opened the session, for the log."""
    still: Still = field(repr=False, compare=False)
    """Whether it would open it now, too."""
    rests_on: frozenset[int] = field(repr=False, compare=False)
    """The bals by whose changes that may become untrue."""


class Accounts:
    """Who a proof of identity belongs to, which mailbox it opens, and whether that may still be used.

    ``connect``: None when no tokens are taken."""

    def __init__(
        self,
        store: Store,
        passwords: Passwords,
        clock: Clock,
        throttle: Throttle | None = None,
        connect: ProSanteConnect | None = None,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._clock = clock
        self._throttle = throttle or Throttle()
        self._turns = asyncio.Semaphore(passwords.threads)
        # Tokens cannot be guessed, and many expire behind one address: only a flood is kept from their issuer.
        self._tokens = Throttle(ThrottleLimits(per_login=1000, per_peer=1000))
        self._connect = connect
        self._questions: set[asyncio.Future[bool]] = set()
        self.visits = Visits()

    def mechanisms(self, client: Client) -> tuple[str, ...]:
        """The SASL mechanisms that this client may use. EXTERNAL only where there is something for it to say (RFC 4422
        §A.1)."""
        external = client.certificate is not None and organisation_dn(client.certificate) is not None
        return (
            "PLAIN",
            "LOGIN",
            *(sasl.BEARER if self._connect is not None else ()),
            *(("EXTERNAL",) if external else ()),
        )

    async def authenticate(
        self, mechanism: str, initial: bytes | None, ask: sasl.Ask, client: Client
    ) -> SignedIn | Refuse | Defer:
        """A whole exchange by one of `mechanisms`. Raises SaslFault, and whatever ``ask`` raises."""
        proof = await sasl.prove(mechanism, initial, ask)
        if isinstance(proof, sasl.Password):
            if proof.acting_for.lower() not in ("", proof.login.lower()):
                return await self._as_parent(proof, client)
            return await self.sign_in(proof.login, proof.password, peer=client.peer)
        if isinstance(proof, sasl.Certificate):
            return await self._by_certificate(proof.mailbox, client)
        outcome = await self._by_token(proof, client)
        if isinstance(outcome, Refuse) and self._connect is not None:
            status = "insufficient_scope" if outcome.rule is Rule.AUTH_MAILBOX else "invalid_token"
            await sasl.tell_refused(proof, status, self._connect.issuer.document, ask)
        return outcome

    async def sign_in(self, login: str, password: str, *, peer: str) -> SignedIn | Refuse | Defer:
        """``login`` is the mailbox's address, ``peer`` the client's network address (for throttling only)."""
        now_us = self._clock.now_us()
        login = login.strip().lower()
        try:
            bal, addresses, names = await self._store.read(_by_password, login, password)
        except StoreError as fault:
            return Defer(Rule.AUTH_UNAVAILABLE, str(fault))
        known = self._passwords.knows(tuple(names), login, password)
        # Guesses that come at once are judged in turn, or all of them would be before the first was counted.
        async with contextlib.nullcontext() if known else self._turns:
            if self._throttle.blocked(peer, login, now_us, known=known):
                return Defer(Rule.AUTH_TOO_MANY, f"too many failures from {peer}")
            opened_by = await self._passwords.verify(tuple(names), login, password, now_us)
            if opened_by is None:
                self._throttle.failed(peer, login, now_us)
        if opened_by is None or bal is None:
            tried = f"wrong password of {self._store.keys.trace_name(bal.address)}" if bal else "unknown login"
            return Refuse(Rule.AUTH_REFUSED, tried)
        self._throttle.succeeded(peer, login)
        return self._entered(bal, addresses, names[opened_by], partial(_password_holds, bal.id, opened_by))

    async def _as_parent(self, proof: sasl.Password, client: Client) -> SignedIn | Refuse | Defer:
        """RFC 4616 §2: a parent opens his child's mailbox under its address (facts 4.1: a minor has his own). Nobody
        else acts for another by name; a delegate writes from his own account."""
        parent = await self.sign_in(proof.login, proof.password, peer=client.peer)
        if not isinstance(parent, SignedIn):
            return parent
        try:
            child = await self._store.read(_child_of, parent, proof.acting_for, self._clock.now_us())
        except StoreError as fault:
            return Defer(Rule.AUTH_UNAVAILABLE, str(fault))
        if child is None:
            return Refuse(Rule.AUTH_MAILBOX, "acting for another")
        by = f"{parent.by} of the parent {parent.trace_name}"
        still = partial(_parent_may, parent, child.address, self._clock)
        return self._entered(child, frozenset({child.address}), by, still, beside=[parent.bal_id])

    async def _by_token(self, proof: sasl.Token, client: Client) -> SignedIn | Refuse | Defer:
        now_us = self._clock.now_us()
        assert self._connect is not None  # or the mechanism would not have been offered
        if self._tokens.blocked(client.peer, "token", now_us):
            return Defer(Rule.AUTH_TOO_MANY, f"too many refused tokens from {client.peer}")
        person = await self._connect.identify(proof.token, now_us)
        if isinstance(person, Refuse):
            self._tokens.failed(client.peer, "token", now_us)
        if isinstance(person, Refuse | Defer):
            return person
        who = f"Pro Sante Connect {person.national}"
        try:
            bal, addresses, own = await self._store.read(_by_person, person, proof.mailbox, client.right)
        except StoreError as fault:
            return Defer(Rule.AUTH_UNAVAILABLE, str(fault))
        if bal is None:
            return Refuse(Rule.AUTH_MAILBOX, f"{who} opens no such mailbox, or must say which")
        return self._entered(bal, addresses, who, partial(_person_may, bal.id, person, client.right), beside=own)

    async def _by_certificate(self, mailbox: str, client: Client) -> SignedIn | Refuse | Defer:
        dn = organisation_dn(client.certificate) if client.certificate is not None else None
        if dn is None:
            return Refuse(Rule.AUTH_REFUSED, "no certificate of an organisation")
        try:
            bal, addresses = await self._store.read(_by_certificate, mark_of(dn), mailbox)
        except StoreError as fault:
            return Defer(Rule.AUTH_UNAVAILABLE, str(fault))
        if bal is None:
            return Refuse(Rule.AUTH_MAILBOX, f"certificate {dn} opens no such mailbox, or must say which")
        return self._entered(bal, addresses, f"certificate {dn}", partial(_certificate_holds, bal.id, mark_of(dn)))

    def _entered(
        self, bal: Bal, addresses: frozenset[str], by: str, still: Still, beside: Iterable[int] = ()
    ) -> SignedIn | Refuse:
        if not may_sign_in(bal):
            return Refuse(Rule.AUTH_REFUSED, f"account is {bal.state}")
        self.visits.note(bal.id, self._clock.now_us())
        name = self._store.keys.trace_name(bal.address)
        return SignedIn(bal.id, bal.address, name, bal.type, addresses, by, still, frozenset((bal.id, *beside)))

    def watch_session(self, holder: SignedIn, on_closed: Callable[[], None]) -> Callable[[], None]:
        """`watch` for as long as the holder `may_stay`, which may be over before it is watched."""
        return self.watch(holder.rests_on, on_closed, partial(self.may_stay, holder), at_once=True)

    def watch(
        self,
        bal_ids: Iterable[int],
        on_closed: Callable[[], None],
        may_go_on: Callable[[], Awaitable[bool]],
        *,
        at_once: bool = False,
    ) -> Callable[[], None]:
        """Calls ``on_closed`` on the loop when ``may_go_on``, asked at every change of these bals by whichever process,
        and ``at_once``, says no. Returns the way to stop watching."""

        def changed() -> None:
            task = asyncio.ensure_future(may_go_on())
            self._questions.add(task)
            task.add_done_callback(answered)

        def answered(task: asyncio.Future[bool]) -> None:
            self._questions.discard(task)
            if subscriptions and not task.cancelled() and not task.result():
                on_closed()

        subscriptions = [self._store.hints.subscribe("bal", bal_id, changed) for bal_id in bal_ids]

        def stop() -> None:
            while subscriptions:
                subscriptions.pop()()

        if at_once:
            changed()
        return stop

    async def may_stay(self, holder: SignedIn) -> bool:
        """Whether the holder of an open session could open it now, the password or token itself aside."""
        try:
            return await self._store.read(holder.still)
        except StoreError:
            # Cannot tell now: the session stays, as each of its acts asks the store again.
            return True


def mark_of(dn: DN) -> str:
    """What the store finds a certificate's bals by: a renewed certificate of the same name has the same."""
    return hashlib.sha256("\0".join("\1".join(values) for values in dn.key).encode()).hexdigest()


def _find(conn: Conn, login: str) -> Bal | None:
    try:
        return find_bal(conn, parse_address(login.strip().lower()))
    except AddressError:
        return None


def _by_password(conn: Conn, login: str, password: str) -> tuple[Bal | None, frozenset[str], dict[str, str]]:
    """The bal, what it may send as, and the hashes that the password may be behind, with the name of each."""
    bal = _find(conn, login)
    if bal is None:
        return None, frozenset(), {}
    mark = keys_of(conn).mark(bal.id, password)
    devices = [one for one in credentials(conn, bal.id) if one.kind is Kind.DEVICE and one.mark == mark]
    names = {one.password_hash: f"password of the device {one.name}" for one in devices if one.password_hash}
    if bal.password_hash is not None:
        names[bal.password_hash] = "password"
    return bal, sends_as(conn, bal), names


def _password_holds(bal_id: int, password_hash: str, conn: Conn) -> bool:
    bal = get_bal(conn, bal_id)
    if bal is None or not may_sign_in(bal):
        return False
    return password_hash in (bal.password_hash, *(one.password_hash for one in credentials(conn, bal_id)))


def _child_of(conn: Conn, parent: SignedIn, child: str, now_us: int) -> Bal | None:
    bal = _find(conn, child)
    return bal if bal is not None and may_open_as_parent(conn, parent.bal_id, bal.id, now_us) else None


def _parent_may(parent: SignedIn, child: str, clock: Clock, conn: Conn) -> bool:
    return parent.still(conn) and may_sign_in(_child_of(conn, parent, child, clock.now_us()))


def _by_person(
    conn: Conn, person: Rpps | Adeli, mailbox: str, right: str
) -> tuple[Bal | None, frozenset[str], list[int]]:
    """The bal that the professional opens: the one he names, or his own when he names none and has just one; what he
    may send as there; his own bals."""
    own = [bal for bal in bals_of(conn, person) if bal.type is BalType.PER]
    if mailbox:
        bal = _find(conn, mailbox)
        found = [bal] if bal is not None and _opens(conn, person, bal, right) else []
    else:
        found = [bal for bal in own if may_sign_in(bal)]
    if len(found) != 1:
        return None, frozenset(), []
    return found[0], sends_as(conn, found[0]), [bal.id for bal in own]


def _opens(conn: Conn, person: Rpps | Adeli, bal: Bal, right: str) -> bool:
    """What was lent to one of his mailboxes is his as long as he may sign in to that one."""
    own = person.number == (bal.rpps if isinstance(person, Rpps) else bal.adeli)
    his = (one for one in bals_of(conn, person) if one.type is BalType.PER and may_sign_in(one))
    names = {person.number, *(one.address for one in his)}
    lent = [one.right for one in delegations(conn, bal.id) if one.delegate in names]
    return may_open(bal.type, own=own, lent=lent, needed=right)


def _person_may(bal_id: int, person: Rpps | Adeli, right: str, conn: Conn) -> bool:
    bal = get_bal(conn, bal_id)
    return bal is not None and may_sign_in(bal) and _opens(conn, person, bal, right)


def _by_certificate(conn: Conn, mark: str, mailbox: str) -> tuple[Bal | None, frozenset[str]]:
    found = bals_by_mark(conn, Kind.CERTIFICATE, mark)
    if mailbox:
        wanted = _find(conn, mailbox)
        found = [bal for bal in found if wanted is not None and bal.id == wanted.id]
    return (found[0], sends_as(conn, found[0])) if len(found) == 1 else (None, frozenset())


def _certificate_holds(bal_id: int, mark: str, conn: Conn) -> bool:
    return any(bal.id == bal_id and may_sign_in(bal) for bal in bals_by_mark(conn, Kind.CERTIFICATE, mark))


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
