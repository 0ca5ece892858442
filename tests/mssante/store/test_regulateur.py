"""What the regulator judges by, on both databases: counts that agree between processes, rows that end."""

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssante.store import Store, Tx
from mssante.store.regulateur import (
    DAY_US,
    Days,
    Kind,
    Sending,
    correspondents,
    count_recipients,
    days_of,
    exception_of,
    exceptions,
    names,
    prune,
    record_sendings,
    report,
    set_exception,
    settle,
    signalements,
)
from mssante.store.schema import correspondent, metadata, same_text, sending_day
from tests.mssante.store.made import DOCTOR, PATIENT, open_store
from tests.support.clock import FakeClock

HOUR_US = 3_600_000_000


def people(first: int, last: int) -> list[str]:
    return [f"p{number}@clinique.mssante.fr" for number in range(first, last)]


def test_one_text_is_counted_over_messages(store: Store) -> None:
    def count(text: bytes, recipients: list[str], sender: str = DOCTOR) -> int:
        return store.write_now(count_recipients, sender, text, recipients, HOUR_US)

    assert count(b"a", people(0, 30)) == 30
    assert count(b"a", people(20, 35)) == 35
    assert count(b"a", people(0, 35)) == 35
    assert count(b"b", people(0, 3)) == 3
    assert count(b"a", people(0, 2), "other@cabinet.mssante.fr") == 2
    assert count(b"a", [PATIENT]) == 36


def test_the_window_ends(store: Store, clock: FakeClock) -> None:
    assert store.write_now(count_recipients, DOCTOR, b"a", people(0, 30), HOUR_US) == 30
    clock.advance(3599)
    assert store.write_now(count_recipients, DOCTOR, b"a", people(30, 35), HOUR_US) == 35
    clock.advance(1)
    assert store.write_now(count_recipients, DOCTOR, b"a", people(35, 36), HOUR_US) == 1


def test_what_is_undone_was_not_counted(store: Store) -> None:
    def undone(tx: Tx) -> None:
        count_recipients(tx, DOCTOR, b"a", people(0, 30), HOUR_US)
        raise KeyError

    with pytest.raises(KeyError):
        store.write_now(undone)
    assert store.write_now(count_recipients, DOCTOR, b"a", people(30, 31), HOUR_US) == 1


def test_two_processes_count_together(store: Store, database_url: str, tmp_path: Path, clock: FakeClock) -> None:
    other = open_store(tmp_path, database_url, clock)
    seen: list[int] = []

    def count(through: Store, first: int) -> None:
        for start in range(first, first + 20):
            seen.append(through.write_now(count_recipients, DOCTOR, b"a", people(start, start + 1), HOUR_US))

    threads = [threading.Thread(target=count, args=(each, 100 * number)) for number, each in enumerate((store, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert sorted(seen) == list(range(1, 41))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 60), max_size=12), max_size=8), st.binary(min_size=1, max_size=8))
def test_the_count_is_that_of_distinct_recipients(sqlite_store: Store, messages: list[list[int]], text: bytes) -> None:
    sender, seen = f"{text.hex()}{len(messages)}{hash(str(messages))}@cabinet.mssante.fr", set[int]()
    for numbers in messages:
        seen |= set(numbers)
        recipients = [f"p{number}@clinique.mssante.fr" for number in numbers]
        assert sqlite_store.write_now(count_recipients, sender, text, recipients, HOUR_US) == len(seen)


