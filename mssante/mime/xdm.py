"""Whose documents a message carries: the patients that its IHE_XDM archives and CDA documents name (ECO.2.1.2).

What must always hold:
- what is looked at is told by its octets, whatever the message calls it and however it is wrapped: archives, messages
  within each other, gzip, uuencode, base64 that nothing announces, text before it;
- each bound is the message's as a whole (`Budget`), and what passes one is said to be unreadable, not half read;
- what mail readers would not read alike, and an archive that cannot be read, is unreadable; any other file that is no
  health document is nobody's.

IHE ITI TF-1 §16 (XDM).
"""

import binascii
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from mssante.domain.documents import Document, Fault
from mssante.mime import archive
from mssante.mime.archive import Budget, Member, Unreadable
from mssante.mime.card import LEAF, MULTIPART, Card, Part
from mssante.mime.clinical import documents_of_xml, is_xml
from mssante.mime.content import parse_content_type, parse_disposition, parse_encoding
from mssante.mime.headers import Fields, decode_text, split_fields
from mssante.mime.part_reader import PIECE, UUENCODE, Content, Read, content_of, held, in_memory, pieces
from mssante.mime.scanner import DEFAULT_LIMITS, HeaderTooLarge, Scanner

MOST_NESTED: Final = 8
"""Archives, messages and encodings within each other."""

_METADATA: Final = "METADATA.XML"
_BEGINNING: Final = 1_024
_FIELDS: Final = frozenset({b"content-type", b"content-disposition", b"content-transfer-encoding"})
_ENCODINGS: Final = frozenset({b"base64", b"quoted-printable", *UUENCODE})
_HEADER_ENDS: Final = (b"\n\r\n", b"\n\n")
_GZIP: Final = b"\x1f\x8b"
# 7z, rar, xz, bzip2, zstd, cab, tar; a zip on several disks; XML in EBCDIC.
_NOT_READ: Final = re.compile(
    rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\xfd7zXZ\0|BZh[1-9]1AY&|\x28\xb5\x2f\xfd|MSCF\0{4}|.{257}ustar"
    rb"|PK\x07\x08PK|PK00PK|\x4c\x6f\xa7\x94",
    re.DOTALL,
)
_BARE: Final = (archive.ZIP, _GZIP + b"\x08", b"<?xml", b"<ClinicalDocument")
"""Beginnings of what is looked for in base64 that nothing announces."""
_FIELD: Final = re.compile(rb"(?:From [^\n]*\n)?[A-Za-z][!-9;-~]{0,75}[ \t]*:")
_MIME_FIELD: Final = re.compile(rb"\n(?:content-type|content-transfer-encoding|mime-version)[ \t]*:", re.IGNORECASE)
# A zip, gzip or XML document in base64, uuencode or as it is, at the beginning of a line.
_IN_TEXT: Final = re.compile(
    rb"(?:\A|\n)[ \t>]*+(?:(?P<base64>UEsDB[A-Za-z0-9+/]{3}|H4sI[A-Za-z0-9+/]{4}|PD94bWwg|PENsaW5pY2Fs)"
    rb"|(?P<uu>begin [0-7]{3,4} [^\r\n]{1,200}\r?\n[!-`]{2})|(?P<plain><\?xml\s|<(?:[\w.-]{1,40}:)?ClinicalDocument\s))"
)
_LONGEST: Final = 300
"""Octets of a match."""
_PASTED: Final = {"base64": b"base64", "uu": b"x-uuencode", "plain": b"binary"}
_DIGITS: Final = re.compile(rb"[A-Za-z0-9+/=\s]{16,}")


def documents(read: Read, card: Card, budget: Budget | None = None) -> list[Document]:
    """The health documents among the parts of a message, of which `read` gives octets; in their order. ``budget``: a
    smaller one than a message has."""
    search = _Search(budget or Budget())
    try:
        search.message(held(read, card.size), card, "", 0)
    except Unreadable as unreadable:
        search.found.append(Document("message", fault=unreadable.fault))
    return list(dict.fromkeys(search.found))


