"""The regulator's use-cases: what closing does besides, whom it tells, and what it refuses to do twice."""

import pytest

from mssante.domain.address import parse_address
from mssante.domain.bal import BalState
from mssante.services import bals, regulateur
from mssante.services.arrival import Stored
from mssante.store import NotFound, StoreError, journal
from mssante.store.accounts import delegate, find_bal
from mssante.store.queue import QueueState, hold, listing
from mssante.store.regulateur import Kind, exceptions, report, signalements
from mssante.store.verify import verify
from tests.mssante.services.conftest import COLLEAGUE, DOCTOR, PATIENT, SECRETARY, Cabinet

ADDRESS = parse_address(DOCTOR)
LETTER = b"From: <%b>\r\nMessage-ID: <m@x>\r\n\r\nBonjour.\r\n"


async def close(cabinet: Cabinet, actor: str = "regulateur:a", *, two: bool = False, motif: str = "abus") -> object:
    contents, prepared = regulateur.prepare_closing(cabinet.store, ADDRESS, motif, cabinet.clock.now_us())

    def closing(tx):  # type: ignore[no-untyped-def]
        return regulateur.close(tx, ADDRESS, motif, actor, prepared, two_persons=two)

    return await cabinet.store.write(closing, contents=contents)


async def reopen(cabinet: Cabinet, actor: str = "regulateur:a") -> int | None:
    contents, prepared = regulateur.prepare_reopening(cabinet.store, ADDRESS, cabinet.clock.now_us())
    return await cabinet.store.write(regulateur.reopen, ADDRESS, "recours", actor, prepared, contents=contents)


def states(cabinet: Cabinet) -> list[tuple[str, QueueState]]:
    return [(item.sender, item.state) for item in cabinet.store.read_now(listing)]


def acts_on(cabinet: Cabinet) -> list[journal.JournalEntry]:
    return cabinet.store.read_now(lambda conn: journal.entries(conn, object=DOCTOR))


def state(cabinet: Cabinet) -> BalState:
    bal = cabinet.store.read_now(find_bal, DOCTOR)
    assert bal is not None
    return bal.state


async def test_its_mail_stops_in_every_name_and_goes_on_again(cabinet: Cabinet) -> None:
    secretary = cabinet.store.read_now(find_bal, SECRETARY)
    assert secretary is not None
    await cabinet.store.write(delegate, secretary.id, DOCTOR, "send")
    for caller, sender in (
        (await cabinet.signed_in(), DOCTOR),
        (await cabinet.signed_in(), SECRETARY),
        (await cabinet.signed_in(SECRETARY), SECRETARY),
    ):
        assert isinstance(await cabinet.send(caller, sender, [COLLEAGUE], LETTER % sender.encode()), Stored)
    assert await close(cabinet) == regulateur.Closing(True, stopped=2, told=1)
    held, queued = QueueState.HELD, QueueState.QUEUED
    assert states(cabinet) == [(DOCTOR, held), (SECRETARY, held), (SECRETARY, queued)]
    assert await reopen(cabinet) == 2
    assert {state for _, state in states(cabinet)} == {queued}
    assert [b"Motif : abus" in letter for letter in cabinet.inbox(DOCTOR)] == [True, False]


async def test_what_the_operator_held_stays_held(cabinet: Cabinet) -> None:
    assert isinstance(
        await cabinet.send(await cabinet.signed_in(), DOCTOR, [COLLEAGUE], LETTER % DOCTOR.encode()), Stored
    )
    await cabinet.store.write(hold, [1])
    assert await close(cabinet) == regulateur.Closing(True, stopped=0, told=1)
    assert await reopen(cabinet) == 0
    assert states(cabinet) == [(DOCTOR, QueueState.HELD)]


async def test_those_who_reported_are_told_and_do_not_learn_of_each_other(cabinet: Cabinet) -> None:
    for reporter in (SECRETARY, PATIENT, COLLEAGUE):
        await cabinet.store.write(report, DOCTOR, Kind.JUNK, reporter, "message 1")
    assert await close(cabinet) == regulateur.Closing(True, stopped=0, told=3)
    assert cabinet.store.read_now(signalements) == []
    for reporter in (SECRETARY, PATIENT):
        [letter] = cabinet.inbox(reporter)
        assert b"undisclosed-recipients" in letter
        assert all(other.encode() not in letter for other in (SECRETARY, PATIENT, COLLEAGUE))
    found = verify(cabinet.store)
    assert (found.faults, found.orphans) == ([], 0)


