"""The copy brought up to date from a real slapd, on both databases, by the real reading process: what changes there,
and what is wrong there or with how it is asked."""

from pathlib import Path

import msgspec
import pytest

from annuaire.ldap3_client import connected, write
from annuaire.source import Ldap
from mssante.directory import pairs_of
from mssante.services.annuaire import Guard, SyncRefused, sync
from mssante.services.recherche import search, show
from mssante.settings_people import AnnuaireLdap
from mssante.store import Store
from mssante.store import annuaire as copies
from mssante.store.annuaire import Copy
from tests.support import slapd
from tests.support.clock import FakeClock
from tests.support.practitioners import Practitioner, practitioners
from tests.support.slapd import BASE, PASSWORD, ROOT

PEOPLE = list(practitioners(30))
OLD = {"modifyTimestamp": "20200101000000Z", "createTimestamp": "20200101000000Z"}
DAY_US = 86_400_000_000


def spec(url: str, **more: object) -> Ldap:
    said = AnnuaireLdap()
    values = {"filter": said.filter, "attributes": pairs_of(said.attributes), "page_size": 7}
    return Ldap(url=url, base=BASE, **(values | more))  # type: ignore[arg-type]


async def read(store: Store, asked: Ldap, later_us: int = 0) -> Copy:
    return await sync(store, asked, Guard(), FakeClock().now_us() + later_us)


def dn(one: Practitioner) -> str:
    return f"uid={one.address},{BASE}"


async def test_changes_alone_then_everything(store: Store, tmp_path: Path) -> None:
    first, second, third = PEOPLE[:3]
    secret = tmp_path / "ldap.secret"
    secret.write_text(PASSWORD)
    with slapd.directory(slapd.entry(one, **OLD) for one in PEOPLE) as running:
        asked = spec(running.url)
        copy = await read(store, asked)
        assert (copy.fiches, copy.source, copy.faults) == (30, "ldap", ())
        root = connected(spec(running.url, bind_dn=ROOT, password_file=str(secret)), read_only=False)
        write(root, "modify", dn(first), {"mssListeRouge": [("MODIFY_REPLACE", ["O"])]})
        write(root, "modify", dn(second), {"mail": [("MODIFY_ADD", ["second@x.mssante.fr"])]})
        write(root, "delete", dn(third))
        root.unbind()
        copy = await read(store, asked)
        # What was erased is not among the changes: it is seen when everything is read again.
        assert (copy.fiches, copy.added, copy.removed) == (30, 1, 1)
        assert store.read_now(show, first.address) == []
        assert {str(fiche.address) for fiche in store.read_now(search, second.rpps)} == {
            second.address,
            "second@x.mssante.fr",
        }
        assert store.read_now(show, third.address) != []
        copy = await read(store, asked, 2 * DAY_US)
        assert (copy.fiches, copy.added, copy.removed) == (29, 0, 1)
        assert store.read_now(show, third.address) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"base": "ou=ailleurs,o=mssante,c=fr"}, "the base does not exist there"),
        ({"bind_dn": ROOT, "password_file": "wrong.secret"}, "the sign-in is refused"),
        ({"filter": "(objectClass=mssBal"}, "is not a filter"),
        ({"filter": "(objectClass=organization)"}, "0 lines read where 30 are known"),
        ({"attributes": {"address": "courriel"}}, "(30 faulty, such as "),
        ({"attributes": {"adresse_mail": "mail"}}, "unknown fields adresse_mail"),
    ],
)
async def test_what_is_wrong_is_named_and_the_copy_stays(
    store: Store, tmp_path: Path, wrong: dict[str, object], told: str
) -> None:
    (tmp_path / "wrong.secret").write_text("un autre\n")
    if "password_file" in wrong:
        wrong = wrong | {"password_file": str(tmp_path / "wrong.secret")}
    with slapd.directory(slapd.entry(one, **OLD) for one in PEOPLE) as running:
        await read(store, spec(running.url))
        with pytest.raises(SyncRefused) as refused:
            await read(store, msgspec.structs.replace(spec(running.url), **wrong), 2 * DAY_US)
    assert told in str(refused.value)
    assert not refused.value.unreachable
    copy = store.read_now(copies.copy)
    assert told in copy.problem
    assert (copy.fiches, copy.owner) == (30, "")
    assert len(store.read_now(show, PEOPLE[0].address)) == 1


async def test_rows_that_contradict_or_are_not_utf8_are_named_and_the_rest_is_served(store: Store) -> None:
    same = PEOPLE[1]._replace(address="same@x.mssante.fr"), PEOPLE[2]._replace(address="same@x.mssante.fr")
    odd = slapd.entry(PEOPLE[3]).replace("objectClass: mssBal", "objectClass: mssBal\nobjectClass: extensibleObject")
    entries = [
        slapd.entry(PEOPLE[0]),
        *(slapd.entry(one).replace("dn: uid=same@", f"dn: uid={n}@").replace("uid: same@", f"uid: {n}@")
          for n, one in enumerate(same)),
        odd.replace("\n\n", "\nuserPassword:: /w==\n\n"),
    ]  # fmt: skip
    with slapd.directory(entries) as running:
        attributes = spec(running.url).attributes | {"service": "userPassword"}
        copy = await read(store, spec(running.url, attributes=attributes))
    assert (copy.fiches, copy.faulty) == (3, 2)
    assert {(fault.place.lower(), fault.problem) for fault in copy.faults} == {
        (dn(PEOPLE[3]).lower(), "not UTF-8"),
        ("same@x.mssante.fr", "two types, or two holders, for one address"),
    }
