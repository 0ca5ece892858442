"""The charter's rules: a table for each stage, then what must hold for any transaction.

The cast: Jeanne, a professional here; Paul, her colleague at another operator; Ines, a patient hosted here; Omar, a
patient hosted elsewhere (another patient domain of the trust space).
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.domain.address import Address, parse_address
from mssante.domain.bal import BalState, BalType
from mssante.domain.exchange import (
    Ending,
    ExchangeState,
    Relation,
    after_professional_message,
    patient_may_write,
)
from mssante.domain.ins import ins_key
from mssante.domain.patient import Standing
from mssante.domain.replies import reply_for
from mssante.domain.rules import DATA_RULES, MAIL_RULES, RCPT_RULES, decide_data, decide_mail, decide_rcpt
from mssante.domain.transaction import Charter, Edge, HeaderFacts, Recipient, Speaker, Transaction
from mssante.domain.verdict import ACCEPT, Accept, Defer, Refuse, Rule, Verdict

JEANNE = parse_address("jeanne.exemple@cabinet.example.mssante.fr")
SECRETARIAT = parse_address("secretariat@cabinet.example.mssante.fr")
PAUL = parse_address("paul.exemple@clinique.example.mssante.fr")


def citizen(body: str, domain: str) -> Address:
    return parse_address(f"{body}{ins_key(body):02}@{domain}")


INES = citizen("2550814168025", "patient.mssante.fr")
CORSICAN = citizen("284052A321025", "patient.mssante.fr")
OMAR = citizen("1531245007231", "patient.ailleurs.example")
ROBOT = parse_address("reponse.automatique-test@patient.ailleurs.example")

CHARTER = Charter(patient_domains=frozenset({"patient.mssante.fr", "patient.ailleurs.example"}))

AS_JEANNE = Speaker(
    Edge.SUBMISSION, account=str(JEANNE), addresses=frozenset({str(JEANNE), str(SECRETARIAT)}), bal_type=BalType.PER
)
AS_INES = Speaker(Edge.SUBMISSION, account=str(INES), addresses=frozenset({str(INES)}), bal_type=BalType.PAT)
LISTED = Speaker(Edge.MX, dn_listed_for_sender=True, dn_listed=True)
LISTED_FOR_OTHERS = Speaker(Edge.MX, dn_listed_for_sender=False, dn_listed=True)
STRANGER = Speaker(Edge.MX)
NO_LIST = Speaker(Edge.MX, dn_listed_for_sender=None, dn_listed=None)

OPEN, ENDED = ExchangeState.OPEN, ExchangeState.ENDED


def said(speaker: Speaker, sender: Address | None, *recipients: Recipient, charter: Charter = CHARTER) -> Transaction:
    return Transaction(charter, speaker, sender, recipients)


def here(
    address: Address,
    state: BalState | None = BalState.ACTIVE,
    *,
    full: bool = False,
    exchange: ExchangeState | None = None,
) -> Recipient:
    return Recipient(
        address,
        local=True,
        listed=True,
        patient_domain=address.domain in CHARTER.patient_domains,
        state=state,
        full=full,
        relation=Relation(exchange),
    )


def elsewhere(address: Address, listed: bool | None = True, exchange: ExchangeState | None = None) -> Recipient:
    return Recipient(
        address,
        local=False,
        listed=listed,
        patient_domain=address.domain in CHARTER.patient_domains,
        relation=Relation(exchange),
    )


def meant(verdict: Verdict) -> Rule | None:
    return None if isinstance(verdict, Accept) else verdict.rule


# --- MAIL


@pytest.mark.parametrize(
    ("speaker", "sender", "rule"),
    [
        (AS_JEANNE, JEANNE, None),
        (AS_JEANNE, SECRETARIAT, None),
        (AS_JEANNE, PAUL, Rule.SENDER_NOT_OWNER),
        (AS_JEANNE, INES, Rule.SENDER_NOT_OWNER),
        (AS_JEANNE, None, Rule.SENDER_NOT_OWNER),
        (AS_INES, INES, None),
        (AS_INES, JEANNE, Rule.SENDER_NOT_OWNER),
        (AS_INES, None, Rule.SENDER_NOT_OWNER),
        (Speaker(Edge.SUBMISSION), JEANNE, Rule.SENDER_NOT_OWNER),
        # On submission the certificate's facts count for nothing.
        (Speaker(Edge.SUBMISSION, dn_listed_for_sender=True, dn_listed=True), JEANNE, Rule.SENDER_NOT_OWNER),
        (LISTED, PAUL, None),
        (LISTED, OMAR, None),
        (LISTED, None, None),
        (LISTED_FOR_OTHERS, PAUL, Rule.ESPACE_CONFIANCE_SENDER),
        (LISTED_FOR_OTHERS, None, None),
        (STRANGER, PAUL, Rule.ESPACE_CONFIANCE_SENDER),
        (STRANGER, None, Rule.ESPACE_CONFIANCE_NULL_SENDER),
        (NO_LIST, PAUL, Rule.ESPACE_CONFIANCE_UNAVAILABLE),
        (NO_LIST, None, Rule.ESPACE_CONFIANCE_UNAVAILABLE),
        # On the MX an account's facts count for nothing.
        (replace(AS_JEANNE, edge=Edge.MX), JEANNE, Rule.ESPACE_CONFIANCE_SENDER),
    ],
)
def test_mail(speaker: Speaker, sender: Address | None, rule: Rule | None) -> None:
    assert meant(decide_mail(said(speaker, sender))) == rule


# --- RCPT


@pytest.mark.parametrize(
    ("recipient", "rule"),
    [
        (here(JEANNE), None),
        (here(INES), None),
        (here(CORSICAN), None),
        (elsewhere(PAUL), None),
        (elsewhere(OMAR), None),
        (elsewhere(ROBOT), None),
        (here(JEANNE, None), Rule.RECIPIENT_UNKNOWN),
        (here(JEANNE, BalState.DRAFT), Rule.RECIPIENT_UNKNOWN),
        (here(INES, None), Rule.RECIPIENT_PATIENT_UNKNOWN),
        (here(JEANNE, BalState.SUSPENDED), None),
        (here(JEANNE, BalState.CLOSING), Rule.RECIPIENT_CLOSED),
        (here(JEANNE, BalState.CLOSED), Rule.RECIPIENT_CLOSED),
        (here(INES, BalState.CLOSED), Rule.RECIPIENT_CLOSED),
        (here(JEANNE, full=True), Rule.RECIPIENT_FULL),
        (here(JEANNE, BalState.CLOSED, full=True), Rule.RECIPIENT_CLOSED),
        (here(Address("255081416802539", "patient.mssante.fr")), Rule.RECIPIENT_INS_KEY),
        (here(Address("255081416802539", "patient.mssante.fr"), None), Rule.RECIPIENT_INS_KEY),
        (here(Address("2550814168025", "patient.mssante.fr"), None), Rule.RECIPIENT_INS),
        (here(Address("reponse.automatique-test", "patient.mssante.fr"), None), Rule.RECIPIENT_PATIENT_UNKNOWN),
        (elsewhere(Address("255081416802539", "patient.ailleurs.example")), Rule.RECIPIENT_INS_KEY),
        (elsewhere(Address("255081416802539", "cabinet.ailleurs.example")), None),  # not a patient domain: any name
        (elsewhere(PAUL, listed=False), Rule.ESPACE_CONFIANCE_RECIPIENT),
        (elsewhere(PAUL, listed=None), Rule.ESPACE_CONFIANCE_UNAVAILABLE),
        # A professional needs no leave to write, whatever the exchange.
        (elsewhere(OMAR, exchange=ENDED), None),
    ],
)
def test_rcpt_from_a_professional(recipient: Recipient, rule: Rule | None) -> None:
    assert meant(decide_rcpt(said(AS_JEANNE, JEANNE), recipient)) == rule


@pytest.mark.parametrize(
    ("recipient", "rule"),
    [
        (here(JEANNE), None),
        (here(INES), None),
        (here(INES, None), Rule.RECIPIENT_PATIENT_UNKNOWN),
        (here(JEANNE, None), Rule.RECIPIENT_UNKNOWN),
        # Listed or not, mail for others is not relayed.
        (elsewhere(PAUL), Rule.RECIPIENT_NOT_LOCAL),
        (elsewhere(OMAR), Rule.RECIPIENT_NOT_LOCAL),
        (elsewhere(PAUL, listed=False), Rule.RECIPIENT_NOT_LOCAL),
    ],
)
@pytest.mark.parametrize("sender", [PAUL, None])
def test_rcpt_from_another_operator(sender: Address | None, recipient: Recipient, rule: Rule | None) -> None:
    assert meant(decide_rcpt(said(LISTED, sender), recipient)) == rule


PATIENTS = [(AS_INES, INES), (LISTED, OMAR)]


@pytest.mark.parametrize(("speaker", "sender"), PATIENTS)
@pytest.mark.parametrize(
    ("recipient", "rule"),
    [
        (here(JEANNE, exchange=OPEN), None),
        (here(JEANNE, exchange=ENDED), Rule.EXCHANGE_ENDED),
        (here(JEANNE), Rule.EXCHANGE_NOT_OPENED),
        (here(CORSICAN), Rule.EXCHANGE_PATIENT_TO_PATIENT),
        (here(CORSICAN, exchange=OPEN), Rule.EXCHANGE_PATIENT_TO_PATIENT),
        # A patient cannot find out who has a bal, or which INS is somebody's.
        (here(JEANNE, None), Rule.EXCHANGE_NOT_OPENED),
        (here(JEANNE, BalState.CLOSED), Rule.EXCHANGE_NOT_OPENED),
        (here(CORSICAN, None), Rule.EXCHANGE_PATIENT_TO_PATIENT),
        (here(Address("255081416802539", "patient.mssante.fr")), Rule.EXCHANGE_PATIENT_TO_PATIENT),
        # An open exchange does not make a closed bal receive.
        (here(JEANNE, BalState.CLOSED, exchange=OPEN), Rule.RECIPIENT_CLOSED),
        (here(JEANNE, full=True, exchange=OPEN), Rule.RECIPIENT_FULL),
    ],
)
def test_rcpt_from_a_patient(speaker: Speaker, sender: Address, recipient: Recipient, rule: Rule | None) -> None:
    assert meant(decide_rcpt(said(speaker, sender), recipient)) == rule


@pytest.mark.parametrize(
    ("recipient", "rule"),
    [
        (elsewhere(PAUL, exchange=OPEN), None),
        (elsewhere(PAUL, exchange=ENDED), Rule.EXCHANGE_ENDED),
        (elsewhere(PAUL), Rule.EXCHANGE_NOT_OPENED),
        (elsewhere(OMAR, exchange=OPEN), Rule.EXCHANGE_PATIENT_TO_PATIENT),
        (elsewhere(PAUL, listed=False, exchange=OPEN), Rule.ESPACE_CONFIANCE_RECIPIENT),
    ],
)
def test_rcpt_from_a_patient_here_to_elsewhere(recipient: Recipient, rule: Rule | None) -> None:
    assert meant(decide_rcpt(said(AS_INES, INES), recipient)) == rule


def test_a_notice_of_the_patients_operator_needs_no_exchange() -> None:
    assert decide_rcpt(said(LISTED, None), here(JEANNE)) == ACCEPT


def test_every_kind_of_professional_may_write_to_a_patient() -> None:
    for kind in (BalType.PER, BalType.ORG, BalType.APP):
        assert decide_rcpt(said(replace(AS_JEANNE, bal_type=kind), JEANNE), here(INES)) == ACCEPT


TWO = here(citizen("1531245007231", "patient.mssante.fr"))
ABUSE = Recipient(
    parse_address("signalement@cabinet.example.mssante.fr"), True, True, False, BalState.ACTIVE, reporting=True
)


@pytest.mark.parametrize(
    ("speaker", "before", "recipient", "charter", "rule"),
    [
        (AS_JEANNE, here(INES), TWO, CHARTER, Rule.RECIPIENTS_ONE_USAGER),
        (AS_JEANNE, here(INES), elsewhere(OMAR), CHARTER, Rule.RECIPIENTS_ONE_USAGER),
        (AS_JEANNE, here(INES), here(INES), CHARTER, None),
        (AS_JEANNE, here(INES), here(SECRETARIAT), CHARTER, None),
        (AS_JEANNE, here(SECRETARIAT), here(INES), CHARTER, None),
        (AS_JEANNE, here(INES), elsewhere(ROBOT), CHARTER, None),
        (AS_JEANNE, here(INES), TWO, replace(CHARTER, one_usager=False), None),
        (LISTED, here(INES), TWO, CHARTER, None),
        (AS_JEANNE, here(INES), ABUSE, CHARTER, None),
        (AS_INES, here(JEANNE, exchange=OPEN), ABUSE, CHARTER, None),
        (AS_INES, here(JEANNE, exchange=OPEN), replace(ABUSE, reporting=False), CHARTER, Rule.EXCHANGE_NOT_OPENED),
    ],
)
def test_one_usager_and_where_abuse_is_reported(
    speaker: Speaker, before: Recipient, recipient: Recipient, charter: Charter, rule: Rule | None
) -> None:
    sender = {AS_JEANNE: JEANNE, AS_INES: INES, LISTED: PAUL}[speaker]
    assert meant(decide_rcpt(said(speaker, sender, before, charter=charter), recipient)) == rule


def test_suspended_mail_is_put_off_when_the_operator_sets_so() -> None:
    charter = replace(CHARTER, suspended_receives=False)
    verdict = decide_rcpt(said(AS_JEANNE, JEANNE, charter=charter), here(SECRETARIAT, BalState.SUSPENDED))
    assert isinstance(verdict, Defer)
    assert verdict.rule is Rule.RECIPIENT_SUSPENDED
    assert decide_rcpt(said(AS_JEANNE, JEANNE, charter=charter), here(SECRETARIAT)) == ACCEPT


def test_patient_domains_are_a_setting() -> None:
    charter = Charter(patient_domains=frozenset({"citoyen.example"}))
    patient = parse_address("255081416802538@citoyen.example")
    assert meant(decide_rcpt(said(LISTED, patient, charter=charter), here(JEANNE))) is Rule.EXCHANGE_NOT_OPENED
    assert meant(decide_rcpt(said(LISTED, OMAR, charter=charter), here(JEANNE))) is None


# --- forty recipients


def several(count: int) -> list[Recipient]:
    return [elsewhere(Address(f"destinataire{number}", PAUL.domain)) for number in range(count)]


def asked(transaction: Transaction, recipients: list[Recipient]) -> tuple[Transaction, list[Verdict]]:
    """Says every RCPT in turn."""
    verdicts = []
    for recipient in recipients:
        verdict = decide_rcpt(transaction, recipient)
        transaction = transaction.after_rcpt(recipient, verdict)
        verdicts.append(verdict)
    return transaction, verdicts


def test_forty_is_accepted() -> None:
    transaction, verdicts = asked(said(AS_JEANNE, JEANNE), several(40))
    assert verdicts == [ACCEPT] * 40
    assert decide_data(transaction, HeaderFacts()) == ACCEPT


def test_the_41st_and_every_later_one_then_the_whole_message() -> None:
    transaction, verdicts = asked(said(AS_JEANNE, JEANNE), [*several(42), several(1)[0], here(JEANNE, None)])
    assert verdicts[:40] == [ACCEPT] * 40
    for verdict in verdicts[40:]:
        assert isinstance(verdict, Refuse)
        assert str(reply_for(verdict)).startswith("550 5.5.3")
    verdict = decide_data(transaction, HeaderFacts())
    assert isinstance(verdict, Refuse)
    assert str(reply_for(verdict)).startswith("554 5.5.3")


def test_the_same_recipient_counts_once_whatever_its_case() -> None:
    twice = [
        elsewhere(parse_address(text))
        for recipient in several(40)
        for text in (str(recipient.address), str(recipient.address).upper())
    ]
    transaction, verdicts = asked(said(AS_JEANNE, JEANNE), twice)
    assert verdicts == [ACCEPT] * 80
    assert [recipient.address for recipient in transaction.recipients] == [one.address for one in several(40)]


def test_refused_recipients_are_not_counted() -> None:
    unknown = [here(Address(f"inconnu{number}", JEANNE.domain), None) for number in range(60)]
    transaction, verdicts = asked(said(AS_JEANNE, JEANNE), [*unknown, *several(40)])
    assert [meant(verdict) for verdict in verdicts[:60]] == [Rule.RECIPIENT_UNKNOWN] * 60
    assert verdicts[60:] == [ACCEPT] * 40
    assert decide_data(transaction, HeaderFacts()) == ACCEPT


def test_the_mx_counts_too() -> None:
    local = [here(Address(f"bal{number}", JEANNE.domain)) for number in range(41)]
    transaction, verdicts = asked(said(LISTED, PAUL), local)
    assert meant(verdicts[-1]) is Rule.RECIPIENTS_TOO_MANY
    assert meant(decide_data(transaction, HeaderFacts())) is Rule.RECIPIENTS_TOO_MANY_MESSAGE


@given(limit=st.integers(1, 12), numbers=st.lists(st.integers(0, 15), max_size=40))
def test_nobody_or_at_most_the_limit(limit: int, numbers: list[int]) -> None:
    pool = several(16)
    start = said(AS_JEANNE, JEANNE, charter=replace(CHARTER, max_recipients=limit))
    transaction, verdicts = asked(start, [pool[number] for number in numbers])
    assert len(transaction.recipients) <= limit
    assert len({recipient.address for recipient in transaction.recipients}) == len(transaction.recipients)
    overflow = len(set(numbers)) > limit
    assert transaction.overflowed is overflow
    # Once refused, refused to the end, and never with a temporary code.
    refused = [isinstance(verdict, Refuse) for verdict in verdicts]
    assert refused == sorted(refused)
    assert not any(isinstance(verdict, Defer) for verdict in verdicts)
    expected = Rule.RECIPIENTS_TOO_MANY_MESSAGE if overflow else None if numbers else Rule.RECIPIENTS_NONE
    assert meant(decide_data(transaction, HeaderFacts())) == expected


# --- DATA


def from_(*addresses: str) -> HeaderFacts:
    return HeaderFacts(from_addresses=addresses)


def sender_field(address: str, *authors: str) -> HeaderFacts:
    return HeaderFacts(from_addresses=authors, sender_addresses=(address,))


def listed(address: str, *, others: bool = False) -> HeaderFacts:
    """From that address, its domain listed with the presented certificate, or with another one."""
    domains = frozenset({parse_address(address).domain})
    empty: frozenset[str] = frozenset()
    return HeaderFacts(
        from_addresses=(address,), from_listed=empty if others else domains, from_others=domains if others else empty
    )


# What some readers make an address of JEANNE's domain of, or of PAUL's.
UNREADABLE = [
    "",
    "MAILER-DAEMON",
    "claire@" + JEANNE.domain.replace(".", " . "),
    "claire@" + JEANNE.domain.replace(".", "\u3002"),
    f"claire@{''.join(chr(ord(letter) + 0xFEE0) for letter in JEANNE.domain)}",
    f"claire@=?utf-8?q?{JEANNE.domain}?=",
    f"claire@{JEANNE.domain}\u200b",
    f"{JEANNE}:x@{PAUL.domain}",
    f"unreadable: g:{JEANNE};, x@{PAUL.domain}",
]


@pytest.mark.parametrize(
    ("speaker", "sender", "headers", "rule"),
    [
        (AS_JEANNE, JEANNE, from_(str(JEANNE)), None),
        (AS_JEANNE, JEANNE, from_(str(JEANNE).upper()), None),
        (AS_JEANNE, JEANNE, from_(str(SECRETARIAT)), None),
        (AS_JEANNE, JEANNE, from_(str(JEANNE), str(SECRETARIAT)), None),
        (AS_JEANNE, JEANNE, from_(), None),
        (AS_JEANNE, JEANNE, from_(str(PAUL)), Rule.SENDER_HEADER_FROM),
        (AS_JEANNE, JEANNE, from_(str(JEANNE), str(PAUL)), Rule.SENDER_HEADER_FROM),
        (AS_JEANNE, JEANNE, from_(""), Rule.SENDER_HEADER_FROM),
        (AS_JEANNE, JEANNE, from_("jeanne"), Rule.SENDER_HEADER_FROM),
        (AS_JEANNE, JEANNE, sender_field(str(SECRETARIAT)), None),
        (AS_JEANNE, JEANNE, sender_field(str(PAUL)), Rule.SENDER_HEADER_FROM),
        # Whoever sends for somebody else says so in Sender; From is what is judged.
        (AS_JEANNE, JEANNE, sender_field(str(PAUL), str(JEANNE)), None),
        (AS_INES, INES, from_(str(INES)), None),
        (AS_INES, INES, from_(str(JEANNE)), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, from_(str(PAUL)), None),
        (LISTED, PAUL, from_(f"autre@{PAUL.domain.upper()}"), None),
        (LISTED, PAUL, from_("autre@ailleurs.example"), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, from_(str(PAUL), "autre@ailleurs.example"), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, from_(f"autre@sous.{PAUL.domain}"), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, from_(f"x@{PAUL.domain}@ailleurs.example"), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, from_(""), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, from_("Paul"), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, listed("autre@ailleurs.example"), None),
        (LISTED, PAUL, listed("autre@ailleurs.example", others=True), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, from_(), None),
        (LISTED, PAUL, sender_field(str(PAUL)), None),
        (LISTED, PAUL, sender_field("autre@ailleurs.example"), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, sender_field(str(OMAR)), Rule.SENDER_HEADER_FROM),
        (LISTED, None, sender_field("claire@cabinet . example"), Rule.SENDER_HEADER_FROM),
        (LISTED, OMAR, from_(str(OMAR)), None),
        (LISTED, OMAR, from_(str(PAUL)), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, from_(str(OMAR)), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, from_(str(OMAR).upper()), Rule.SENDER_HEADER_FROM),
        (LISTED, PAUL, from_(str(PAUL), str(INES)), Rule.SENDER_HEADER_FROM),
        (LISTED, None, from_("mailer-daemon@patient.ailleurs.example"), None),
        # A notice comes in the name of a host outside the list, not in that of another operator's domain.
        (LISTED, None, from_("mailer-daemon@mx.clinique.example"), None),
        (LISTED, None, from_(), None),
        *((LISTED, None, from_(text), Rule.SENDER_HEADER_FROM) for text in UNREADABLE),
        *((LISTED, PAUL, from_(str(PAUL), text), Rule.SENDER_HEADER_FROM) for text in UNREADABLE),
        *((AS_JEANNE, JEANNE, from_(str(JEANNE), text), Rule.SENDER_HEADER_FROM) for text in UNREADABLE),
        (LISTED, None, listed("postmaster@clinique.example.mssante.fr"), None),
        (LISTED, None, listed("postmaster@clinique.example.mssante.fr", others=True), Rule.SENDER_HEADER_FROM),
        # One Received field more than allowed.
        (LISTED, PAUL, HeaderFacts(received=30), None),
        (LISTED, PAUL, HeaderFacts(received=31), Rule.MESSAGE_LOOP),
        (AS_JEANNE, JEANNE, HeaderFacts(received=31), Rule.MESSAGE_LOOP),
        (LISTED, None, HeaderFacts(received=31), Rule.MESSAGE_LOOP),
    ],
)
def test_data(speaker: Speaker, sender: Address | None, headers: HeaderFacts, rule: Rule | None) -> None:
    transaction = said(speaker, sender, here(JEANNE, exchange=OPEN))
    assert meant(decide_data(transaction, headers)) == rule


def test_from_is_not_judged_when_the_operator_sets_so() -> None:
    """But for patients' domains, which the exchange rules depend on, and for what could be anybody's."""
    lax = replace(CHARTER, header_from_strict=False, max_received=5)
    transaction = said(LISTED, PAUL, here(JEANNE), charter=lax)
    assert meant(decide_data(transaction, listed("autre@ailleurs.example", others=True))) is None
    assert meant(decide_data(transaction, from_(str(OMAR)))) is Rule.SENDER_HEADER_FROM
    assert meant(decide_data(transaction, from_(f"unreadable: {OMAR}:x@{PAUL.domain};"))) is Rule.SENDER_HEADER_FROM
    assert meant(decide_data(transaction, HeaderFacts(received=6))) is Rule.MESSAGE_LOOP


# --- what a message does to exchanges


def test_fin_ends_the_exchange_with_patients_and_leaves_professionals_in_copy() -> None:
    transaction = said(AS_JEANNE, JEANNE, here(INES), elsewhere(OMAR), elsewhere(PAUL), here(SECRETARIAT))
    assert transaction.patients == (INES, OMAR)
    assert transaction.ends(HeaderFacts(subject="Re: [ fin ]")) is Ending.EXCHANGE
    assert transaction.ends(HeaderFacts(x_mss_mes="FIN")) is Ending.EXCHANGE
    assert transaction.ends(HeaderFacts(subject="Bonjour")) is Ending.NOTHING
    exact = replace(transaction, charter=replace(CHARTER, fin_exact=True, fin_header=Ending.THREAD))
    assert exact.ends(HeaderFacts(subject="Re: [ fin ]")) is Ending.NOTHING
    assert exact.ends(HeaderFacts(subject=" [FIN] ")) is Ending.EXCHANGE
    assert exact.ends(HeaderFacts(x_mss_mes="FIN")) is Ending.THREAD


def test_a_professional_elsewhere_opens_too() -> None:
    assert said(LISTED, PAUL, here(INES)).patients == (INES,)


@pytest.mark.parametrize(("speaker", "sender"), [*PATIENTS, (LISTED, None)])
def test_patients_and_notices_change_nothing(speaker: Speaker, sender: Address | None) -> None:
    assert said(speaker, sender, here(JEANNE, exchange=OPEN), here(CORSICAN)).patients == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["professional", "patient"]),
            st.sampled_from([INES, CORSICAN]),
            st.sampled_from([JEANNE, SECRETARIAT]),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_any_history_of_messages(history: list[tuple[str, Address, Address, bool]]) -> None:
    """A patient's message passes exactly when the last one from that professional to that patient had no FIN."""
    exchanges: dict[tuple[Address, Address], ExchangeState] = {}
    last_fin: dict[tuple[Address, Address], bool] = {}
    for who, patient, professional, fin in history:
        pair = (professional, patient)
        headers = HeaderFacts(subject="[FIN]" if fin else "Bonjour")
        if who == "professional":
            transaction = said(AS_JEANNE, professional)
            recipient = here(patient, exchange=exchanges.get(pair))
            last_fin[pair] = fin
        else:
            speaker = replace(AS_INES, account=str(patient), addresses=frozenset({str(patient)}))
            transaction = said(speaker, patient)
            recipient = here(professional, exchange=exchanges.get(pair))
        verdict = decide_rcpt(transaction, recipient)
        if who == "professional":
            assert verdict == ACCEPT
        else:
            assert (verdict == ACCEPT) is (last_fin.get(pair) is False)
        after = transaction.after_rcpt(recipient, verdict)
        for address in after.patients:
            written = (professional, address)
            exchanges[written] = after_professional_message(exchanges.get(written), after.ends(headers))


