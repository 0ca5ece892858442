"""Core statements compiled once and run straight on the driver, for what every message needs.

Always true here: the statements are SQLAlchemy Core expressions, the same for both databases; only their execution
skips SQLAlchemy's (25 µs a statement, 3 µs this way). Values go in and rows come out as the driver knows them: a
boolean is a number in SQLite. The driver hands the interpreter lock over for each row that it steps to, which is what
a statement costs beside a busy loop: so rows are inserted together, and an id is not asked for where it is known.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, Delete, Insert, Select, Table, Update
from sqlalchemy.dialects.postgresql import Insert as Upsert
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.visitors import cloned_traverse

T = TypeVar("T", int, str)
Values = Mapping[str, Any]
LONGEST = 64
"""Statements with longer lists are not kept: SQLAlchemy runs them. Rows that are inserted together."""
_MOST = 1000
"""Items of a list that one statement is given."""


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """The items, each once and in order, as many at a time as a list of one statement may have."""
    ordered = sorted(set(items))
    for start in range(0, len(ordered), _MOST):
        yield ordered[start : start + _MOST]


def upsert(table: Table) -> Upsert:
    """An INSERT with PostgreSQL's ON CONFLICT, which is SQLite's too."""
    return Upsert(table)


def put(conn: Connection, table: Table, *rows: Values) -> None:
    """Writes rows, which all have the same names, each in the place of the one with its key if there is one."""
    if rows:
        conn.execute(_putting(table, tuple(rows[0])), rows)


@lru_cache
def _putting(table: Table, names: tuple[str, ...]) -> Insert:
    new, keys = upsert(table), table.primary_key.columns
    others = {name: new.excluded[name] for name in names if name not in keys}
    return new.on_conflict_do_update(index_elements=keys, set_=others) if others else new.on_conflict_do_nothing()


class Prepared:
    """A statement ready to run. Lists among the values are for its expanding parameters (`IN`)."""

    def __init__(
        self, statement: "Select[*tuple[Any, ...]] | Insert | Update | Delete", columns: Sequence[str] | None = None
    ) -> None:
        """`columns`: those that an INSERT fills, when not all of them."""
        self._statement, self._columns = statement, columns
        self._compiled = lru_cache(maxsize=128)(self._compile)
        self._compiled_rows = lru_cache(maxsize=LONGEST)(self._compile_rows)

    def rows(self, conn: Connection, values: Values | None = None) -> list[Any]:
        """Runs it; the rows it returns, as tuples."""
        return list(self._run(conn, values or {}).fetchall())

    def each(self, conn: Connection, values: Values) -> Iterator[Any]:
        """Runs it; the rows one by one, as they are asked for."""
        return iter(self._run(conn, values))

    def count(self, conn: Connection, values: Values) -> int:
        """Runs it; how many rows it changed."""
        return int(self._run(conn, values).rowcount)

    def _run(self, conn: Connection, given: Values) -> Any:
        lists = tuple([(name, len(value)) for name, value in given.items() if type(value) is list])
        if lists and max(size for _, size in lists) > LONGEST:
            return conn.execute(self._statement, given)
        sql, names, defaults = self._compiled(conn.dialect, lists)
        values = {**defaults, **given}
        for name, _ in lists:
            values.update((f"{name}_{number}", value) for number, value in enumerate(given[name], 1))
        driver: Any = conn.connection.driver_connection
        return driver.execute(sql, values if names is None else [values[name] for name in names])

    def added(self, conn: Connection, values: Values) -> int:
        """Runs an INSERT of one row; the id that the row got."""
        if conn.dialect.name == "sqlite":
            return int(self._run(conn, values).lastrowid)
        return int(self._returning_id.rows(conn, values)[0][0])

    @cached_property
    def _returning_id(self) -> "Prepared":
        assert isinstance(self._statement, Insert)
        return Prepared(self._statement.returning(*self._statement.table.primary_key), self._columns)

    def many(self, conn: Connection, values: Sequence[Values]) -> int:
        """Runs it once for each of the values, which all have the same names; how many rows it changed."""
        if not isinstance(self._statement, Insert):
            sql, names, defaults = self._compiled(conn.dialect, ())
            driver: Any = conn.connection.driver_connection
            cursor = driver.cursor()
            given = [{**defaults, **one} for one in values]
            cursor.executemany(sql, given if names is None else [[one[name] for name in names] for one in given])
            return int(cursor.rowcount)
        done = start = 0
        while start < len(values):  # by powers of two: seven statements, compiled once, do for all
            size = min(LONGEST, 2 ** ((len(values) - start).bit_length() - 1))
            done += self._insert(conn, values[start : start + size])
            start += size
        return done

    def _insert(self, conn: Connection, rows: Sequence[Values]) -> int:
        sql, columns = self._compiled_rows(conn.dialect, tuple(rows[0]), len(rows))
        driver: Any = conn.connection.driver_connection
        if conn.dialect.positional:
            given: Any = [row[name] for row in rows for name in columns]
        else:
            given = {f"{name}_m{number}": row[name] for number, row in enumerate(rows) for name in columns}
        return int(driver.execute(sql, given).rowcount)

    def _compile_rows(self, dialect: Dialect, names: tuple[str, ...], count: int) -> tuple[str, list[str]]:
        """The SQL that inserts so many rows, and the names of their values in its order."""
        assert isinstance(self._statement, Insert)
        rows = self._statement.values([dict.fromkeys(names, 0)] * count)
        compiled = rows.compile(dialect=dialect)
        columns = [column.name for column in self._statement.table.columns if column.name in names]
        return str(compiled), columns

    def _compile(self, dialect: Dialect, lists: tuple[tuple[str, int], ...]) -> tuple[str, list[str] | None, Values]:
        """The SQL, the order of its parameters (None where they go by name), the values the statement itself holds."""
        sizes = dict(lists)
        asked = set()

        def stand_in(parameter: BindParameter[Any]) -> None:
            if parameter.required:
                asked.add(parameter.key)
                parameter.value = [0] * sizes[parameter.key] if parameter.expanding else 0
                parameter.required = False

        statement = cloned_traverse(self._statement, {}, {"bindparam": stand_in})
        expanded = {"render_postcompile": bool(lists) or not isinstance(statement, Insert)}
        compiled = statement.compile(dialect=dialect, column_keys=self._columns, compile_kwargs=expanded)
        own = {name: value for name, value in compiled.params.items() if name not in asked}
        return str(compiled), compiled.positiontup, own
