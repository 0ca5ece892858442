"""The LDAP directory as a source, read by each library from a real slapd of the sample schema."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from annuaire.ldap3_client import connected, write
from annuaire.ldap_source import LdapReading
from annuaire.source import Entry, Ldap, SourceError
from annuaire.worker import Batch, End, Job, Refused, frames
from espace_confiance.development import Operator, TrustSpace, create_trust_space
from mssante.directory import pairs_of
from mssante.domain.annuaire import Fault
from mssante.settings_people import AnnuaireLdap
from tests.support import slapd
from tests.support.clock import FakeClock
from tests.support.practitioners import Practitioner, practitioners
from tests.support.slapd import BASE, PASSWORD, ROOT, Slapd

PEOPLE = list(practitioners(60))


@pytest.fixture(scope="module")
def directory() -> Iterator[Slapd]:
    """Sixty practitioners; nobody writes there."""
    with slapd.directory(map(slapd.entry, PEOPLE)) as running:
        yield running


@pytest.fixture(params=["ldap3", "python-ldap"])
def library(request: pytest.FixtureRequest) -> str:
    if request.param == "python-ldap" and importlib.util.find_spec("ldap") is None:
        pytest.skip("python-ldap is not installed: it is built from C")
    return str(request.param)


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "ldap.secret"
    path.write_text(f"{PASSWORD}\n")
    return str(path)


def spec(url: str, library: str, **more: object) -> Ldap:
    values = {"filter": "(objectClass=mssBal)", "attributes": pairs_of(AnnuaireLdap().attributes), "page_size": 25}
    return Ldap(url=url, base=BASE, library=library, **(values | more))  # type: ignore[arg-type]


def read(asked: Ldap, since: str = "") -> tuple[LdapReading, dict[str, Entry], list[Fault]]:
    reading = LdapReading(asked)
    said = list(reading.read(since))
    entries = {one.origin.lower(): one for one in said if isinstance(one, Entry)}
    return reading, entries, [one for one in said if isinstance(one, Fault)]


def dn(one: Practitioner) -> str:
    return f"uid={one.address},{BASE}".lower()


def test_everything_is_read_in_pages(directory: Slapd, library: str) -> None:
    reading, entries, faults = read(spec(directory.url, library))
    assert (len(entries), faults, reading.whole) == (60, [], True)
    (fiche,) = entries[dn(PEOPLE[0])].fiches
    assert str(fiche.address) == PEOPLE[0].address
    assert (fiche.type_bal, fiche.holder) == ("PER", "8" + PEOPLE[0].rpps)
    assert fiche.name == (PEOPLE[0].nom, PEOPLE[0].prenom)
    assert fiche.profession.savoir_faire_libelle == PEOPLE[0].profession[3]
    assert fiche.structure is not None
    assert fiche.structure.identifier is not None
    assert fiche.structure.identifier.number == PEOPLE[0].finess
    (secretariat,) = entries[dn(PEOPLE[9])].fiches
    assert (secretariat.type_bal, secretariat.personne) == ("ORG", None)


def test_the_libraries_read_the_same(directory: Slapd) -> None:
    pytest.importorskip("ldap")
    assert read(spec(directory.url, "ldap3"))[1] == read(spec(directory.url, "python-ldap"))[1]


def test_what_changed_is_read_alone(library: str, secret: str) -> None:
    # Loaded with old times, as what was loaded a moment ago is read again for a minute.
    old = {"modifyTimestamp": "20200101000000Z", "createTimestamp": "20200101000000Z"}
    with slapd.directory(slapd.entry(one, **old) for one in PEOPLE) as running:
        reading, entries, _ = read(spec(running.url, library))
        assert (len(entries), reading.cursor) == (60, "20191231235859Z")
        root = spec(running.url, "ldap3", bind_dn=ROOT, password_file=secret)
        connection = connected(root, read_only=False)
        write(connection, "modify", dn(PEOPLE[0]), {"mssListeRouge": [("MODIFY_REPLACE", ["O"])]})
        write(connection, "modify", dn(PEOPLE[1]), {"mail": [("MODIFY_ADD", ["second@x.mssante.fr"])]})
        write(connection, "modify", dn(PEOPLE[2]), {"mail": [("MODIFY_REPLACE", ["not an address"])]})
        connection.unbind()
        later, changed, faults = read(spec(running.url, library), "20200101000001Z")
    assert not later.whole
    assert later.cursor > "2026"
    assert {origin: len(entry.fiches) for origin, entry in changed.items()} == {dn(PEOPLE[0]): 0, dn(PEOPLE[1]): 2}
    assert [(fault.place.lower(), fault.problem[:19]) for fault in faults] == [(dn(PEOPLE[2]), "address of the bal:")]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"base": "ou=nowhere,o=mssante,c=fr"}, "the base does not exist there: correct it"),
        ({"filter": "(objectClass=mssBal"}, "is not a filter: correct it"),
    ],
)
def test_wrong_settings_are_named(directory: Slapd, library: str, wrong: dict[str, str], told: str) -> None:
    asked = spec(directory.url, library)
    for name, value in wrong.items():
        asked = Ldap(**{field: getattr(asked, field) for field in Ldap.__struct_fields__} | {name: value})
    with pytest.raises(SourceError, match=told) as error:
        read(asked)
    assert not error.value.again


def test_a_refused_sign_in_is_named(directory: Slapd, library: str, tmp_path: Path, secret: str) -> None:
    Path(secret).write_text("another\n")
    with pytest.raises(SourceError, match="sign-in is refused"):
        read(spec(directory.url, library, bind_dn=ROOT, password_file=secret))
    with pytest.raises(SourceError, match="cannot be read"):
        read(spec(directory.url, library, bind_dn=ROOT, password_file=str(tmp_path / "absent")))


def test_an_unknown_field_is_named(directory: Slapd) -> None:
    with pytest.raises(SourceError, match="unknown fields adresse_mail"):
        LdapReading(spec(directory.url, "ldap3", attributes={"adresse_mail": "mail"}))


def test_a_directory_that_is_away_is_asked_again(library: str) -> None:
    slept: list[float] = []
    asked = spec("ldap://127.0.0.1:1", library)
    (refused,) = frames(Job(asked, "", b"", (1.0, 5.0)), LdapReading(asked), slept.append)
    assert isinstance(refused, Refused)
    assert refused.again
    assert slept == [1.0, 5.0]


def test_a_directory_that_goes_in_the_middle_is_told(library: str) -> None:
    with slapd.directory(map(slapd.entry, PEOPLE)) as running:
        entries = LdapReading(spec(running.url, library, page_size=10)).read("")
        assert isinstance(next(entries), Entry)
        running.process.kill()
        running.process.wait(30)
        with pytest.raises(SourceError, match="cut") as error:
            list(entries)
    assert error.value.again


def test_entries_out_of_the_schema_are_faults(library: str) -> None:
    odd = [
        slapd.entry(PEOPLE[0], mssTypeBal="XXX"),
        slapd.entry(PEOPLE[1], mssIdNational="unknown-1"),
        slapd.entry(PEOPLE[2]).replace(f"sn: {PEOPLE[2].nom}", "description:: /w=="),
    ]
    with slapd.directory(odd[:2]) as running:
        _, entries, faults = read(spec(running.url, library))
    assert [fault.problem for fault in faults] == ["unknown type of bal 'XXX'"]
    (fiche,) = entries[dn(PEOPLE[1])].fiches
    assert fiche.personne is not None
    assert (fiche.personne.number, fiche.holder) == ("unknown-1", "")


def test_everything_goes_through_the_worker(directory: Slapd, library: str) -> None:
    asked = spec(directory.url, library)
    *batches, end = frames(Job(asked, "", b"", ()), LdapReading(asked))
    assert isinstance(end, End)
    assert (end.read, sum(len(batch.lines) for batch in batches if isinstance(batch, Batch))) == (60, 60)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> TrustSpace:
    operator = Operator("Cabinet Exemple", "mx.cabinet.test", ("cabinet.test",), "127.0.0.1", 2500)
    return create_trust_space(tmp_path_factory.mktemp("pki"), operator, now_us=FakeClock().now_us())


@pytest.mark.filterwarnings("ignore:ssl.match_hostname", "ignore::ResourceWarning")  # ldap3's, in the worker process
def test_tls_with_a_client_certificate(pki: TrustSpace, library: str, tmp_path: Path) -> None:
    operator = Operator("Autre Exemple", "mx.autre.test", ("autre.test",), "127.0.0.1", 2500)
    other = create_trust_space(tmp_path / "other", operator, now_us=FakeClock().now_us())
    tls = f"TLSCACertificateFile {pki.roots}\nTLSCertificateFile {pki.certificate}\nTLSCertificateKeyFile {pki.key}"
    own = {"roots": str(pki.roots), "certificate": str(pki.certificate), "key": str(pki.key)}
    with slapd.directory(map(slapd.entry, PEOPLE), extra=f"{tls}\nTLSVerifyClient demand", secure=True) as running:
        # From Python 3.12 on ldap3 finds no IP address in a certificate; libldap takes localhost for the host itself.
        url = running.secure.replace("127.0.0.1", "localhost") if library == "ldap3" else running.secure
        assert len(read(spec(url, library, **own))[1]) == 60
        with pytest.raises(SourceError):
            read(spec(url, library, roots=str(pki.roots)))
        with pytest.raises(SourceError):
            read(spec(url, library, **(own | {"roots": str(other.roots)})))