async def test_two_persons(cabinet: Cabinet) -> None:
    assert await close(cabinet, "regulateur:a", two=True) == regulateur.Closing(False)
    with pytest.raises(bals.NotAllowed, match="another person"):
        await close(cabinet, "regulateur:a", two=True)
    assert state(cabinet) is BalState.ACTIVE
    cabinet.clock.advance(7 * 86_400 + 1)
    assert await close(cabinet, "regulateur:b", two=True) == regulateur.Closing(False)
    assert await close(cabinet, "regulateur:a", two=True) == regulateur.Closing(True, told=1)
    await reopen(cabinet)
    assert await close(cabinet, "regulateur:c", two=True) == regulateur.Closing(False)
    acts = [(entry.action, entry.actor) for entry in acts_on(cabinet)]
    assert [act for act in acts if act[1].startswith("regulateur:")] == [
        ("regulateur.proposed", "regulateur:a"),
        ("regulateur.proposed", "regulateur:b"),
        ("bal.closed", "regulateur:a"),
        ("bal.reopened", "regulateur:a"),
        ("regulateur.proposed", "regulateur:c"),
    ]


@pytest.mark.parametrize("who", ["regulateur:a", "regulateur:b"])
async def test_a_proposal_is_withdrawn_and_cannot_be_seconded_any_more(cabinet: Cabinet, who: str) -> None:
    await close(cabinet, "regulateur:a", two=True)
    assert await reopen(cabinet, who) is None
    assert (state(cabinet), cabinet.inbox(DOCTOR)) == (BalState.ACTIVE, [])
    assert acts_on(cabinet)[-1].action == "regulateur.withdrawn"
    with pytest.raises(bals.NotAllowed, match="not closed by the regulator"):
        await reopen(cabinet, who)
    assert await close(cabinet, "regulateur:b", two=True) == regulateur.Closing(False)


async def test_a_proposal_that_has_run_out_is_not_withdrawn(cabinet: Cabinet) -> None:
    await close(cabinet, two=True)
    cabinet.clock.advance(7 * 86_400 + 1)
    with pytest.raises(bals.NotAllowed, match="not closed by the regulator"):
        await reopen(cabinet)


@pytest.mark.parametrize("two", [False, True])
async def test_refused_and_nothing_done(cabinet: Cabinet, two: bool) -> None:
    with pytest.raises(bals.NotAllowed, match="motif"):
        await close(cabinet, motif=" ", two=two)
    await close(cabinet)
    with pytest.raises(bals.NotAllowed, match="closed"):
        await close(cabinet, two=two)
    assert len(cabinet.inbox(DOCTOR)) == 1


async def test_exceptions_need_an_account_a_motif_and_an_end(cabinet: Cabinet) -> None:
    later = cabinet.clock.now_us() + 1_000_000
    for address, motif, until_us, error in (
        (parse_address("nobody@cabinet.mssante.example"), "x", later, NotFound),
        (ADDRESS, "", later, bals.NotAllowed),
        (ADDRESS, "x", cabinet.clock.now_us(), bals.NotAllowed),
    ):
        with pytest.raises(error):
            await cabinet.store.write(regulateur.allow, address, 100, until_us, motif, "regulateur:a")
    assert cabinet.store.read_now(exceptions) == []
    await cabinet.store.write(regulateur.allow, ADDRESS, 100, later, "alerte", "regulateur:a")
    await cabinet.store.write(regulateur.end_exception, ADDRESS, "finie", "regulateur:a")
    with pytest.raises(StoreError, match="no exception"):
        await cabinet.store.write(regulateur.end_exception, ADDRESS, "finie", "regulateur:a")
    actions = [entry.action for entry in acts_on(cabinet)]
    assert actions == ["regulateur.exception", "regulateur.exception_ended"]
