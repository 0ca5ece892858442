"""Opening a store: an empty place, an old one, a newer one, somebody else's."""

from pathlib import Path

import pysqlite3
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from mssante.store import Store, StoreError, StoreUnavailable, Tx
from mssante.store.journal import verify_chain
from mssante.store.queue import listing
from mssante.store.schema import metadata
from mssante.store.versions import MIGRATIONS, VERSION
from tests.mssante.store.made import MASTER_KEY, make_bals, open_store
from tests.mssante.store.test_queue import send
from tests.support.clock import FakeClock
from tests.support.postgres import Postgres


def test_the_migrations_make_the_tables_of_the_schema(store: Store) -> None:
    def ours(_object: object, name: str | None, kind: str, *_: object) -> bool:
        return kind != "table" or not (name or "").startswith("annuaire_words")  # each database has it in its own form

    def differences(conn: object) -> object:
        return compare_metadata(MigrationContext.configure(conn, opts={"include_object": ours}), metadata)  # type: ignore[arg-type]

    assert store.read_now(differences) == []


def test_the_migrations_also_make_what_comparing_does_not_see(sqlite_store: Store) -> None:
    sql = sqlite_store.read_now(
        lambda conn: conn.execute(
            text("SELECT group_concat(sql) FROM sqlite_master WHERE name NOT LIKE 'annuaire_words%'")
        ).scalar_one()
    )
    assert sql.count("AUTOINCREMENT") == sum(
        table.dialect_options["sqlite"]["autoincrement"] for table in metadata.tables.values()
    )
    assert sql.count("WITHOUT ROWID") == 3
    assert sql.count("ON DELETE") == sum(
        key.ondelete is not None for table in metadata.tables.values() for key in table.foreign_keys
    )


def test_the_version_is_that_of_the_newest_migration() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == VERSION


def test_an_empty_postgresql_becomes_a_store(postgres: Postgres, tmp_path: Path) -> None:
    name = postgres.new_database()
    for number in range(2):
        store = open_store(tmp_path, postgres.url(name), FakeClock())
        make_bals(store, f"u{number}")
        assert store.read_now(verify_chain) is None
        store.close()
    postgres.drop(name)


def test_what_was_written_is_there_after_reopening(database_url: str, tmp_path: Path, clock: FakeClock) -> None:
    for number in range(3):
        store = open_store(tmp_path, database_url, clock)
        ids = make_bals(store, f"u{number}")
        assert ids == [number + 1]
        store.close()


def test_a_store_of_a_newer_version_is_refused(
    store: Store, database_url: str, tmp_path: Path, clock: FakeClock
) -> None:
    store.write_now(lambda tx: tx.conn.execute(text("UPDATE alembic_version SET version_num = '9999'")).rowcount)
    with pytest.raises(StoreError, match=r"written by a newer version .*upgrade mssante"):
        open_store(tmp_path, database_url, clock)
    assert store.read_now(lambda conn: conn.execute(text("SELECT version_num FROM alembic_version")).scalar()) == "9999"


def test_another_master_key_is_refused(store: Store, database_url: str, tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(StoreError, match="master key"):
        Store.open(database_url, "file:data/contents", bytes(32), clock=clock, base=tmp_path)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("mysql://x/y", "not mysql"),
        ("postgresql://x/y", "not postgresql"),
        ("nonsense", "sqlite:///path"),
        ("sqlite://", "must name a file"),
    ],
)
def test_a_wrong_database_url_is_told(tmp_path: Path, clock: FakeClock, url: str, fault: str) -> None:
    with pytest.raises(StoreError, match=fault):
        open_store(tmp_path, url, clock)


def test_a_wrong_contents_url_is_told(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(StoreError, match="file:folder"):
        Store.open("sqlite:///x.db", "s3://bucket", bytes(32), clock=clock, base=tmp_path)


def test_a_file_that_is_no_database_is_told(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mssante.db").write_bytes(b"this is not a database " * 100)
    with pytest.raises(StoreError, match="database"):
        open_store(tmp_path, "sqlite:///data/mssante.db", clock)


def test_a_database_out_of_reach_is_told(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        open_store(tmp_path, f"postgresql+psycopg://postgres@/x?host={tmp_path}", clock)


def test_a_sqlite_with_the_wal_fault_is_refused(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pysqlite3, "sqlite_version_info", (3, 51, 2))
    with pytest.raises(StoreError, match=r"WAL-reset fault.*3\.51\.3"):
        open_store(tmp_path, "sqlite:///data/mssante.db", clock)


def test_sqlite_is_as_careful_as_it_must_be(sqlite_store: Store) -> None:
    def pragma(name: str) -> object:
        return sqlite_store.write_now(lambda tx: tx.conn.execute(text(f"PRAGMA {name}")).scalar())

    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2
    assert pragma("foreign_keys") == 1
    assert pragma("secure_delete") == 1
    assert pragma("busy_timeout") == 30_000


def test_an_older_store_is_brought_up_with_what_it_holds(
    store: Store, database_url: str, tmp_path: Path, clock: FakeClock
) -> None:
    def as_it_was(tx: Tx) -> None:
        for name in ("accepted_as", "header_id", "envid"):
            tx.conn.execute(text(f"DROP INDEX ix_queue_item_{name}"))
        for name in ("accepted_as", "header_id"):
            tx.conn.execute(text(f"ALTER TABLE queue_item DROP COLUMN {name}"))
        for table in ("subscription", "credential", "annuaire_fiche", "annuaire_mot", "publication", "annuaire_words"):
            tx.conn.execute(text(f"DROP TABLE {table}"))
        for table in ("matricule", "parent", "patient_notice", "introduction", "ended_thread"):
            tx.conn.execute(text(f"DROP TABLE {table}"))
        for table in ("search_part", "search_block", "search_text", "search_folder"):
            tx.conn.execute(text(f"DROP TABLE {table}"))
        for table in ("same_text", "correspondent", "sending_day", "signalement", "sending_exception"):
            tx.conn.execute(text(f"DROP TABLE {table}"))
        for table in ("annotation", "visit", "inactivity"):
            tx.conn.execute(text(f"DROP TABLE {table}"))
        tx.conn.execute(text("ALTER TABLE entry DROP COLUMN saved_us"))
        tx.conn.execute(text("ALTER TABLE patient DROP COLUMN standing"))
        tx.conn.execute(text("DROP INDEX ix_bal_adeli"))
        for name in ("siret", "responsable", "purged_us", "warned_percent", "closed_by"):
            tx.conn.execute(text(f"ALTER TABLE bal DROP COLUMN {name}"))
        tx.conn.execute(text("UPDATE alembic_version SET version_num = '0001'"))

    send(store, "b@clinique.test")
    store.write_now(as_it_was)
    store.close()
    with pytest.raises(StoreError, match=r"older version \(0001.*mssante serve"):  # a command beside the old service
        Store.open(database_url, "file:data/contents", MASTER_KEY, clock=clock, base=tmp_path, forward=False)
    newer = open_store(tmp_path, database_url, clock)
    try:
        assert newer.read_now(lambda conn: conn.execute(text("SELECT version_num FROM alembic_version")).scalar()) == (
            VERSION
        )
        (item,) = newer.read_now(listing)
        assert (item.recipient, item.accepted_as, item.traced_as) == ("b@clinique.test", None, "message 1")
        assert newer.read_now(verify_chain) is None
        test_the_migrations_make_the_tables_of_the_schema(newer)
    finally:
        newer.close()
