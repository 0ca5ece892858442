"""Who gets a notice: RFC 3461 as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.domain.dsn import Notify, NotifyError, Outcome, format_notify, notice_due, parse_notify

N, S, F, D = Notify.NEVER, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        #                    none   never  S      F      D      S,F    all
        (Outcome.DELIVERED, (False, False, True, False, False, True, True)),
        (Outcome.RELAYED, (False, False, True, False, False, True, True)),
        (Outcome.HANDED_ON, (False, False, False, False, False, False, False)),
        (Outcome.DELAYED, (True, False, False, False, True, False, True)),
        (Outcome.FAILED, (True, False, False, True, False, True, True)),
    ],
)
def test_table(outcome: Outcome, told: tuple[bool, ...]) -> None:
    asked = (None, N, S, F, D, S | F, S | F | D)
    assert tuple(notice_due(outcome, notify, null_sender=False) for notify in asked) == told


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("notify", [None, S | F | D])
def test_the_null_sender_is_never_written_to(outcome: Outcome, notify: Notify | None) -> None:
    assert not notice_due(outcome, notify, null_sender=True)


@pytest.mark.parametrize(
    ("text", "notify"),
    [("NEVER", N), ("never", N), ("SUCCESS", S), ("failure,delay", F | D), ("DELAY,SUCCESS,FAILURE", S | F | D)],
)
def test_parse(text: str, notify: Notify) -> None:
    assert parse_notify(text) == notify


@pytest.mark.parametrize(
    "text", ["", ",", "NEVER,FAILURE", "FAILURE,NEVER", "SUCCESS,SUCCESS", "SUCCESS,", " SUCCESS", "ALWAYS", "NAME"]
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(NotifyError):
        parse_notify(text)


@given(st.sets(st.sampled_from([S, F, D])))
def test_format_is_read_again(members: set[Notify]) -> None:
    notify = N
    for member in members:
        notify |= member
    assert parse_notify(format_notify(notify)) == notify
