"""A new mailbox as typed: the same words on the command line and as columns of a CSV file.

What must always hold: `read_entry` finds every fault of one mailbox, not the first.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from mssante.cli.csv_entries import read_entries
from mssante.domain.address import Address, AddressError, parse_address
from mssante.domain.bal import BalType
from mssante.domain.identifiers import Adeli, Finess, IdentifierError, Rpps, parse_adeli, parse_finess, parse_rpps

COLUMNS = ("address", "type", "rpps", "adeli", "finess", "nom", "prenom", "profession", "liste_rouge", "password")
TYPES = (BalType.PER, BalType.ORG, BalType.APP)

_YES, _NO = ("oui", "yes", "true", "1", "o", "x"), ("", "non", "no", "false", "0", "n")


class Entry(NamedTuple):
    """A mailbox to open. `password` is still in clear; "" for none."""

    address: Address
    type: BalType
    rpps: str | None
    adeli: str | None
    finess: str | None
    nom: str
    prenom: str
    profession: str | None
    liste_rouge: bool
    password: str


def read_entry(fields: Mapping[str, str], domains: tuple[str, ...]) -> Entry | list[str]:
    """The mailbox that the fields describe, or what is wrong with them. `domains` are those hosted here."""
    faults: list[str] = []
    address = _address(fields.get("address", ""), domains, faults)
    kind = fields.get("type", "").upper()
    if kind not in TYPES:
        faults.append(f"type: {_shown(kind) or 'missing'}: one of {', '.join(TYPES)}")
    numbers = {name: _number(name, parse, fields, faults) for name, parse in _NUMBERS.items()}
    texts = {name: _text(name, fields, faults) for name in ("nom", "prenom", "profession", "password")}
    rouge = fields.get("liste_rouge", "").strip().lower()
    if rouge not in _YES + _NO:
        faults.append(f"liste_rouge: {rouge!r}: oui or non")
    if faults or address is None:
        return faults
    return Entry(
        address=address,
        type=BalType(kind),
        **numbers,
        nom=texts["nom"],
        prenom=texts["prenom"],
        profession=texts["profession"] or None,
        liste_rouge=rouge in _YES,
        password=texts["password"],
    )


def read_file(file: Path, domains: tuple[str, ...]) -> list[tuple[int, Entry]]:
    """The mailboxes of a CSV file with their lines. Raises Failure with every fault."""
    return read_entries(file, COLUMNS, ("address", "type"), lambda fields: read_entry(fields, domains))


def _shown(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _address(text: str, domains: tuple[str, ...], faults: list[str]) -> Address | None:
    try:
        address = parse_address(text.strip())
    except AddressError as error:
        faults.append(f"address: {text!r}: {error}")
        return None
    if address.domain not in domains:
        faults.append(f"address: {address}: its domain is not hosted here ({', '.join(domains) or 'none is'})")
    return address


_NUMBERS: dict[str, Callable[[str], Rpps | Adeli | Finess]] = {
    "rpps": parse_rpps,
    "adeli": parse_adeli,
    "finess": parse_finess,
}


def _number(
    name: str, parse: Callable[[str], Rpps | Adeli | Finess], fields: Mapping[str, str], faults: list[str]
) -> str | None:
    text = "".join(fields.get(name, "").split())
    if not text:
        return None
    try:
        return parse(text).number
    except IdentifierError as error:
        faults.append(f"{name}: {text!r}: {error}")
        return None


def _text(name: str, fields: Mapping[str, str], faults: list[str]) -> str:
    text = fields.get(name, "")
    if name != "password":
        text = text.strip()
    if not text.isprintable() or len(text) > 200:
        faults.append(f"{name}: must be printable text of 200 characters at most")
    return text
