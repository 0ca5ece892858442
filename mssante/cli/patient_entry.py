"""A citizen as typed: the same words on the command line and as columns of a CSV file.

What must always hold: `read_patient` finds every fault of one citizen, not the first; nothing is derived from the
matricule, each trait stands for itself (facts 5).
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime

from mssante.cli.passwords import Entry
from mssante.domain.address import Address, AddressError, parse_address
from mssante.domain.ins import InsError, parse_ins
from mssante.domain.patient import Authority, Standing
from mssante.store.patients import Identity, NewPatient

REQUIRED = ("ins", "nom", "prenoms", "naissance", "sexe", "lieu")
COLUMNS = (*REQUIRED, "autorite", "opposition", "notify", "password")

_INSEE = re.compile(r"([0-9]{2}|2[AB])[0-9]{3}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def read_patient(fields: Mapping[str, str], domain: str, now_us: int) -> Entry[NewPatient] | list[str]:
    """The citizen that the fields describe, or what is wrong with them. `domain` is the citizens' one."""
    text = {name: fields.get(name, "").strip() for name in COLUMNS}
    faults: list[str] = []
    address = matricule_address(text["ins"], domain, faults)
    for name in ("nom", "prenoms"):
        if not text[name] or not text[name].isprintable() or len(text[name]) > 200:
            faults.append(f"{name}: must be printable text of 200 characters at most")
    faults += _birth_faults(text["naissance"], now_us)
    if text["sexe"].upper() not in ("F", "M"):
        faults.append(f"sexe {text['sexe']}: F or M")
    if not _INSEE.fullmatch(text["lieu"].upper()):
        faults.append(f"lieu {text['lieu']}: five characters, like 75115, 2A004 or 99100")
    authority = read_authority(text["autorite"], faults)
    opposed = text["opposition"].lower()
    if opposed not in ("", "oui", "non"):
        faults.append(f"opposition {opposed}: oui or non")
    notify = read_notify(text["notify"], faults)
    if not fields.get("password", "").isprintable():
        faults.append("password: must be printable text")
    if faults or address is None:
        return faults
    identity = Identity(
        ins=address.local.upper(),
        nom=text["nom"],
        prenoms=text["prenoms"],
        naissance=text["naissance"],
        sexe=text["sexe"].upper(),
        lieu=text["lieu"].upper(),
        notify=notify,
        authority=authority,
    )
    standing = Standing.OPPOSED if opposed == "oui" else Standing.OPEN
    return Entry(address, NewPatient(address, identity, standing=standing), fields.get("password", ""))


def matricule_address(ins: str, domain: str, faults: list[str]) -> Address | None:
    """The citizen's address here; `INS@domain` is taken for INS."""
    try:
        return parse_address(f"{parse_ins(ins.removesuffix(f'@{domain}')).matricule}@{domain}")
    except InsError as error:
        faults.append(f"INS: {error}: 13 characters and their key of two digits")
        return None


def read_authority(name: str, faults: list[str]) -> Authority:
    """NIR when none is named."""
    try:
        return Authority[name.upper() or "NIR"]
    except KeyError:
        faults.append(f"autorite {name}: one of {', '.join(Authority.__members__)}")
        return Authority.NIR


def read_notify(text: str, faults: list[str]) -> str | None:
    """The citizen's own e-mail address, ASCII: his provider may know no other; None for ""."""
    try:
        address = parse_address(text) if text else None
    except AddressError as error:
        faults.append(f"notify: {text!r} is not an address: {error}")
        return None
    if address is not None and not str(address).isascii():
        faults.append(f"notify: {text!r}: write it in ASCII")
    return str(address) if address else None


def _birth_faults(naissance: str, now_us: int) -> list[str]:
    # It may already be tomorrow where the citizen was born: 14 hours before UTC at most.
    today = datetime.fromtimestamp(now_us // 1_000_000 + 14 * 3600, UTC).date()
    try:
        born = date.fromisoformat(naissance) if _DATE.fullmatch(naissance) else date.min
    except ValueError:
        born = date.min
    if born.year < 1850:
        return [f"naissance {naissance}: a date like 1980-05-31"]
    return [f"naissance {naissance}: is still to come"] if born > today else []
