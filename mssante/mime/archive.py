"""Archives: the members of a zip, and what deflate and gzip hold, without extracting anything to disk.

What must always hold:
- every size, number and ratio is a bound; what is inflated is paid from the `Budget` of the message;
- a zip has one reading: programs that unpack begin at its directory or at its first member, and both must find the
  same members, one behind another. What leaves room for a second reading, overlapping members included, is unreadable.

APPNOTE.TXT §4.3 (zip, zip64), RFC 1951, RFC 1952.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from mssante.domain.documents import Fault
from mssante.mime.part_reader import PIECE, Content, pieces

MOST_MEMBERS: Final = 2_000
MOST_DIRECTORY: Final = 1_048_576
"""Octets of an archive's directory."""
MOST_READ: Final = 16_777_216
"""Octets inflated for one message, and of XML read."""
MOST_AGAIN: Final = 67_108_864
"""Octets of one message that are read again as something else: a message in a file, a file in a text."""
MOST_LOOKS: Final = 8_000
"""Parts and members looked at in one message."""
MOST_DECLARED: Final = 1_073_741_824
"""Octets that the members of an archive declare together."""
MOST_RATIO: Final = 200
"""Octets inflated for one octet of the archive, beyond the first `PIECE`."""
MOST_BETWEEN: Final = 64
"""Octets between two members: a data descriptor has 24."""
_FIRST: Final = 1_024
"""Octets inflated first: of most members no more is looked at."""

ZIP: Final = b"PK\x03\x04"
_ENTRY_SIGN: Final = b"PK\x01\x02"
_END_SIGN: Final = b"PK\x05\x06"
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_ENCRYPTED: Final = 0x2041
_DESCRIPTOR: Final = 0x0008
_UTF8: Final = 0x0800


