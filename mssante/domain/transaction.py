"""The facts of one mail transaction, gathered by the edges and services, judged by the rules.

What must always hold: values only, frozen; whoever gathers looks everything up beforehand, so that a rule never has
to ask. ``None`` for a fact of the trust space means "cannot tell now", and leads to a temporary refusal, never to a
yes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from mssante.domain.address import Address, AddressError, parse_address
from mssante.domain.bal import BalState, BalType
from mssante.domain.exchange import ExchangeState, after_professional_message, is_fin
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
    exchange: ExchangeState | None = None
    """Between the two sides, when one of them is a patient."""


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

    def exchanges_after(self, headers: HeaderFacts) -> Mapping[Address, ExchangeState]:
        """The state of each patient recipient's exchange with `sender`, once the message is accepted.

        Empty for a patient's message and for a null sender: neither opens, ends or reopens anything. Professionals
        in copy are never in it (facts 4.5.5).
        """
        if self.from_patient or self.sender is None:
            return {}
        fin = is_fin(headers.subject, headers.x_mss_mes, self.charter.fin_exact)
        return {
            recipient.address: after_professional_message(recipient.exchange, fin)
            for recipient in self.recipients
            if recipient.patient_domain
        }
