"""What the reading of the annuaire hands to the copy of it: values only.

What must always hold: a line is known by its digest: the same words from the same origin give the same digest on every
machine.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Line(NamedTuple):
    """One fiche as the copy keeps it. ``record``: the fiche, encoded by who reads; ``holder``: the national identifier
    of a person, or ""; ``words``: by which it is found, folded, a space between two, each once."""

    digest: int
    origin: str
    address: str
    type_bal: str
    holder: str
    record: bytes
    words: str


@dataclass(frozen=True, slots=True)
class Fault:
    """An entry, or a line, that was left out of the copy, and why."""

    place: str
    problem: str
