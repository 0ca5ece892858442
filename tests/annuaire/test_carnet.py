"""The clients' address books: the shipped configuration on a real slapd, fed, and asked as clients ask."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from annuaire.carnet import feed
from annuaire.extraction import read_extraction
from annuaire.ldap3_client import connected, pages
from annuaire.source import Feed, Ldap, SourceError, encoded
from espace_confiance.development import Operator, create_trust_space
from tests.annuaire.fictive import LINES
from tests.support import slapd
from tests.support.clock import FakeClock
from tests.support.debian import require
from tests.support.slapd import DOCS, SCHEMA, Slapd

BASE = "dc=carnet,dc=mssante"
HOLDER, PASSWORD = "jeanne.exemple@cabinet.mssante.fr", "mot de passe"
FEEDER = "secret du test"


def configured(folder: Path, readers: str) -> str:
    operator = Operator("Cabinet Exemple", "mx.cabinet.test", ("cabinet.test",), "127.0.0.1", 2500)
    pki = create_trust_space(folder / "pki", operator, now_us=FakeClock().now_us())
    (folder / "data").mkdir()
    text = (DOCS / "carnet.conf").read_text()
    for place, value in {
        "schema": SCHEMA,
        "data": folder / "data",
        "certificate": pki.certificate,
        "key": pki.key,
        "strength": 0,
        "rootpw": f'"{FEEDER}"',
        "readers": readers,
    }.items():
        text = text.replace(f"@{place}@", str(value))
    assert "@" not in "".join(line for line in text.splitlines() if not line.startswith("#"))
    return text


@pytest.fixture(scope="module", params=["users", "*"])
def book(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Slapd, str]]:
    require("slapd", "slapd")
    folder = tmp_path_factory.mktemp("carnet")
    with slapd.running(configured(folder, request.param), folder, secure=True) as running:
        yield running, request.param


def target(running: Slapd, **more: str) -> Ldap:
    (running.folder / "secret").write_text(FEEDER)
    own = {"bind_dn": f"cn=alimentation,{BASE}", "password_file": str(running.folder / "secret")}
    return Ldap(url=running.url, base=BASE, filter="", attributes={}, **(own | more))  # type: ignore[arg-type]


def lines(folder: Path) -> list[tuple[int, bytes]]:
    path = folder / "extraction.txt"
    path.write_text("\n".join(LINES))
    with path.open("rb") as file:
        return [(number - 2, encoded(fiche)) for number, fiche in enumerate(read_extraction(file))]


def test_fed_by_differences_and_asked_by_clients(book: tuple[Slapd, str], tmp_path: Path) -> None:
    running, readers = book
    hashed = PasswordHasher(memory_cost=8192, time_cost=1, parallelism=1).hash(PASSWORD)
    for _ in range(2):
        feed(Feed(target(running), lines(tmp_path), [], {HOLDER: hashed, "other@cabinet.mssante.fr": hashed}))

    secret = tmp_path / "holder"
    secret.write_text(PASSWORD)
    holder = target(running, bind_dn=f"uid={HOLDER},ou=comptes,{BASE}", password_file=str(secret))

    def mails(asked: Ldap, filter_: str) -> list[str]:
        found = [entry for page in pages(asked, filter_, ["mail", "userPassword"]) for _, entry in page]
        assert not any("userpassword" in entry for entry in found)
        return sorted(entry["mail"][0].decode() for entry in found if "mail" in entry)

    assert mails(holder, "(|(cn=*exem*)(mail=paul*))") == [
        "jeanne.exemple@medecin.example.mssante.fr",
        "paul.exemple@hopital.example.mssante.fr",
        "secretariat.cardio@hopital.example.mssante.fr",
    ]
    assert mails(holder, "(givenName=Jeanne)") == ["jeanne.exemple@medecin.example.mssante.fr"]
    if readers == "users":
        with pytest.raises(SourceError):
            mails(target(running, bind_dn=""), "(mail=*)")
    else:
        assert len(mails(target(running, bind_dn=""), "(mail=*)")) == 3
    assert mails(target(running, bind_dn="") if readers == "*" else holder, "(userPassword=*)") == []

    feed(Feed(target(running), [], [-1, 77], {HOLDER: hashed}))
    assert len(mails(holder, "(mail=*)")) == 2
    secret.write_text("wrong")
    with pytest.raises(SourceError, match="sign-in is refused"):
        connected(holder)
    secret.write_text(PASSWORD)
    with pytest.raises(SourceError, match="sign-in is refused"):
        connected(target(running, bind_dn=f"uid=other@cabinet.mssante.fr,ou=comptes,{BASE}", password_file=str(secret)))


def test_nobody_but_the_feeder_writes(book: tuple[Slapd, str], tmp_path: Path) -> None:
    running, _ = book
    hashed = PasswordHasher(memory_cost=8192, time_cost=1, parallelism=1).hash(PASSWORD)
    feed(Feed(target(running), [], [], {HOLDER: hashed}))
    secret = tmp_path / "holder"
    secret.write_text(PASSWORD)
    [(_, record), *_] = lines(tmp_path)
    holder = target(running, bind_dn=f"uid={HOLDER},ou=comptes,{BASE}", password_file=str(secret))
    with pytest.raises(SourceError):
        feed(Feed(holder, [(1_000_000, record)], []))  # a number that no other test has fed


def test_ldapsearch_over_tls(book: tuple[Slapd, str], tmp_path: Path) -> None:
    running, _ = book
    ldapsearch = require("ldap-utils", "ldapsearch")
    hashed = PasswordHasher(memory_cost=8192, time_cost=1, parallelism=1).hash(PASSWORD)
    feed(Feed(target(running), lines(tmp_path), [], {HOLDER: hashed}))
    asked = subprocess.run(
        [
            *(ldapsearch, "-LLL", "-x", "-H", running.secure, "-b", BASE, "-E", "pr=1/noprompt"),
            *("-D", f"uid={HOLDER},ou=comptes,{BASE}", "-w", PASSWORD, "(sn=exemple*)", "mail"),
        ],
        env={"LDAPTLS_CACERT": str(running.folder / "pki" / "pki" / "ca.pem")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.count("mail: ") == 2