class _Search:
    """Of one message. `found` may tell of one document twice."""

    def __init__(self, budget: Budget) -> None:
        self.found: list[Document] = []
        self._budget = budget

    def message(self, read: Read, card: Card, within: str, depth: int) -> None:
        """Looks at every part; `within`: what holds this message, when it is not the one that is sent."""
        number = headers = 0
        for part in card.root.walk():
            self._budget.look()
            number += 1
            headers += part.body_start - part.header_start
            fields = split_fields(read(part.header_start, part.body_start - part.header_start), _FIELDS)
            name = _inside(within, _name(fields))
            try:
                self._part(read, part, fields, name, depth)
            except Unreadable as unreadable:
                self.found.append(Document(name, fault=unreadable.fault))
        if number >= DEFAULT_LIMITS.parts or headers >= DEFAULT_LIMITS.part_headers:
            self.found.append(Document(within or "message", fault=Fault.CUT))

    def _part(self, read: Read, part: Part, fields: Fields, name: str, depth: int) -> None:
        if part.body_start == part.body_end:
            return
        if not _has_one_reading(read, part, fields.get(b"content-type", [])):
            raise Unreadable(Fault.STRUCTURE)
        said = {parse_encoding(value).lower() for value in fields.get(b"content-transfer-encoding", ())}
        encodings = sorted(said & _ENCODINGS)
        if part.kind == LEAF or (part.kind == MULTIPART and not part.parts):
            if said - _ENCODINGS or not said:
                encodings.append(b"binary")
            for encoding in encodings:
                self._file(content_of(read, part.body_start, part.body_end, encoding), name, depth)
        else:
            # What stands within is read as it is; a reader that decodes it first finds something else.
            for encoding in encodings:
                self._rescan(content_of(read, part.body_start, part.body_end, encoding), name, depth)

    def _file(self, content: Content, name: str, depth: int, *, member: bool = False) -> None:
        beginning = content.at(0, _BEGINNING)
        self._look(
            beginning, lambda: pieces(content, 0, content.size), lambda: content, name, depth=depth, member=member
        )

    def _look(
        self,
        beginning: bytes,
        stream: Callable[[], Iterator[bytes]],
        whole: Callable[[], Content],
        name: str,
        *,
        depth: int,
        member: bool = False,
    ) -> None:
        """Looks at what begins so. `member`: of an archive, of which no more than the beginning is read if it is
        nothing known."""
        self._budget.look()
        if depth > MOST_NESTED:
            raise Unreadable(Fault.NESTED)
        lower = name.lower()
        if _is_metadata(name):
            self.found += documents_of_xml(stream(), name, self._budget, expected=True)
        elif beginning.startswith(archive.ZIP) or lower.endswith(".zip"):
            self._zip(whole(), name, depth)
        elif beginning.startswith(_GZIP):
            self._stream(archive.gunzipped(whole(), self._budget), name, depth + 1)
        elif _NOT_READ.match(beginning):
            raise Unreadable(Fault.KIND)
        elif is_xml(beginning):
            found = documents_of_xml(stream(), name, self._budget, expected=False)
            self.found += found
            if not found and not member:
                self._unknown(whole(), name, depth)
        elif _from_digits(beginning).startswith(_BARE):
            self._pasted(whole(), 0, b"base64", name, depth)
        elif self._is_message(beginning, whole, lower):
            self._rescan(whole(), name, depth)
        elif not member:
            self._unknown(whole(), name, depth)

    def _unknown(self, content: Content, name: str, depth: int) -> None:
        """A file that begins like nothing that is known: something may stand further on."""
        beginning = content.at(0, _BEGINNING)
        if b"\0" not in beginning and not beginning.startswith(b"%PDF"):
            self._inside_text(content, name, depth)
        if archive.is_archive(content):
            self._zip(content, name, depth)

    def _is_message(self, beginning: bytes, whole: Callable[[], Content], name: str) -> bool:
        if name.endswith(".eml"):
            return True
        return bool(_FIELD.match(beginning) and _MIME_FIELD.search(b"\n" + whole().at(0, PIECE)))

    def _rescan(self, content: Content, name: str, depth: int) -> None:
        """A message that is the content of a part or a file."""
        self._budget.read_again(content.size)
        if depth >= MOST_NESTED:
            raise Unreadable(Fault.NESTED)
        scanner = Scanner()
        try:
            for piece in pieces(content, 0, content.size):
                scanner.feed(piece)
            card = scanner.finish()
        except HeaderTooLarge:
            raise Unreadable(Fault.CUT) from None
        self.message(content.at, card, name, depth + 1)

    def _inside_text(self, content: Content, name: str, depth: int) -> None:
        """What stands in a text as a person would paste it; its beginning was looked at."""
        for position in range(0, content.size, PIECE):
            for match in _IN_TEXT.finditer(content.at(position, PIECE + _LONGEST)):
                kind = match.lastgroup or ""
                start = position + match.start(kind)
                if start or kind == "uu":
                    self._pasted(content, start, _PASTED[kind], name, depth)

    def _pasted(self, content: Content, start: int, encoding: bytes, name: str, depth: int) -> None:
        self._budget.read_again(content.size - start)
        self._file(content_of(content.at, start, content.size, encoding), name, depth + 1)

    def _stream(self, octets: Iterator[bytes], name: str, depth: int) -> None:
        """What is inflated piece by piece, and kept whole only where that is the only way to look at it."""
        beginning = next(octets, b"")
        kept: list[Content] = []

        def whole() -> Content:
            if not kept:
                kept.append(in_memory(b"".join(chain([beginning], octets))))
            return kept[0]

        self._look(beginning, lambda: chain([beginning], octets), whole, name, depth=depth, member=True)

    def _zip(self, content: Content, name: str, depth: int) -> None:
        found = archive.members(content)
        xdm = "xdm" in name.lower().rpartition(", ")[2]
        if xdm or any(member.base == _METADATA for member in found):
            archive.check_sizes(found)
        for member in found:
            inside = _inside(name, member.name)
            try:
                self._member(content, member, inside, depth + 1)
            except Unreadable as unreadable:
                self.found.append(Document(inside, fault=unreadable.fault))
        if xdm and not any(member.base == _METADATA for member in found):
            raise Unreadable(Fault.NO_METADATA)

    def _member(self, content: Content, member: Member, name: str, depth: int) -> None:
        if member.is_stored:
            plain = content_of(content.at, member.start, member.start + member.compressed, b"binary")
            self._file(plain, name, depth, member=True)
        else:
            self._stream(archive.inflated(content, member, self._budget), name, depth)


