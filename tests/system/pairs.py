"""Two processes of one operator on one store, as a machine beside the first would be.

What must always hold: both have the same keys, people and store, and doors of their own; whoever makes a second one
closes it.
"""

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.operators import SERVICES, Network, Operator, free_ports
from tests.support.postgres import Postgres
from tests.system.people import Person


@contextmanager
def beside(first: Operator, postgres: Postgres | None, **queue: int) -> Iterator[Operator]:
    """A second process of an operator that does not serve yet, on a database of `postgres`, or on the first one's
    SQLite."""
    sqlite = f"sqlite:///{first.directory}/data/mssante.db"
    database = sqlite if postgres is None else postgres.url(postgres.new_database())
    first.set("store", database=database, contents=f"file:{first.directory}/data/contents")
    if queue:
        first.set("queue", **queue)
    directory = first.directory.with_name("cabinet-bis")
    shutil.copytree(first.directory, directory, symlinks=True)
    second = Operator(directory, free_ports(len(SERVICES)))
    second.set("listen", **{each: second.port_of(each) for each in SERVICES})
    try:
        yield second
    finally:
        second.close()


@contextmanager
def served(network: Network, first: Operator, second: Operator) -> Iterator[tuple[Operator, Operator]]:
    """Both serve; in the end both stop well and have nothing to complain of."""
    network.serve(first, second)
    yield first, second
    assert (first.stop(), second.stop()) == (0, 0)
    assert [*first.troubles(), *second.troubles()] == []


def at(operator: Operator, person: Person) -> Person:
    """The same person at another door."""
    return dataclasses.replace(person, operator=operator)
