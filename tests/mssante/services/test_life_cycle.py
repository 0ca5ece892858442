"""A year in the life of mailboxes that nobody opens, on a real store."""

from collections import Counter

from mssante.domain.address import parse_address
from mssante.domain.bal import BalState, BalType
from mssante.domain.clock import DAY_US, month_of
from mssante.domain.life_cycle import Patience, Step
from mssante.services import bals
from mssante.services.life_cycle import Visits, look_after_unused
from mssante.store import StoreError, StoreUnavailable
from mssante.store.accounts import find_bal
from mssante.store.journal import entries
from mssante.store.visits import month_figures
from tests.mssante.services.conftest import DOCTOR, PATIENT, SECRETARY, Cabinet

TYPES = (BalType.PER, BalType.ORG)


async def _look(cabinet: Cabinet) -> Counter[Step]:
    return await look_after_unused(cabinet.store, cabinet.clock, Patience(), TYPES)


def _days(cabinet: Cabinet, days: int) -> None:
    cabinet.clock.advance(days * DAY_US / 1_000_000)


def _state(cabinet: Cabinet, address: str) -> BalState:
    bal = cabinet.store.read_now(find_bal, address)
    assert bal is not None
    return bal.state


async def test_warned_twice_closing_closed_and_all_of_it_journalled(cabinet: Cabinet) -> None:
    taken = []
    for _ in range(60):
        _days(cabinet, 7)
        taken += [step for step, count in (await _look(cabinet)).items() for _ in range(count)]
    assert Counter(taken) == {Step.WARN: 4, Step.BEGIN_CLOSING: 2, Step.CLOSE: 2}
    assert _state(cabinet, DOCTOR) is BalState.CLOSED
    assert _state(cabinet, PATIENT) is BalState.ACTIVE
    actions = [entry.action for entry in cabinet.store.read_now(lambda conn: entries(conn, object=DOCTOR))]
    assert actions == ["bal.warned", "bal.warned", "bal.closing", "bal.closed"]
    letters = cabinet.inbox(DOCTOR)
    assert [b"inutilis=C3=A9e" in one or b"Bo=?" in one or b"=?utf-8?" in one for one in letters] == [True] * 3
    assert all(b"Return-Path: <>\r\n" in one and b"Auto-Submitted: auto-generated" in one for one in letters)


async def test_a_visit_begins_the_count_anew(cabinet: Cabinet) -> None:
    visits = Visits()
    bal = cabinet.store.read_now(find_bal, DOCTOR)
    assert bal is not None
    _days(cabinet, 310)
    assert (await _look(cabinet))[Step.WARN] == 2
    visits.note(bal.id, cabinet.clock.now_us())
    await visits.flush(cabinet.store)
    _days(cabinet, 1)
    assert await _look(cabinet) == {Step.FORGET: 1}
    _days(cabinet, 40)
    assert await _look(cabinet) == {Step.WARN: 1}  # the secretary's office, which nobody opened
    _days(cabinet, 270)
    assert (await _look(cabinet))[Step.WARN] == 1


async def test_signing_in_while_closing_is_an_objection(cabinet: Cabinet) -> None:
    while _state(cabinet, DOCTOR) is not BalState.CLOSING:
        _days(cabinet, 10)
        await _look(cabinet)
    assert cabinet.store.read_now(find_bal, SECRETARY) is not None
    await cabinet.signed_in(DOCTOR)
    await cabinet.accounts.visits.flush(cabinet.store)
    _days(cabinet, 1)
    assert (await _look(cabinet))[Step.FORGET] == 1
    assert _state(cabinet, DOCTOR) is BalState.ACTIVE
    assert _state(cabinet, SECRETARY) is BalState.CLOSING


async def test_reopened_by_the_operator_counts_as_an_objection(cabinet: Cabinet) -> None:
    while _state(cabinet, DOCTOR) is not BalState.CLOSING:
        _days(cabinet, 10)
        await _look(cabinet)
    cabinet.store.write_now(bals.reopen, parse_address(DOCTOR), "le titulaire s'oppose", "operateur:test")
    for _ in range(29):
        _days(cabinet, 10)
        assert (await _look(cabinet)).keys() <= {Step.FORGET, Step.CLOSE}
    assert _state(cabinet, DOCTOR) is BalState.ACTIVE


async def test_looking_twice_takes_no_step_twice(cabinet: Cabinet) -> None:
    _days(cabinet, 310)
    assert (await _look(cabinet))[Step.WARN] == 2
    assert await _look(cabinet) == {}


async def test_visits_are_summed_by_month(cabinet: Cabinet) -> None:
    visits = cabinet.accounts.visits
    for address in (DOCTOR, DOCTOR, SECRETARY):
        await cabinet.signed_in(address)
    await visits.flush(cabinet.store)
    await cabinet.signed_in(DOCTOR)
    await visits.flush(cabinet.store)
    now_us = cabinet.clock.now_us()
    figures = cabinet.store.read_now(month_figures, month_of(now_us), now_us + 1)
    assert (figures[BalType.PER].bals, figures[BalType.PER].active, figures[BalType.PER].sessions) == (1, 1, 3)
    assert (figures[BalType.ORG].bals, figures[BalType.ORG].active, figures[BalType.ORG].sessions) == (1, 1, 1)
    assert (figures[BalType.APP].bals, figures[BalType.PAT].active) == (0, 0)


async def test_what_could_not_be_written_is_written_later(cabinet: Cabinet) -> None:
    class Away:
        async def write(self, *_: object, **__: object) -> None:
            raise StoreUnavailable("away")

    visits = Visits()
    bal = cabinet.store.read_now(find_bal, DOCTOR)
    assert bal is not None
    visits.note(bal.id, 1)
    try:
        await visits.flush(Away())  # type: ignore[arg-type]
    except StoreError:
        visits.note(bal.id, cabinet.clock.now_us())
    await visits.flush(cabinet.store)
    now_us = cabinet.clock.now_us()
    assert cabinet.store.read_now(month_figures, month_of(now_us), now_us + 1)[BalType.PER].sessions == 2
