"""Real slapds for tests, from Debian: on loopback, in folders of their own.

Always true here: a slapd is ready when its context is entered, and gone when it is left.
"""

import base64
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.debian import require
from tests.support.operators import free_ports
from tests.support.practitioners import Practitioner

DOCS = Path(__file__).parents[2] / "docs" / "ldap"
SCHEMA = Path("/etc/ldap/schema")
BASE = "ou=bal,o=mssante,c=fr"
ROOT, PASSWORD = "cn=essai,o=mssante,c=fr", "mot de passe du test"


@dataclass(frozen=True)
class Slapd:
    """`url` in clear, `secure` over TLS ("" without a certificate)."""

    url: str
    secure: str
    folder: Path
    process: subprocess.Popen[str]


@contextmanager
def running(configuration: str, folder: Path, *, secure: bool = False) -> Iterator[Slapd]:
    """A slapd of this slapd.conf, ready to be asked."""
    program = require("slapd", "slapd")
    (folder / "slapd.conf").write_text(configuration)
    port = free_ports(2)
    url, ldaps = f"ldap://127.0.0.1:{port}", f"ldaps://127.0.0.1:{port + 1}"
    listen = f"{url}/ {ldaps}/" if secure else f"{url}/"
    with subprocess.Popen(
        [program, "-f", str(folder / "slapd.conf"), "-h", listen, "-d", "none"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "slapd starting" not in said:
                line = process.stderr.readline()
                assert line, f"slapd does not start: {said}"
                said += line
            # It says so a moment before it listens.
            for where in (url, ldaps) if secure else (url,):
                while not _listens(int(where.rpartition(":")[2])):
                    assert process.poll() is None, "slapd has gone"
            yield Slapd(url, ldaps if secure else "", folder, process)
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def directory(entries: Iterable[str], *, extra: str = "", secure: bool = False) -> Iterator[Slapd]:
    """A directory of our sample schema that holds these entries (LDIF), written to by ROOT."""
    require("slapd", "slapd")
    with tempfile.TemporaryDirectory(prefix="slapd") as place:
        folder = Path(place)
        (folder / "data").mkdir()
        configuration = "\n".join(
            (
                *(f"include {SCHEMA}/{name}.schema" for name in ("core", "cosine", "inetorgperson")),
                f"include {DOCS}/annuaire-essai.schema",
                "modulepath /usr/lib/ldap",
                "moduleload back_mdb",
                f"pidfile {folder}/pid",
                "sizelimit size.soft=500 size.hard=1000 size.prtotal=unlimited",
                extra,
                "database mdb",
                'suffix "o=mssante,c=fr"',
                f"directory {folder}/data",
                "maxsize 4294967296",
                f'rootdn "{ROOT}"',
                f'rootpw "{PASSWORD}"',
                "dbnosync",
                "index objectClass,uid,modifyTimestamp eq",
                "",
            )
        )
        (folder / "slapd.conf").write_text(configuration)
        with (folder / "all.ldif").open("w") as ldif:
            ldif.write("dn: o=mssante,c=fr\nobjectClass: organization\no: mssante\n\n")
            ldif.write(f"dn: {BASE}\nobjectClass: organizationalUnit\nou: bal\n\n")
            ldif.writelines(entries)
        slapadd = require("slapd", "slapadd")
        load = [slapadd, "-q", "-f", str(folder / "slapd.conf"), "-l", str(folder / "all.ldif")]
        loaded = subprocess.run(load, capture_output=True, text=True, check=False)
        assert loaded.returncode == 0, loaded.stderr
        with running(configuration, folder, secure=secure) as slapd:
            yield slapd


def entry(one: Practitioner, **more: str) -> str:
    """The LDIF of one bal in our sample schema."""
    values = {
        "objectClass": "mssBal",
        "uid": one.address,
        "mail": one.address,
        "mssTypeBal": one.type,
        "mssIdNational": one.rpps and "8" + one.rpps,
        "sn": one.nom,
        "givenName": one.prenom,
        "mssProfession": one.rpps and one.profession[0],
        "title": one.rpps and one.profession[1],
        "mssSavoirFaire": one.rpps and one.profession[3],
        "mssIdStructure": "1" + one.finess,
        "o": one.raison_sociale,
        "street": "12 RUE " + one.voie,
        "postalCode": one.code_postal,
        "l": one.ville,
    } | more
    lines = "".join(_attribute(name, value) for name, value in values.items() if value)
    return f"dn: uid={one.address},{BASE}\n{lines}\n"


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _attribute(name: str, value: str) -> str:
    return f"{name}: {value}\n" if value.isascii() else f"{name}:: {base64.b64encode(value.encode()).decode()}\n"