class Unreadable(Exception):
    """Why, in `fault`."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(slots=True)
class Budget:
    """What may still be done for one message. Raises Unreadable when it is spent."""

    octets: int = MOST_READ
    again: int = MOST_AGAIN
    looks: int = MOST_LOOKS

    def spend(self, octets: int) -> None:
        self.octets -= octets
        if self.octets < 0:
            raise Unreadable(Fault.TOO_MUCH)

    def read_again(self, octets: int) -> None:
        self.again -= octets
        if self.again < 0:
            raise Unreadable(Fault.TOO_MUCH)

    def look(self) -> None:
        self.looks -= 1
        if self.looks < 0:
            raise Unreadable(Fault.CUT)


class Member(NamedTuple):
    """One member as the directory has it. `start`: where its packed octets begin."""

    name: str
    flags: int
    method: int
    compressed: int
    size: int
    offset: int
    start: int

    @property
    def base(self) -> str:
        """The name without folders, as METADATA.XML is looked for."""
        return self.name.replace("\\", "/").rpartition("/")[2].strip().upper()

    @property
    def is_stored(self) -> bool:
        """Its octets stand in the archive as they are. Raises Unreadable of what no reading is known for."""
        if self.flags & _ENCRYPTED:
            raise Unreadable(Fault.ENCRYPTED)
        if self.method not in (0, 8):
            raise Unreadable(Fault.METHOD)
        return self.method == 0


def is_archive(content: Content) -> bool:
    """Whether it ends with the directory of a zip, whatever stands before (programs that unpack do not mind)."""
    try:
        start, length, _, _ = _directory(content)
    except Unreadable:
        return False
    return length > 0 and content.at(start, 4) == _ENTRY_SIGN


def members(content: Content) -> list[Member]:
    """The members of a zip in the order of their octets. Raises Unreadable."""
    start, length, number, before = _directory(content)
    directory, position = content.at(start, length), 0
    found = []
    for _ in range(number):
        if len(directory) < position + _ENTRY.size or not directory.startswith(_ENTRY_SIGN, position):
            raise Unreadable(Fault.BROKEN_DIRECTORY)
        entry = _ENTRY.unpack_from(directory, position)
        flags, method, packed, size, named, more, comment, at = (*entry[3:5], *entry[8:13], entry[16])
        position += _ENTRY.size
        name, extra = directory[position : position + named], directory[position + named : position + named + more]
        if 0xFFFFFFFF in (packed, size, at):
            size, packed, at = _wide(extra, size, packed, at)
        found.append(_placed(content, name, flags, method, packed, size, before + at))
        position += named + more + comment
    if position != length:
        raise Unreadable(Fault.BROKEN_DIRECTORY)
    found.sort(key=lambda member: member.offset)
    _check_order(content, found, start)
    return found


def _directory(content: Content) -> tuple[int, int, int, int]:
    """Where the directory starts, its octets, its entries, and the octets put before the archive (§4.3.16)."""
    tail_start = max(0, content.size - _END.size - 0xFFFF)
    tail = content.at(tail_start, content.size - tail_start)
    end = tail.rfind(_END_SIGN)
    if end < 0 or len(tail) - end < _END.size:
        raise Unreadable(Fault.NO_DIRECTORY)
    _, disk, first_disk, here, number, length, offset, _ = _END.unpack_from(tail, end)
    directory_end = tail_start + end
    locator = content.at(directory_end - _LOCATOR.size, _LOCATOR.size) if directory_end >= _LOCATOR.size else b""
    if locator.startswith(b"PK\x06\x07"):  # §4.3.14: zip64, which stands directly before its locator
        directory_end -= _LOCATOR.size + _END64.size
        wide = content.at(max(0, directory_end), _END64.size)
        if directory_end < 0 or not wide.startswith(b"PK\x06\x06"):
            raise Unreadable(Fault.BOUNDS)
        *_, here64, number64, length64, offset64 = _END64.unpack(wide)
        both = ((number, number64, 0xFFFF), (length, length64, 0xFFFFFFFF), (offset, offset64, 0xFFFFFFFF))
        if any(narrow not in (full, limit) for narrow, full, limit in both):
            raise Unreadable(Fault.TWO_READINGS)
        here, number, length, offset = here64, number64, length64, offset64
    start = directory_end - length
    before = start - offset
    if disk or first_disk or here != number or number > MOST_MEMBERS or length > MOST_DIRECTORY or before < 0:
        raise Unreadable(Fault.BOUNDS)
    # Another end whose comment reaches to the last octet: some programs take that one.
    other = tail.find(_END_SIGN)
    while other != end:
        if other + _END.size + int.from_bytes(tail[other + 20 : other + 22], "little") == len(tail):
            raise Unreadable(Fault.TWO_READINGS)
        other = tail.find(_END_SIGN, other + 1)
    return start, length, number, before


def _wide(extra: bytes, *values: int) -> list[int]:
    """Size, compressed size and offset, those that do not fit in 32 bits from the zip64 extra field (§4.5.3)."""
    position = 0
    while len(extra) >= position + 4:
        tag, length = struct.unpack_from("<2H", extra, position)
        if tag == 1:
            wide = iter(struct.iter_unpack("<Q", extra[position + 4 : position + 4 + length // 8 * 8]))
            return [value if value != 0xFFFFFFFF else next(wide, (value,))[0] for value in values]
        position += 4 + length
    return list(values)


def _placed(content: Content, name: bytes, flags: int, method: int, packed: int, size: int, offset: int) -> Member:
    """The member, once what stands before its octets says the same of it as the directory."""
    local = content.at(offset, _LOCAL.size)
    if len(local) < _LOCAL.size or not local.startswith(ZIP):
        raise Unreadable(Fault.TWO_READINGS)
    _, _, own_flags, own_method, _, _, _, own_packed, own_size, named, extra = _LOCAL.unpack(local)
    sizes = (own_packed, own_size)
    alike = own_flags & _DESCRIPTOR or 0xFFFFFFFF in sizes or sizes == (packed, size)
    if not alike or own_method != method or content.at(offset + _LOCAL.size, named) != name:
        raise Unreadable(Fault.TWO_READINGS)
    text = name.decode("utf-8" if flags & _UTF8 else "cp437", "replace")
    start = offset + _LOCAL.size + named + extra
    return Member(text, flags | own_flags & _ENCRYPTED, method, packed, size, offset, start)


def _check_order(content: Content, found: list[Member], directory: int) -> None:
    """The first member is what the archive begins with, and nothing has room between members or lies in two."""
    if found and found[0].offset and content.at(0, 4) == ZIP:
        raise Unreadable(Fault.TWO_READINGS)
    followers = [*(member.offset for member in found[1:]), directory]
    for member, follower in zip(found, followers, strict=False):
        if not 0 <= follower - member.start - member.compressed <= MOST_BETWEEN:
            raise Unreadable(Fault.TWO_READINGS)


def check_sizes(found: list[Member]) -> None:
    """What no honest IHE_XDM declares. Raises Unreadable."""
    if sum(member.size for member in found) > MOST_DECLARED:
        raise Unreadable(Fault.DECLARED)
    if any(member.size > PIECE + MOST_RATIO * member.compressed for member in found):
        raise Unreadable(Fault.RATIO)


def inflated(content: Content, member: Member, budget: Budget) -> Iterator[bytes]:
    """The octets of a deflated member, in pieces, the first one small. Raises Unreadable."""
    return _inflated(pieces(content, member.start, member.compressed), -zlib.MAX_WBITS, budget)


def gunzipped(content: Content, budget: Budget) -> Iterator[bytes]:
    """The octets of a gzip file, in pieces, the first one small; its members follow each other. Raises Unreadable."""
    return _inflated(pieces(content, 0, content.size), 16 + zlib.MAX_WBITS, budget)


def _inflated(packed: Iterator[bytes], format_bits: int, budget: Budget) -> Iterator[bytes]:
    inflater = zlib.decompressobj(format_bits)
    taken = given = 0
    step = _FIRST
    try:
        for piece in packed:
            taken += len(piece)
            while piece:
                if inflater.eof:
                    if format_bits < 0 or not piece.startswith(b"\x1f\x8b"):
                        return
                    inflater = zlib.decompressobj(format_bits)
                octets = inflater.decompress(piece, step)
                piece = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                step = PIECE
                given += len(octets)
                budget.spend(len(octets))
                if given > PIECE + MOST_RATIO * taken:
                    raise Unreadable(Fault.RATIO)
                yield octets
    except zlib.error:
        raise Unreadable(Fault.DEFLATE) from None
    if not inflater.eof:
        raise Unreadable(Fault.CUT_SHORT)
