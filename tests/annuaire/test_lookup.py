"""Search by words, whatever their accents."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annuaire.extraction import read_extraction
from annuaire.fiche import Fiche
from annuaire.lookup import of_address, of_holder, search, words_of
from mssante.domain.address import parse_address
from mssante.domain.identifiers import Adeli, Rpps
from tests.annuaire.fictive import HOPITAL_FINESS, LINES, PAUL_RPPS


@pytest.fixture
def fiches(tmp_path: Path) -> list[Fiche]:
    path = tmp_path / "extraction.txt"
    path.write_text("\n".join(LINES))
    return list(read_extraction(path))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("jeanne", ["jeanne.exemple"]),
        ("Jeanné EXEMPLE", ["jeanne.exemple"]),
        ("exemple", ["jeanne.exemple", "paul.exemple", "secretariat.cardio"]),
        ("grun", ["paul.exemple"]),
        ("médecin", ["jeanne.exemple", "paul.exemple"]),
        ("medecin cardiologie", ["paul.exemple"]),
        ("cardio", ["secretariat.cardio", "paul.exemple"]),  # the whole word first
        ("oeillets 75000", ["paul.exemple"]),
        ("l'hay", ["paul.exemple"]),
        (HOPITAL_FINESS, ["paul.exemple", "secretariat.cardio"]),
        (PAUL_RPPS, ["paul.exemple"]),
        ("paul.exemple@hopital.example.mssante.fr", ["paul.exemple"]),
        ("jeanne cardiologie", []),
        ("xemple", []),
        ("", []),
        (" - ", []),
    ],
)
def test_search(fiches: list[Fiche], query: str, found: list[str]) -> None:
    assert [fiche.address.local for fiche in search(fiches, query)] == found


def test_limit_keeps_the_best(fiches: list[Fiche]) -> None:
    assert [fiche.address.local for fiche in search(fiches, "cardio", limit=1)] == ["secretariat.cardio"]


def test_of_holder_and_of_address(fiches: list[Fiche]) -> None:
    (paul,) = of_holder(fiches, Rpps(PAUL_RPPS))
    assert paul.address.local == "paul.exemple"
    assert of_holder(fiches, Adeli("123456789")) == []
    assert of_address(fiches, parse_address("PAUL.exemple@hopital.example.mssante.fr")) == [paul]
    assert of_address(fiches, parse_address("paul@hopital.example.mssante.fr")) == []


def test_words() -> None:
    assert words_of("L'Haÿ-les-Roses, ŒUVRE_ 2e ß") == ["l", "hay", "les", "roses", "oeuvre", "2e", "ss"]


@given(st.text(st.characters()))
def test_folding_is_stable(text: str) -> None:
    words = words_of(text)
    assert words_of(" ".join(words)) == words
    assert words_of(" ".join(words).upper()) == words_of(" ".join(words).upper().lower())
