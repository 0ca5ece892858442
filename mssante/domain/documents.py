"""The wrong-patient guard: a patient receives no document of another (ECO.2.1.1, ECO.2.1.2, facts 3.2, 4.1).

What must always hold: pure; a document that names its patient by an INS goes to that patient alone; one that names
nobody by an INS is no proof of a mistake, one that cannot be read is no proof of the contrary; a matricule is never
part of a reason, nor of what is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mssante.domain.normal_forms import normalized
from mssante.domain.verdict import ACCEPT, Refuse, Rule, Verdict

MOST_SHOWN: Final = 120
"""Characters of a document's name in an answer."""


class Fault(StrEnum):
    """Why the patient of a document cannot be told, for the log."""

    NO_DIRECTORY = "no end of the archive's directory"
    BOUNDS = "an archive's directory beyond bounds"
    BROKEN_DIRECTORY = "a broken directory of the archive"
    TWO_READINGS = "members that are not where the directory says, or not what"
    DECLARED = "members of more than a gigabyte"
    RATIO = "compressed more than 200 times"
    DEFLATE = "a content that does not inflate"
    CUT_SHORT = "a content that is cut short"
    TOO_MUCH = "too much to inflate or to read again"
    NESTED = "archives or messages nested too deep"
    ENCRYPTED = "an encrypted member"
    METHOD = "a member compressed by a method that is not read"
    KIND = "an archive of a kind that is not read"
    NO_METADATA = "an IHE_XDM without METADATA.XML"
    NO_SUBMISSION = "no submission set"
    DOCTYPE = "XML with a document type"
    XML = "XML: not well formed"
    XML_BOUNDS = "XML longer or deeper than is read"
    STRUCTURE = "parts that mail readers do not read alike"
    CUT = "more parts or headers than are read"

    @property
    def shown(self) -> str:
        """For the sender: French, ASCII."""
        return _SHOWN[self]


_BROKEN: Final = "archive endommagee"
_BEYOND: Final = "archive hors limites"
_SHOWN: Final[Mapping[Fault, str]] = {
    Fault.NO_DIRECTORY: _BROKEN,
    Fault.BOUNDS: _BEYOND,
    Fault.BROKEN_DIRECTORY: _BROKEN,
    Fault.TWO_READINGS: _BROKEN,
    Fault.DECLARED: _BEYOND,
    Fault.RATIO: _BEYOND,
    Fault.DEFLATE: _BROKEN,
    Fault.CUT_SHORT: _BROKEN,
    Fault.TOO_MUCH: "trop a decompresser ou a relire",
    Fault.NESTED: "trop de niveaux d'archives",
    Fault.ENCRYPTED: "archive chiffree",
    Fault.METHOD: "compression non lue, utilisez deflate",
    Fault.KIND: "archive d'un type non lu, utilisez zip",
    Fault.NO_METADATA: "METADATA.XML absent",
    Fault.NO_SUBMISSION: "METADATA.XML sans lot de documents",
    Fault.DOCTYPE: "XML avec DOCTYPE",
    Fault.XML: "XML mal forme",
    Fault.XML_BOUNDS: "XML hors limites",
    Fault.STRUCTURE: "structure MIME ambigue",
    Fault.CUT: "trop de parties",
}


@dataclass(frozen=True, slots=True)
class Document:
    """One document that names its patient, or should."""

    name: str
    """The attachment's, and the place within when it is an archive. As its sender wrote it."""
    matricules: frozenset[str] = frozenset()
    """Upper-case INS matricules; none when it names its patient otherwise, or nobody."""
    fault: Fault | None = None
    """Why its patient cannot be told."""

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
        if document.fault is not None:
            named = f"{document.shown} ({document.fault.shown})"
            return Refuse(Rule.DOCUMENT_UNREADABLE, document.fault, named)
    return ACCEPT


def _is_one_of(matricule: str, known: frozenset[str]) -> bool:
    """Some programs leave the key of two digits out."""
    return matricule in known or (len(matricule) == 13 and any(one[:13] == matricule for one in known))
