"""A fictive extraction: nobody in it exists; RPPS and FINESS numbers are made with their key."""

from annuaire.extraction import COLUMNS
from tests.support.practitioners import with_luhn as with_luhn

HEADER = "|".join(COLUMNS)


JEANNE_RPPS = with_luhn("1000000001")
PAUL_RPPS = with_luhn("1000000002")
HOPITAL_FINESS = with_luhn("75000000")


def row(**values: str) -> str:
    """One line, by name of column; the columns not named are empty."""
    assert set(values) <= set(NAMES)
    return "|".join(values.get(name, "") for name in NAMES)


NAMES = (
    "type", "adresse", "type_pp", "id_pp", "national_pp", "type_structure", "id_structure", "service", "civilite",
    "nom", "prenom", "categorie", "categorie_libelle", "profession", "profession_libelle", "savoir_faire",
    "savoir_faire_libelle", "demat", "raison_sociale", "enseigne", "l2", "l3", "l4_numero", "l4_complement", "l4_type",
    "l4_libelle", "l5", "l6", "code_postal", "departement", "pays",
)  # fmt: skip

JEANNE = row(
    type="PER",
    adresse="Jeanne.EXEMPLE@medecin.example.mssante.fr",
    type_pp="8",
    id_pp=JEANNE_RPPS,
    national_pp="8" + JEANNE_RPPS,
    civilite="DR",
    nom="EXEMPLE",
    prenom="JEANNE",
    categorie="C",
    categorie_libelle="Civil",
    profession="10",
    profession_libelle="Médecin",
    savoir_faire="SM26",
    savoir_faire_libelle="Qualifié en Médecine Générale (SM)",
    demat="O",
)
PAUL = row(
    type="PER",
    adresse="paul.exemple@hopital.example.mssante.fr",
    type_pp="8",
    id_pp=PAUL_RPPS,
    national_pp="8" + PAUL_RPPS,
    type_structure="1",
    id_structure=HOPITAL_FINESS,
    service="CARDIOLOGIE",
    nom="EXEMPLE-GRÜN",
    prenom="PAUL",
    profession="10",
    profession_libelle="Médecin",
    demat="N",
    raison_sociale='HOPITAL "EXEMPLE" DE L\'HAŸ',
    l2="BATIMENT B",
    l4_numero="12",
    l4_complement="BIS",
    l4_type="RUE",
    l4_libelle="DES ŒILLETS",
    l6="75000 VILLE-EXEMPLE",
    code_postal="75000",
    departement="Paris",
    pays="France",
)
SECRETARIAT = row(
    type="ORG",
    adresse="secretariat.cardio@hopital.example.mssante.fr",
    type_structure="1",
    id_structure=HOPITAL_FINESS,
    service="CARDIOLOGIE",
    demat="O",
    raison_sociale="HOPITAL EXEMPLE",
)

LINES = (HEADER, JEANNE, PAUL, SECRETARIAT)
