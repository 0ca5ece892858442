"""What every source of the annuaire gives, whatever it speaks, and what the copy keeps of it.

What must always hold:
- A source yields entries, each with an `origin` of its own that stays the same from one reading to the next, and
  faults of single entries; what is wrong with the whole raises `SourceError`, and nothing of it is then believed.
- An entry without fiches is one that is there no more, or that is in liste rouge: the two cannot be told apart here.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from annuaire.fiche import Fiche
from mssante.domain.annuaire import Fault, Line


class SourceError(Exception):
    """The source cannot be read; the message is one line for the operator. ``again``: trying again may help."""

    def __init__(self, text: str, *, again: bool = False) -> None:
        super().__init__(" ".join("".join(c if c.isprintable() else " " for c in text).split())[:500])
        self.again = again


class Unchanged(Exception):
    """The source has published nothing since the last reading."""


class Entry(NamedTuple):
    """What the source says under one name of its own (a DN, a resource's id, a file)."""

    origin: str
    fiches: tuple[Fiche, ...]


class Reading(Protocol):
    """One source, opened for one reading."""

    name: str
    cursor: str
    """Once `read` has ended: what the next reading may begin after, or "" when the source has no such thing."""
    whole: bool
    """Whether `read` gives all there is (what is not seen is gone), or changes alone. Holds from its first entry on."""

    def read(self, since: str) -> Iterator[Entry | Fault]:
        """Every entry, or those changed after the cursor ``since``. Raises SourceError, Unchanged."""


class Extraction(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Where the extraction file is: a path, or a url and the authorities that vouch for it ("": the system's)."""

    path: str = ""
    url: str = ""
    roots: str = ""


class Ldap(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How the LDAP directory is asked. ``attributes``: our name of a field → name of the attribute there."""

    url: str
    base: str
    filter: str
    attributes: dict[str, str]
    page_size: int = 1000
    bind_dn: str = ""
    password_file: str = ""
    roots: str = ""
    certificate: str = ""
    key: str = ""
    timeout_s: int = 30
    library: str = "ldap3"


class Feed(msgspec.Struct, frozen=True, array_like=True):
    """``target``: the slapd, ``base`` its suffix. ``lines``: (digest, record) to add. ``removed``: digests.
    ``holders``: address → hash of the password of all who may sign in; None leaves them as they are."""

    target: Ldap
    lines: Sequence[tuple[int, bytes]]
    removed: Sequence[int]
    holders: dict[str, str] | None = None


class Fhir(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How the FHIR API is asked. ``per_second``: most calls; the limit is the application's, all machines together."""

    url: str
    key_file: str = ""
    roots: str = ""
    count: int = 500
    per_second: int = 17
    timeout_s: int = 30


Spec = Extraction | Ldap | Fhir

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Fiche)


def encoded(fiche: Fiche) -> bytes:
    """The fiche as the copy keeps it."""
    return _encoder.encode(fiche)


def decoded(record: bytes) -> Fiche:
    """The fiche of a record."""
    return _decoder.decode(record)


def digested(origin: str, fiche: Fiche) -> tuple[int, bytes]:
    """(digest, record). Two different lines have the same digest once in 10^7 copies of the whole country."""
    record = encoded(fiche)
    digest = blake2b(record, key=origin.encode()[-64:], digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True), record


def line_of(origin: str, fiche: Fiche, digest: int, record: bytes) -> Line:
    """The line of a fiche that was `digested`."""
    return Line(digest, origin, str(fiche.address), fiche.type_bal, fiche.holder, record, " ".join(fiche.words()))


def secret_of(path: str) -> str:
    """The first line of a file of credentials. Raises SourceError."""
    try:
        return Path(path).read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read: {error.__class__.__name__}: name a file of credentials") from error
