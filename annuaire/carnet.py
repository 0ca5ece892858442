"""The address books of clients: a slapd of this operator, fed with what has changed in the copy.

``python -m annuaire.carnet`` reads one `Feed` on stdin and says on stdout, in a line, what went wrong, or nothing.

What must always hold:
- Feeding twice is feeding once: an entry has the digest of its line in its DN, is there or is not, and never changes.
- Holders get in with the hash of their password, as argon2id; slapd compares, and no password passes through here.
"""

import sys

import msgspec

from annuaire.fiche import Fiche
from annuaire.ldap3_client import ENTRY_EXISTS, NO_SUCH_ENTRY, connected, pages, write
from annuaire.source import Feed, Ldap, SourceError, decoded


def main() -> int:
    """One feed."""
    try:
        feed(msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Feed))
    except SourceError as error:
        sys.stdout.write(str(error))
        return 1
    return 0


def feed(job: Feed) -> None:
    """Carries it out. Raises SourceError; what was done until then stays, and is no harm to be done again."""
    base = job.target.base
    connection = connected(job.target, read_only=False)
    try:
        name, _, value = base.partition(",")[0].partition("=")
        if name.lower() == "dc":
            root = {"o": "carnet", "dc": value}
            write(connection, "add", base, ["organization", "dcObject"], root, allowed=ENTRY_EXISTS)
        for unit in ("annuaire", "comptes"):
            write(connection, "add", f"ou={unit},{base}", "organizationalUnit", allowed=ENTRY_EXISTS)
        for digest in job.removed:
            write(connection, "delete", _dn(digest, base), allowed=NO_SUCH_ENTRY)
        for digest, record in job.lines:
            attributes = _attributes(digest, decoded(record))
            write(connection, "add", _dn(digest, base), "inetOrgPerson", attributes, allowed=ENTRY_EXISTS)
        if job.holders is not None:
            _set_holders(connection, job.target, job.holders)
    finally:
        connection.unbind()


def _set_holders(connection: object, target: Ldap, holders: dict[str, str]) -> None:
    wanted = {address: f"{{ARGON2}}{hash_}".encode() for address, hash_ in holders.items()}
    place = f"ou=comptes,{target.base}"
    there: dict[str, bytes] = {}
    accounts = msgspec.structs.replace(target, base=place)
    for page in pages(accounts, "(objectClass=account)", ["uid", "userPassword"]):
        there |= {values["uid"][0].decode(): values.get("userpassword", [b""])[0] for _, values in page}
    for address in there.keys() - wanted.keys():
        write(connection, "delete", f"uid={_escaped(address)},{place}", allowed=NO_SUCH_ENTRY)
    for address, password in wanted.items():
        if there.get(address) == password:
            continue
        dn = f"uid={_escaped(address)},{place}"
        if address in there:
            write(connection, "delete", dn, allowed=NO_SUCH_ENTRY)
        write(connection, "add", dn, ["account", "simpleSecurityObject"], {"userPassword": password})


def _dn(digest: int, base: str) -> str:
    return f"uid={digest & 0xFFFFFFFFFFFFFFFF:016x},ou=annuaire,{base}"


def _escaped(text: str) -> str:
    """A value in a DN (RFC 4514 §2.4)."""
    return "".join(f"\\{character}" if character in ',+"\\<>;=#' else character for character in text)


def _attributes(digest: int, fiche: Fiche) -> dict[str, str | list[str]]:
    """What clients know how to show (RFC 2798): mail and name complete an address, the rest tells people apart."""
    personne, structure = fiche.personne, fiche.structure
    first, second = (" ".join(part.split()) for part in fiche.name)
    name = f"{second} {first}" if personne else " ".join(filter(None, (first, second)))
    value = {
        "uid": f"{digest & 0xFFFFFFFFFFFFFFFF:016x}",
        "cn": name.strip() or str(fiche.address),
        "sn": first or str(fiche.address),
        "mail": str(fiche.address),
        "title": fiche.profession.savoir_faire_libelle or fiche.profession.libelle,
        "ou": fiche.service,
    }
    if personne:
        value |= {"givenName": second, "employeeNumber": personne.number}
    if structure:
        value |= {
            "o": structure.enseigne or structure.raison_sociale,
            "street": " ".join(structure.adresse[:-1]),
            "l": structure.adresse[-1] if structure.adresse else "",
            "postalCode": structure.code_postal,
        }
    return {key: text for key, text in value.items() if text}


if __name__ == "__main__":
    sys.exit(main())
