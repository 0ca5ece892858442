"""The wrong-patient guard: a patient receives no document of another (ECO.2.1.1, ECO.2.1.2, facts 3.2, 4.1).

What must always hold: pure; a document that names its patient by an INS goes to that patient alone; one that names
nobody by an INS is no proof of a mistake; a matricule is never part of a reason, nor of what is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mssante.domain.normal_forms import normalized
from mssante.domain.verdict import ACCEPT, Refuse, Rule, Verdict

MOST_SHOWN: Final = 120
"""Characters of a document's name in an answer."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document that names its patient, or should."""

    name: str
    """The attachment's, and the place within when it is an archive. As its sender wrote it."""
    matricules: frozenset[str] = frozenset()
    """Upper-case INS matricules; none when it names its patient otherwise, or nobody."""
    fault: str = ""
    """Why its patient cannot be told, in English, for the log."""

    @property
    def shown(self) -> str:
        """The name as an SMTP answer may carry it: printable ASCII, the end kept of one that is too long."""
        plain = normalized("NFKD", self.name).encode("ascii", "ignore").decode()
        return "".join(character if character.isprintable() else "?" for character in plain)[-MOST_SHOWN:]


def documents_of_recipients(documents: Sequence[Document], patients: Sequence[frozenset[str]]) -> Verdict:
    """``document.other_patient``, ``document.unreadable``. DATA. Source: ECO.2.1.1, ECO.2.1.2, facts 5.

    ``patients``: the matricules, present and earlier, of each patient among the recipients.
    """
    for document in documents:
        if not all(_is_one_of(matricule, known) for matricule in document.matricules for known in patients):
            return Refuse(Rule.DOCUMENT_OTHER_PATIENT, "names a patient that a recipient is not", document.shown)
    for document in documents:
        if document.fault:
            return Refuse(Rule.DOCUMENT_UNREADABLE, document.fault, document.shown)
    return ACCEPT


def _is_one_of(matricule: str, known: frozenset[str]) -> bool:
    """Some programs leave the key of two digits out."""
    return matricule in known or (len(matricule) == 13 and any(one[:13] == matricule for one in known))
