"""The words that tables are written with, in `schema.py` and in the migrations.

Always true here: what a word makes is never changed, for the migrations have made tables with it.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, Text
from sqlalchemy.types import TypeEngine

Id = BigInteger().with_variant(Integer, "sqlite")
Folded = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that sorts by code point in both databases."""

Type = TypeEngine[Any] | type[TypeEngine[Any]]


def number() -> "Column[Any]":
    """The primary key of rows that are numbered; with `sqlite_autoincrement` no number is ever given again."""
    return Column("id", Id, primary_key=True)


def key(kind: Type, *names: str) -> "list[Column[Any]]":
    """Columns of the primary key that hold what they are given."""
    return [Column(name, kind, primary_key=True, autoincrement=False) for name in names]


def must(kind: Type, *names: str, default: str | None = None) -> "list[Column[Any]]":
    """Columns that always have a value; `default`: that of rows which are older than the column."""
    return [Column(name, kind, nullable=False, server_default=default) for name in names]


def may(kind: Type, *names: str) -> "list[Column[Any]]":
    """Columns that may be empty."""
    return [Column(name, kind) for name in names]


def of(table: str, name: str = "", *, key: bool = False) -> "Column[Any]":
    """The row belongs to one of `table` and goes with it; `key`: it has no other of the kind."""
    owner = ForeignKey(f"{table}.id", ondelete="CASCADE")
    return Column(name or f"{table}_id", Id, owner, primary_key=key, autoincrement=False, nullable=False)
