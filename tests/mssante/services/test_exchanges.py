"""Exchanges with patients as a message's way through the house makes and meets them."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest

from mssante.domain.address import parse_address
from mssante.domain.exchange import UNRELATED, Ending, Guard, Relation
from mssante.domain.ins import ins_key
from mssante.domain.patient import Authority, Standing
from mssante.domain.verdict import Accept, Refuse, Rule
from mssante.services import bals, exchanges, patients
from mssante.services.accounts import Client, SignedIn
from mssante.services.arrival import Stored
from mssante.services.bals import NotAllowed
from mssante.services.passwords import Passwords
from mssante.services.patients import of_age_us
from mssante.services.transaction import Caller
from mssante.store import Conn, NotFound
from mssante.store.accounts import find_bal
from mssante.store.exchanges import list_exchanges, relation
from mssante.store.journal import entries
from mssante.store.mail import entries as in_folder
from mssante.store.mail import folder_by_name
from mssante.store.patients import Identity, NewPatient
from tests.mssante.services.conftest import (
    CABINET,
    CHEAP,
    CLINIQUE,
    COLLEAGUE,
    DOCTOR,
    PASSWORD,
    PATIENT,
    PATIENTS,
    SECRETARY,
    Cabinet,
)

COPIED = f"lea.exemple@{CLINIQUE}"
ELSEWHERE = f"255081416802538@{PATIENTS}"


def mail(author: str, *fields: str, id_: str = "m@exemple.example", subject: str = "Bonjour") -> bytes:
    head = (f"From: <{author}>", f"Subject: {subject}", f"Message-ID: <{id_}>", *fields)
    return "\r\n".join((*head, "", "Bonjour", "")).encode()


def rule(outcome: object) -> Rule | None:
    return outcome.rule if isinstance(outcome, Refuse) else None


async def citizen(cabinet: Cabinet, number: int = 2, naissance: str = "1979-03-05") -> str:
    """A citizen of the registry, who can sign in; his address."""
    root = f"2790351{number:06d}"
    ins = f"{root}{ins_key(root):02d}"
    address = parse_address(f"{ins}@{PATIENTS}")
    new = NewPatient(
        address,
        Identity(ins=ins, nom="DURAND", prenoms="Jeanne", naissance=naissance, sexe="F", lieu="75115"),
        Passwords(CHEAP).hash(PASSWORD),
    )
    await cabinet.store.write(patients.register, [new], "test")
    return str(address)


async def test_the_patient_answers_all_and_the_address_of_reply_to(cabinet: Cabinet) -> None:
    patient = await cabinet.signed_in(PATIENT)
    named = (f"To: <{PATIENT}>, Léa <{COPIED}>, pas une adresse", f"Reply-To: Secrétariat <{SECRETARY}>")
    written = mail(DOCTOR, *named, f"Cc: <{ELSEWHERE}>")
    # The colleague is of another operator: only the header names him here, as the one hidden from it does not.
    await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT, COLLEAGUE], written)
    assert isinstance(await cabinet.send(patient, PATIENT, [DOCTOR, COPIED, SECRETARY], mail(PATIENT)), Stored)
    assert rule(await cabinet.send(patient, PATIENT, [COLLEAGUE], mail(PATIENT))) is Rule.EXCHANGE_NOT_OPENED
    assert rule(await cabinet.send(patient, PATIENT, [ELSEWHERE], mail(PATIENT))) is Rule.EXCHANGE_PATIENT_TO_PATIENT
    await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT], mail(DOCTOR, subject="[FIN]"))
    for address, told in ((DOCTOR, Rule.EXCHANGE_ENDED), (COPIED, Rule.EXCHANGE_NOT_OPENED)):
        assert rule(await cabinet.send(patient, PATIENT, [address], mail(PATIENT))) is told


@pytest.mark.parametrize("strangers", [37, 38])
async def test_who_names_more_people_than_a_message_may_have_introduces_nobody(
    cabinet: Cabinet, strangers: int
) -> None:
    patient = await cabinet.signed_in(PATIENT)
    names = ", ".join(f"<inconnu{number}@{CLINIQUE}>" for number in range(strangers))
    written = mail(DOCTOR, f"To: <{PATIENT}>, <{COPIED}>", f"Cc: {names}", f"Reply-To: <{SECRETARY}>")
    assert isinstance(await cabinet.send(await cabinet.signed_in(), DOCTOR, [PATIENT], written), Stored)
    answered = await cabinet.send(patient, PATIENT, [COPIED], mail(PATIENT))
    assert isinstance(answered, Stored) if strangers == 37 else rule(answered) is Rule.EXCHANGE_NOT_OPENED
    assert isinstance(await cabinet.send(patient, PATIENT, [DOCTOR], mail(PATIENT)), Stored)


async def test_a_patient_of_another_operator_answers_all_of_a_message_that_came_here_in_copy(cabinet: Cabinet) -> None:
    set_charter(cabinet, patient_domains=frozenset({PATIENTS, "patient.ailleurs.example"}))
    elsewhere = "255081416802538@patient.ailleurs.example"
    pair = SECRETARY, elsewhere

    def relation_now() -> Relation:
        return cabinet.store.read_now(relation, *pair)

    copied = (f"To: Patient <{elsewhere.upper()}>", f"Cc: <{SECRETARY}>")
    await cabinet.send(cabinet.colleague, COLLEAGUE, [SECRETARY, DOCTOR], mail(COLLEAGUE, *copied))
    assert relation_now() == Relation(None, introduced=True)
    assert cabinet.store.read_now(relation, DOCTOR, elsewhere) == UNRELATED  # hidden from the patient
    await cabinet.send(cabinet.colleague, COLLEAGUE, [SECRETARY], mail(COLLEAGUE, *copied, subject="[FIN]"))
    assert relation_now() == UNRELATED
    await cabinet.send(cabinet.colleague, COLLEAGUE, [SECRETARY], mail(COLLEAGUE, f"To: <{SECRETARY}>"))
    assert relation_now() == UNRELATED


async def test_a_delegate_continues_and_ends_the_exchange_of_the_mailbox(cabinet: Cabinet) -> None:
    await cabinet.store.write(bals.give_right, parse_address(SECRETARY), DOCTOR, "send", "operateur")
    patient, delegate = await cabinet.signed_in(PATIENT), await cabinet.signed_in()
    await cabinet.send(await cabinet.signed_in(SECRETARY), SECRETARY, [PATIENT], mail(SECRETARY))
    await cabinet.send(delegate, SECRETARY, [PATIENT], mail(SECRETARY))
    assert isinstance(await cabinet.send(patient, PATIENT, [SECRETARY], mail(PATIENT)), Stored)
    assert rule(await cabinet.send(patient, PATIENT, [DOCTOR], mail(PATIENT))) is Rule.EXCHANGE_NOT_OPENED
    await cabinet.send(delegate, SECRETARY, [PATIENT], mail(SECRETARY, "X-MSS-MES: FIN"))
    assert rule(await cabinet.send(patient, PATIENT, [SECRETARY], mail(PATIENT))) is Rule.EXCHANGE_ENDED


async def test_one_thread_ends_and_the_others_go_on(cabinet: Cabinet) -> None:
    set_charter(cabinet, fin_header=Ending.THREAD)
    doctor, patient = await cabinet.signed_in(), await cabinet.signed_in(PATIENT)
    await cabinet.send(doctor, DOCTOR, [PATIENT], mail(DOCTOR, id_="one@x"))
    last = mail(DOCTOR, "References: <one@x>", "X-MSS-MES: FIN", id_="two@x")
    await cabinet.send(doctor, DOCTOR, [PATIENT], last)

    async def answered(*fields: str) -> Rule | None:
        return rule(await cabinet.send(patient, PATIENT, [DOCTOR], mail(PATIENT, *fields)))

    assert await answered("In-Reply-To: <two@x>") is Rule.EXCHANGE_THREAD_ENDED
    assert await answered("References: <one@x>") is Rule.EXCHANGE_THREAD_ENDED
    assert await answered() is None
    assert await answered("References: <other@x>") is None
    await cabinet.send(doctor, DOCTOR, [PATIENT], mail(DOCTOR, "References: <one@x> <two@x>", id_="three@x"))
    assert await answered("In-Reply-To: <two@x>") is None
    await cabinet.send(doctor, DOCTOR, [PATIENT], mail(DOCTOR, subject="[FIN]"))
    assert await answered() is Rule.EXCHANGE_ENDED


async def test_citizens_write_first_where_they_are_welcome(cabinet: Cabinet) -> None:
    pharmacy, patient = parse_address(SECRETARY), await cabinet.signed_in(PATIENT)
    await cabinet.store.write(exchanges.welcome, pharmacy, True, "operateur")
    assert isinstance(await cabinet.send(patient, PATIENT, [SECRETARY], mail(PATIENT)), Stored)
    await cabinet.send(await cabinet.signed_in(SECRETARY), SECRETARY, [PATIENT], mail(SECRETARY, subject="[FIN]"))
    assert rule(await cabinet.send(patient, PATIENT, [SECRETARY], mail(PATIENT))) is Rule.EXCHANGE_ENDED
    with pytest.raises(NotAllowed):
        await cabinet.store.write(exchanges.welcome, pharmacy, True, "operateur")
    with pytest.raises(NotAllowed):
        await cabinet.store.write(exchanges.welcome, parse_address(PATIENT), True, "operateur")
    with pytest.raises(NotFound):
        await cabinet.store.write(exchanges.welcome, parse_address(COPIED), True, "operateur")


def set_charter(cabinet: Cabinet, **changes: object) -> None:
    charter = replace(cabinet.reception._charter, **changes)  # type: ignore[arg-type]
    cabinet.reception.adopt(charter, 1_000_000, 500_000)


@pytest.mark.parametrize("guard", Guard)
async def test_the_guard_for_the_citizens_of_another_operator(cabinet: Cabinet, guard: Guard) -> None:
    # The clinic's domain is a citizens' one for once: what its operator sends comes from citizens.
    set_charter(cabinet, patient_domains=frozenset({PATIENTS, CLINIQUE}), exchange_guard=guard)
    content = mail(COLLEAGUE)
    await cabinet.send(await cabinet.signed_in(SECRETARY), SECRETARY, [COLLEAGUE], mail(SECRETARY))
    outcome = await cabinet.send(cabinet.colleague, COLLEAGUE, [DOCTOR, SECRETARY], content)
    if guard is Guard.STRICT:
        assert rule(outcome) is Rule.EXCHANGE_NOT_OPENED
        assert keywords(cabinet, DOCTOR) == keywords(cabinet, SECRETARY) == []
        return
    assert isinstance(outcome, Stored)
    # Only for whom it is outside; not a word in the message itself.
    marked = [(exchanges.OUTSIDE,)] if guard is Guard.SOFT else [()]
    assert (keywords(cabinet, DOCTOR), keywords(cabinet, SECRETARY)) == (marked, [()])
    assert cabinet.inbox(DOCTOR)[0].endswith(content)
    noted = [entry.object for entry in cabinet.store.read_now(entries) if entry.action == "exchange.outside"]
    assert noted == ([outcome.id] if guard is Guard.SOFT else [])


@pytest.mark.parametrize("guard", Guard)
async def test_a_null_sender_hides_no_citizen(cabinet: Cabinet, guard: Guard) -> None:
    set_charter(cabinet, patient_domains=frozenset({PATIENTS, CLINIQUE}), exchange_guard=guard)
    citizen_there = f"255081416802538@{CLINIQUE}"
    content = mail(citizen_there)
    outcome = await cabinet.send(cabinet.colleague, "", [DOCTOR], content)
    assert rule(outcome) is (Rule.EXCHANGE_NOT_OPENED if guard is Guard.STRICT else None)
    assert keywords(cabinet, DOCTOR) == {Guard.STRICT: [], Guard.SOFT: [(exchanges.OUTSIDE,)], Guard.OFF: [()]}[guard]
    doctor = await cabinet.signed_in()
    await cabinet.send(doctor, DOCTOR, [citizen_there], mail(DOCTOR))
    assert isinstance(await cabinet.send(cabinet.colleague, "", [DOCTOR], content), Stored)
    await cabinet.send(doctor, DOCTOR, [citizen_there], mail(DOCTOR, subject="[FIN]"))
    outcome = await cabinet.send(cabinet.colleague, "", [DOCTOR], content)
    assert rule(outcome) is (Rule.EXCHANGE_ENDED if guard is Guard.STRICT else None)
    notice = mail(f"postmaster@{CLINIQUE}")
    assert isinstance(await cabinet.send(cabinet.colleague, "", [DOCTOR], notice), Stored)


def keywords(cabinet: Cabinet, address: str) -> list[tuple[str, ...]]:
    def read(conn: Conn) -> list[tuple[str, ...]]:
        bal = find_bal(conn, address)
        assert bal is not None
        folder = folder_by_name(conn, bal.id, "INBOX")
        assert folder is not None
        return [entry.keywords for entry in in_folder(conn, folder.id)]

    return cabinet.store.read_now(read)


async def test_an_earlier_matricule_is_written_to_and_the_exchange_is_the_present_ones(cabinet: Cabinet) -> None:
    doctor, before = await cabinet.signed_in(), await citizen(cabinet)
    await cabinet.send(doctor, DOCTOR, [before], mail(DOCTOR))
    after = f"{'2790351000777'}{ins_key('2790351000777'):02d}@{PATIENTS}"
    change = (parse_address(before), parse_address(after), Authority.NIR, "NIR attribue", "operateur")
    await cabinet.store.write(patients.change_matricule, *change)
    patient = await cabinet.signed_in(after)
    assert isinstance(await cabinet.send(patient, after, [DOCTOR], mail(after)), Stored)
    assert isinstance(await cabinet.send(doctor, DOCTOR, [before], mail(DOCTOR, subject="[FIN]")), Stored)
    assert len(cabinet.inbox(after)) == 2
    assert [one.patient for one in cabinet.store.read_now(list_exchanges)] == [after]
    assert rule(await cabinet.send(patient, after, [DOCTOR], mail(after))) is Rule.EXCHANGE_ENDED
    for told in cabinet.store.read_now(entries):
        assert before[:15] not in f"{told.object} {told.detail}" and after[:15] not in f"{told.object} {told.detail}"
    with pytest.raises(NotAllowed):
        await cabinet.store.write(patients.change_matricule, parse_address(before), *change[1:])


@pytest.mark.parametrize(
    ("standing", "told"),
    [
        (Standing.OPPOSED, Rule.RECIPIENT_PATIENT_OPPOSED),
        (Standing.CLOSED, Rule.RECIPIENT_PATIENT_CLOSED),
        (Standing.DECEASED, Rule.RECIPIENT_PATIENT_DECEASED),
    ],
)
async def test_each_cause_is_told_and_may_be_undone(cabinet: Cabinet, standing: Standing, told: Rule) -> None:
    doctor, patient = await cabinet.signed_in(), await citizen(cabinet)
    address = parse_address(patient)

    async def stand(new: Standing) -> None:
        await cabinet.store.write(patients.stand, address, new, "demande", "operateur")

    await stand(standing)
    assert rule(await cabinet.send(doctor, DOCTOR, [patient], mail(DOCTOR))) is told
    with pytest.raises(NotAllowed):
        await stand(standing)
    await stand(Standing.DECEASED if standing is not Standing.DECEASED else Standing.CLOSED)
    await stand(Standing.OPEN)
    assert isinstance(await cabinet.send(doctor, DOCTOR, [patient], mail(DOCTOR)), Stored)
    with pytest.raises(NotAllowed):
        await cabinet.store.write(patients.stand, address, standing, " ", "operateur")
    with pytest.raises(NotAllowed):
        await stand(Standing.OPEN)


async def test_what_the_regulator_closed_a_citizen_does_not_reopen(cabinet: Cabinet) -> None:
    address = parse_address(await citizen(cabinet))
    await cabinet.store.write(bals.close, address, "abus", f"{bals.REGULATOR}:x")
    await cabinet.store.write(patients.stand, address, Standing.CLOSED, "demande", "operateur")
    with pytest.raises(NotAllowed):
        await cabinet.store.write(patients.stand, address, Standing.OPEN, "demande", "operateur")


async def test_of_a_purged_mailbox_only_the_cause_is_left(cabinet: Cabinet) -> None:
    mailbox, doctor = await citizen(cabinet), await cabinet.signed_in()
    address = parse_address(mailbox)
    await cabinet.store.write(patients.stand, address, Standing.DECEASED, "deces", "operateur")
    await cabinet.store.write(patients.purge, address, "delai ecoule", "operateur")
    known = cabinet.store.read_now(patients.known_patient, address)
    assert (known.identity.ins, known.identity.nom, known.identity.naissance) == (mailbox[:15], "", "")
    assert rule(await cabinet.send(doctor, DOCTOR, [mailbox], mail(DOCTOR))) is Rule.RECIPIENT_PATIENT_DECEASED
    with pytest.raises(NotAllowed):
        await cabinet.store.write(patients.stand, address, Standing.OPEN, "erreur", "operateur")
    child = parse_address(await citizen(cabinet, 3, naissance="2024-01-01"))
    with pytest.raises(NotAllowed):
        await cabinet.store.write(patients.give_parent, child, address, "operateur")


async def test_who_is_opposed_from_the_start_may_change_his_mind(cabinet: Cabinet) -> None:
    root = "2790351000003"
    ins = f"{root}{ins_key(root):02d}"
    identity = Identity(ins=ins, nom="N", prenoms="P", naissance="1979-03-05", sexe="F", lieu="75115")
    address = parse_address(f"{ins}@{PATIENTS}")
    new = NewPatient(address, identity, standing=Standing.OPPOSED)
    await cabinet.store.write(patients.register, [new], "operateur")
    doctor = await cabinet.signed_in()
    outcome = await cabinet.send(doctor, DOCTOR, [str(address)], mail(DOCTOR))
    assert rule(outcome) is Rule.RECIPIENT_PATIENT_OPPOSED
    await cabinet.store.write(patients.stand, address, Standing.OPEN, "il le veut", "operateur")
    assert isinstance(await cabinet.send(doctor, DOCTOR, [str(address)], mail(DOCTOR)), Stored)


# --- parents


async def _silent(challenge: bytes) -> bytes:
    raise AssertionError(challenge)


async def opened(cabinet: Cabinet, child: str, parent: str, password: str = PASSWORD) -> SignedIn | Rule:
    response = f"{child}\0{parent}\0{password}".encode()
    found = await cabinet.accounts.authenticate("PLAIN", response, _silent, Client("192.0.2.1", "send"))
    return found if isinstance(found, SignedIn) else found.rule


async def test_a_parent_opens_the_childs_mailbox_until_it_is_of_age(cabinet: Cabinet) -> None:
    child, parent = await citizen(cabinet, 3, naissance="2012-02-29"), await citizen(cabinet, 4)
    young, adult = parse_address(child), parse_address(parent)
    cabinet.clock.advance(of_age_us("2030-02-28") // 1_000_000 - 18 * 31_557_600 - cabinet.clock.now_us() // 1_000_000)
    assert await opened(cabinet, child, parent) is Rule.AUTH_MAILBOX
    await cabinet.store.write(patients.give_parent, young, adult, "operateur")
    session = await opened(cabinet, child, parent)
    assert isinstance(session, SignedIn)
    assert (session.address, session.addresses) == (child, frozenset({child}))
    assert parent[:15] not in session.by
    assert await cabinet.accounts.may_stay(session)
    assert await opened(cabinet, child, parent, "autre") is Rule.AUTH_REFUSED
    assert await opened(cabinet, parent, child) is Rule.AUTH_MAILBOX
    # Written to, read and answered under the child's own address.
    await cabinet.send(await cabinet.signed_in(), DOCTOR, [child], mail(DOCTOR))
    response = f"{child}\0{parent}\0{PASSWORD}".encode()
    caller = await cabinet.reception.authenticate("PLAIN", response, _silent, Client("192.0.2.1", "send"))
    assert isinstance(caller, Caller)
    assert isinstance(await cabinet.send(caller, child, [DOCTOR], mail(child)), Stored)
    # The right goes when it is taken back, when the parent has none any more, and by itself.
    await cabinet.store.write(patients.give_parent, young, adult, "operateur", True)
    assert not await cabinet.accounts.may_stay(session)
    assert await opened(cabinet, child, parent) is Rule.AUTH_MAILBOX
    await cabinet.store.write(patients.give_parent, young, adult, "operateur")
    await cabinet.store.write(patients.stand, adult, Standing.DECEASED, "deces", "operateur")
    assert not await cabinet.accounts.may_stay(session)
    await cabinet.store.write(patients.stand, adult, Standing.OPEN, "erreur", "operateur")
    assert await cabinet.accounts.may_stay(session)
    ended = asyncio.Event()
    stop = cabinet.accounts.watch_session(session, ended.set)
    assert await cabinet.store.write(patients.let_grow_up) == 0
    cabinet.clock.advance((of_age_us("2012-02-29") - cabinet.clock.now_us()) // 1_000_000)
    assert not ended.is_set()
    assert not await cabinet.accounts.may_stay(session)
    assert await opened(cabinet, child, parent) is Rule.AUTH_MAILBOX
    # The day it is of age, an open session of the parent ends, and the act is in the journal.
    assert await cabinet.store.write(patients.let_grow_up) == 1
    await ended.wait()
    stop()
    assert await cabinet.store.write(patients.let_grow_up) == 0
    acts = cabinet.store.read_now(lambda conn: entries(conn, object=cabinet.store.keys.trace_name(child)))
    assert acts[-1].action == "patient.of_age"


async def test_a_parents_session_ends_with_the_parents_own_account(cabinet: Cabinet) -> None:
    child, parent = await citizen(cabinet, 3, naissance="2020-02-29"), await citizen(cabinet, 4)
    await cabinet.store.write(patients.give_parent, parse_address(child), parse_address(parent), "operateur")
    session = await opened(cabinet, child, parent)
    assert isinstance(session, SignedIn)
    ended = asyncio.Event()
    cabinet.accounts.watch_session(session, ended.set)
    await cabinet.store.write(bals.suspend, parse_address(parent), "enquete", "operateur")
    await ended.wait()


async def test_who_cannot_be_a_parent(cabinet: Cabinet) -> None:
    child, other = await citizen(cabinet, 3, naissance="2024-01-01"), await citizen(cabinet, 4, naissance="2023-01-01")
    adult = await citizen(cabinet, 5)
    for young, old in ((adult, other), (child, other), (child, child), (adult, adult)):
        with pytest.raises(NotAllowed):
            await cabinet.store.write(patients.give_parent, parse_address(young), parse_address(old), "operateur")
    for young, old in ((child, DOCTOR), (DOCTOR, adult), (child, f"x@{CABINET}")):
        with pytest.raises(NotFound):
            await cabinet.store.write(patients.give_parent, parse_address(young), parse_address(old), "operateur")
    with pytest.raises(NotFound):
        await cabinet.store.write(patients.give_parent, parse_address(child), parse_address(adult), "operateur", True)


@pytest.mark.parametrize(
    ("born", "of_age"),
    [("2008-02-29", "2026-03-01"), ("2006-02-28", "2024-02-28"), ("2007-12-31", "2025-12-31")],
)
def test_of_age(born: str, of_age: str) -> None:
    assert of_age_us(born) == int(datetime.fromisoformat(f"{of_age}T00:00:00+00:00").timestamp()) * 1_000_000


async def test_a_citizen_who_is_told_nothing_of_others(cabinet: Cabinet) -> None:
    """Patients learn neither who is a patient nor who is a professional here."""
    patient = await cabinet.signed_in(PATIENT)
    transaction = await cabinet.open(patient, PATIENT)
    for address in (DOCTOR, f"personne@{CABINET}", COPIED):
        verdict = await cabinet.reception.recipient(transaction, parse_address(address))
        assert not isinstance(verdict, Accept)
        assert rule(verdict) is Rule.EXCHANGE_NOT_OPENED
