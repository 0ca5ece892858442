"""An SMTP session's questions answered: who speaks, may this sender, may this recipient, and where the message goes.

Always true here: facts are gathered once per stage, the decision is `domain.rules`' alone; what is remembered of
mailboxes is
forgotten at the store's hint, and their state is asked again inside the accepting transaction
(`mssante.services.arrival`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import structlog

from espace_confiance.holder import EspaceConfiance
from mssante.domain.address import Address
from mssante.domain.bal import BalState, BalType
from mssante.domain.exchange import UNRELATED
from mssante.domain.patient import Standing
from mssante.domain.rules import decide_data, decide_mail, decide_rcpt
from mssante.domain.transaction import Charter, Edge, HeaderFacts, Recipient, Speaker, Transaction
from mssante.domain.verdict import Accept, Defer, Refuse, Rule, Verdict
from mssante.services.accounts import Accounts, Client, SignedIn, sends_as_now
from mssante.services.arrival import Arrival, Intake
from mssante.services.bals import open_postmaster
from mssante.services.recherche import current, in_a_line, nearest
from mssante.services.sasl import Ask
from mssante.services.signalement import REPORTING
from mssante.services.transaction import Accepted, Caller, MailTransaction, Trace
from mssante.store import Store, StoreError, patients
from mssante.store.accounts import Bal, find_bal
from mssante.store.exchanges import relation
from mssante.store.regulateur import SendingException, exceptions
from tls.certificates import operator_dn

log = structlog.get_logger("mssante.reception")

REMEMBERED_BALS = 50_000
POSTMASTER = "postmaster"
MOST_BY_EXCEPTION = 500
"""Recipients of one message of a sender with an exception, however great."""


class Reception:
    """One for all SMTP sessions of the process. ``max_size_patient`` holds for messages with a patient among the
    recipients; ``postmaster`` is the mailbox of those domains whose postmaster has none."""

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        espace: EspaceConfiance,
        intake: Intake,
        charter: Charter,
        *,
        domains: frozenset[str],
        max_size: int,
        max_size_patient: int,
        postmaster: Address | None = None,
    ) -> None:
        self._store, self._accounts, self._espace, self._intake = store, accounts, espace, intake
        self._charter, self._domains = charter, domains
        self.max_size, self._max_size_patient = max_size, max_size_patient
        self._postmaster = postmaster
        self._bals: OrderedDict[Address, Bal] = OrderedDict()
        self._exceptions: dict[str, SendingException] | None = None
        self._bals_version = 0
        store.hints.subscribe("accounts", None, self._forget_bals)
        store.hints.subscribe("exceptions", None, self._forget_bals)

    def adopt(self, charter: Charter, max_size: int, max_size_patient: int) -> None:
        """New rules and sizes, for the transactions that begin from now on."""
        self._charter, self.max_size, self._max_size_patient = charter, max_size, max_size_patient

    def peer_speaker(self, der: bytes | None) -> Caller:
        """The operator behind a verified client certificate (DER); it speaks for the domains listed with its DN."""
        return Caller(Edge.MX, dn=operator_dn(der) if der else None)

    def mechanisms(self, client: Client) -> tuple[str, ...]:
        """The SASL mechanisms that are offered to this client."""
        return self._accounts.mechanisms(client)

    async def authenticate(
        self, mechanism: str, initial: bytes | None, ask: Ask, client: Client
    ) -> Caller | Refuse | Defer:
        """A whole SASL exchange. Raises SaslFault, and whatever ``ask`` raises."""
        holder = await self._accounts.authenticate(mechanism, initial, ask, client)
        return Caller(Edge.SUBMISSION, holder=holder) if isinstance(holder, SignedIn) else holder

    def watch(self, caller: Caller, on_closed: Callable[[], None]) -> Callable[[], None]:
        """Calls ``on_closed`` when the caller's account is suspended or closed, by whichever process; returns the
        way to stop that."""
        if caller.holder is None:
            return lambda: None
        return self._accounts.watch_session(caller.holder, on_closed)

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
    ) -> MailTransaction | Refuse | Defer:
        """MAIL: may this caller send as this sender, and a message of the announced size (octets, RFC 1870)?"""
        speaker = self._speaker(caller, sender)
        if caller.holder is not None and sender is not None and str(sender) != caller.holder.address:
            # A lent address is asked for again: what lent it may have been closed since the session began.
            try:
                speaker = replace(speaker, addresses=await self._store.read(sends_as_now, caller.holder.bal_id))
            except StoreError as fault:
                return Defer(Rule.STORE_DATABASE, str(fault))
        try:
            facts = Transaction(await self._charter_for(speaker, sender), speaker, sender)
        except StoreError as fault:
            return Defer(Rule.STORE_DATABASE, str(fault))
        verdict = decide_mail(facts)
        if not isinstance(verdict, Accept):
            return verdict
        if size is not None and size > self.max_size:
            return Refuse(Rule.MESSAGE_TOO_LARGE, f"{size} octets announced")
        return MailTransaction(caller, facts, self.max_size, size or 0, envid, ret, body, smtputf8)

    async def recipient(
        self, transaction: MailTransaction, address: Address, *, notify: str = "", orcpt: str = ""
    ) -> Verdict:
        """RCPT: one more recipient. A temporary refusal when the store cannot be asked."""
        facts = transaction.facts
        local = address.domain in self._domains
        patient = address.domain in self._charter.patient_domains and address.local != POSTMASTER
        try:
            bal = await self._holder_of(address) if local else None
            related = UNRELATED
            if facts.from_patient and facts.exchanges_enforced:
                related = await self._store.read(relation, str(address), str(facts.sender))
            standing = Standing.OPEN
            if bal is not None and bal.type is BalType.PAT and bal.state is not BalState.ACTIVE:
                standing = await self._store.read(patients.standing, bal.id)
        except StoreError as fault:
            return Defer(Rule.STORE_DATABASE, str(fault))
        liste = self._espace.liste
        listed = local or (liste.lists(address.domain) if liste is not None else None)
        full = bal is not None and bal.full
        state = bal.state if bal else None
        candidate = Recipient(address, local, listed, patient, state, full, standing, related)
        if local and address.local == REPORTING and facts.speaker.edge is Edge.SUBMISSION:
            candidate = Recipient(address, True, True, False, BalState.ACTIVE, reporting=True)
        verdict = decide_rcpt(facts, candidate)
        if patient and transaction.announced > self._max_size_patient and isinstance(verdict, Accept):
            # facts 4.5.7: told before the message travels, and for this recipient alone.
            verdict = Refuse(Rule.MESSAGE_TOO_LARGE, f"{transaction.announced} octets announced for a patient")
        transaction.facts = facts.after_rcpt(candidate, verdict)
        asked_by_colleague = facts.speaker.edge is Edge.SUBMISSION and not facts.from_patient
        if isinstance(verdict, Refuse) and asked_by_colleague and not patient:
            return await self._naming(verdict, address, bal)
        if isinstance(verdict, Accept):
            unread = candidate.reporting and (bal is None or facts.from_patient)
            if address not in transaction.recipients and not unread:
                transaction.recipients[address] = Accepted(
                    address,
                    bal.id if bal else None,
                    bal.type if bal else None,
                    notify,
                    orcpt,
                    bal.address if bal else str(address),
                )
            if patient:
                transaction.max_size = min(transaction.max_size, self._max_size_patient)
        return verdict

    async def _naming(self, refusal: Refuse, address: Address, bal: Bal | None) -> Refuse:
        """The refusal with the addresses to try instead: for professionals of this house, never for a stranger."""
        try:
            if refusal.rule is Rule.RECIPIENT_UNKNOWN:
                return replace(refusal, named=in_a_line(await self._store.read(nearest, address)))
            if refusal.rule is Rule.RECIPIENT_CLOSED and bal is not None:
                return replace(refusal, named=in_a_line(await self._store.read(current, bal)))
        except StoreError as fault:
            log.warning("no address was looked for instead of a wrong one", fault=str(fault))
        return refusal

    def begin_data(self, transaction: MailTransaction) -> Verdict:
        """DATA, before a byte of the message is read: judges the envelope alone."""
        return decide_data(transaction.facts, HeaderFacts())

    def receive(self, transaction: MailTransaction, trace: Trace) -> Arrival:
        """The message of this transaction, to be fed as it comes."""
        return self._intake.begin(transaction, trace, self._with_listing)

    def _speaker(self, caller: Caller, sender: Address | None) -> Speaker:
        if caller.holder is not None:
            holder = caller.holder
            return Speaker(Edge.SUBMISSION, holder.address, holder.addresses, holder.bal_type)
        liste = self._espace.liste
        if liste is None:
            return Speaker(Edge.MX, dn_listed_for_sender=None, dn_listed=None)
        if caller.dn is None:
            return Speaker(Edge.MX)
        for_sender = sender is not None and liste.accepts(sender.domain, caller.dn)
        return Speaker(Edge.MX, dn_listed_for_sender=for_sender, dn_listed=for_sender or liste.knows(caller.dn))

    def _with_listing(self, transaction: MailTransaction, headers: HeaderFacts) -> HeaderFacts:
        """What the white list says of From's domains when they are not the envelope sender's: on the MX only."""
        dn, sender = transaction.caller.dn, transaction.sender
        domains = frozenset(headers.from_domains) - ({sender.domain} if sender else frozenset())
        if dn is None or not domains:
            return headers
        listed = frozenset(domain for domain in domains if self._espace.accepts(domain, dn))
        others = frozenset(domain for domain in domains - listed if self._espace.lists(domain))
        return replace(headers, from_listed=listed, from_others=others)

    async def _holder_of(self, address: Address) -> Bal | None:
        """The mailbox that mail to an address here goes to: every domain has a postmaster (RFC 5321 §4.5.1)."""
        bal = await self._bal(address)
        if bal is None and address.local == POSTMASTER and self._postmaster is not None:
            bal = await self._bal(self._postmaster) or await self._store.write(open_postmaster, self._postmaster)
        return bal

    async def _bal(self, address: Address) -> Bal | None:
        """The mailbox as the store last told it; asked once, then remembered until a hint says that accounts
        changed."""
        if address in self._bals:
            return self._bals[address]
        version = self._bals_version
        bal = await self._store.read(find_bal, address)
        # Not remembered when something changed while the question was under way, nor when quota makes it move with
        # each mail; nor that there is none or that it takes none: another process may open it, and its first mail comes
        # before the hint.
        steady = bal is not None and bal.quota_bytes is None and bal.state is BalState.ACTIVE
        if version == self._bals_version and bal is not None and steady:
            self._bals[address] = bal
            if len(self._bals) > REMEMBERED_BALS:
                self._bals.popitem(last=False)
        return bal

    def _forget_bals(self) -> None:
        self._bals_version += 1
        self._bals.clear()
        self._exceptions = None

    async def _charter_for(self, speaker: Speaker, sender: Address | None) -> Charter:
        """The rules for this sender: one to whom the regulator gave an exception may write to more people at once."""
        if speaker.edge is not Edge.SUBMISSION:
            return self._charter
        known, version = self._exceptions, self._bals_version
        if known is None:
            known = {one.sender: one for one in await self._store.read(exceptions)}
            if version == self._bals_version:
                self._exceptions = known
        exception = known.get(self._store.keys.locator(str(sender))) if known else None
        if exception is None or exception.until_us <= self._intake.clock.now_us():
            return self._charter
        most = max(self._charter.max_recipients, min(exception.most, MOST_BY_EXCEPTION))
        return replace(self._charter, max_recipients=most)


__all__ = ["Accepted", "Arrival", "Caller", "MailTransaction", "Reception", "Trace"]
