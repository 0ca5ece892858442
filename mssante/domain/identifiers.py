"""National identifiers of people and structures: RPPS, ADELI, FINESS, SIRET.

What must always hold: an identifier keeps its kind with its digits, never a bare string; it can be written raw
(``number``) and in the national form (``national``: a digit for the kind, then the number; PS_IdNat, Struct_IdNat,
facts 6), and is read from both.

The Luhn key is asked of what a user types. What the annuaire publishes is read with ``checked=False``: official data
is kept even when its key is wrong (facts 6).
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Final, Self

_LA_POSTE: Final = "356000000"


class IdentifierError(ValueError):
    """Not such an identifier. The message says which kind was expected and what is wrong."""


@dataclass(frozen=True, slots=True)
class _Identifier:
    """An identifier of one kind; ``number`` is its raw form, upper case."""

    number: str

    kind: ClassVar[str]
    prefix: ClassVar[str]
    """What the national form puts before the number."""
    form: ClassVar[re.Pattern[str]]

    @classmethod
    def parse(cls, text: str, *, checked: bool = True) -> Self:
        """From the raw or the national form; their lengths tell them apart. Raises `IdentifierError`."""
        number = text.upper()
        if not cls.form.fullmatch(number):
            number = number.removeprefix(cls.prefix)
            if not cls.form.fullmatch(number):
                raise IdentifierError(f"malformed {cls.kind}")
        identifier = cls(number)
        if checked and not identifier.key_holds:
            raise IdentifierError(f"wrong key of the {cls.kind}: check its digits")
        return identifier

    @property
    def key_holds(self) -> bool:
        """Whether its key is right, or it has none that can be checked."""
        return not self.number.isdecimal() or luhn_holds(self.number)

    @property
    def national(self) -> str:
        """The kind's digit and the number."""
        return self.prefix + self.number


class Rpps(_Identifier):
    """A professional: 11 digits, Luhn; national ``8`` + RPPS."""

    __slots__ = ()
    kind = "RPPS"
    prefix = "8"
    form = re.compile(r"[0-9]{11}")


class Adeli(_Identifier):
    """A professional not yet in the RPPS: 9 characters, ``2A``/``2B`` in Corsica, no key; national ``0`` + ADELI."""

    __slots__ = ()
    kind = "ADELI"
    prefix = "0"
    form = re.compile(r"(?:[0-9]{2}|2[AB])[0-9]{7}")

    @property
    def key_holds(self) -> bool:
        """An ADELI has no usable key."""
        return True


class Finess(_Identifier):
    """A structure: 9 characters, ``2A``/``2B`` in Corsica, Luhn when all digits; national ``1`` + FINESS."""

    __slots__ = ()
    kind = "FINESS"
    prefix = "1"
    form = re.compile(r"(?:[0-9]{2}|2[AB])[0-9]{7}")


class Siret(_Identifier):
    """A structure: 14 digits, Luhn; national ``3`` + SIRET."""

    __slots__ = ()
    kind = "SIRET"
    prefix = "3"
    form = re.compile(r"[0-9]{14}")

    @property
    def key_holds(self) -> bool:
        """Luhn, or, for La Poste's own establishments, a sum of digits that 5 divides."""
        if self.number.startswith(_LA_POSTE) and sum(map(int, self.number)) % 5 == 0:
            return True
        return luhn_holds(self.number)


def parse_professional(national: str) -> Rpps | Adeli:
    """The professional of a PS_IdNat, as Pro Santé Connect writes it: in the national form only, and without the key,
    as for all official data. Raises `IdentifierError`, also for ``ANS...``, the identities of editors' tests."""
    for kind in (Rpps, Adeli):
        number = national[1:].upper()
        if national[:1] == kind.prefix and kind.form.fullmatch(number):
            return kind(number)
    raise IdentifierError("neither 8 + RPPS nor 0 + ADELI")


def luhn_holds(digits: str) -> bool:
    """Whether the last digit of ``digits`` (ASCII) is the Luhn key of those before it (ISO/IEC 7812-1 annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
