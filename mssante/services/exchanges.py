"""What a message does to exchanges between professionals and patients, and what they do to it, as it is accepted.

Always true here: all is asked and changed inside the accepting transaction, so that two messages at once are judged one
after the other; the rules are `domain.exchange`'s; a citizen hosted here is known by his present address, whichever of
his matricules was written to. Nothing is asked for mail between professionals.
"""

from collections.abc import Sequence

from mssante.domain.address import Address, parse_address
from mssante.domain.bal import BalType
from mssante.domain.exchange import Ending, Guard, after_professional_message, patient_may_write
from mssante.domain.transaction import HeaderFacts, Transaction
from mssante.domain.verdict import Refuse, Rule
from mssante.mime.headers import named_addresses
from mssante.services.bals import NotAllowed, known_bal
from mssante.services.transaction import MailTransaction
from mssante.store import Conn, Tx, patient_notices
from mssante.store.exchanges import (
    end_introductions,
    end_thread,
    introduce,
    record_exchange,
    relation,
    reopen_thread,
    thread_ended,
)
from mssante.store.exchanges import welcome as store_welcome
from mssante.store.mail import Delivered, store_flags

OUTSIDE = "$HorsEchange"
"""Keyword of a patient's message that was let through outside any exchange (guard ``soft``)."""


def judge(conn: Conn, mail: MailTransaction, headers: HeaderFacts) -> Refuse | frozenset[int]:
    """May the patient who sends this write to all its recipients, now and in this thread? When not: a refusal or, where
    the guard lets it through, the bals for which it is outside any exchange."""
    facts = mail.facts
    patient = _patient(facts, headers)
    if patient is None:
        return frozenset()
    if not facts.exchanges_enforced and facts.charter.exchange_guard is Guard.OFF:
        return frozenset()
    outside = set()
    for address, recipient in mail.recipients.items():
        pair = str(address), str(patient)
        known = relation(conn, *pair)
        related = patient_may_write(known)
        if related and not thread_ended(conn, *pair, headers.references):
            continue
        if facts.exchanges_enforced:
            if related:
                return Refuse(Rule.EXCHANGE_THREAD_ENDED, "the thread was ended")
            if facts.sender is None and known.state is None:
                return Refuse(Rule.EXCHANGE_NOT_OPENED, "a notice that says to be of a patient, outside any exchange")
            return Refuse(Rule.EXCHANGE_ENDED, "ended between RCPT and DATA")
        if recipient.bal_id is not None:
            outside.add(recipient.bal_id)
    return frozenset(outside)


def _patient(facts: Transaction, headers: HeaderFacts) -> Address | None:
    """The citizen who writes. A null sender does not hide one: then it is who From says, as its reader sees him."""
    if facts.sender is not None:
        return facts.sender if facts.from_patient else None
    domains = facts.charter.patient_domains
    authors = map(parse_address, headers.authors)
    return next((one for one in authors if one.domain in domains and one.local[:1].isdigit()), None)


def named(facts: Transaction, header: bytes) -> tuple[Address, ...]:
    """Whom a professional's message tells a patient to answer: the addresses of To, Cc and Reply-To; none when the
    message has nothing to do with patients, which is seen without reading them, or names more people than one message
    may have (facts 7): that is no conversation, and would let the patient write to any number of strangers."""
    if facts.from_patient or facts.sender is None:
        return ()
    if not facts.patients:
        lowered = header.lower()
        if not any(domain.encode() in lowered for domain in facts.charter.patient_domains):
            return ()
    found = named_addresses(header)
    return found if len(found) <= facts.charter.max_recipients else ()


def follow(tx: Tx, mail: MailTransaction, headers: HeaderFacts, named: Sequence[Address], accepted_as: str) -> None:
    """The exchanges after a professional's message to patients. `named`: as above; a patient among them who got it
    from his own operator may answer those who got it here."""
    facts = mail.facts
    if not facts.patients and not named:
        return
    sender, ends = str(facts.sender), facts.ends(headers)
    thread = [one for one in (*headers.references, headers.message_id) if one]
    citizens = facts.charter.patient_domains
    others = [one for one in named if one.domain not in citizens and one != facts.sender]
    for patient in (str(one) for one in named if one.domain in citizens and one not in mail.recipients):
        if ends is Ending.NOTHING:
            here = [str(one) for one in others if one in mail.recipients]
            introduce(tx, here, patient, through=sender, message_id=headers.message_id)
        elif ends is Ending.EXCHANGE:
            end_introductions(tx, patient, through=sender)
    for address in facts.patients:
        patient = mail.recipients[address].mailbox
        state = after_professional_message(relation(tx.conn, sender, patient).state, ends)
        if record_exchange(tx, sender, patient, state, headers.message_id):
            tx.journal(f"exchange.{state}", actor=mail.caller.name, object=sender, patient=patient, by=accepted_as)
        if ends is Ending.THREAD:
            end_thread(tx, sender, patient, thread, accepted_as)
        elif ends is Ending.NOTHING:
            reopen_thread(tx, sender, patient, thread)
            introduce(tx, map(str, others), patient, through=sender, message_id=headers.message_id)


def delivered(
    tx: Tx, mail: MailTransaction, places: Sequence[Delivered], outside: frozenset[int], accepted_as: str, every_us: int
) -> None:
    """Marks what is outside any exchange, and notes which citizens are to be told of new mail."""
    for place in places:
        if place.bal_id in outside:
            store_flags(tx, place.folder_id, [place.uid], "+", 0, (OUTSIDE,))
    if outside:
        tx.journal("exchange.outside", actor=mail.caller.name, object=accepted_as, recipients=len(outside))
    citizens = {
        one.bal_id for one in mail.recipients.values() if one.bal_type is BalType.PAT and one.bal_id is not None
    }
    if citizens and every_us:
        patient_notices.mail_arrived(tx, sorted(citizens), every_us)


def welcome(tx: Tx, address: Address, first: bool, actor: str) -> None:
    """Whether citizens may write to this professional's mailbox before it wrote to them (facts 4.1: pharmacies that
    accept it). Raises NotFound, NotAllowed."""
    bal = known_bal(tx.conn, address)
    if bal.type is BalType.PAT:
        raise NotAllowed("a citizen's mailbox: patients do not write to patients")
    if not store_welcome(tx, bal.address, first):
        raise NotAllowed(f"{bal.address} is so already")
    tx.journal("exchange.welcome" if first else "exchange.welcome_ended", actor=actor, object=bal.address)
