"""Distinguished names, as the white list writes them and as certificates carry them.

Invariants
- A DN is compared by attribute, never as text: `DN.key` is equal for two names exactly when CN, OU and O agree after
  normalisation. ST and L are not part of the key (the list writes one for the other).
- A name that can be read in two ways is refused (`DNError`), never guessed: an attribute without `=`, a comma inside an
  unquoted value, a multi-valued RDN, a control character.
- A name without exactly one CN, one OU and one O is not `complete`; the trust list never matches an incomplete name.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

O_LENGTH = 40
"""IGC-Santé cuts the organisation name at this many characters, so comparison does too."""
_MAX_TEXT = 4096

Key = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]

_TYPES = {"S": "ST", "SP": "ST", "E": "EMAILADDRESS", "SERIAL": "SERIALNUMBER"}
_OIDS = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.LOCALITY_NAME: "L",
    NameOID.COUNTRY_NAME: "C",
    NameOID.SERIAL_NUMBER: "SERIALNUMBER",
    NameOID.EMAIL_ADDRESS: "EMAILADDRESS",
    NameOID.DOMAIN_COMPONENT: "DC",
    NameOID.SURNAME: "SN",
    NameOID.GIVEN_NAME: "GIVENNAME",
    NameOID.TITLE: "TITLE",
}
_TYPE = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)\s*=\s*")
_MULTI_VALUED = re.compile(r"\+\s*(?:[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)\s*=")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_HEX = re.compile(r"[0-9A-Fa-f]{2}")
_QUOTED_END = re.compile(r'"\s*(?:,|$)')


class DNError(ValueError):
    """The text or certificate does not hold one unambiguous distinguished name; the message says why."""


@dataclass(frozen=True, slots=True)
class DN:
    """A distinguished name: (type, value) pairs in the order of the white list (CN first), types upper-case.

    Two DN are *equal* when their attributes are the same text; they *name the same operator* when their `key` is equal.
    """

    attributes: tuple[tuple[str, str], ...]
    key: Key = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "key",
            tuple(tuple(_normal(value, kind) for kind_, value in self.attributes if kind_ == kind) for kind in _KEY),
        )

    @property
    def cn(self) -> str:
        return self.first("CN")

    @property
    def ou(self) -> str:
        return self.first("OU")

    @property
    def o(self) -> str:
        return self.first("O")

    @property
    def complete(self) -> bool:
        """Exactly one CN, one OU and one O, none of them empty: only such a name can identify an operator."""
        return all(len(values) == 1 and values[0] for values in self.key)

    def first(self, kind: str) -> str:
        """The first value of an attribute type, or an empty string."""
        return next((value for kind_, value in self.attributes if kind_ == kind), "")

    def __str__(self) -> str:
        return ",".join(f"{kind}={_escaped(value)}" for kind, value in self.attributes)


_KEY = ("CN", "OU", "O")


def _normal(value: str, kind: str) -> str:
    """The comparable form: NFKC (no-break space → space), no double quotes, single spaces, trimmed, case-folded."""
    text = unicodedata.normalize("NFKC", value)
    if kind == "O":
        # Cut before collapsing: the certificate was cut at 40 characters as they stood.
        text = text.strip()[:O_LENGTH]
    return " ".join(text.replace('"', " ").split()).casefold()


def _escaped(value: str) -> str:
    """RFC 4514 §2.4."""
    text = re.sub(r'([,+"\\<>;])', r"\\\1", value)
    if value.endswith(" "):
        text = text[:-1] + "\\ "
    if value.startswith("#") or (value.startswith(" ") and len(value) > 1):
        text = "\\" + text
    return text


@lru_cache(maxsize=4096)
def parse_dn(text: str) -> DN:
    """Read a DN as the white list writes it (facts 1.4): RFC 4514 with its real-life departures.

    Accepted beyond RFC 4514: blanks around separators, `"..."` around a value (RFC 2253 §4), quotes inside an unquoted
    value, a trailing blank. Raises DNError for anything that could be read in two ways.
    """
    if len(text) > _MAX_TEXT:
        raise DNError(f"a distinguished name of {len(text)} characters is too long")
    if not text.strip():
        raise DNError("an empty distinguished name")
    if _CONTROL.search(text):
        raise DNError(f"a control character in the distinguished name {text[:80]!r}")
    attributes: list[tuple[str, str]] = []
    position = 0
    while True:
        match = _TYPE.match(text, position)
        if match is None:
            raise DNError(f"TYPE=value expected at {text[position : position + 40]!r} in {text[:200]!r}")
        kind = match[1].upper()
        value, position = _value(text, match.end())
        attributes.append((_TYPES.get(kind, kind), value))
        if position > len(text):
            return DN(tuple(attributes))


def _value(text: str, start: int) -> tuple[str, int]:
    """The value at `start` and the position after its comma (beyond the text when it is the last)."""
    if text.startswith('"', start):
        end = _QUOTED_END.search(text, start + 1)
        while end is not None and _escapes_before(text, end.start()) % 2:
            end = _QUOTED_END.search(text, end.start() + 1)
        if end is not None:
            after = end.end() if text.endswith(",", end.start(), end.end()) else len(text) + 1
            return _unescaped(text[start + 1 : end.start()]), after
    end_of_value = start
    while end_of_value < len(text) and text[end_of_value] != ",":
        end_of_value += 2 if text[end_of_value] == "\\" else 1
    raw = text[start : min(end_of_value, len(text))]
    if any(_escapes_before(raw, plus.start()) % 2 == 0 for plus in _MULTI_VALUED.finditer(raw)):
        raise DNError(f"a multi-valued RDN in {text[:200]!r}")
    trimmed = raw.rstrip()
    if _escapes_before(trimmed, len(trimmed)) % 2:
        trimmed = raw[: len(trimmed) + 1]  # the last blank is escaped, so it belongs to the value
    return _unescaped(trimmed), end_of_value + 1


def _escapes_before(text: str, position: int) -> int:
    count = 0
    while position > count and text[position - 1 - count] == "\\":
        count += 1
    return count


def _unescaped(raw: str) -> str:
    r"""Undo RFC 4514 §2.4 escapes: `\,` and runs of `\C3\A9` (UTF-8 octets)."""
    if "\\" not in raw:
        return raw
    out = bytearray()
    position = 0
    while position < len(raw):
        if raw[position] != "\\":
            out += raw[position].encode("utf-8", "surrogatepass")
            position += 1
        elif _HEX.match(raw, position + 1):
            out.append(int(raw[position + 1 : position + 3], 16))
            position += 3
        elif position + 1 < len(raw):
            out += raw[position + 1].encode("utf-8", "surrogatepass")
            position += 2
        else:
            raise DNError(f"a lone backslash ends the value {raw[:80]!r}")
    try:
        value = out.decode("utf-8")
    except UnicodeDecodeError:
        raise DNError(f"escaped octets that are not UTF-8 in {raw[:80]!r}") from None
    if _CONTROL.search(value):
        raise DNError(f"an escaped control character in {raw[:80]!r}")
    return value


@lru_cache(maxsize=4096)
def dn_of_certificate(der: bytes) -> DN:
    """The subject of a DER certificate, attributes in white-list order (CN first). Raises DNError."""
    try:
        subject = x509.load_der_x509_certificate(der).subject
    except (ValueError, TypeError, x509.InvalidVersion) as fault:
        raise DNError("the certificate cannot be read") from fault
    return dn_of_name(subject)


def dn_of_name(name: x509.Name) -> DN:
    """The DN of a certificate's name. Raises DNError on a multi-valued RDN or a control character."""
    attributes: list[tuple[str, str]] = []
    for rdn in reversed(name.rdns):
        attribute, *others = rdn
        if others:
            raise DNError("the certificate's subject has a multi-valued RDN")
        kind = _OIDS.get(attribute.oid, attribute.oid.dotted_string)
        value = attribute.value
        if not isinstance(value, str):
            raise DNError(f"attribute {kind} of the certificate's subject is not text")
        if _CONTROL.search(value):
            raise DNError(f"a control character in attribute {kind} of the certificate's subject")
        attributes.append((kind, value))
    if not attributes:
        raise DNError("the certificate has an empty subject")
    return DN(tuple(attributes))
