"""The life of a bal."""

import pytest

from mssante.domain.bal import BalState, BalType, holder_faults, may_become, may_open

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


@pytest.mark.parametrize(
    ("kind", "holder", "before", "fault"),
    [
        (BalType.PER, {"rpps": "1", "adeli": "2"}, {}, ""),
        (BalType.PER, {"adeli": "2", "rpps": "1"}, {"adeli": "2"}, ""),
        (BalType.PER, {"rpps": "3"}, {"rpps": "1"}, "rpps: is 1 and stays so"),
        (BalType.PER, {"adeli": "3"}, {"adeli": "2"}, "adeli: is 2 and stays so"),
        (BalType.PER, {"responsable": "Dr Noir"}, {}, "responsable: a person answers"),
        (BalType.ORG, {"rpps": "3", "responsable": "Dr Noir"}, {"rpps": "1", "responsable": "Dr Blanc"}, ""),
        (BalType.ORG, {"finess": "3"}, {"finess": "1"}, "finess: is 1 and stays so"),
        (BalType.APP, {"siret": "3"}, {"siret": "1"}, "siret: is 1 and stays so"),
        (BalType.APP, {"adeli": "2"}, {}, "adeli: a structure has none"),
    ],
)
def test_what_a_bal_is_known_by(
    kind: BalType, holder: dict[str, str | None], before: dict[str, str | None], fault: str
) -> None:
    faults = list(holder_faults(kind, holder, before))
    assert len(faults) == bool(fault) and all(one.startswith(fault) for one in faults)


@pytest.mark.parametrize("kind", BalType)
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(("lent", "lends"), [((), False), (("read",), False), (("read", "write"), True)])
def test_who_opens_a_bal_by_his_identity(kind: BalType, own: bool, lent: tuple[str, ...], lends: bool) -> None:
    opens = may_open(kind, own=own, lent=lent, needed="write")
    assert opens is (kind in (BalType.PER, BalType.ORG) and (own or lends))
