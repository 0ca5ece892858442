"""Back-off and expiry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.domain.retry import LIFETIME, SCHEDULE, backoff, next_attempt_us

SECOND = 1_000_000


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 10), (2, 20), (3, 40), (4, 40), (1000, 40)])
def test_follows_the_schedule_then_repeats_its_last_step(attempt: int, seconds: int) -> None:
    assert backoff(attempt, (10, 20, 40)) == seconds


def test_own_schedule_slows_down() -> None:
    assert list(SCHEDULE) == sorted(SCHEDULE)
    assert backoff(1) == 60
    assert SCHEDULE[-1] >= 30 * 60  # RFC 5321 §4.5.4.1
    assert LIFETIME >= 4 * 24 * 3600


@pytest.mark.parametrize(("attempt", "schedule"), [(0, (10,)), (-1, (10,)), (1, ())])
def test_nonsense(attempt: int, schedule: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        backoff(attempt, schedule)


def test_next_attempt() -> None:
    assert next_attempt_us(0, 1, 100 * SECOND, (60, 300)) == 60 * SECOND
    assert next_attempt_us(0, 2, 100 * SECOND, (60, 300)) == 100 * SECOND, "one last time at the expiry"
    assert next_attempt_us(100 * SECOND, 3, 100 * SECOND, (60, 300)) is None


@given(st.integers(0, 2**50), st.integers(0, 2**50))
def test_a_message_is_tried_again_in_time_or_comes_back(start_us: int, lifetime_us: int) -> None:
    expires_us = start_us + lifetime_us
    now_us: int | None = start_us
    attempt = 0
    while now_us is not None and attempt < 20:
        attempt += 1
        following = next_attempt_us(now_us, attempt, expires_us)
        assert following is None or now_us < following <= expires_us
        now_us = following
