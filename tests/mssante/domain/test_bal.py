"""The life of a bal."""

import pytest

from mssante.domain.bal import BalState, may_become

D, A, S, G, C = BalState.DRAFT, BalState.ACTIVE, BalState.SUSPENDED, BalState.CLOSING, BalState.CLOSED


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (D, {A, C}),
        (A, {S, G, C}),
        (S, {A, G, C}),
        (G, {A, C}),
        (C, {A}),  # the regulator reopens
    ],
)
def test_life(before: BalState, after: set[BalState]) -> None:
    assert {state for state in BalState if may_become(before, state)} == after


@pytest.mark.parametrize("state", BalState)
def test_every_bal_can_be_closed_and_nobody_goes_back_to_draft(state: BalState) -> None:
    assert may_become(state, C) is (state is not C)
    assert not may_become(state, D)