def _has_one_reading(read: Read, part: Part, types: list[bytes]) -> bool:
    """Whether the part's header is whole, and tells one structure that was read."""
    end = read(max(part.header_start, part.body_start - 3), min(3, part.body_start - part.header_start))
    if not end.endswith(_HEADER_ENDS) and end not in (b"\r\n", b"\n"):
        return False
    read_types = [parse_content_type(value) for value in types]
    if not any(each.kind.startswith((b"multipart/", b"message/rfc822", b"message/partial")) for each in read_types):
        return True
    boundaries = {value for each in read_types for key, value in each.parameters if key.lower().startswith(b"boundary")}
    return part.kind != LEAF and len(set(types)) == 1 and len(boundaries) <= 1


def _inside(holder: str, name: str) -> str:
    return f"{holder}, {name}" if holder else name


def _is_metadata(name: str) -> bool:
    return re.split(r"[\\/]|, ", name)[-1].strip().upper() == _METADATA


def _from_digits(beginning: bytes) -> bytes:
    """What these octets are if they are base64, empty when they are not."""
    match = _DIGITS.match(beginning)
    digits = b"".join(match[0].split())[:512] if match is not None else b""
    try:
        return binascii.a2b_base64(digits[: len(digits) // 4 * 4]) if digits else b""
    except binascii.Error:
        return b""


def _name(fields: Fields) -> str:
    disposition = parse_disposition(fields.first(b"content-disposition"))
    given = dict(disposition[1]) if disposition else {}
    typed = dict(parse_content_type(fields.first(b"content-type")).parameters)
    name = given.get(b"filename") or typed.get(b"name") or given.get(b"filename*") or typed.get(b"name*") or b""
    return decode_text(name) or "sans nom"
