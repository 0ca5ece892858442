"""A new mailbox as typed: the same words on the command line and as columns of a CSV file.

What must always hold: `read_entry` finds every fault of one mailbox, not the first; `read_file` every fault of a file,
each with the number of its line, and gives mailboxes only when there is none.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mssante.cli.frame import REFUSED, USAGE, Failure
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
    """The mailboxes of a CSV file (UTF-8, comma or semicolon) with their lines. Raises Failure with every fault."""
    faults: list[str] = []
    entries: list[tuple[int, Entry]] = []
    seen: dict[Address, int] = {}
    for line, fields in _lines(file):
        entry = [fields] if isinstance(fields, str) else read_entry(fields, domains)
        if not isinstance(entry, Entry):
            faults += [f"{file}:{line}: {fault}" for fault in entry]
        elif entry.address in seen:
            faults.append(f"{file}:{line}: address: {entry.address} is also on line {seen[entry.address]}")
        else:
            seen[entry.address] = line
            entries.append((line, entry))
    if faults:
        raise Failure([*faults, f"{file}: nothing was imported: correct these lines"], REFUSED)
    if not entries:
        raise Failure(f"{file}: has no line after its header", USAGE)
    return entries


def _lines(file: Path) -> Iterator[tuple[int, dict[str, str] | str]]:
    """(number of its first line, fields or what is wrong) of each record. Raises Failure for what is no such file."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Failure(f"{file}: is not UTF-8 text: save it as CSV UTF-8", USAGE) from None
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}: name a CSV file", USAGE) from None
    head = text.partition("\n")[0]
    reader = csv.reader(text.splitlines(keepends=True), delimiter=";" if ";" in head else ",", strict=True)
    try:
        columns = [name.strip().lower().replace("-", "_") for name in next(reader, [])]
        unknown = [name for name in columns if name not in COLUMNS]
        missing = [name for name in ("address", "type") if name not in columns]
        if unknown or missing or len(set(columns)) < len(columns):
            known = ", ".join(COLUMNS)
            raise Failure(f"{file}:1: the header must name each column once, address and type at least: {known}", USAGE)
        start = reader.line_num + 1
        for row in reader:
            if row:
                fields = dict(zip(columns, row, strict=False))
                yield start, fields if len(row) == len(columns) else f"{len(row)} fields under {len(columns)} columns"
            start = reader.line_num + 1
    except csv.Error as error:
        raise Failure(f"{file}:{reader.line_num}: not CSV: {error}", USAGE) from None


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
