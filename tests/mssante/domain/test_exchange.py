"""FIN, and the exchange as a state machine driven by whole histories."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.domain.exchange import (
    Ending,
    ExchangeState,
    Relation,
    after_professional_message,
    ending,
    is_fin,
    patient_may_write,
)

NOTHING, THREAD, EXCHANGE = Ending
OPEN, ENDED = ExchangeState


@pytest.mark.parametrize(
    ("subject", "tolerant", "exact"),
    [
        ("[FIN]", True, True),
        ("  [FIN]\t", True, True),
        ("[fin]", True, False),
        ("[ fin ]", True, False),
        ("[\u00a0FIN\u00a0]", True, False),
        ("Re: [FIN]", True, False),
        ("Vos résultats [FIN]", True, False),
        ("[[FIN]]", True, False),
        *((f"[F{unseen}IN{unseen}]", True, False) for unseen in "\u200b\u200c\u200d\ufeff\u00ad\u2060"),
        ("\uff3bFIN\uff3d", True, False),
        ("Re: \uff3b\u200b\uff26\uff29\uff2e \uff3d", True, False),
        ("Bonjour\n[FIN]", True, True),
        ("[FIN]\nBonjour", True, True),
        ("Bonjour\nRe: [fin]", True, False),
        ("Bonjour\nEnfin", False, False),
        ("", False, False),
        ("FIN", False, False),
        ("(FIN)", False, False),
        ("[FINI]", False, False),
        ("[F I N]", True, False),
        ("[F.I.N]", False, False),
        ("[F\u00a0I\u00a0N]", True, False),
        ("Enfin", False, False),
        ("[FIN", False, False),
        ("XDM/1.0/DDM+Compte rendu", False, False),
    ],
)
def test_subject(subject: str, tolerant: bool, exact: bool) -> None:
    assert is_fin(subject, "") is tolerant
    assert is_fin(subject, "", exact=True) is exact


@pytest.mark.parametrize(
    ("value", "ends"),
    [
        ("FIN", True),
        (" fin ", True),
        ("", False),
        ("FINI", False),
        ("[FIN]", False),
        ("O", False),
        ("O\nFIN", True),
        ("FIN\nO", True),
        ("F\u200bIN", True),
        ("O\nO", False),
        ("O FIN", False),
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_header(value: str, ends: bool, exact: bool) -> None:
    assert is_fin("Vos résultats", value, exact) is ends


@given(before=st.text(st.characters()), after=st.text(st.characters()), spaces=st.text(" \t\u00a0", max_size=3))
def test_a_subject_that_contains_it_ends_the_exchange(before: str, after: str, spaces: str) -> None:
    assert is_fin(f"{before}[{spaces}FiN{spaces}]{after}", "")


@given(st.text(st.characters()))
def test_exact_is_never_laxer(subject: str) -> None:
    assert is_fin(subject, "") or not is_fin(subject, "", exact=True)


@pytest.mark.parametrize(
    ("subject", "header", "scope", "ends"),
    [
        ("Bonjour", "FIN", EXCHANGE, EXCHANGE),
        ("Bonjour", "FIN", THREAD, THREAD),
        ("[FIN]", "", THREAD, EXCHANGE),
        ("[FIN]", "FIN", THREAD, EXCHANGE),
        ("Bonjour", "", THREAD, NOTHING),
    ],
)
def test_the_header_ends_what_the_operator_sets(subject: str, header: str, scope: Ending, ends: Ending) -> None:
    assert ending(subject, header, header_ends=scope) is ends


@given(st.lists(st.sampled_from([NOTHING, EXCHANGE])))
def test_the_last_word_of_the_professional_decides(history: list[Ending]) -> None:
    state: ExchangeState | None = None
    for ends in history:
        state = after_professional_message(state, ends)
    assert patient_may_write(Relation(state)) is (history != [] and history[-1] is NOTHING)


@given(st.lists(st.sampled_from(Ending)))
def test_a_thread_that_ends_leaves_the_others_as_they_were(history: list[Ending]) -> None:
    state: ExchangeState | None = None
    for ends in history:
        state = after_professional_message(state, ends)
    words = [ends for ends in history if ends is not THREAD]
    assert state is (None if not history else OPEN if words and words[-1] is NOTHING else ENDED)


@pytest.mark.parametrize(
    ("state", "introduced", "may"),
    [
        (None, False, False),
        (None, True, True),
        (OPEN, False, True),
        (OPEN, True, True),
        # Who ended his own exchange is not written to through a colleague's.
        (ENDED, False, False),
        (ENDED, True, False),
    ],
)
def test_who_may_be_written_to(state: ExchangeState | None, introduced: bool, may: bool) -> None:
    assert patient_may_write(Relation(state, introduced)) is may
