"""MAIL and RCPT: the facts are gathered right, so that the rules can be."""

import asyncio

from mssante.domain.address import parse_address
from mssante.domain.annuaire import Line
from mssante.domain.bal import BalState, BalType
from mssante.domain.identifiers import luhn_holds
from mssante.domain.replies import REPLIES, reply_for
from mssante.domain.transaction import Charter
from mssante.domain.verdict import Accept, Defer, Refuse, Rule
from mssante.services.bals import suspend
from mssante.services.transaction import Caller
from mssante.store import Tx, annuaire
from mssante.store.accounts import NewBal, create_bals, find_bal, set_quota, set_state
from tests.mssante.services.conftest import (
    CABINET,
    CLINIQUE,
    COLLEAGUE,
    DOCTOR,
    PATIENT,
    PATIENTS,
    SECRETARY,
    Cabinet,
)


def rule(verdict: object) -> Rule:
    assert isinstance(verdict, Refuse | Defer), verdict
    return verdict.rule


async def test_another_operator_sends_for_the_domains_listed_with_its_certificate(cabinet: Cabinet) -> None:
    assert cabinet.colleague.dn is not None
    assert (await cabinet.open(cabinet.colleague, COLLEAGUE)).sender == parse_address(COLLEAGUE)
    opened = await cabinet.reception.open(cabinet.colleague, parse_address(f"x@{CABINET}"), size=None)
    assert rule(opened) is Rule.ESPACE_CONFIANCE_SENDER


async def test_the_null_sender_comes_from_a_listed_certificate_only(cabinet: Cabinet) -> None:
    assert (await cabinet.open(cabinet.colleague, "")).sender is None
    nobody = cabinet.reception.peer_speaker(None)
    assert rule(await cabinet.reception.open(nobody, None, size=None)) is Rule.ESPACE_CONFIANCE_NULL_SENDER


async def test_a_certificate_that_cannot_be_read_names_nobody(cabinet: Cabinet) -> None:
    assert cabinet.reception.peer_speaker(b"no certificate").dn is None


async def test_a_holder_sends_as_himself_alone(cabinet: Cabinet) -> None:
    doctor = await cabinet.signed_in()
    await cabinet.open(doctor, DOCTOR)
    opened = await cabinet.reception.open(doctor, parse_address(SECRETARY), size=None)
    assert rule(opened) is Rule.SENDER_NOT_OWNER


async def test_an_announced_size_is_judged_before_the_message_travels(cabinet: Cabinet) -> None:
    opened = await cabinet.reception.open(cabinet.colleague, parse_address(COLLEAGUE), size=1_000_001)
    assert rule(opened) is Rule.MESSAGE_TOO_LARGE
    transaction = await cabinet.open(cabinet.colleague, COLLEAGUE, size=600_000)
    assert isinstance(await cabinet.reception.recipient(transaction, parse_address(DOCTOR)), Accept)
    assert rule(await cabinet.reception.recipient(transaction, parse_address(PATIENT))) is Rule.MESSAGE_TOO_LARGE


async def test_recipients_known_and_unknown(cabinet: Cabinet) -> None:
    transaction = await cabinet.open(cabinet.colleague, COLLEAGUE)
    asked = [
        (DOCTOR, None),
        (DOCTOR.upper(), None),
        (f"personne@{CABINET}", Rule.RECIPIENT_UNKNOWN),
        (f"x@{CLINIQUE}", Rule.RECIPIENT_NOT_LOCAL),
        (f"279035121518900@{PATIENTS}", Rule.RECIPIENT_INS),
    ]
    for address, expected in asked:
        verdict = await cabinet.reception.recipient(transaction, parse_address(address))
        assert (None if isinstance(verdict, Accept) else rule(verdict)) is expected, address
    assert list(transaction.recipients) == [parse_address(DOCTOR)]


async def test_every_domain_has_a_postmaster(cabinet: Cabinet) -> None:
    transaction = await cabinet.open(cabinet.colleague, COLLEAGUE)
    for address in (f"postmaster@{CABINET}", f"PostMaster@{CABINET}", f"postmaster@{PATIENTS}"):
        assert isinstance(await cabinet.reception.recipient(transaction, parse_address(address)), Accept), address
    assert {one.mailbox for one in transaction.recipients.values()} == {f"postmaster@{CABINET}"}
    assert rule(await cabinet.reception.recipient(transaction, parse_address(f"postmaster@{CLINIQUE}"))) is (
        Rule.RECIPIENT_NOT_LOCAL
    )


async def test_submission_leaves_for_listed_domains_only(cabinet: Cabinet) -> None:
    transaction = await cabinet.open(await cabinet.signed_in(), DOCTOR)
    assert isinstance(await cabinet.reception.recipient(transaction, parse_address(COLLEAGUE)), Accept)
    stranger = await cabinet.reception.recipient(transaction, parse_address("qui@ailleurs.example"))
    assert rule(stranger) is Rule.ESPACE_CONFIANCE_RECIPIENT


async def test_the_forty_first_recipient_spoils_the_message(cabinet: Cabinet) -> None:
    cabinet.reception.adopt(Charter(frozenset({PATIENTS}), max_recipients=1), 1_000_000, 1_000_000)
    transaction = await cabinet.open(cabinet.colleague, COLLEAGUE)
    assert isinstance(await cabinet.reception.recipient(transaction, parse_address(DOCTOR)), Accept)
    assert isinstance(await cabinet.reception.recipient(transaction, parse_address(DOCTOR)), Accept)
    assert rule(await cabinet.reception.recipient(transaction, parse_address(SECRETARY))) is Rule.RECIPIENTS_TOO_MANY
    assert rule(cabinet.reception.begin_data(transaction)) is Rule.RECIPIENTS_TOO_MANY_MESSAGE


