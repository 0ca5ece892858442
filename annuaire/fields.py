"""A fiche made of named texts: what sources with names of their own (LDAP attributes, FHIR elements) have in common.

What must always hold: identifiers are read in their raw and in their national form; what cannot be read is told in
words for the status, and makes no fiche.
"""

from collections.abc import Mapping
from typing import Final

from annuaire.fiche import TYPES, Fiche, Personne, Profession, Structure
from mssante.domain.address import AddressError, parse_address
from mssante.domain.identifiers import Adeli, Finess, IdentifierError, Rpps, Siret

_PERSONNE: Final = ("civilite", "nom", "prenom")
_PROFESSION: Final = (
    "categorie",
    "categorie_libelle",
    "profession",
    "profession_libelle",
    "savoir_faire",
    "savoir_faire_libelle",
)
_STRUCTURE: Final = ("raison_sociale", "enseigne", "adresse", "ville", "code_postal", "departement", "pays")
_OTHERS: Final = ("address", "type", "id_pp", "id_structure", "service", "dematerialisation", "liste_rouge", "modified")
FIELDS: Final = frozenset((*_OTHERS, *_PERSONNE, *_PROFESSION, *_STRUCTURE))
YES: Final = frozenset(("o", "oui", "true", "1", "y"))


def fiche_of(address: str, value: Mapping[str, str]) -> Fiche:
    """The fiche of this address and these texts, by field. Raises ValueError in words for the operator."""
    type_bal = value.get("type", "").upper() or ("PER" if value.get("id_pp") else "ORG")
    if type_bal not in TYPES:
        raise ValueError(f"unknown type of bal {type_bal[:20]!r}")
    try:
        parsed = parse_address(address)
    except AddressError as error:
        raise ValueError(f"address of the bal: {error}") from error
    civilite, nom, prenom = (value.get(field, "") for field in _PERSONNE)
    kind, number = _identified((Rpps, Adeli), value.get("id_pp", ""))
    raison_sociale, enseigne, *lines, postal, departement, pays = (value.get(field, "") for field in _STRUCTURE)
    of_what, finess = _identified((Finess, Siret), value.get("id_structure", ""))
    structure = Structure(
        of_what, finess, raison_sociale, enseigne, tuple(filter(None, lines)), postal, departement, pays
    )
    return Fiche(
        type_bal=type_bal,
        address=parsed,
        personne=Personne(kind, number, civilite, nom, prenom) if number or nom else None,
        profession=Profession(*(value.get(field, "") for field in _PROFESSION)),
        structure=structure if structure != Structure("", "") else None,
        service=value.get("service", ""),
        dematerialisation=value.get("dematerialisation", "").lower() in YES,
    )


def _identified(forms: tuple[type[Rpps] | type[Adeli] | type[Finess] | type[Siret], ...], text: str) -> tuple[str, str]:
    """(kind, number); ("", text) for an identifier of another kind."""
    for form in forms:
        try:
            return form.prefix, form.parse(text, checked=False).number
        except IdentifierError:
            continue
    return "", text
