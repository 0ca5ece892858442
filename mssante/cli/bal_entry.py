"""A new mailbox as typed: the same words on the command line and as columns of a CSV file.

What must always hold: `read_entry` finds every fault of one mailbox, not the first.
"""

from collections.abc import Mapping

from mssante.cli.passwords import Entry
from mssante.domain.address import Address, AddressError, parse_address
from mssante.domain.bal import BalState, BalType, holder_faults
from mssante.domain.identifiers import (
    Adeli,
    Finess,
    IdentifierError,
    Rpps,
    Siret,
)
from mssante.store.accounts import NewBal

COLUMNS = (
    *("address", "type", "rpps", "adeli", "finess", "siret", "responsable"),
    *("nom", "prenom", "profession", "liste_rouge", "draft", "password"),
)
TYPES = (BalType.PER, BalType.ORG, BalType.APP)

_YES, _NO = ("oui", "yes", "true", "1", "o", "x"), ("", "non", "no", "false", "0", "n")


def read_entry(fields: Mapping[str, str], domains: tuple[str, ...]) -> Entry[NewBal] | list[str]:
    """The mailbox that the fields describe, or what is wrong with them. `domains` are those hosted here."""
    faults: list[str] = []
    address = _address(fields.get("address", ""), domains, faults)
    kind = fields.get("type", "").upper()
    if kind not in TYPES:
        faults.append(f"type: {_shown(kind) or 'missing'}: one of {', '.join(TYPES)}")
    holder = read_holder(fields, faults)
    texts = {name: _text(name, fields, faults) for name in ("nom", "prenom", "profession", "password")}
    flags = {name: _flag(name, fields, faults) for name in ("liste_rouge", "draft")}
    if kind in TYPES:
        faults += holder_faults(BalType(kind), holder)
    if faults or address is None:
        return faults
    new = NewBal(
        address=str(address),
        type=BalType(kind),
        state=BalState.DRAFT if flags["draft"] else BalState.ACTIVE,
        rpps=holder["rpps"],
        adeli=holder["adeli"],
        finess=holder["finess"],
        siret=holder["siret"],
        responsable=holder["responsable"] or "",
        nom=texts["nom"],
        prenom=texts["prenom"],
        profession=texts["profession"] or None,
        liste_rouge=flags["liste_rouge"],
    )
    return Entry(address, new, texts["password"])


def read_holder(fields: Mapping[str, str], faults: list[str]) -> dict[str, str | None]:
    """The identifiers and the responsable that the fields name, None where they name none."""
    holder = {name: _number(name, kind, fields, faults) for name, kind in _NUMBERS.items()}
    return {**holder, "responsable": _text("responsable", fields, faults) or None}


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


_NUMBERS: dict[str, type[Rpps | Adeli | Finess | Siret]] = {
    "rpps": Rpps,
    "adeli": Adeli,
    "finess": Finess,
    "siret": Siret,
}


def _number(
    name: str, kind: type[Rpps | Adeli | Finess | Siret], fields: Mapping[str, str], faults: list[str]
) -> str | None:
    text = "".join(fields.get(name, "").split())
    if not text:
        return None
    try:
        return kind.parse(text).number
    except IdentifierError as error:
        faults.append(f"{name}: {text!r}: {error}")
        return None


def _flag(name: str, fields: Mapping[str, str], faults: list[str]) -> bool:
    said = fields.get(name, "").strip().lower()
    if said not in _YES + _NO:
        faults.append(f"{name}: {said!r}: oui or non")
    return said in _YES


def _text(name: str, fields: Mapping[str, str], faults: list[str]) -> str:
    text = fields.get(name, "")
    if name != "password":
        text = text.strip()
    if not text.isprintable() or len(text) > 200:
        faults.append(f"{name}: must be printable text of 200 characters at most")
    return text
