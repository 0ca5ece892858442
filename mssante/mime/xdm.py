"""Whose documents a message carries: the patients that its IHE_XDM archives and CDA documents name (ECO.2.1.2).

What must always hold:
- what is looked at is told by its octets, not by what the message calls it; nothing is extracted to disk;
- every size, number, ratio and depth below is a bound, and what passes one is said to be unreadable, not half read;
- XML with a document type is refused before anything of it is expanded; of a CDA no more than its header is read;
- a fault counts only where a patient is expected: in an archive that is an IHE_XDM and in a CDA document. Another zip
  or XML file that cannot be read is nobody's health document.

IHE ITI TF-1 §16 (XDM), TF-3 §4.2 (metadata), HL7 CDA R2 (recordTarget), facts 5 (OIDs of the INS).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from xml.parsers import expat

from mssante.domain.documents import Document
from mssante.mime.card import LEAF, Card, Part
from mssante.mime.content import parse_content_type, parse_disposition, parse_encoding
from mssante.mime.headers import decode_text, split_fields
from mssante.mime.part_reader import PIECE, Content, Read, content_of, pieces

MOST_MEMBERS: Final = 2_000
MOST_DIRECTORY: Final = 1_048_576
"""Octets of an archive's directory."""
MOST_XML: Final = 2_097_152
"""Octets read of one XML document."""
MOST_READ: Final = 16_777_216
"""Octets inflated for one message."""
MOST_DECLARED: Final = 1_073_741_824
"""Octets that the members of an archive declare together."""
MOST_RATIO: Final = 200
"""Octets inflated for one octet of the archive, beyond the first `PIECE`."""
MOST_DEPTH: Final = 200
"""Elements within each other."""
MOST_PART_HEADER: Final = 65_536

INS_OIDS: Final = frozenset(f"1.2.250.1.213.1.4.{last}" for last in (8, 9, 10, 11))
"""Authorities of the INS: NIR, NIA, and those of tests and demonstrations (facts 5)."""
_PATIENT_IDS: Final = frozenset(
    {
        "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427",  # XDSDocumentEntry.patientId
        "urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446",  # XDSSubmissionSet.patientId
        "urn:uuid:f64ffdf0-4b97-4e06-b79f-a52b38ec2f8a",  # XDSFolder.patientId
    }
)
_CDA: Final = "ClinicalDocument"
_SUBMISSIONS: Final = frozenset({"SubmitObjectsRequest", "ProvideAndRegisterDocumentSetRequest", "RegistryObjectList"})
_METADATA: Final = "METADATA.XML"
_ZIP: Final = b"PK\x03\x04"
_FIELDS: Final = frozenset({b"content-type", b"content-disposition", b"content-transfer-encoding"})
_END: Final = struct.Struct("<4s4H2LH")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")


class _Unreadable(Exception):
    """The message says why."""


class _Enough(Exception):
    """What comes further on in the XML is not looked at."""


class _Member(NamedTuple):
    name: str
    flags: int
    method: int
    compressed: int
    size: int
    offset: int


@dataclass(slots=True)
class _Budget:
    """What may still be inflated for this message."""

    left: int = MOST_READ

    def spend(self, octets: int) -> None:
        self.left -= octets
        if self.left < 0:
            raise _Unreadable(f"more than {MOST_READ} octets to inflate")


def documents(read: Read, card: Card) -> list[Document]:
    """The health documents among the parts of a message, of which `read` gives octets; in their order."""
    found: list[Document] = []
    budget = _Budget()
    for leaf in _leaves(card.root):
        header = read(leaf.header_start, min(leaf.body_start - leaf.header_start, MOST_PART_HEADER))
        fields = {name: values[0] for name, values in split_fields(header, _FIELDS).items()}
        encoding = parse_encoding(fields.get(b"content-transfer-encoding", b""))
        content = content_of(read, leaf.body_start, leaf.body_end, encoding)
        beginning, name = content.at(0, 256), _name(fields)
        # Programs that unpack look for the directory at the end: what stands before the first member does not matter.
        if beginning.startswith(_ZIP) or name.lower().endswith(".zip"):
            found += _of_archive(content, name, budget)
        elif _is_xml(beginning):
            found += _of_xml(pieces(content, 0, content.size), name, expected=False)
    return found


