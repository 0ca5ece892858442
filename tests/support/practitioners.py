"""Fictive practitioners of a fictive country, as many as wanted and always the same: names are made of syllables,
RPPS and FINESS numbers with their key. As in a real one a few family names are frequent, and one in ten works in
PARIS."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from mssante.domain.identifiers import luhn_holds

_STARTS = ("BA", "CHAU", "DE", "FOU", "GRI", "LE", "MA", "PRO", "RO", "SAU", "TER", "VI", "WA", "JOU", "NI", "KER")
_MIDDLES = ("LAN", "RI", "VO", "NAR", "MIN", "TE", "LOU", "PE", "BRA", "GNO", "CE", "DI", "SAL", "QUE")
_ENDS = ("RD", "ET", "EAU", "IN", "ON", "IER", "AULT", "EZ", "OT", "Y", "ELLE", "AC", "OUX", "É")
_FREQUENT = ("MARTIN", "BERNARD", "THOMAS", "PETIT", "ROBERT", "RICHARD", "DURAND", "DUBOIS", "MOREAU", "LAURENT")
_FIRST = (
    "Anne",
    "Jean-Marc",
    "Zoé",
    "Paul",
    "Marie-Hélène",
    "Luc",
    "Inès",
    "Karim",
    "Chloé",
    "François",
    "Léa",
    "Yann",
)
_PROFESSIONS = (
    ("10", "Médecin", "SM54", "Médecine Générale (SM)"),
    ("10", "Médecin", "SM04", "Cardiologie et maladies vasculaires (SM)"),
    ("10", "Médecin", "SM40", "Pédiatrie (SM)"),
    ("60", "Infirmier", "", ""),
    ("70", "Masseur-Kinésithérapeute", "", ""),
    ("21", "Pharmacien", "", ""),
    ("40", "Chirurgien-Dentiste", "", ""),
    ("50", "Sage-Femme", "", ""),
)


def with_luhn(body: str) -> str:
    """``body`` and its key."""
    return next(body + key for key in "0123456789" if luhn_holds(body + key))


class Practitioner(NamedTuple):
    """One bal, its holder (none of an ORG) and where he works."""

    type: str
    address: str
    rpps: str
    nom: str
    prenom: str
    profession: tuple[str, str, str, str]
    finess: str
    raison_sociale: str
    voie: str
    code_postal: str
    ville: str

    def row(self) -> str:
        """Its line of the extraction."""
        code, libelle, savoir, savoir_libelle = self.profession if self.rpps else ("", "", "", "")
        person = ["8", self.rpps, "8" + self.rpps] if self.rpps else ["", "", ""]
        values = [
            *(self.type, self.address, *person, "1", self.finess, "", "DR" if code == "10" else ""),
            *(self.nom, self.prenom, "C" if code else "", "Civil" if code else "", code, libelle, savoir),
            *(savoir_libelle, "O", self.raison_sociale, "", "", "", "12", "", "RUE", self.voie, ""),
            *(f"{self.code_postal} {self.ville}", self.code_postal, "", "France"),
        ]
        assert len(values) == 31
        return "|".join(values)


def practitioners(count: int, seed: int = 7) -> Iterator[Practitioner]:
    """``count`` of them; nine in ten are people."""
    chance = random.Random(seed)
    towns = [(f"{chance.randrange(1, 96):02d}{chance.randrange(1000):03d}", _name(chance)) for _ in range(6000)]
    towns += [(f"750{number:02d}", "PARIS") for number in range(1, 21) for _ in range(33)]
    kinds = ("CENTRE HOSPITALIER", "CLINIQUE", "CABINET")
    places = [
        (with_luhn(f"{number:08d}"), f"{chance.choice(kinds)} {_name(chance)}", _name(chance), *chance.choice(towns))
        for number in range(20_000)
    ]
    for number in range(count):
        nom, prenom = _name(chance), chance.choice(_FIRST)
        if chance.random() < 0.05:
            nom = chance.choice(_FREQUENT)
        place = places[chance.randrange(number % len(places) + 1)]
        if number % 10 == 9:
            address = f"secretariat.{number}@{place[0]}.mssante.example"
            yield Practitioner("ORG", address, "", "", "", _PROFESSIONS[0], *place)
            continue
        profession = chance.choice(_PROFESSIONS)
        address = f"{prenom}.{nom}.{number}@medecin.mssante.example".lower().replace("é", "e").replace("ç", "c")
        address = address.replace("è", "e")
        rpps = with_luhn(f"{1_000_000_000 + number}")
        yield Practitioner("PER", address, rpps, nom, prenom, profession, *place)


def _name(chance: random.Random) -> str:
    middle = "".join(chance.choice(_MIDDLES) for _ in range(chance.choice((0, 1, 1, 2))))
    return chance.choice(_STARTS) + middle + chance.choice(_ENDS)
