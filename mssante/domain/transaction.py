"""The facts of one mail transaction, gathered by the edges and services, judged by the rules.

What must always hold: values only, frozen; whoever gathers looks everything up beforehand, so that a rule never has
to ask. ``None`` for a fact of the trust space means "cannot tell now", and leads to a temporary refusal, never to a
yes.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from mssante.domain.address import Address, AddressError, parse_address
from mssante.domain.bal import BalState, BalType
from mssante.domain.exchange import UNRELATED, Ending, Guard, Relation, ending
from mssante.domain.patient import Standing
from mssante.domain.verdict import Accept, Rule, Verdict


class Edge(StrEnum):
    """Which door the transaction came through."""

    MX = "mx"
    """From another operator, known by its certificate."""
    SUBMISSION = "submission"
    """From a holder of ours, signed in."""


@dataclass(frozen=True, slots=True)
class Charter:
    """What the operator's settings say about the rules."""

    patient_domains: frozenset[str]
    """The citizens' domains, lower-case A-labels: those of this operator and of others."""
    max_recipients: int = 40
    """Distinct envelope recipients of one message."""
    fin_exact: bool = False
    """Whether only the subject ``[FIN]`` alone ends an exchange."""
    fin_header: Ending = Ending.EXCHANGE
    """What ``X-MSS-MES: FIN`` ends."""
    exchange_guard: Guard = Guard.STRICT
    """For the citizens of other operators."""
    hosted_patient_domain: str = ""
    """The one among `patient_domains` whose mailboxes are here."""
    suspended_receives: bool = True
    """Whether mail for a suspended bal is kept for it, or put off."""
    header_from_strict: bool = True
    """Whether From on the MX must be of the envelope sender's domain or of one listed with the certificate."""
    max_received: int = 30
    """Received fields of one message; more of them are a loop."""
    one_usager: bool = True
    """Whether a holder's message goes to one patient at most."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks. On submission `account` and what follows from it; on the MX what the certificate says."""

    edge: Edge
    account: str | None = None
    """The bal's address (submission)."""
    addresses: frozenset[str] = frozenset()
    """The addresses, canonical, that the account may send as."""
    bal_type: BalType | None = None
    dn_listed_for_sender: bool | None = False
    """MX: the presented certificate's DN is listed for the envelope sender's domain."""
    dn_listed: bool | None = False
    """MX: the presented certificate's DN is listed for some domain."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT and what is known of it."""

    address: Address
    local: bool
    """Its domain is hosted here."""
    listed: bool | None
    """Its domain is in the trust space."""
    patient_domain: bool
    state: BalState | None = None
    """Of the bal here; None when there is none, or when the address is not local."""
    full: bool = False
    standing: Standing = Standing.OPEN
    """Of a citizen whose bal is here and takes no mail."""
    relation: Relation = UNRELATED
    """To the sender, when he is a patient and must have one (`Transaction.exchanges_enforced`)."""
    reporting: bool = False
    """Where abuse is reported: whoever is signed in may write there."""


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What the rules need of the header."""

    subject: str = ""
    """Decoded, RFC 2047. Of a repeated field every value, one a line."""
    x_mss_mes: str = ""
    """As `subject`."""
    from_addresses: tuple[str, ...] = ()
    """The addr-specs of every From field. What cannot be read as one stays in, as written, so that it is refused."""
    sender_addresses: tuple[str, ...] = ()
    """Those of every Sender field, likewise."""
    message_id: str = ""
    references: tuple[str, ...] = ()
    received: int = 0
    """Received fields, one for each host that the message came through."""
    from_listed: frozenset[str] = frozenset()
    """MX: those of `from_domains`, the sender's aside, that the white list names with the presented certificate."""
    from_others: frozenset[str] = frozenset()
    """MX: those of `from_domains` that the white list names, and not with the presented certificate."""

    @property
    def authors(self) -> tuple[str, ...]:
        """Whom a reader sees as the author, the addresses to judge: From, or Sender in a message without From."""
        return self.from_addresses or self.sender_addresses

    @property
    def from_domains(self) -> tuple[str, ...]:
        """The domain of each of `authors`; of what is no address, what stands where a domain would."""
        return tuple(_domain(text) for text in self.authors)


def _domain(text: str) -> str:
    try:
        return parse_address(text).domain
    except AddressError:
        return text.rpartition("@")[2].strip(" .").lower()


@dataclass(frozen=True, slots=True)
class Transaction:
    """What has been said since MAIL."""

    charter: Charter
    speaker: Speaker
    sender: Address | None
    """The envelope sender; None for the null one, ``<>``."""
    recipients: tuple[Recipient, ...] = ()
    """Those accepted, distinct by address."""
    overflowed: bool = False
    """One recipient too many was asked for: nobody gets the message."""

    @property
    def from_patient(self) -> bool:
        """The sender is a citizen: a holder of ours, or of another operator by the domain he writes from."""
        if self.speaker.edge is Edge.SUBMISSION:
            return self.speaker.bal_type is BalType.PAT
        return self.sender is not None and self.sender.domain in self.charter.patient_domains

    def names(self, address: Address) -> bool:
        """Whether the address was accepted before. Spellings that differ by case alone are one (`Address`)."""
        return any(recipient.address == address for recipient in self.recipients)

    def after_rcpt(self, recipient: Recipient, verdict: Verdict) -> "Transaction":
        """The transaction once RCPT was answered with ``verdict``."""
        if isinstance(verdict, Accept):
            if self.names(recipient.address):
                return self
            return replace(self, recipients=(*self.recipients, recipient))
        return replace(self, overflowed=True) if verdict.rule is Rule.RECIPIENTS_TOO_MANY else self

    @property
    def exchanges_enforced(self) -> bool:
        """Whether a patient's message outside any exchange is refused: always that of a citizen hosted here."""
        guard = self.charter.exchange_guard
        if self.speaker.edge is Edge.SUBMISSION or guard is Guard.STRICT:
            return True
        return self.sender is not None and self.sender.domain == self.charter.hosted_patient_domain

    @property
    def patients(self) -> tuple[Address, ...]:
        """The patients whose exchange with `sender` the message opens, ends or reopens.

        None of a patient's message, nor of a null sender's. Professionals in copy are never among them (facts 4.5.5).
        """
        if self.from_patient or self.sender is None:
            return ()
        return tuple(recipient.address for recipient in self.recipients if recipient.patient_domain)

    def ends(self, headers: HeaderFacts) -> Ending:
        """What the message ends of the exchanges of its `patients`."""
        return ending(headers.subject, headers.x_mss_mes, self.charter.fin_exact, self.charter.fin_header)