def _leaves(root: Part) -> Iterator[Part]:
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.kind == LEAF:
            yield part
        waiting += reversed(part.parts)


def _name(fields: dict[bytes, bytes]) -> str:
    disposition = parse_disposition(fields.get(b"content-disposition", b""))
    given = dict(disposition[1]) if disposition else {}
    typed = dict(parse_content_type(fields.get(b"content-type", b"")).parameters)
    name = given.get(b"filename") or typed.get(b"name") or given.get(b"filename*") or typed.get(b"name*") or b""
    return decode_text(name) or "sans nom"


def _is_xml(beginning: bytes) -> bool:
    # UTF-8 and UTF-16, with or without a mark: what an XML reader takes without being told, after any empty lines.
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    said = beginning.lstrip(b"\xef\xbb\xbf \t\r\n")
    return said.startswith((b"<", b"\0<")) or (not said and bool(beginning))


# --- XML


def _of_xml(octets: Iterator[bytes], name: str, *, expected: bool) -> list[Document]:
    """The document, when it is one of those that name a patient, or when one is `expected` under this name."""
    reader = _Reader()
    fault = ""
    try:
        reader.read(octets)
    except _Unreadable as unreadable:
        fault = str(unreadable)
    if not reader.clinical and not expected:
        return []
    if expected and not reader.clinical and not fault:
        fault = "no submission set"
    return [Document(name, frozenset(reader.matricules), fault)]


