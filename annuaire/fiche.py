"""One line of the annuaire: a bal, and who or what it belongs to there.

What must always hold: values only, frozen, as published but for outer spaces. A bal has as many fiches as its holder
has activities (facts 2.4), so an address alone does not name a fiche. A bal in liste rouge has none.
"""

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from annuaire.words import words_of
from mssante.domain.address import Address
from mssante.domain.identifiers import Adeli, Finess, IdentifierError, Rpps, Siret

First = TypeVar("First", Rpps, Finess)
Second = TypeVar("Second", Adeli, Siret)

TYPES: Final = frozenset({"PER", "ORG", "APP", "CAB"})
"""TRE_R257-TypeBAL. The extraction has published PER and ORG only so far (facts 2.4)."""


class Personne(msgspec.Struct, frozen=True, array_like=True):
    """The professional who holds a bal."""

    kind: str
    """Type d'identifiant PP: ``8`` RPPS, ``0`` ADELI."""
    number: str
    civilite: str
    nom: str
    prenom: str

    @property
    def identifier(self) -> Rpps | Adeli | None:
        """The identifier as a value, key unchecked; None when its kind or its form is another one. The number may be
        in the national form (``8`` + RPPS)."""
        return _identifier(Rpps, Adeli, self.kind, self.number)


class Profession(msgspec.Struct, frozen=True, array_like=True):
    """What the holder does: code and label of category, profession and savoir-faire (speciality)."""

    categorie: str = ""
    categorie_libelle: str = ""
    code: str = ""
    libelle: str = ""
    savoir_faire: str = ""
    savoir_faire_libelle: str = ""


class Structure(msgspec.Struct, frozen=True, array_like=True):
    """Where a bal belongs: a hospital, a practice, a pharmacy."""

    kind: str
    """Type d'identifiant structure: ``1`` FINESS, ``3`` SIRET, others seen."""
    number: str
    raison_sociale: str = ""
    enseigne: str = ""
    adresse: tuple[str, ...] = ()
    """The lines of its postal address, without the empty ones."""
    code_postal: str = ""
    departement: str = ""
    pays: str = ""

    @property
    def identifier(self) -> Finess | Siret | None:
        """The identifier as a value, key unchecked; None when its kind or its form is another one."""
        return _identifier(Finess, Siret, self.kind, self.number)


def _identifier(first: type[First], second: type[Second], kind: str, number: str) -> First | Second | None:
    try:
        if kind == first.prefix:
            return first.parse(number, checked=False)
        return second.parse(number, checked=False) if kind == second.prefix else None
    except IdentifierError:
        return None


class Fiche(msgspec.Struct, frozen=True, array_like=True):
    """One published line."""

    type_bal: str
    """One of `TYPES`."""
    address: Address
    personne: Personne | None
    profession: Profession
    structure: Structure | None
    service: str = ""
    """Service de rattachement."""
    dematerialisation: bool = False
    """« Zéro papier »: the holder no longer wants paper copies."""

    @property
    def holder(self) -> str:
        """The national identifier of the person (``8`` + RPPS, ``0`` + ADELI), or "" when there is none."""
        identifier = self.personne.identifier if self.personne else None
        return identifier.national if identifier else ""

    @property
    def name(self) -> tuple[str, str]:
        """(nom, prenom) of the holder, or (raison sociale, service) of the structure: what lists are sorted by."""
        if self.personne:
            return self.personne.nom, self.personne.prenom
        return (self.structure.raison_sociale, self.service) if self.structure else ("", self.service)

    def words(self) -> list[str]:
        """The words by which it is found, each once: what it shows, on the five axes (facts 2.7.5), and its address."""
        profession = self.profession
        parts = [str(self.address), self.service, profession.libelle, profession.savoir_faire_libelle]
        if self.personne:
            names = self.personne.nom, self.personne.prenom
            # People write LE GOFF and Legoff, Jean-Marc and Jeanmarc.
            parts += [self.personne.number, *names, *("".join(words_of(name)) for name in names if not name.isalpha())]
        if self.structure:
            structure = self.structure
            parts += [structure.number, structure.raison_sociale, structure.enseigne, *structure.adresse]
            parts += [structure.code_postal, structure.departement]
        return list(dict.fromkeys(words_of(*parts)))


def merged(fiches: Iterable[Fiche]) -> list[Fiche]:
    """Without the lines of somebody under the ADELI who stands there under the RPPS too, at the same address: the RPPS
    takes the place of the ADELI (facts 6), and sources show both for a while."""
    fiches = list(fiches)
    under_rpps = {(fiche.address, _person(fiche)) for fiche in fiches if fiche.holder.startswith("8")}
    return [
        fiche
        for fiche in fiches
        if not fiche.holder.startswith("0") or (fiche.address, _person(fiche)) not in under_rpps
    ]


def _person(fiche: Fiche) -> str:
    return " ".join(words_of(*fiche.name))
