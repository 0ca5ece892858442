"""The charter's rules, and the order in which they are asked.

What must always hold:
- a rule is a function (transaction, facts) → verdict or None ("nothing to say"); it reads nothing else and changes
  nothing, so that the same facts always meet the same answer;
- each rule says in its docstring its identifier, its stage and its source;
- the first rule that speaks decides. What costs nothing and betrays nothing comes first: a patient learns neither
  which bal exist nor who else is a patient, because the exchange is asked about before the bal.

The facts at MAIL are the `Speaker`, at RCPT the `Recipient`, at DATA the `HeaderFacts`.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from mssante.domain.address import AddressError, parse_address
from mssante.domain.bal import BalState
from mssante.domain.exchange import ExchangeState, patient_may_write
from mssante.domain.ins import InsError, ins_of_local
from mssante.domain.patient import Standing
from mssante.domain.transaction import Edge, HeaderFacts, Recipient, Speaker, Transaction
from mssante.domain.verdict import ACCEPT, Defer, Refuse, Rule, Verdict

Facts = TypeVar("Facts")


# --- MAIL


def sender_owned(transaction: Transaction, speaker: Speaker) -> Verdict | None:
    """``sender.not_owner``. MAIL, submission. Source: facts 3.4.4 (Référentiel #2), RFC 6409 §6.1.

    A holder writes only from an address of his account; the null sender is nobody's address.
    """
    if speaker.edge is not Edge.SUBMISSION:
        return None
    if transaction.sender is None or str(transaction.sender) not in speaker.addresses:
        return Refuse(Rule.SENDER_NOT_OWNER, "not an address of the account")
    return None


def sender_in_espace_confiance(transaction: Transaction, speaker: Speaker) -> Verdict | None:
    """``espace_confiance.sender``. MAIL, MX. Source: facts 1.7.4, the list's key is (domain, DN) (facts 1.4).

    The white list must name the sender's domain with the DN of the certificate that the peer presented.
    """
    if speaker.edge is not Edge.MX or transaction.sender is None or speaker.dn_listed_for_sender:
        return None
    if speaker.dn_listed_for_sender is None:
        return Defer(Rule.ESPACE_CONFIANCE_UNAVAILABLE, "no white list held")
    return Refuse(Rule.ESPACE_CONFIANCE_SENDER, f"{transaction.sender.domain} not listed with the presented DN")


def null_sender_from_listed_certificate(transaction: Transaction, speaker: Speaker) -> Verdict | None:
    """``espace_confiance.null_sender``. MAIL, MX. Source: facts 1.7.4, RFC 5321 §4.5.5.

    Notices travel under the null sender, which has no domain to look up: any listed operator may send them.
    """
    if speaker.edge is not Edge.MX or transaction.sender is not None or speaker.dn_listed:
        return None
    if speaker.dn_listed is None:
        return Defer(Rule.ESPACE_CONFIANCE_UNAVAILABLE, "no white list held")
    return Refuse(Rule.ESPACE_CONFIANCE_NULL_SENDER, "null sender from a DN that no entry names")


# --- RCPT


def recipients_at_most(transaction: Transaction, recipient: Recipient) -> Verdict | None:
    """``recipients.too_many``. RCPT. Source: seed 004 (ANS, June 2021), facts 7.3.

    The recipient after the last allowed one is refused for good, and so is every later one, whoever it names:
    a temporary answer would have the peer deliver the first ones and come back with the rest (RFC 5321 §4.5.3.1.10).
    An address already accepted counts once.
    """
    charter = transaction.charter
    if transaction.overflowed or (
        len(transaction.recipients) >= charter.max_recipients and not transaction.names(recipient.address)
    ):
        return Refuse(Rule.RECIPIENTS_TOO_MANY, f"more than {charter.max_recipients} distinct recipients")
    return None


def recipient_hosted_here(transaction: Transaction, recipient: Recipient) -> Verdict | None:
    """``recipient.not_local``. RCPT, MX. Source: RFC 5321 §3.6.2, facts 1.2.

    Operators write to each other directly; nobody's mail is relayed from the MX.
    """
    if transaction.speaker.edge is Edge.MX and not recipient.local:
        return Refuse(Rule.RECIPIENT_NOT_LOCAL, f"{recipient.address.domain} is not hosted here")
    return None


def recipient_in_espace_confiance(transaction: Transaction, recipient: Recipient) -> Verdict | None:
    """``espace_confiance.recipient``. RCPT. Source: facts 1.7.5.

    Health mail leaves for a listed domain or not at all. A domain hosted here is reached without leaving.
    """
    if recipient.local or recipient.listed:
        return None
    if recipient.listed is None:
        return Defer(Rule.ESPACE_CONFIANCE_UNAVAILABLE, "no white list held")
    return Refuse(Rule.ESPACE_CONFIANCE_RECIPIENT, f"{recipient.address.domain} is not listed")


def patient_not_to_patient(transaction: Transaction, recipient: Recipient) -> Verdict | None:
    """``exchange.patient_to_patient``. RCPT. Source: facts 4.1 (questions and answers of Mon espace santé)."""
    if transaction.from_patient and recipient.patient_domain:
        return Refuse(Rule.EXCHANGE_PATIENT_TO_PATIENT, "a patient writes to a patient domain")
    return None


def patient_in_open_exchange(transaction: Transaction, recipient: Recipient) -> Verdict | None:
    """``exchange.not_opened``, ``exchange.ended``. RCPT. Source: seed 001, facts 4.1, 4.2.

    Only the professional opens an exchange and ends it; the patient writes while it is open. For the citizens of
    another operator, who may know of exchanges that we do not, it is a guard that the operator sets (facts 4.5.3).
    """
    if not transaction.from_patient or not transaction.exchanges_enforced or patient_may_write(recipient.relation):
        return None
    if recipient.reporting:
        return None
    if recipient.relation.state is ExchangeState.ENDED:
        return Refuse(Rule.EXCHANGE_ENDED, "the professional ended the exchange")
    return Refuse(Rule.EXCHANGE_NOT_OPENED, "no professional opened an exchange")


def recipient_ins(transaction: Transaction, recipient: Recipient) -> Verdict | None:
    """``recipient.ins``, ``recipient.ins_key``. RCPT. Source: ECO.2.2.6, facts 4.5.1, 5.

    A patient's address carries an INS of right syntax and right key, hosted here or elsewhere: a wrong digit is
    somebody else's health. Addresses that do not begin with a digit are the operator's own.
    """
    if not recipient.patient_domain:
        return None
    try:
        ins_of_local(recipient.address.local)
    except InsError as error:
        return Refuse(Rule.RECIPIENT_INS_KEY if error.cause == "key" else Rule.RECIPIENT_INS, error.cause)
    return None


_STANDINGS: Final[Mapping[Standing, Rule]] = MappingProxyType(
    {
        Standing.OPPOSED: Rule.RECIPIENT_PATIENT_OPPOSED,
        Standing.CLOSED: Rule.RECIPIENT_PATIENT_CLOSED,
        Standing.DECEASED: Rule.RECIPIENT_PATIENT_DECEASED,
    }
)


def recipient_receives(transaction: Transaction, recipient: Recipient) -> Verdict | None:
    """``recipient.unknown``, ``recipient.patient_unknown``, ``recipient.patient_opposed``,
    ``recipient.patient_closed``, ``recipient.patient_deceased``, ``recipient.closed``, ``recipient.suspended``. RCPT.
    Source: facts 4.1, 4.4 (a notice that names the cause), 7.1 (life of a bal), RFC 5321 §4.2.3, RFC 3463 §3.2, §3.3.

    A bal being closed receives nothing more; a suspended one does unless the operator sets otherwise.
    """
    if not recipient.local:
        return None
    if recipient.standing is not Standing.OPEN:
        return Refuse(_STANDINGS[recipient.standing], recipient.standing)
    match recipient.state:
        case None | BalState.DRAFT:
            unknown = Rule.RECIPIENT_PATIENT_UNKNOWN if recipient.patient_domain else Rule.RECIPIENT_UNKNOWN
            return Refuse(unknown, "no such bal" if recipient.state is None else "draft")
        case BalState.CLOSING | BalState.CLOSED:
            return Refuse(Rule.RECIPIENT_CLOSED, recipient.state)
        case BalState.SUSPENDED if not transaction.charter.suspended_receives:
            return Defer(Rule.RECIPIENT_SUSPENDED, "suspended")
        case _:
            return None


def recipient_has_room(transaction: Transaction, recipient: Recipient) -> Verdict | None:
    """``recipient.full``. RCPT. Source: facts 7.6, RFC 3463 §3.3 (X.2.2)."""
    return Defer(Rule.RECIPIENT_FULL, "over quota") if recipient.local and recipient.full else None


def one_usager(transaction: Transaction, recipient: Recipient) -> Verdict | None:
    """``recipients.one_usager``. RCPT, submission. Source: ECO.2.1.1 (one usager per message), facts 3.2.

    Professionals in copy are allowed (facts 4.1); a second patient would read the address, hence the INS, of the first.
    """
    if transaction.speaker.edge is not Edge.SUBMISSION or not transaction.charter.one_usager:
        return None
    if not _is_usager(recipient) or transaction.names(recipient.address):
        return None
    if any(_is_usager(accepted) for accepted in transaction.recipients):
        return Refuse(Rule.RECIPIENTS_ONE_USAGER, "a second patient")
    return None


def _is_usager(recipient: Recipient) -> bool:
    return recipient.patient_domain and recipient.address.local[:1].isdigit()


# --- DATA


def message_for_all_or_none(transaction: Transaction, headers: HeaderFacts) -> Verdict | None:
    """``recipients.too_many_message``. DATA. Source: seed 004, facts 7.3.

    Once one recipient too many was asked for, nobody gets the message.
    """
    return Refuse(Rule.RECIPIENTS_TOO_MANY_MESSAGE, "one recipient too many") if transaction.overflowed else None


def somebody_receives(transaction: Transaction, headers: HeaderFacts) -> Verdict | None:
    """``recipients.none``. DATA. Source: RFC 5321 §3.3, RFC 2920 §3.1."""
    return None if transaction.recipients else Refuse(Rule.RECIPIENTS_NONE, "no recipient accepted")


def header_from_owned(transaction: Transaction, headers: HeaderFacts) -> Verdict | None:
    """``sender.header_from``. DATA, submission. Source: facts 3.4.4, RFC 6409 §6.1.

    The author that the reader sees is the holder too. Sender stands for a From that is not there; a header without
    either claims nobody.
    """
    if transaction.speaker.edge is not Edge.SUBMISSION:
        return None
    for text in headers.authors:
        try:
            owned = str(parse_address(text)) in transaction.speaker.addresses
        except AddressError:
            owned = False
        if not owned:
            return Refuse(Rule.SENDER_HEADER_FROM, "From is not an address of the account")
    return None


def header_from_readable(transaction: Transaction, headers: HeaderFacts) -> Verdict | None:
    """``sender.header_from``. DATA. Source: RFC 5322 §3.6.2, facts 1.7.4.

    Readers make an address of what is none (spaces in a domain, other dots, full-width letters, groups), each in its
    own way: what is not written strictly is nobody's, under the null sender and whatever the operator sets too.
    """
    for text in headers.authors:
        try:
            parse_address(text)
        except AddressError as error:
            return Refuse(Rule.SENDER_HEADER_FROM, f"From cannot be read: {error}")
    return None


def header_from_in_domain(transaction: Transaction, headers: HeaderFacts) -> Verdict | None:
    """``sender.header_from``. DATA, MX. Source: facts 1.7.4 (a guess there, hence `Charter.header_from_strict`).

    The white list judges the envelope, the reader sees From: it must be of the envelope sender's domain, or of one that
    the list names with the presented certificate. A notice (null sender) may also come in the name of a host outside
    the list, never in that of another operator's domain.
    """
    if transaction.speaker.edge is not Edge.MX or not transaction.charter.header_from_strict:
        return None
    sender = transaction.sender
    for domain in headers.from_domains:
        if domain in headers.from_listed or (sender is not None and domain == sender.domain):
            continue
        if sender is not None or domain in headers.from_others:
            return Refuse(Rule.SENDER_HEADER_FROM, "From is of a domain not listed with the presented certificate")
    return None


def header_from_patient(transaction: Transaction, headers: HeaderFacts) -> Verdict | None:
    """``sender.header_from``. DATA, MX. Source: facts 1.7.4, 4.1.

    The exchange rules judge the envelope; a patient's address in From under another domain's envelope, or the
    reverse, would go round them. Notices (null sender) are left alone.
    """
    if transaction.speaker.edge is not Edge.MX or transaction.sender is None:
        return None
    domains = transaction.charter.patient_domains
    for domain in headers.from_domains:
        if (domain in domains) is not transaction.from_patient:
            return Refuse(Rule.SENDER_HEADER_FROM, "patient domain in only one of envelope and From")
    return None


def message_not_in_loop(transaction: Transaction, headers: HeaderFacts) -> Verdict | None:
    """``message.loop``. DATA. Source: RFC 5321 §6.3 (100 fields are for the open Internet; here hops are few)."""
    if headers.received > transaction.charter.max_received:
        return Refuse(Rule.MESSAGE_LOOP, f"{headers.received} Received fields")
    return None


MAIL_RULES: Final[tuple[Callable[[Transaction, Speaker], Verdict | None], ...]] = (
    sender_owned,
    sender_in_espace_confiance,
    null_sender_from_listed_certificate,
)
RCPT_RULES: Final[tuple[Callable[[Transaction, Recipient], Verdict | None], ...]] = (
    recipients_at_most,
    recipient_hosted_here,
    recipient_in_espace_confiance,
    patient_not_to_patient,
    patient_in_open_exchange,
    recipient_ins,
    one_usager,
    recipient_receives,
    recipient_has_room,
)
DATA_RULES: Final[tuple[Callable[[Transaction, HeaderFacts], Verdict | None], ...]] = (
    message_for_all_or_none,
    somebody_receives,
    message_not_in_loop,
    header_from_readable,
    header_from_owned,
    header_from_in_domain,
    header_from_patient,
)


def decide_mail(transaction: Transaction) -> Verdict:
    """The verdict on the sender."""
    return _first(MAIL_RULES, transaction, transaction.speaker)


def decide_rcpt(transaction: Transaction, recipient: Recipient) -> Verdict:
    """The verdict on one more recipient. Whoever asks goes on with `Transaction.after_rcpt`."""
    return _first(RCPT_RULES, transaction, recipient)


def decide_data(transaction: Transaction, headers: HeaderFacts) -> Verdict:
    """The verdict on the message. ``HeaderFacts()`` judges the envelope alone, before the message is read."""
    return _first(DATA_RULES, transaction, headers)


def _first(
    rules: Iterable[Callable[[Transaction, Facts], Verdict | None]], transaction: Transaction, facts: Facts
) -> Verdict:
    for rule in rules:
        verdict = rule(transaction, facts)
        if verdict is not None:
            return verdict
    return ACCEPT
