"""A store that is lost is never replaced by an empty one: bals that nobody knows any more would refuse their mail."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mssante.store import Store, StoreError, StoreUnavailable
from mssante.store.accounts import list_bals
from mssante.store.journal import verify_chain
from tests.mssante.store.made import arrive, make_bals, open_store
from tests.support.clock import FakeClock
from tests.support.postgres import Postgres

SQLITE = "sqlite:///data/mssante.db"


def refused(base: Path, database_url: str) -> str:
    """What is said to who opens the place; nothing is changed there."""
    before = sorted(base.rglob("*"))
    with pytest.raises(StoreError) as caught:
        open_store(base, database_url, FakeClock(), create=False)
    assert sorted(base.rglob("*")) == before
    assert not isinstance(caught.value, StoreUnavailable)
    said = str(caught.value)
    assert "\n" not in said
    return said


def empty_tables(server: Postgres, name: str) -> None:
    server.execute("DROP SCHEMA public CASCADE", name)
    server.execute("CREATE SCHEMA public", name)


def test_a_store_that_is_there_is_opened(store: Store, database_url: str, tmp_path: Path, clock: FakeClock) -> None:
    make_bals(store, "a")
    again = open_store(tmp_path, database_url, clock, create=False)
    assert [bal.address for bal in again.read_now(list_bals)] == ["a@cabinet.mssante.fr"]
    again.close()


@pytest.mark.parametrize(
    "lose",
    [
        lambda base: [file.unlink() for file in (base / "data").glob("mssante.db*")],
        lambda base: shutil.rmtree(base / "data"),
    ],
    ids=["file", "disk"],
)
def test_a_lost_sqlite_file_is_told(sqlite_store: Store, tmp_path: Path, lose: Callable[[Path], object]) -> None:
    sqlite_store.close()
    lose(tmp_path)
    said = refused(tmp_path, SQLITE)
    assert str(tmp_path / "data" / "mssante.db") in said
    assert "is missing: " in said
    assert "[store] database" in said


@pytest.mark.parametrize("octets", [b"", None])
def test_a_sqlite_file_without_a_store_is_told(tmp_path: Path, octets: bytes | None) -> None:
    """An empty file, and a folder in the place of the file."""
    (tmp_path / "data" / "contents").mkdir(parents=True)
    place = tmp_path / "data" / "mssante.db"
    if octets is None:
        place.mkdir()
    else:
        place.write_bytes(octets)
    with pytest.raises(StoreError, match="is missing: " if octets is None else "holds no store: "):
        open_store(tmp_path, SQLITE, FakeClock(), create=False)


def test_a_wrong_path_makes_no_folder(tmp_path: Path) -> None:
    refused(tmp_path, "sqlite:///elsewhere/deep/mssante.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_lost_while_it_is_served_is_not_made_anew(sqlite_store: Store, tmp_path: Path) -> None:
    for file in (tmp_path / "data").glob("mssante.db*"):
        file.unlink()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        sqlite_store.read_now(list_bals)
    assert not (tmp_path / "data" / "mssante.db").exists()


@pytest.mark.parametrize("name", ["a b", "a?b#c", "a%20b", "é"])
def test_any_name_of_a_file_will_do(tmp_path: Path, clock: FakeClock, name: str) -> None:
    url = f"sqlite:///{name.replace('%', '%25').replace('?', '%3F')}.db"
    for create in (True, False):
        store = open_store(tmp_path, url, clock, create=create)
        store.close()
    assert len(list(tmp_path.glob("*.db"))) == 1


def test_a_lost_contents_folder_is_told(store: Store, database_url: str, tmp_path: Path) -> None:
    arrive(store, b"x", make_bals(store, "a"))
    shutil.rmtree(tmp_path / "data" / "contents")
    said = refused(tmp_path, database_url)
    assert f"the contents folder {tmp_path / 'data' / 'contents'} is missing: " in said
    assert "[store] contents" in said


def test_lost_tables_of_postgresql_are_told(postgres: Postgres, tmp_path: Path) -> None:
    name = postgres.new_database()
    url = postgres.url(name)
    store = open_store(tmp_path, url, FakeClock())
    arrive(store, b"x", make_bals(store, "a"))
    store.close()
    empty_tables(postgres, name)
    said = refused(tmp_path, url)
    assert "holds no store: " in said
    assert "[store] database" in said
    shutil.rmtree(tmp_path / "data" / "contents")
    assert "contents folder" in refused(tmp_path, url)
    postgres.drop(name)


def test_an_operator_begins_on_postgresql(postgres: Postgres, tmp_path: Path) -> None:
    """`init` has made the contents folder; the database is empty and nothing was ever written."""
    name = postgres.new_database()
    (tmp_path / "data" / "contents").mkdir(parents=True)
    for _ in range(2):
        store = open_store(tmp_path, postgres.url(name), FakeClock(), create=False)
        assert store.read_now(verify_chain) is None
        store.close()
    postgres.drop(name)


def test_the_tables_of_others_are_left_alone(postgres: Postgres, tmp_path: Path) -> None:
    name = postgres.new_database()
    (tmp_path / "data" / "contents").mkdir(parents=True)
    postgres.execute("CREATE TABLE of_others (x int)", name)
    assert "holds no store: " in refused(tmp_path, postgres.url(name))
    postgres.drop(name)
