"""The copy brought up to date from files, on both databases, by the real reading process."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from annuaire.extraction import COLUMNS
from annuaire.source import Extraction
from mssante.domain.annuaire import Line
from mssante.domain.bal import BalType
from mssante.services.annuaire import Guard, SyncRefused, sync
from mssante.services.recherche import search, show
from mssante.store import Store, Tx
from mssante.store import annuaire as copies
from mssante.store.accounts import NewBal, create_bals
from mssante.store.annuaire import Busy, Copy
from tests.annuaire.fictive import row, with_luhn
from tests.support.clock import FakeClock
from tests.support.practitioners import practitioners

HEADER = "|".join(COLUMNS)
PEOPLE = [one.row() for one in practitioners(40)]
RPPS = with_luhn("1000700001")


def file_of(folder: Path, lines: Sequence[str], more: bytes = b"") -> Extraction:
    path = folder / "extraction.txt"
    path.write_bytes("".join(f"{line}\n" for line in (HEADER, *lines)).encode() + more)
    return Extraction(path=str(path))


async def read(store: Store, spec: Extraction, percent: int = 10, *, force: bool = False) -> Copy:
    return await sync(store, spec, Guard(percent), FakeClock().now_us(), force=force)


def served(store: Store) -> set[str]:
    """The addresses that anybody sees."""
    wanted = [line.split("|")[1] for line in PEOPLE]
    return {address for address in wanted if store.read_now(copies.by_address, address)}


def person(address: str, nom: str, prenom: str = "Anne", **more: str) -> str:
    values = {"type": "PER", "type_pp": "8", "id_pp": RPPS, "profession_libelle": "Médecin"} | more
    return row(adresse=address, nom=nom, prenom=prenom, **values)


async def test_a_file_is_served_then_only_its_differences_are_written(store: Store, tmp_path: Path) -> None:
    first = await read(store, file_of(tmp_path, PEOPLE))
    assert (first.fiches, first.addresses, first.added, first.removed, first.source) == (40, 40, 40, 0, "extraction")
    assert len(served(store)) == 40
    second = await read(store, file_of(tmp_path, PEOPLE))
    assert (second.added, second.removed, second.changed_us) == (0, 0, first.changed_us)
    third = await read(store, file_of(tmp_path, [*PEOPLE[2:], person("new@x.mssante.fr", "NOUVELLE")]))
    assert (third.fiches, third.added, third.removed) == (39, 1, 2)
    assert len(served(store)) == 38


@pytest.mark.parametrize("lines", [[], PEOPLE[:20]])
async def test_a_reading_that_would_take_too_much_away_is_refused(
    store: Store, tmp_path: Path, lines: list[str]
) -> None:
    await read(store, file_of(tmp_path, PEOPLE))
    with pytest.raises(SyncRefused, match=rf"^{len(lines)} lines read where 40 are known"):
        await read(store, file_of(tmp_path, lines))
    assert len(served(store)) == 40
    state = store.read_now(copies.copy)
    assert state.problem.startswith(f"{len(lines)} lines read")
    assert (state.fiches, state.owner) == (40, "")


async def test_other_people_of_the_same_number_are_refused_too(store: Store, tmp_path: Path) -> None:
    await read(store, file_of(tmp_path, PEOPLE))
    others = [one.row() for one in practitioners(40, seed=8)]
    others = [line.replace("@", f"{number}@", 1) for number, line in enumerate(others)]
    with pytest.raises(SyncRefused, match="40 of 40 addresses would vanish"):
        await read(store, file_of(tmp_path, others))
    assert len(served(store)) == 40
    # What that attempt has left behind does no harm to the next one.
    state = await read(store, file_of(tmp_path, PEOPLE))
    assert (state.fiches, state.added, state.removed, state.problem) == (40, 0, 0, "")
    assert (await read(store, file_of(tmp_path, others), force=True)).removed == 40
    assert served(store) == set()


async def test_an_empty_directory_is_refused_even_by_force(store: Store, tmp_path: Path) -> None:
    await read(store, file_of(tmp_path, PEOPLE))
    with pytest.raises(SyncRefused, match=r"^0 lines read"):
        await read(store, file_of(tmp_path, []), force=True)


async def test_faults_are_named_and_the_rest_is_served(store: Store, tmp_path: Path) -> None:
    spec = file_of(
        tmp_path,
        [
            PEOPLE[0],
            "PER|torn",
            PEOPLE[0],
            person("a@x.fr", "UN"),
            person("a@x.fr", "DEUX", id_pp=with_luhn("1000700002")),
        ],
        b"PER|\xff@x.fr\n",
    )
    state = await read(store, spec)
    assert state.fiches == 3
    assert {(fault.place, fault.problem) for fault in state.faults} == {
        ("line 3", "2 columns instead of 31"),
        (PEOPLE[0].split("|")[1], "the same line twice"),
        ("line 7", "not UTF-8"),
        ("a@x.fr", "two types, or two holders, for one address"),
    }
    assert state.faulty == 4


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"not|the|header\n", "column 1 is 'not'"),
        (b"PK\x03\x04 torn zip", "damaged zip file"),
    ],
)
async def test_a_file_that_is_none_is_told(store: Store, tmp_path: Path, content: bytes, problem: str) -> None:
    await read(store, file_of(tmp_path, PEOPLE))
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(SyncRefused, match=problem) as refused:
        await read(store, Extraction(path=str(tmp_path / "bad.txt")))
    assert not refused.value.unreachable
    assert len(served(store)) == 40


async def test_a_reading_that_was_killed_is_taken_up_by_the_next(store: Store, tmp_path: Path) -> None:
    await read(store, file_of(tmp_path, PEOPLE[:30]))

    def half_way(tx: Tx) -> None:
        copies.begin(tx, "dead")
        copies.mark(tx, "dead", list(memoryview(copies.known(tx.conn)).cast("q"))[:10])
        copies.stage(tx, "dead", [Line(1, "o", "ghost@x.fr", "PER", "", b"", "ghost")], [], [])

    store.write_now(half_way)
    assert len(served(store)) == 30
    with pytest.raises(Busy):
        await read(store, file_of(tmp_path, PEOPLE))

    def lapsed(tx: Tx) -> None:
        copies.release(tx, "dead")

    store.write_now(lapsed)
    state = await read(store, file_of(tmp_path, PEOPLE))
    assert (state.fiches, state.added, state.removed) == (40, 10, 0)
    assert store.read_now(copies.by_address, "ghost@x.fr") == []


async def test_a_line_that_comes_back_while_address_books_wait_is_served(store: Store, tmp_path: Path) -> None:
    await read(store, file_of(tmp_path, PEOPLE))
    store.write_now(copies.fed, 0)  # an address book that is not fed keeps what it has to lose
    await read(store, file_of(tmp_path, PEOPLE[1:]))
    assert len(store.read_now(copies.news, None, 100)[1]) == 1
    assert len(served(store)) == 39
    state = await read(store, file_of(tmp_path, PEOPLE))
    assert (state.fiches, len(served(store))) == (40, 40)
    assert store.read_now(copies.news, None, 100)[1] == []


# Search


@pytest.fixture
async def town(store: Store, tmp_path: Path) -> Store:
    lines = [
        person(
            "claire.legoff@x.mssante.fr",
            "LE GOFF",
            "Claire",
            savoir_faire_libelle="Cardiologie",
            code_postal="29200",
            l6="29200 BREST",
        ),
        person(
            "jm.durand@x.mssante.fr",
            "DURAND",
            "Jean-Marc",
            id_pp=with_luhn("1000700002"),
            l6="75015 PARIS",
            code_postal="75015",
        ),
        person(
            "jm.durant@x.mssante.fr", "DURANT", "Jean", id_pp=with_luhn("1000700003"), raison_sociale="CLINIQUE DU HAŸ"
        ),
        person("rouge@cabinet.mssante.fr", "CACHÉE", "Rose", id_pp=with_luhn("1000700004")),
        person("old@x.mssante.fr", "ANCIEN", "Paul", type_pp="0", id_pp="751234567"),
        person("old@x.mssante.fr", "ANCIEN", "PAUL", id_pp=with_luhn("1000700005")),
        *PEOPLE,
    ]
    await read(store, file_of(tmp_path, lines))
    rouge = NewBal(address="rouge@cabinet.mssante.fr", type=BalType.PER, liste_rouge=True)
    await store.write(create_bals, [rouge])
    return store


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        (RPPS, "claire.legoff@x.mssante.fr"),
        ("8" + RPPS, "claire.legoff@x.mssante.fr"),
        ("le goff claire", "claire.legoff@x.mssante.fr"),
        ("Legoff", "claire.legoff@x.mssante.fr"),
        ("cardiologue brest", "claire.legoff@x.mssante.fr"),
        ("brest cardio", "claire.legoff@x.mssante.fr"),
        ("jean marc durand", "jm.durand@x.mssante.fr"),
        ("JEANMARC DURAND", "jm.durand@x.mssante.fr"),
        ("durnad jean-marc", "jm.durand@x.mssante.fr"),
        ("médecin 75015", "jm.durand@x.mssante.fr"),
        ("durand", "jm.durand@x.mssante.fr"),
        ("durant", "jm.durant@x.mssante.fr"),
        ("clinique hay", "jm.durant@x.mssante.fr"),
        ("jm.durant@x.mssante.fr", "jm.durant@x.mssante.fr"),
    ],
)
async def test_what_people_type_is_found(town: Store, asked: str, first: str) -> None:
    found = town.read_now(search, asked)
    assert found, asked
    assert str(found[0].address) == first


@pytest.mark.parametrize(
    "asked", ["", "---", "zzzzzzz", "durand zzzzzzz", '"', "a' OR 1=1", "NEAR( *", "rose cachée", "cachée"]
)
async def test_nobody_is_found(town: Store, asked: str) -> None:
    assert town.read_now(search, asked) == []


async def test_liste_rouge_is_not_shown_by_its_address_either(town: Store) -> None:
    assert town.read_now(show, "rouge@cabinet.mssante.fr") == []


async def test_who_got_an_rpps_stands_under_it_alone(town: Store) -> None:
    for asked in ("751234567", "old@x.mssante.fr", with_luhn("1000700005")):
        (fiche,) = town.read_now(show, asked)
        assert fiche.holder.startswith("8")
    assert len(town.read_now(search, "ancien")) == 1


async def test_what_is_neither_address_nor_number_is_refused(town: Store) -> None:
    with pytest.raises(ValueError, match="neither"):
        town.read_now(show, "durand")
    with pytest.raises(ValueError):
        town.read_now(show, "a@@b")