@dataclass(slots=True)
class _Reader:
    """Reads the patient's identifiers of a CDA header or of a submission set, and stops there."""

    root: str = ""
    matricules: set[str] = field(default_factory=set)
    path: list[str] = field(default_factory=list)

    @property
    def clinical(self) -> bool:
        return self.root == _CDA or self.root in _SUBMISSIONS

    def read(self, octets: Iterator[bytes]) -> None:
        """Raises _Unreadable."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda _: self.path.pop()
        total = 0
        try:
            for piece in octets:
                total += len(piece)
                if total > MOST_XML:
                    raise _Unreadable(f"XML longer than {MOST_XML} octets")
                parser.Parse(piece)
            parser.Parse(b"", True)
        except _Enough:
            return
        except expat.ExpatError as error:
            raise _Unreadable(f"XML: {expat.ErrorString(error.code)}") from None

    def _doctype(self, name: str, *_: object) -> None:
        self.root = self.root or name.rpartition(":")[2]
        raise _Unreadable("XML with a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        path = self.path
        path.append(local)
        if len(path) > MOST_DEPTH:
            raise _Unreadable(f"XML deeper than {MOST_DEPTH} elements")
        if len(path) == 1:
            self.root = local
            if not self.clinical:
                raise _Enough
        elif self.root == _CDA:
            if len(path) == 2 and local == "component":
                raise _Enough
            if path[1:] == ["recordTarget", "patientRole", "id"]:
                self._identifier(attributes.get("extension", ""), attributes.get("root", ""))
        elif local == "ExternalIdentifier" and attributes.get("identificationScheme", "").lower() in _PATIENT_IDS:
            # HL7 v2 CX: matricule^^^&OID&ISO^NH
            value, _, _, authority, *_ = (*attributes.get("value", "").split("^"), "", "", "", "")
            self._identifier(value, authority.split("&")[1] if "&" in authority else "")

    def _identifier(self, value: str, oid: str) -> None:
        if oid.strip() in INS_OIDS:
            self.matricules.add(value.strip().upper())


# --- archives


def _of_archive(content: Content, name: str, budget: _Budget) -> list[Document]:
    xdm = "xdm" in name.lower()
    found: list[Document] = []
    try:
        members = _members(content)
        xdm = xdm or any(_base(member) == _METADATA for member in members)
        if xdm:
            _check(members)
        for member in members:
            expected = _base(member) == _METADATA
            if expected or member.name.lower().endswith((".xml", ".cda")):
                found += _of_xml(_inflated(content, member, budget), f"{name}, {member.name}", expected=expected)
        if xdm and not any(_base(member) == _METADATA for member in members):
            raise _Unreadable(f"an IHE_XDM without {_METADATA}")
    except _Unreadable as unreadable:
        if xdm:
            found.append(Document(name, fault=str(unreadable)))
    return found


def _base(member: _Member) -> str:
    return member.name.replace("\\", "/").rpartition("/")[2].upper()


def _check(members: list[_Member]) -> None:
    """What no honest IHE_XDM holds. Raises _Unreadable."""
    if sum(member.size for member in members) > MOST_DECLARED:
        raise _Unreadable(f"members of more than {MOST_DECLARED} octets")
    for member in members:
        if member.size > PIECE + MOST_RATIO * member.compressed:
            raise _Unreadable(f"a member compressed more than {MOST_RATIO} times")
        if member.name.lower().endswith(".zip"):
            raise _Unreadable("an archive within the archive")


def _members(content: Content) -> list[_Member]:
    """The directory of a zip (APPNOTE.TXT §4.3.12, §4.3.16; no zip64: a message is far smaller). Raises _Unreadable."""
    tail_start = max(0, content.size - _END.size - 0xFFFF)
    tail = content.at(tail_start, content.size - tail_start)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < _END.size:
        raise _Unreadable("no end of the archive's directory")
    _, disk, first_disk, here, number, length, offset, _ = _END.unpack_from(tail, end)
    start = tail_start + end - length
    before = start - offset  # octets put before the archive
    if disk or first_disk or here != number or number > MOST_MEMBERS or length > MOST_DIRECTORY or before < 0:
        raise _Unreadable("an archive's directory beyond bounds")
    directory, position = content.at(start, length), 0
    members = []
    for _ in range(number):
        if len(directory) < position + _ENTRY.size or not directory.startswith(b"PK\x01\x02", position):
            raise _Unreadable("a broken directory of the archive")
        entry = _ENTRY.unpack_from(directory, position)
        flags, method, compressed, size, named, extra, comment, offset = (*entry[3:5], *entry[8:13], entry[16])
        position += _ENTRY.size
        name = directory[position : position + named].decode("utf-8" if flags & 0x800 else "cp437", "replace")
        members.append(_Member(name, flags, method, compressed, size, before + offset))
        position += named + extra + comment
    return members


def _inflated(content: Content, member: _Member, budget: _Budget) -> Iterator[bytes]:
    """The octets of a member, in pieces. Raises _Unreadable."""
    local = content.at(member.offset, _LOCAL.size)
    if len(local) < _LOCAL.size or not local.startswith(_ZIP):
        raise _Unreadable("a member that is not where the directory says")
    *_, named, extra = _LOCAL.unpack(local)
    if member.flags & 1 or member.method not in (0, 8):
        raise _Unreadable(f"a member encrypted or compressed by method {member.method}")
    packed = pieces(content, member.offset + _LOCAL.size + named + extra, member.compressed)
    if member.method == 0:
        yield from packed
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    taken = given = 0
    try:
        for piece in packed:
            taken += len(piece)
            while piece and not inflater.eof:
                octets = inflater.decompress(piece, PIECE)
                piece = inflater.unconsumed_tail
                given += len(octets)
                budget.spend(len(octets))
                if given > PIECE + MOST_RATIO * taken:
                    raise _Unreadable(f"a member compressed more than {MOST_RATIO} times")
                yield octets
    except zlib.error:
        raise _Unreadable("a member that does not inflate") from None
    if not inflater.eof:
        raise _Unreadable("a member that is cut short")
