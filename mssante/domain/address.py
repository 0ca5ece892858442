"""A mail address: the strict Mailbox of RFC 5321, and nothing laxer.

What must always hold:
- an `Address` is canonical: equal mailboxes are equal values. Both halves are lower-cased, the domain is in A-labels,
  a quoted local part that needs no quotes has none (RFC 5321 §4.1.2), and ``parse_address(str(a)) == a``;
- no control character, NUL, format character, Unicode space or lone surrogate is ever inside one: addresses go to
  logs, headers and SMTP lines;
- `parse_address` raises `AddressError` and nothing else, whatever text it is given.

Accepted: dot-string or quoted-string, UTF-8 in the local part (RFC 6531) and in the domain. Refused although RFC 5321
knows them: source routes (obsolete, Appendix C) and address literals (the trust space is made of domains).
Lower-casing the local part is a decision: RFC 5321 §2.4 leaves it to the receiving host, and no MSSanté host
tells two holders apart by case.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MAX_LOCAL: Final = 64
"""Octets, RFC 5321 §4.5.3.1.1."""
MAX_ADDRESS: Final = 254
"""Octets: a path of 256 without its angle brackets, RFC 5321 §4.5.3.1.3."""
MAX_LABEL: Final = 63
"""Octets, RFC 1035 §2.3.4."""

_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]"
_DOT_STRING: Final = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
# Nearly every address met: found by one match, no character looked at twice.
_PLAIN: Final = re.compile(
    r"([A-Za-z0-9!#$%&'*+/=?^_`{|}~\-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-]+)*)"
    r"@([A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)"
)
_BARRED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})


class AddressError(ValueError):
    """Not a mailbox of RFC 5321. The message says what is wrong, and never quotes the text."""


@dataclass(frozen=True, slots=True)
class Address:
    """A canonical mailbox, made by `parse_address`. ``str(address)`` is what goes on the wire."""

    local: str
    """Lower-cased dot-string, or quoted-string with its quotes when it needs them. At most 64 octets."""
    domain: str
    """Lower-cased, A-labels."""

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


@lru_cache(maxsize=16384)
def parse_address(text: str) -> Address:
    """The mailbox that ``text`` names, without angle brackets (RFC 5321 §4.1.2, RFC 6531 §3.3). Raises AddressError."""
    if len(text) > MAX_ADDRESS:
        raise AddressError("longer than 254 octets")
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        local, domain = plain.group(1).lower(), plain.group(2).lower()
    else:
        raw_local, at, raw_domain = text.rpartition("@")
        if not at:
            raise AddressError("no @ in it")
        _refuse_barred(text)
        local, domain = _canonical_local(raw_local), _canonical_domain(raw_domain)
    if len(local.encode()) > MAX_LOCAL:
        raise AddressError("local part longer than 64 octets")
    if len(local.encode()) + 1 + len(domain) > MAX_ADDRESS:
        raise AddressError("longer than 254 octets")
    if any(len(label) > MAX_LABEL for label in domain.split(".")):
        raise AddressError("malformed domain")
    return Address(local, domain)


def _refuse_barred(text: str) -> None:
    """Refuses what must never reach a log or a line: controls, formats, unassigned, every space but the ASCII one."""
    for character in text:
        if character != " " and unicodedata.category(character) in _BARRED_CATEGORIES:
            raise AddressError("forbidden character")


def _canonical_local(raw: str) -> str:
    quoted = _QUOTED.fullmatch(raw)
    content = _fold(_QUOTED_PAIR.sub(r"\1", quoted.group(1)) if quoted else raw)
    if _DOT_STRING.fullmatch(content):
        return content
    if quoted is None:
        raise AddressError("malformed local part")
    return '"' + content.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _fold(text: str) -> str:
    """Lower case in the composed form (RFC 6532 §3.1), so that one name has one spelling."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    _refuse_barred(folded)
    if unicodedata.normalize("NFC", folded.lower()) != folded:
        raise AddressError("local part has no stable lower case")
    return folded


def _canonical_domain(raw: str) -> str:
    domain = raw.lower()
    if not domain.isascii():
        domain = _a_labels(unicodedata.normalize("NFC", domain))
    if not all(_LABEL.fullmatch(label) for label in domain.split(".")):
        raise AddressError("malformed domain")
    return domain


def _a_labels(domain: str) -> str:
    """IDNA, for labels that come back unchanged: what the mapping alters (full-width letters, sharp s, other dots)
    would let two spellings pass for one listed domain, or one for another."""
    if any(len(label) > MAX_LABEL for label in domain.split(".")):
        raise AddressError("malformed domain")  # encoding costs the square of a label's length
    try:
        encoded = domain.encode("idna")
        unchanged = encoded.decode("idna") == domain
    except UnicodeError as error:
        raise AddressError("malformed domain") from error
    if not unchanged:
        raise AddressError("malformed domain")
    return encoded.decode("ascii")
