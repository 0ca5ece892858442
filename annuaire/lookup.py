"""Search among fiches by what people know: a name, a profession, a place, an establishment (facts 2.7.5).

What must always hold: accents, case and punctuation never hide a fiche; every word asked for must be found; a fiche
is found through what it shows and nothing else.
"""

import heapq
import re
import unicodedata
from collections.abc import Iterable, Iterator

from annuaire.fiche import Fiche
from mssante.domain.address import Address
from mssante.domain.identifiers import Adeli, Rpps

_WORD = re.compile(r"[^\W_]+")
# What decomposition leaves whole.
_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l"})


def words_of(text: str) -> list[str]:
    """The words of ``text`` without accents, case or punctuation: ``L'Haÿ-les-Roses`` → l, hay, les, roses."""
    decomposed = unicodedata.normalize("NFKD", text).casefold().translate(_LIGATURES)
    return _WORD.findall("".join(character for character in decomposed if not unicodedata.combining(character)))


def search(fiches: Iterable[Fiche], query: str, *, limit: int = 50) -> list[Fiche]:
    """The ``limit`` best fiches in which every word of ``query`` begins a word; whole words before beginnings, then
    by name and address. None for a query without a word."""
    asked = set(words_of(query))
    if not asked:
        return []
    return [fiche for _, _, fiche in heapq.nsmallest(limit, _ranked(fiches, asked), key=lambda entry: entry[:2])]


def of_holder(fiches: Iterable[Fiche], identifier: Rpps | Adeli) -> list[Fiche]:
    """Every fiche of one professional."""
    return [fiche for fiche in fiches if fiche.personne is not None and fiche.personne.identifier == identifier]


def of_address(fiches: Iterable[Fiche], address: Address) -> list[Fiche]:
    """Every fiche of one bal."""
    return [fiche for fiche in fiches if fiche.address == address]


def _ranked(fiches: Iterable[Fiche], asked: set[str]) -> Iterator[tuple[int, tuple[str, ...], Fiche]]:
    for fiche in fiches:
        shown = set(words_of(_shown(fiche)))
        begun = asked - shown
        if all(any(word.startswith(start) for word in shown) for start in begun):
            yield len(begun), (*_name(fiche), str(fiche.address)), fiche


def _name(fiche: Fiche) -> tuple[str, str]:
    if fiche.personne:
        return fiche.personne.nom, fiche.personne.prenom
    return (fiche.structure.raison_sociale, fiche.service) if fiche.structure else ("", fiche.service)


def _shown(fiche: Fiche) -> str:
    parts = [str(fiche.address), fiche.service, fiche.profession.libelle, fiche.profession.savoir_faire_libelle]
    if fiche.personne:
        parts += [fiche.personne.number, fiche.personne.nom, fiche.personne.prenom]
    if fiche.structure:
        structure = fiche.structure
        parts += [structure.number, structure.raison_sociale, structure.enseigne, *structure.adresse]
        parts += [structure.code_postal, structure.departement]
    return " ".join(parts)
