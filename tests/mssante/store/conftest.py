"""One set of tests, two databases: every test that takes `store` runs on SQLite and on a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssante.store import Store
from tests.mssante.store.made import MASTER_KEY, PATIENT_DOMAIN, open_store
from tests.support.clock import FakeClock
from tests.support.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An up-to-date empty store, to be copied for each test."""
    name = postgres.new_database()
    base = tmp_path_factory.mktemp("template")
    Store.open(
        postgres.url(name),
        "file:contents",
        MASTER_KEY,
        clock=FakeClock(),
        base=base,
        patient_domains=frozenset({PATIENT_DOMAIN}),
        create=True,
    ).close()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A new, empty place for a store, alternately of both kinds."""
    if request.param == "sqlite":
        yield "sqlite:///data/mssante.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.new_database(request.getfixturevalue("postgres_template"))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(database_url: str, tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    store = open_store(tmp_path, database_url, clock)
    yield store
    store.close()


@pytest.fixture
def sqlite_store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    """For what does not depend on the database."""
    store = open_store(tmp_path, "sqlite:///data/mssante.db", clock)
    yield store
    store.close()
