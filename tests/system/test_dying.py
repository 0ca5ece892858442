"""kill -9 at any moment under load, and SIGTERM: what got 250 is there, once; what waits to leave still leaves.

RFC 5321 §4.5.5, §6.1: the 250 after DATA is a promise. The moments are drawn by pytest-randomly's seed.
"""

import itertools
import random
import smtplib
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.operators import Network, until
from tests.system.people import Person, professional

CONNECTIONS = 8
KILLS = 3
IN_FLIGHT = 2 * 4
"""Messages that a peer may have taken without our knowing it at the moment of death: of each of the four connections
to it the one on its way and the one whose outcome is being written. RFC 5321 §6.1 has them sent again."""
SIZES = (0, 2_000, 60_000, 400_000)
"""Of the text: with others in a segment, across writes, in a segment of its own."""


class Load:
    """Connections that submit letter after letter until the operator dies; whom each promised letter must reach."""

    def __init__(self, author: Person, readers: Sequence[Person]) -> None:
        self._author, self._readers = author, readers
        self._over = threading.Event()
        self.asked: dict[str, tuple[Person, ...]] = {}
        self.promised: dict[str, tuple[Person, ...]] = {}
        self.faults: list[Exception] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """All connections at work, until the operator is gone or the block ends."""
        self._over.clear()
        threads = [threading.Thread(target=self._submit, args=(number,)) for number in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _submit(self, number: int) -> None:
        author = self._author
        try:
            with author.smtp() as session:
                for turn in itertools.count(number):
                    if self._over.is_set():
                        return
                    readers = tuple(self._readers[(turn + place) % len(self._readers)] for place in range(1 + turn % 4))
                    to = [reader.address for reader in readers]
                    letter = author.letter(*to)
                    self.asked[letter.message_id] = readers
                    octets = letter.octets + b"Bonjour.\r\n" * (SIZES[turn % len(SIZES)] // 10)
                    session.sendmail(author.address, to, octets)
                    self.promised[letter.message_id] = readers
        except smtplib.SMTPServerDisconnected:
            return  # the moment that is looked for
        except smtplib.SMTPException as refusal:
            if "421, b'4.3.2 " not in str(refusal):  # how SIGTERM is told
                self.faults.append(refusal)
        except OSError:
            return  # the same, seen by the socket


def test_nothing_promised_is_lost_and_nothing_local_is_doubled(own_network: Network) -> None:
    here, there = own_network.cabinet, own_network.clinique
    own_network.serve(here, there)
    author = professional(here)
    local, remote = [professional(here) for _ in range(3)], [professional(there) for _ in range(2)]
    load = Load(author, [local[0], remote[0], local[1], local[2], remote[1]])
    for end in (*[here.kill] * KILLS, here.stop):
        enough = len(load.promised) + random.randint(20, 120)
        with load.running():
            until(lambda enough=enough: len(load.promised) >= enough or load.faults, "letters accepted")  # type: ignore[misc]
            assert end() in (None, 0)
        assert load.faults == []
        assert (here.command("verify").code, here.command("audit", "verify").code) == (0, 0)
        here.start()
        here.ready()
        for reader in local:
            check_once(load, reader)
    until(lambda: here.json("queue", "list") == [], "an empty queue")
    for reader in remote:
        check_at_the_peer(load, reader)
    assert (here.command("verify").code, here.command("audit", "verify").code) == (0, 0)
    for operator in (here, there):
        assert operator.stop() == 0
        assert operator.troubles() == []


def check_once(load: Load, reader: Person) -> None:
    """Each letter promised to a local reader is there, and none is there twice, promised or not."""
    with reader.imap() as inbox:
        there = Counter(inbox.message_ids())
    assert [each for each, copies in there.items() if copies > 1] == []
    assert {each for each, readers in load.promised.items() if reader in readers} - set(there) == set()
    assert set(there) - {each for each, readers in load.asked.items() if reader in readers} == set()


def check_at_the_peer(load: Load, reader: Person) -> None:
    """Each letter promised left for its reader elsewhere, and those doubled are as few as were in flight."""
    with reader.imap() as inbox:
        there = Counter(inbox.message_ids())
    assert {each for each, readers in load.promised.items() if reader in readers} - set(there) == set()
    assert sum(copies - 1 for copies in there.values()) <= KILLS * IN_FLIGHT
