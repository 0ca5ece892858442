"""The INS matricule: a citizen's national health identifier, and the local part of his address.

What must always hold: an `Ins` has a right syntax and a right key; it never shows itself in a log, a traceback or a
message by accident (``repr`` and ``str`` hide it: name `Ins.matricule` to have it); nothing is derived from it for
display (facts 5).
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

# Sex 1 and 2, and 3, 4, 7, 8 of temporary numbers; month 01-12 or 20-99 when unknown; Corsica in the département
# (facts 5 and annex A, PATIENT_RE). [0-9], because \d means every script's digits.
_MATRICULE: Final = re.compile(
    r"[1-478][0-9]{2}(?:0[1-9]|1[0-2]|[2-9][0-9])(?:[0-9]{2}|2[AB])[0-9]{6}(?:0[1-9]|[1-8][0-9]|9[0-7])"
)
_KEYED: Final = re.compile(r"[0-9]{5}(?:[0-9]{2}|2[AB])[0-9]{6}")
_CORSICA: Final = {"2A": "19", "2B": "18"}


class InsError(ValueError):
    """Not an INS matricule. ``cause`` says whether its form or its key is at fault; the number is never in it."""

    def __init__(self, cause: Literal["syntax", "key"]) -> None:
        super().__init__("malformed INS matricule" if cause == "syntax" else "wrong key of the INS matricule")
        self.cause: Final = cause


@dataclass(frozen=True, slots=True, repr=False)
class Ins:
    """A matricule of 15 characters, 13 and the key, ``2A``/``2B`` in upper case. Made by `parse_ins`."""

    matricule: str

    def __repr__(self) -> str:
        return "Ins(...)"


def ins_key(matricule13: str) -> int:
    """The key 1..97 of the 13 characters: ``97 - N mod 97``, where ``2A`` counts as 19 and ``2B`` as 18 in the
    département field, positions 6-7, and nowhere else (facts 5). Raises `InsError` (syntax)."""
    if not _KEYED.fullmatch(matricule13):
        raise InsError("syntax")
    departement = matricule13[5:7]
    return 97 - int(matricule13[:5] + _CORSICA.get(departement, departement) + matricule13[7:]) % 97


def parse_ins(text: str) -> Ins:
    """The matricule written in ``text``: 15 characters, Corsican ``a``/``b`` in either case. Raises InsError."""
    matricule = text.upper()
    if not _MATRICULE.fullmatch(matricule):
        raise InsError("syntax")
    if ins_key(matricule[:13]) != int(matricule[13:]):
        raise InsError("key")
    return Ins(matricule)


def ins_of_local(local: str) -> Ins | None:
    """The matricule that the local part of a patient domain's address carries (ECO.2.2.6, facts 4.5.1).

    None when it does not begin with a digit: such an address (``reponse.automatique-test``) belongs to the patient
    domain's operator, not to a citizen. Raises `InsError`.
    """
    return parse_ins(local) if local[:1].isdigit() else None
