"""The patients that an XML document names: a CDA document, or the METADATA.XML of an IHE_XDM.

What must always hold: no entity is fetched or expanded beyond what expat allows; of a CDA no more than its header is
read; length and depth are bounds. Another document than these two has nobody's name here, and no fault either.

HL7 CDA R2 (recordTarget), IHE ITI TF-3 §4.2 (metadata), facts 5 (OIDs of the INS).
"""

from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

from mssante.domain.documents import Document, Fault
from mssante.domain.normal_forms import normalized
from mssante.mime.archive import Budget, Unreadable

MOST_XML: Final = 2_097_152
"""Octets read of one XML document."""
MOST_PROLOG: Final = 65_536
"""Octets before the element that tells what the document is."""
MOST_DEPTH: Final = 200
"""Elements within each other."""

INS_OIDS: Final = frozenset(f"1.2.250.1.213.1.4.{last}" for last in (8, 9, 10, 11))
"""Authorities of the INS: NIR, NIA, and those of tests and demonstrations (facts 5)."""
_PATIENT_IDS: Final = frozenset(
    {
        "58a6f841-87b3-4a3e-92fd-a8ffeff98427",  # XDSDocumentEntry.patientId
        "6b5aea1a-874d-4603-a4bc-96a0a7b38446",  # XDSSubmissionSet.patientId
        "f64ffdf0-4b97-4e06-b79f-a52b38ec2f8a",  # XDSFolder.patientId
    }
)
_CDA: Final = "ClinicalDocument"
_CLINICAL: Final = frozenset(
    {_CDA, "SubmitObjectsRequest", "ProvideAndRegisterDocumentSetRequest", "RegistryObjectList"}
)


def is_xml(beginning: bytes) -> bool:
    """What an XML reader takes without being told: UTF-8, UTF-16 or UTF-32, with or without a mark, after any empty
    lines."""
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    said = beginning.lstrip(b"\xef\xbb\xbf \t\r\n\0")
    return said.startswith(b"<") or (not said and bool(beginning))


def documents_of_xml(octets: Iterator[bytes], name: str, budget: Budget, *, expected: bool) -> list[Document]:
    """The document, when it is one of those that name a patient, or when one is `expected` under this name. Raises
    Unreadable when that cannot be told; XML that is broken before it tells is nobody's."""
    reader = _Reader()
    fault = None
    try:
        reader.read(octets, budget)
    except Unreadable as unreadable:
        fault = unreadable.fault
    if expected and not reader.clinical and fault is None:
        fault = Fault.NO_SUBMISSION
    if not reader.clinical and not expected:
        if fault in (None, Fault.XML):
            return []
        raise Unreadable(fault)
    return [Document(name, frozenset(reader.matricules), fault)]


class _Reader:
    """Reads the patient's identifiers of a CDA header or of a submission set, and stops there."""

    def __init__(self) -> None:
        self.clinical = False
        self.matricules: set[str] = set()
        self._path: list[str] = []
        self._doctype = self._begun = False

    def read(self, octets: Iterator[bytes], budget: Budget) -> None:
        """Raises Unreadable."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartDoctypeDeclHandler = self._take_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda _: self._path.pop()
        total, piece = 0, b""
        try:
            for piece in octets:
                budget.spend(len(piece))
                total += len(piece)
                if total > MOST_XML:
                    raise Unreadable(Fault.XML_BOUNDS)
                parser.Parse(piece)
                if total > MOST_PROLOG and not self._begun:
                    self.clinical = True  # nobody knows
                    raise Unreadable(Fault.XML_BOUNDS)
            parser.Parse(b"", True)
        except _Enough:
            return
        except (expat.ExpatError, ValueError, LookupError):  # the latter two of encodings that are not read
            # Broken, or of an encoding that is not read, before the element that tells: its name tells then.
            said = piece.replace(b"\0", b"")
            self.clinical = self.clinical or any(name.encode() in said for name in _CLINICAL)
            raise Unreadable(Fault.XML) from None

    def _take_doctype(self, *_: object) -> None:
        self._doctype = True

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        path = self._path
        path.append(local)
        if len(path) > MOST_DEPTH:
            raise Unreadable(Fault.XML_BOUNDS)
        if len(path) == 1:
            self._begun = True
            self.clinical = local in _CLINICAL
            if not self.clinical:
                raise _Enough
            if self._doctype:  # an entity could stand for a matricule
                raise Unreadable(Fault.DOCTYPE)
        elif path[0] == _CDA:
            if len(path) == 2 and local == "component":
                raise _Enough
            if path[1:] == ["recordTarget", "patientRole", "id"]:
                self._identifier(attributes.get("extension", ""), attributes.get("root", ""))
        elif local == "ExternalIdentifier" and _bare(attributes.get("identificationScheme", "")) in _PATIENT_IDS:
            # HL7 v2 CX: matricule^^^&OID&ISO^NH
            value, _, _, authority, *_ = (*attributes.get("value", "").split("^"), "", "", "", "")
            for oid in authority.split("&"):
                self._identifier(value, oid)

    def _identifier(self, value: str, oid: str) -> None:
        matricule = "".join(filter(str.isalnum, normalized("NFKC", value))).upper()
        if _bare(oid) in INS_OIDS and matricule:
            self.matricules.add(matricule)


class _Enough(Exception):
    """What comes further on in the XML is not looked at."""


def _bare(identifier: str) -> str:
    """An OID or UUID without ``urn:oid:`` or ``urn:uuid:``, spaces and case."""
    return "".join(identifier.split()).lower().removeprefix("urn:").removeprefix("oid:").removeprefix("uuid:")