# --- for any facts whatever

addresses = st.sampled_from([JEANNE, SECRETARIAT, PAUL, INES, CORSICAN, OMAR, ROBOT])
speakers = st.builds(
    Speaker,
    edge=st.sampled_from(Edge),
    addresses=st.frozensets(addresses.map(str)),
    bal_type=st.none() | st.sampled_from(BalType),
    dn_listed_for_sender=st.none() | st.booleans(),
    dn_listed=st.none() | st.booleans(),
)
transactions = st.builds(Transaction, charter=st.just(CHARTER), speaker=speakers, sender=st.none() | addresses)
facts = st.builds(
    lambda address, local, listed, state, full, standing, exchange: Recipient(
        address,
        local,
        listed,
        address.domain in CHARTER.patient_domains,
        state,
        full,
        standing,
        Relation(*exchange),
    ),
    addresses,
    st.booleans(),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(BalState),
    st.booleans(),
    st.sampled_from(Standing),
    st.tuples(st.none() | st.sampled_from(ExchangeState), st.booleans()),
)


@given(transactions, facts)
def test_what_an_accepted_recipient_implies(transaction: Transaction, recipient: Recipient) -> None:
    verdict = decide_rcpt(transaction, recipient)
    if isinstance(verdict, Accept):
        assert recipient.local or (recipient.listed and transaction.speaker.edge is Edge.SUBMISSION)
        assert not recipient.local or recipient.state in {BalState.ACTIVE, BalState.SUSPENDED}
        assert not (recipient.local and recipient.full)
        assert not transaction.from_patient or (patient_may_write(recipient.relation) and not recipient.patient_domain)
        assert not recipient.local or recipient.standing is Standing.OPEN


@given(transactions)
def test_what_an_accepted_sender_implies(transaction: Transaction) -> None:
    speaker, sender = transaction.speaker, transaction.sender
    if isinstance(decide_mail(transaction), Accept):
        if speaker.edge is Edge.SUBMISSION:
            assert str(sender) in speaker.addresses
        else:
            assert speaker.dn_listed if sender is None else speaker.dn_listed_for_sender


@given(transactions, facts)
def test_a_verdict_and_its_reply_agree_on_yes_no_and_later(transaction: Transaction, recipient: Recipient) -> None:
    for verdict in (decide_mail(transaction), decide_rcpt(transaction, recipient)):
        code = reply_for(verdict).code
        assert code // 100 == {Accept: 2, Refuse: 5, Defer: 4}[type(verdict)]


def test_every_rule_says_its_identifier_stage_and_source() -> None:
    for stage, rules in (("MAIL", MAIL_RULES), ("RCPT", RCPT_RULES), ("DATA", DATA_RULES)):
        for rule in rules:
            text = rule.__doc__ or ""
            identifiers = [part for part in text.split("``")[1::2] if part in set(Rule)]
            assert identifiers, rule
            assert f" {stage}" in text.partition("Source:")[0], rule
            assert "Source:" in text, rule
