"""A mailbox that nobody opens: what is due when, and that nothing is ever done without its warnings."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.domain.bal import BalState
from mssante.domain.clock import month_bounds_us, month_of, months_later
from mssante.domain.life_cycle import (
    DAY_US,
    Patience,
    Step,
    Unused,
    step_due,
)

ACTIVE, CLOSING, SUSPENDED = BalState.ACTIVE, BalState.CLOSING, BalState.SUSPENDED


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("unused", "now", "step"),
    [
        (Unused(ACTIVE, at("2026-01-15")), "2026-11-14", None),
        (Unused(ACTIVE, at("2026-01-15")), "2026-11-15", Step.WARN),
        (Unused(ACTIVE, at("2026-01-15"), 1, at("2026-11-15")), "2026-12-14", None),
        (Unused(ACTIVE, at("2026-01-15"), 1, at("2026-11-15")), "2026-12-15", Step.WARN),
        (Unused(ACTIVE, at("2026-01-15"), 2, at("2026-12-15")), "2027-01-15", Step.BEGIN_CLOSING),
        (Unused(CLOSING, at("2026-01-15"), 3, at("2027-01-15")), "2027-02-13", None),
        (Unused(CLOSING, at("2026-01-15"), 3, at("2027-01-15")), "2027-02-14", Step.CLOSE),
        # unused for years when the operator begins to count: every warning is given, a month apart
        (Unused(ACTIVE, at("2020-01-15"), 1, at("2026-11-15")), "2026-12-14", None),
        (Unused(ACTIVE, at("2020-01-15"), 2, at("2026-12-15")), "2027-01-14", None),
        # visited since the last warning
        (Unused(ACTIVE, at("2026-12-01"), 1, at("2026-11-15")), "2026-12-02", Step.FORGET),
        (Unused(CLOSING, at("2027-01-20"), 3, at("2027-01-15")), "2027-01-21", Step.FORGET),
        # opened again by hand: an objection
        (Unused(ACTIVE, at("2026-01-15"), 3, at("2027-01-15")), "2027-01-16", Step.FORGET),
        # suspended, or closing for another reason: left alone
        (Unused(SUSPENDED, at("2020-01-15")), "2026-11-14", None),
        (Unused(CLOSING, at("2020-01-15")), "2026-11-14", None),
    ],
)
def test_what_is_due(unused: Unused, now: str, step: Step | None) -> None:
    assert step_due(unused, at(now), Patience()) is step


def test_switched_off_nothing_is_due_and_warnings_are_forgotten() -> None:
    off = Patience(closing_months=0)
    assert step_due(Unused(ACTIVE, 0), at("2026-01-01"), off) is None
    assert step_due(Unused(ACTIVE, 0, 2, 1), at("2026-01-01"), off) is Step.FORGET


@given(st.integers(0, 4_000), st.lists(st.integers(1, 200), max_size=40))
def test_closed_only_after_every_warning_and_the_time_to_object(unused_days: int, gaps: list[int]) -> None:
    """Whatever the days on which the operator's machine happens to look."""
    now = at("2020-01-01") + unused_days * DAY_US
    unused, steps = Unused(ACTIVE, at("2020-01-01")), list[tuple[Step, int]]()
    for gap in gaps:
        now += gap * DAY_US
        step = step_due(unused, now, Patience())
        if step is None:
            continue
        steps.append((step, now))
        state = CLOSING if step is Step.BEGIN_CLOSING else unused.state
        unused = Unused(state, unused.since_us, unused.warnings + 1, now)
        if step is Step.CLOSE:
            break
    told = [Step.WARN, Step.WARN, Step.BEGIN_CLOSING, Step.CLOSE]
    assert [step for step, _ in steps] == told[: len(steps)]
    times = [when for _, when in steps]
    assert all(later - earlier >= 28 * DAY_US for earlier, later in pairwise(times))


def test_months_end_on_their_last_day() -> None:
    assert months_later(at("2026-01-31T10:00"), 1) == at("2026-02-28T10:00")
    assert months_later(at("2026-03-31"), -13) == at("2025-02-28")
    assert months_later(at("2024-01-31") + 5, 1) == at("2024-02-29") + 5


def test_a_month_has_its_bounds() -> None:
    assert month_bounds_us(month_of(at("2026-12-24"))) == (at("2026-12-01"), at("2027-01-01"))
