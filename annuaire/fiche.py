"""One line of the annuaire: a bal, and who or what it belongs to there.

What must always hold: values only, frozen, as published but for outer spaces. A bal has as many fiches as its holder
has activities (facts 2.4), so an address alone does not name a fiche. A bal in liste rouge has none.
"""

from dataclasses import dataclass
from typing import Final

from mssante.domain.address import Address
from mssante.domain.identifiers import Adeli, Finess, IdentifierError, Rpps, Siret

TYPES: Final = frozenset({"PER", "ORG", "APP", "CAB"})
"""TRE_R257-TypeBAL. The extraction has published PER and ORG only so far (facts 2.4)."""


@dataclass(frozen=True, slots=True)
class Personne:
    """The professional who holds a bal."""

    kind: str
    """Type d'identifiant PP: ``8`` RPPS, ``0`` ADELI."""
    number: str
    civilite: str
    nom: str
    prenom: str

    @property
    def identifier(self) -> Rpps | Adeli | None:
        """The identifier as a value, key unchecked; None when its kind or its form is another one."""
        try:
            match self.kind:
                case "8":
                    return Rpps.parse(self.number, checked=False)
                case "0":
                    return Adeli.parse(self.number)
                case _:
                    return None
        except IdentifierError:
            return None


@dataclass(frozen=True, slots=True)
class Profession:
    """What the holder does: code and label of category, profession and savoir-faire (speciality)."""

    categorie: str = ""
    categorie_libelle: str = ""
    code: str = ""
    libelle: str = ""
    savoir_faire: str = ""
    savoir_faire_libelle: str = ""


@dataclass(frozen=True, slots=True)
class Structure:
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
        try:
            match self.kind:
                case "1":
                    return Finess.parse(self.number, checked=False)
                case "3":
                    return Siret.parse(self.number, checked=False)
                case _:
                    return None
        except IdentifierError:
            return None


@dataclass(frozen=True, slots=True)
class Fiche:
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
