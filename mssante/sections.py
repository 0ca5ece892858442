"""What a table of `mssante.toml` is made of: a struct, each field with its documentation, unit, bounds and default."""

from typing import ClassVar

import msgspec
from msgspec import Meta


def doc(text: str, *, ge: int | None = None, le: int | None = None) -> Meta:
    """What an operator must know of a setting, and its bounds."""
    return Meta(description=text, ge=ge, le=le)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""

    installation: ClassVar[bool] = False
    """True when the sample writes every key out, as they describe this machine; else defaults are commented."""