async def test_what_is_remembered_of_a_mailbox_is_forgotten_when_it_changes(cabinet: Cabinet) -> None:
    async def asked() -> object:
        transaction = await cabinet.open(cabinet.colleague, COLLEAGUE)
        return await cabinet.reception.recipient(transaction, parse_address(DOCTOR))

    assert isinstance(await asked(), Accept)
    bal = await cabinet.store.read(find_bal, DOCTOR)
    assert bal is not None
    await cabinet.store.write(set_state, bal.id, BalState.CLOSED)
    assert rule(await asked()) is Rule.RECIPIENT_CLOSED
    await cabinet.store.write(set_state, bal.id, BalState.ACTIVE)
    await cabinet.store.write(set_quota, bal.id, 0)
    assert rule(await asked()) is Rule.RECIPIENT_FULL
    await cabinet.store.write(set_quota, bal.id, None)
    assert isinstance(await asked(), Accept)


async def test_a_patient_is_told_nothing_before_a_professional_wrote(cabinet: Cabinet) -> None:
    patient = await cabinet.signed_in(PATIENT)
    transaction = await cabinet.open(patient, PATIENT)
    for address in (DOCTOR, f"personne@{CABINET}"):
        verdict = await cabinet.reception.recipient(transaction, parse_address(address))
        assert rule(verdict) is Rule.EXCHANGE_NOT_OPENED


async def test_a_patients_address_is_never_in_a_trace(cabinet: Cabinet) -> None:
    patient = await cabinet.signed_in(PATIENT)
    assert PATIENT[:15] not in patient.name
    assert patient.name.startswith("ins:")


async def test_a_watched_session_hears_of_a_suspension_and_of_nothing_else(cabinet: Cabinet) -> None:
    doctor = await cabinet.signed_in()
    assert isinstance(doctor, Caller)
    closed = asyncio.Event()
    stop = cabinet.reception.watch(doctor, closed.set)
    assert doctor.holder is not None
    await cabinet.store.write(set_quota, doctor.holder.bal_id, 10)
    assert await cabinet.accounts.may_stay(doctor.holder)
    assert not closed.is_set()
    await cabinet.store.write(suspend, parse_address(DOCTOR), "essai", "operateur")
    await closed.wait()
    stop()
    assert cabinet.reception.watch(cabinet.colleague, closed.set)() is None


async def test_a_professional_is_told_the_real_address_nearest_to_a_wrong_one(cabinet: Cabinet) -> None:
    names = ("jeanne.durand", "jean.durand", "jeanne.cachee")
    new = [NewBal(address=f"{name}@{CABINET}", type=BalType.PER, liste_rouge=name == "jeanne.cachee") for name in names]
    cabinet.store.write_now(create_bals, new)

    async def answered(caller: Caller, sender: str, wrong: str) -> str:
        transaction = await cabinet.open(caller, sender)
        verdict = await cabinet.reception.recipient(transaction, parse_address(f"{wrong}@{CABINET}"))
        assert rule(verdict) is Rule.RECIPIENT_UNKNOWN
        return str(reply_for(verdict))

    plain = str(REPLIES[Rule.RECIPIENT_UNKNOWN])
    doctor = await cabinet.signed_in()
    assert (
        await answered(doctor, DOCTOR, "jeanne.durnad") == f"{plain} : jeanne.durand@{CABINET}, jean.durand@{CABINET}"
    )
    assert await answered(doctor, DOCTOR, "jeanne.cache") == plain
    assert await answered(doctor, DOCTOR, "zoe") == plain
    assert await answered(cabinet.colleague, COLLEAGUE, "jeanne.durnad") == plain, "strangers are told nothing"


async def test_a_closed_mailbox_of_somebody_who_left_names_the_new_one(cabinet: Cabinet) -> None:
    rpps = "1000000001" + next(key for key in "0123456789" if luhn_holds("1000000001" + key))
    new = [NewBal(address=f"{name}@{CABINET}", type=BalType.PER, rpps=rpps) for name in ("old", "own")]
    old, own = cabinet.store.write_now(create_bals, new)
    cabinet.store.write_now(set_state, old, BalState.CLOSED, "départ")

    def known(tx: Tx) -> None:
        annuaire.begin(tx, "test")
        lines = [Line(1, "o", "new@hopital.mssante.fr", "PER", f"8{rpps}", b"", "new")]
        annuaire.stage(tx, "test", lines, [], [])
        annuaire.flip(tx, "test", whole=True, source="test", cursor="", counts=annuaire.counted(tx.conn))

    cabinet.store.write_now(known)
    doctor = await cabinet.signed_in()

    async def answered(caller: Caller, sender: str) -> str:
        verdict = await cabinet.reception.recipient(await cabinet.open(caller, sender), parse_address(f"old@{CABINET}"))
        assert rule(verdict) is Rule.RECIPIENT_CLOSED
        return str(reply_for(verdict))

    plain = str(REPLIES[Rule.RECIPIENT_CLOSED])
    assert await answered(doctor, DOCTOR) == f"{plain} : own@{CABINET}, new@hopital.mssante.fr"
    assert await answered(cabinet.colleague, COLLEAGUE) == plain
    cabinet.store.write_now(set_state, own, BalState.SUSPENDED, "congés")
    assert await answered(doctor, DOCTOR) == f"{plain} : new@hopital.mssante.fr"
