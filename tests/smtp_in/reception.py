"""A Reception that remembers in memory, for the tests of the protocol alone.

What is asked, it notes; what it is told to answer, it answers. The real one is driven in `test_real_reception.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from mssante.domain.address import Address
from mssante.domain.transaction import Edge
from mssante.domain.verdict import ACCEPT, Defer, Refuse, Rule, Verdict
from mssante.services.accounts import Client
from mssante.services.arrival import ArrivalRefused, Stored
from mssante.services.sasl import Ask, Password, prove
from mssante.services.transaction import Caller, Trace

PASSWORD = "p@ss:mot de passe é"


@dataclass
class Said:
    """One transaction as it was told."""

    sender: Address | None
    size: int | None
    envid: str
    ret: str
    body: str
    smtputf8: bool
    recipients: list[tuple[str, str, str]] = field(default_factory=list)
    """Address, NOTIFY, ORCPT."""
    trace: Trace | None = None
    content: bytes | None = None
    """Set when the message is stored."""
    id: str = ""


class MemoryReception:
    """``refusals``: the answer to an address or a login. ``holding``: while set, `finish` waits for it."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.refusals: dict[str, Refuse | Defer] = {}
        self.max_recipients = 40
        self.password = PASSWORD
        self.holding: asyncio.Event | None = None
        self.finishing = asyncio.Event()
        """Set when a `finish` has begun."""
        self.fault: Exception | None = None
        """Raised by whatever is asked next."""
        self.refuse_content: tuple[int, Verdict] | None = None
        """After so many octets, this."""
        self.aborted = 0
        self.watchers: dict[str, list[Callable[[], None]]] = {}
        self.certificates: list[bytes | None] = []

    @property
    def stored(self) -> list[Said]:
        return [said for said in self.said if said.content is not None]

    def close_account(self, login: str) -> None:
        for tell in tuple(self.watchers.get(login, ())):
            tell()

    def peer_speaker(self, der: bytes | None) -> Caller:
        self.certificates.append(der)
        return Caller(Edge.MX)

    def mechanisms(self, client: Client) -> tuple[str, ...]:
        return ("PLAIN", "LOGIN")

    async def authenticate(
        self, mechanism: str, initial: bytes | None, ask: Ask, client: Client
    ) -> Caller | Refuse | Defer:
        proof = await prove(mechanism, initial, ask)
        assert isinstance(proof, Password)
        self._raise()
        assert client.peer == "127.0.0.1"
        if proof.acting_for not in ("", proof.login):
            return Refuse(Rule.AUTH_MAILBOX, "acting for another")
        login, password = proof.login, proof.password
        if login in self.refusals:
            return self.refusals[login]
        if password != self.password:
            return Refuse(Rule.AUTH_REFUSED, "wrong password")
        caller = Caller(Edge.SUBMISSION)
        self._logins = {**getattr(self, "_logins", {}), id(caller): (caller, login)}
        return caller

    def watch(self, caller: Caller, on_closed: Callable[[], None]) -> Callable[[], None]:
        watchers = self.watchers.setdefault(self._logins[id(caller)][1], [])
        watchers.append(on_closed)
        return lambda: watchers.remove(on_closed)

    async def open(
        self,
        caller: Caller,
        sender: Address | None,
        *,
        size: int | None,
        envid: str = "",
        ret: str = "",
        body: str = "",
        smtputf8: bool = False,
    ) -> Said | Refuse | Defer:
        self._raise()
        if str(sender) in self.refusals:
            return self.refusals[str(sender)]
        said = Said(sender, size, envid, ret, body, smtputf8)
        self.said.append(said)
        return said

    async def recipient(self, said: Said, address: Address, *, notify: str = "", orcpt: str = "") -> Verdict:
        self._raise()
        if str(address) in self.refusals:
            return self.refusals[str(address)]
        said.recipients.append((str(address), notify, orcpt))
        if len(said.recipients) > self.max_recipients:
            return Refuse(Rule.RECIPIENTS_TOO_MANY)
        return ACCEPT

    def begin_data(self, said: Said) -> Verdict:
        self._raise()
        if not said.recipients:
            return Refuse(Rule.RECIPIENTS_NONE)
        if len(said.recipients) > self.max_recipients:
            return Refuse(Rule.RECIPIENTS_TOO_MANY_MESSAGE)
        return ACCEPT

    def receive(self, said: Said, trace: Trace) -> MemoryArrival:
        said.trace = trace
        return MemoryArrival(self, said)

    def _raise(self) -> None:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault


class MemoryArrival:
    """Keeps what it is fed; gives it to its transaction when finished. Checks that it is used as it must be."""

    def __init__(self, reception: MemoryReception, said: Said) -> None:
        self._reception, self._said = reception, said
        self._pieces: list[bytes] = []
        self._over = False

    def feed(self, data: bytes) -> None:
        assert not self._over and data
        self._reception._raise()
        self._pieces.append(data)
        limit = self._reception.refuse_content
        if limit is not None and sum(map(len, self._pieces)) >= limit[0]:
            assert isinstance(limit[1], Refuse | Defer)
            raise ArrivalRefused(limit[1])

    async def finish(self) -> Stored | Refuse | Defer:
        assert not self._over
        self._over = True
        self._reception.finishing.set()
        if self._reception.holding is not None:
            await self._reception.holding.wait()
        self._reception._raise()
        self._said.content = b"".join(self._pieces)
        self._said.id = f"{len(self._reception.stored):08x}"
        return Stored(self._said.id)

    def abort(self) -> None:
        assert not self._over
        self._over = True
        self._reception.aborted += 1