def test_days_and_novelty(store: Store, clock: FakeClock) -> None:
    def record(*sendings: Sending) -> dict[tuple[str, bool], int]:
        return store.write_now(record_sendings, sendings)

    today = clock.now_us() // DAY_US
    to = tuple(people(0, 3))
    assert record(Sending(DOCTOR, to, False), Sending(DOCTOR, (*to, PATIENT), False)) == {(DOCTOR, False): 4}
    assert record(Sending(DOCTOR, to, False), Sending("app@x.fr", to, True)) == {
        (DOCTOR, False): 4,
        ("app@x.fr", True): 3,
    }
    clock.advance(86_400)
    assert record(Sending(DOCTOR, (*people(2, 5),), False)) == {(DOCTOR, False): 2}
    assert store.read_now(days_of, DOCTOR, today, today) == Days(1, 3, 10, 4)
    assert store.read_now(days_of, DOCTOR, today, today + 1) == Days(2, 4, 13, 6)
    assert store.read_now(days_of, DOCTOR, today + 2, today + 9) == Days(0, 0, 0, 0)
    assert store.read_now(correspondents, DOCTOR) == 6
    assert record(Sending(DOCTOR, tuple(people(0, 200)), True)) == {(DOCTOR, True): 195 + 2}


def test_signalements(store: Store) -> None:
    def say(about: str, kind: Kind, reporter: str, reference: str) -> bool:
        return store.write_now(report, about, kind, reporter, reference)

    assert say("x@y.fr", Kind.JUNK, DOCTOR, "message 1")
    assert not say("x@y.fr", Kind.PHISHING, DOCTOR, "message 1")
    assert say("x@y.fr", Kind.PHISHING, PATIENT, "message 1")
    assert say(PATIENT, Kind.FORWARDED, DOCTOR, "m")
    rows = store.read_now(signalements, "x@y.fr")
    assert [(one.kind, one.settled_us) for one in rows] == [(Kind.JUNK, None), (Kind.PHISHING, None)]
    assert store.write_now(settle, "x@y.fr") == sorted([DOCTOR, store.keys.locator(PATIENT)])
    assert store.write_now(settle, "x@y.fr") == []
    assert [one.about for one in store.read_now(signalements)] == [store.keys.locator(PATIENT)]
    assert store.read_now(names, [DOCTOR, store.keys.locator(PATIENT)]) == {}


def test_exceptions(store: Store, clock: FakeClock) -> None:
    until = clock.now_us() + HOUR_US
    store.write_now(set_exception, DOCTOR, 500, "alerte", "regulateur:a", until)
    store.write_now(set_exception, DOCTOR, 600, "alerte", "regulateur:b", until)
    [one] = store.read_now(exceptions)
    assert (one.sender, one.most, one.author) == (DOCTOR, 600, "regulateur:b")
    assert store.read_now(exception_of, DOCTOR, clock.now_us()) == one
    assert store.read_now(exception_of, DOCTOR, until) is None
    assert store.read_now(exception_of, "x@y.fr", clock.now_us()) is None


def test_rows_end(store: Store, clock: FakeClock) -> None:
    store.write_now(count_recipients, DOCTOR, b"a", people(0, 3), HOUR_US)
    store.write_now(record_sendings, [Sending(DOCTOR, tuple(people(0, 3)), False)])
    clock.advance(2 * 86_400)

    def rows() -> list[int]:
        tables = (same_text, correspondent, sending_day)
        return [len(store.read_now(lambda conn, table=table: conn.execute(table.select()).all())) for table in tables]  # type: ignore[misc]

    store.write_now(prune, clock.now_us() - 3 * DAY_US, clock.now_us() - 3 * DAY_US)
    assert rows() == [1, 3, 1]
    store.write_now(prune, clock.now_us() - HOUR_US, clock.now_us() - DAY_US)
    assert rows() == [0, 0, 0]


def test_nothing_of_a_patient_stands_in_clear(store: Store) -> None:
    matricule = PATIENT.partition("@")[0]
    store.write_now(count_recipients, PATIENT, b"a", [PATIENT], HOUR_US)
    store.write_now(record_sendings, [Sending(PATIENT, (PATIENT,), False)])
    store.write_now(report, PATIENT, Kind.JUNK, PATIENT, "message 1")
    store.write_now(set_exception, PATIENT, 5, "x", "regulateur:a", 1)
    for table in metadata.tables.values():
        rows = store.read_now(lambda conn, table=table: conn.execute(table.select()).all())  # type: ignore[misc]
        assert matricule not in repr(rows)
