"""Mailbox names: text inside, modified UTF-7 on the wire (RFC 3501 §5.1.3), and the patterns of LIST.

Invariants:
- `decode(encode(name)) == name` for every text without surrogates; every decoded name is canonical (it encodes back to
  the same octets), so that two spellings never name one mailbox.
- INBOX is the one name without case; every other name is exact.
- A name that passed `check_new` has no control character, no wildcard, no empty, `.` or `..` level.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from typing import Final

from mssante.domain.normal_forms import normalized

DELIMITER: Final = "/"
MAX_NAME: Final = 255
"""Characters of a whole name, levels included."""
MAX_LEVELS: Final = 16
_BAD_IN_NAME: Final = frozenset("%*")


class NameFault(ValueError):
    """Why a mailbox name is not taken; public text."""


def encode(name: str) -> bytes:
    """Modified UTF-7 of a name."""
    if name.isascii() and name.isprintable():
        return name.replace("&", "&-").encode("ascii")
    out = bytearray()
    shifted: list[str] = []
    for character in [*name, ""]:
        if character == "" or " " <= character <= "~":
            if shifted:
                coded = binascii.b2a_base64("".join(shifted).encode("utf-16-be"), newline=False)
                out += b"&" + coded.rstrip(b"=").replace(b"/", b",") + b"-"
                shifted.clear()
            out += b"&-" if character == "&" else character.encode("ascii")
        else:
            shifted.append(character)
    return bytes(out)


def decode(data: bytes) -> str:
    """The name that modified UTF-7 octets spell. NameFault when they spell none, or not in the one canonical way."""
    if b"&" not in data and data.isascii():
        return data.decode("ascii")
    out: list[str] = []
    rest = data
    try:
        while rest:
            plain, ampersand, rest = rest.partition(b"&")
            out.append(plain.decode("ascii"))
            if not ampersand:
                break
            coded, dash, rest = rest.partition(b"-")
            if not dash:
                raise NameFault("mailbox name: unfinished modified UTF-7")
            padded = coded.replace(b",", b"/") + b"=" * (-len(coded) % 4)
            out.append(binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be") if coded else "&")
    except (UnicodeDecodeError, binascii.Error):
        raise NameFault("mailbox name is not in modified UTF-7") from None
    name = "".join(out)
    if encode(name) != data:
        raise NameFault("mailbox name is not in modified UTF-7")
    return name


def canonical(name: str) -> str:
    """INBOX in its one spelling, other names as they are (RFC 9051 §5.1)."""
    return "INBOX" if name.upper() == "INBOX" else name


def check_new(name: str) -> str:
    """A name as a mailbox may be created under: NFC, checked. NameFault otherwise."""
    name = canonical(normalized("NFC", name))
    levels = name.split(DELIMITER)
    if len(name) > MAX_NAME or len(levels) > MAX_LEVELS:
        raise NameFault("mailbox name is too long or too deep")
    if any(level in {"", ".", ".."} or level != level.strip(" ") for level in levels):
        raise NameFault("mailbox name has an empty, '.', '..' or space-edged level")
    if any(
        character in _BAD_IN_NAME or unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in name
    ):
        raise NameFault("mailbox name has a control character or a wildcard")
    if levels[0].upper() == "INBOX" and levels[0] != "INBOX":
        name = DELIMITER.join(["INBOX", *levels[1:]])
    return name


class Pattern:
    """What `LIST reference text` matches (RFC 9051 §6.3.9): `*` anything, `%` anything within a level, INBOX any case.

    A set of places in the pattern, kept as bits, walks over the name: the work is one step a letter.
    """

    __slots__ = ("_end", "_inbox", "_level", "_places", "_wild")

    def __init__(self, reference: str, text: str) -> None:
        whole = re.sub(r"[*%]+", lambda run: "*" if "*" in run[0] else "%", reference + text)
        if whole[:6].upper() in {"INBOX", "INBOX" + DELIMITER}:
            whole = "INBOX" + whole[5:]
        self._inbox = Pattern("", whole.upper()) if whole != whole.upper() else self
        self._places: dict[str, int] = {}
        self._wild = self._level = 0
        for place, character in enumerate(whole):
            if character in "*%":
                self._wild |= 1 << place
                self._level |= (1 << place) if character == "%" else 0
            else:
                self._places[character] = self._places.get(character, 0) | 1 << place
        self._end = 1 << len(whole)

    def matches(self, name: str) -> bool:
        if name == "INBOX" and self._inbox is not self:
            return self._inbox.matches(name)
        places = 1 | (self._wild & 1) << 1
        for character in name:
            stay = places & (self._wild & ~self._level if character == DELIMITER else self._wild)
            places = stay | (places & self._places.get(character, 0)) << 1
            places |= (places & self._wild) << 1
        return bool(places & self._end)


def superiors(name: str) -> list[str]:
    """`a/b/c` → [`a`, `a/b`]."""
    levels = name.split(DELIMITER)
    return [DELIMITER.join(levels[:count]) for count in range(1, len(levels))]
