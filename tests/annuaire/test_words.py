"""Words folded, and words one slip apart."""

import pytest

from annuaire.words import is_near, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("L'Haÿ-les-Roses", ("l", "hay", "les", "roses")),
        ("CŒUR", ("coeur",)),
        ("Ærøskøbing", ("aeroskobing",)),
        ("ﬁnesse ½", ("finesse", "1", "2")),
        ("Straße", ("strasse",)),
        ("  _-_ ", ()),
        ("e\u0301te\u0301", ("ete",)),
    ],
)
def test_accents_case_and_punctuation_do_not_count(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("martin", "martin", True),
        ("martin", "martn", True),
        ("martin", "marttin", True),
        ("martin", "mertin", True),
        ("martin", "matrin", True),
        ("martin", "amrtin", True),
        ("martin", "martni", True),
        ("martin", "matrni", False),
        ("martin", "mart", False),
        ("martin", "mxrtxn", False),
        ("aab", "baa", False),
        ("", "a", True),
    ],
)
def test_one_slip_is_near(one: str, other: str, near: bool) -> None:
    assert is_near(one, other) is near
    assert is_near(other, one) is near
