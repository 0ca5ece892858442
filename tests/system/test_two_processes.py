"""Two processes of one operator serve one PostgreSQL: nothing is sent twice, and what one had in hand when it was
killed leaves by the other once its leases end."""

import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.operators import Network, Operator, until
from tests.support.postgres import Postgres, running_postgres
from tests.system.pairs import at, beside
from tests.system.people import TIMEOUT_S, Letter, Person, professional

LEASE_S = 3
AT_ONCE = 2 * 4
"""Outcomes that die with a process: of each connection to the peer the message on its way and the one just answered."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def second(own_network: Network, postgres: Postgres) -> Iterator[Operator]:
    """Another process of the cabinet, with doors of its own; both are on PostgreSQL."""
    with beside(own_network.cabinet, postgres, lease_s=LEASE_S) as second:
        yield second


def send(author: Person, reader: Person, count: int) -> list[Letter]:
    """Letters that got their 250."""
    letters = [author.letter(reader.address, subject=f"{number}") for number in range(count)]
    for letter in letters:
        author.send(letter, reader.address)
    return letters


def copies(reader: Person) -> Counter[str]:
    with reader.imap() as inbox:
        return Counter(inbox.message_ids())


def test_one_queue_two_processes_one_killed(own_network: Network, second: Operator, postgres: Postgres) -> None:
    first, there = own_network.cabinet, own_network.clinique
    own_network.serve(there, first, second)
    author, reader = professional(first), professional(there)

    def both_have_some() -> bool:
        name = first.config.read_text().partition("postgres@/")[2].partition("?")[0]
        ((owners,),) = postgres.fetch("SELECT count(DISTINCT lease_owner) FROM queue_item WHERE state = 'leased'", name)
        return bool(owners == 2)

    promised = send(author, reader, 20) + send(at(second, author), reader, 20)
    until(lambda: first.json("queue", "list") == [], "an empty queue")
    assert copies(reader) == Counter(letter.message_id for letter in promised)

    there.signal(signal.SIGSTOP)  # taken, and not answered
    held = send(author, reader, 20) + send(at(second, author), reader, 20)
    until(both_have_some, "leases of both")
    first.kill()
    there.signal(signal.SIGCONT)
    until(lambda: second.json("queue", "list") == [], "what the dead one had leaves too")
    seen = copies(reader)
    assert set(seen) == {letter.message_id for letter in promised + held}
    assert sum(number - 1 for number in seen.values()) <= AT_ONCE
    assert (second.command("verify").code, second.command("audit", "verify").code) == (0, 0)
    assert second.stop() == 0
    assert [*second.troubles(), *there.troubles()] == []


def test_news_reach_sessions_of_the_other_process(own_network: Network, second: Operator) -> None:
    first = own_network.cabinet
    own_network.serve(first, second)
    author, reader = professional(first), professional(first)
    with at(second, reader).imap() as inbox:
        inbox.session.send(b"i1 IDLE\r\n")
        assert inbox.session.readline().startswith(b"+")
        author.send(author.letter(reader.address), reader.address)
        inbox.session.sock.settimeout(TIMEOUT_S)
        assert inbox.session.readline() == b"* 1 EXISTS\r\n"
        first.run("bal", "suspend", reader.address, "--motif", "Essai")
        assert any(b"BYE" in inbox.session.readline() for _ in range(3))
    assert (first.stop(), second.stop()) == (0, 0)
