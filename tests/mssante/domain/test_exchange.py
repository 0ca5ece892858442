"""FIN, and the exchange as a state machine driven by whole histories."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssante.domain.exchange import ExchangeState, after_professional_message, is_fin, patient_may_write


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
        ("[F I N]", False, False),
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


# A history is what the professional sent: True is a message with FIN.
@given(st.lists(st.booleans()))
def test_the_last_word_of_the_professional_decides(history: list[bool]) -> None:
    state: ExchangeState | None = None
    for fin in history:
        state = after_professional_message(state, fin)
    assert patient_may_write(state) is (history != [] and not history[-1])


def test_opened_ended_reopened() -> None:
    assert not patient_may_write(None)
    opened = after_professional_message(None, fin=False)
    assert opened is ExchangeState.OPEN
    ended = after_professional_message(opened, fin=True)
    assert ended is ExchangeState.ENDED
    assert not patient_may_write(ended)
    assert after_professional_message(ended, fin=False) is ExchangeState.OPEN
    # A first message that already says FIN is read and not answered.
    assert after_professional_message(None, fin=True) is ExchangeState.ENDED
