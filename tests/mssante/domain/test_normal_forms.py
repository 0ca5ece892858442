"""Normal forms: those of the standard library, at a cost that a stranger's text does not choose."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap.sort import casemap
from mssante.domain.documents import Document
from mssante.domain.exchange import is_fin
from mssante.domain.normal_forms import MOST_MARKS, normalized
from mssante.mime.text import fold, plain

HOSTILE = ["\u0301" * 200_000 + "\u0316" * 200_000, "\uff9e\u0316\u0f73" * 130_000, "\u0344\u0327\u05b0" * 130_000]
"""Each would take minutes."""


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=MOST_MARKS))
def test_texts_are_normalized_as_the_library_does(text: str) -> None:
    for form in ("NFC", "NFKC", "NFKD"):
        assert normalized(form, text) == unicodedata.normalize(form, text)


def test_what_is_no_mark_stays() -> None:
    text = "— « » … " * 3 + "—" * 100 + "e\u0301" * 100 + "한국어日本語" * 20
    assert normalized("NFC", text) == unicodedata.normalize("NFC", text)
    assert normalized("NFC", "e" + "\u0301" * 200 + "x") == "é" + "\u0301" * (MOST_MARKS - 1) + "x"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_read_in_bounded_time(text: str) -> None:
    assert not is_fin(f"[{text}", "")
    assert is_fin(f"{text}[FIN]", "")
    for reader in (fold, plain, casemap):
        assert len(reader(text)) < len(text)
    assert Document(text).shown == ""
