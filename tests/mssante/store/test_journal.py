"""The journal tells when somebody has touched it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, literal, select, update

from mssante.store import Store, Tx
from mssante.store.journal import FIRST, append, chained, entries, prune, row_of, verify_chain
from mssante.store.schema import journal, journal_head
from mssante.store.writer import JOURNAL_AT_ONCE
from tests.mssante.store.made import DOCTOR, MATRICULE, PATIENT, open_store
from tests.support.clock import FakeClock


def note(tx: Tx, action: str, object_: str) -> None:
    tx.journal(action, actor=DOCTOR, object=object_, size=12, to=[PATIENT, "é"])


@pytest.fixture
def written(store: Store) -> Store:
    for number in range(5):
        store.write_now(note, "message.accepted", f"m{number}")
    return store


def test_entries_are_chained_in_order(written: Store, clock: FakeClock) -> None:
    found = written.read_now(entries)
    assert [(one.seq, one.object, one.at_us) for one in found] == [(n + 1, f"m{n}", clock.now_us()) for n in range(5)]
    assert found[0].detail == {"size": 12, "to": [written.keys.trace_name(PATIENT), "é"]}
    assert found[0].at.year == 2025
    assert written.read_now(verify_chain) is None
    assert [one.seq for one in written.read_now(lambda conn: entries(conn, object="m3"))] == [4]
    assert [one.seq for one in written.read_now(lambda conn: entries(conn, after_seq=3, limit=1))] == [4]


def test_a_patient_is_found_by_his_address_and_never_written(store: Store) -> None:
    store.write_now(lambda tx: tx.journal("bal.created", actor=PATIENT, object=PATIENT))
    (one,) = store.read_now(lambda conn: entries(conn, object=PATIENT))
    assert one.actor == one.object == store.keys.trace_name(PATIENT)
    assert MATRICULE not in str(one)


def test_a_head_that_was_undone_or_moved_by_another_process_is_asked_for(
    store: Store, database_url: str, tmp_path: Path, clock: FakeClock
) -> None:
    def undone(tx: Tx) -> None:
        append(tx.conn, [row_of(tx.now_us, "never", "-", "-", {})])
        raise KeyError

    other = open_store(tmp_path, database_url, clock)
    for number, writers in enumerate(((store,), (store, other), (other, store), (store, store))):
        with pytest.raises(KeyError):
            store.write_now(undone)
        for writer in writers:
            writer.write_now(note, "message.accepted", f"m{number}")
    other.close()
    assert store.read_now(verify_chain) is None
    assert [one.object for one in store.read_now(entries)] == ["m0", "m1", "m1", "m2", "m2", "m3", "m3"]


def test_rows_of_one_transaction_are_chained_however_many(store: Store) -> None:
    def many(tx: Tx) -> None:
        for number in range(150):
            note(tx, "message.accepted", f"m{number}")

    store.write_now(many)
    assert store.read_now(verify_chain) is None
    assert [one.object for one in store.read_now(entries)] == [f"m{number}" for number in range(150)]


def touch(tx: Tx, *statements: object) -> None:
    for statement in statements:
        tx.conn.execute(statement)  # type: ignore[call-overload]


def row(store: Store, seq: int) -> dict[str, object]:
    return dict(
        store.read_now(lambda conn: conn.execute(journal.select().where(journal.c.seq == seq)).mappings().one())
    )


def rehashed_head(store: Store) -> object:
    """What somebody with the database but without the master key can do: make the head say what he wants."""
    last = row(store, 4)
    return update(journal_head).values(seq=4, hash=last["hash"])


TOUCHES: dict[str, tuple[Callable[[Store], list[object]], str]] = {
    "a changed value": (lambda _: [update(journal).where(journal.c.seq == 3).values(object="m9")], "row 3 was changed"),
    "a changed time": (lambda _: [update(journal).where(journal.c.seq == 1).values(at_us=1)], "row 1 was changed"),
    "a removed row": (lambda _: [delete(journal).where(journal.c.seq == 2)], "rows 2 to 2 are missing"),
    "a removed first row": (lambda _: [delete(journal).where(journal.c.seq == 1)], "rows 1 to 1 are missing"),
    "a cut tail": (lambda _: [delete(journal).where(journal.c.seq == 5)], "ends at row 4, its head says 5"),
    "a cut tail and head": (
        lambda store: [delete(journal).where(journal.c.seq == 5), rehashed_head(store)],
        "not written by this operator",
    ),
    "everything removed": (lambda _: [delete(journal)], "ends at row 0, its head says 5"),
    "the head removed": (lambda _: [delete(journal_head)], "head of the journal is missing"),
    "two rows exchanged": (
        lambda _: [
            update(journal).where(journal.c.seq == 2).values(seq=99),
            update(journal).where(journal.c.seq == 3).values(seq=2),
            update(journal).where(journal.c.seq == 99).values(seq=3),
        ],
        "row 2 was changed",
    ),
    "an added row": (lambda store: [insert(journal).values(row(store, 5) | {"seq": 6})], "row 6 was changed"),
    "emptied and started anew": (
        lambda _: [delete(journal), update(journal_head).values(seq=0, hash=FIRST)],
        "not written by this operator",
    ),
}


@pytest.mark.parametrize("case", TOUCHES)
def test_it_is_found(written: Store, case: str) -> None:
    statements, fault = TOUCHES[case]
    written.write_now(touch, *statements(written))
    assert fault in (written.read_now(verify_chain) or "nothing found")


def test_a_failed_write_leaves_no_entry(store: Store) -> None:
    def fail(tx: Tx) -> None:
        note(tx, "message.accepted", "m")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.write_now(fail)
    assert store.read_now(entries) == []


def aged(store: Store, clock: FakeClock, days: int) -> None:
    for number in range(days):
        store.write_now(note, "message.accepted", f"m{number}")
        clock.advance(24 * 3600)


def _prune(tx: Tx, before_us: int) -> int:
    return prune(tx.conn, before_us)


def test_what_is_too_old_goes_and_the_rest_still_hangs_together(store: Store, clock: FakeClock) -> None:
    began_us = clock.now_us()
    aged(store, clock, 6)
    day_us = 24 * 3600 * 1_000_000
    assert store.write_now(_prune, began_us) == 0
    assert store.write_now(_prune, began_us + 2 * day_us) == 2
    assert [one.object for one in store.read_now(entries)] == ["m2", "m3", "m4", "m5"]
    assert store.read_now(verify_chain) is None
    assert store.write_now(_prune, began_us + 4 * day_us) == 2
    aged(store, clock, 1)
    assert store.read_now(verify_chain) is None
    assert store.write_now(_prune, clock.now_us() + 1) == 3
    assert store.read_now(entries) == []
    assert store.read_now(verify_chain) is None
    aged(store, clock, 2)
    assert [one.seq for one in store.read_now(entries)] == [8, 9]
    assert store.read_now(verify_chain) is None


@pytest.mark.parametrize(
    ("touching", "told"),
    [
        (lambda: delete(journal).where(journal.c.seq == 3), "rows 3 to 3 are missing"),
        (lambda: delete(journal_head).where(journal_head.c.id == 2), "rows 1 to 2 are missing"),
        (lambda: update(journal_head).where(journal_head.c.id == 2).values(seq=3), "beginning was not written by"),
        (lambda: update(journal_head).where(journal_head.c.id == 2).values(hash=FIRST), "beginning was not written by"),
    ],
)
def test_a_shortened_journal_tells_when_it_was_shortened_by_another(
    store: Store, clock: FakeClock, touching: Callable[[], object], told: str
) -> None:
    aged(store, clock, 5)
    assert store.write_now(_prune, clock.now_us() - 3 * 24 * 3600 * 1_000_000) == 2
    store.write_now(touch, touching())
    assert told in (store.read_now(verify_chain) or "")


def test_the_head_s_row_cannot_stand_for_the_beginning(store: Store, clock: FakeClock) -> None:
    """Its seal says what it is: else the whole journal could be removed, and its head be shown as the cut."""
    aged(store, clock, 3)
    store.write_now(
        touch,
        insert(journal_head).from_select(
            ["id", "seq", "hash", "mac"],
            select(literal(2), journal_head.c.seq, journal_head.c.hash, journal_head.c.mac),
        ),
    )
    assert "beginning was not written by" in (store.read_now(verify_chain) or "")


def test_a_part_is_followed_from_the_hash_before_it(store: Store, clock: FakeClock) -> None:
    began_us = clock.now_us()
    aged(store, clock, 5)
    day_us = 24 * 3600 * 1_000_000
    every = store.read_now(lambda conn: list(chained(conn, 0, clock.now_us())))
    part = store.read_now(lambda conn: list(chained(conn, began_us + day_us, began_us + 3 * day_us)))
    assert part == every[1:3]
    assert every[0].previous == FIRST
    assert [one.previous for one in every[1:]] == [one.hash for one in every[:-1]]
    store.write_now(_prune, began_us + 2 * day_us)
    assert store.read_now(lambda conn: list(chained(conn, 0, clock.now_us()))) == every[2:]
    assert store.read_now(lambda conn: list(chained(conn, 0, 1))) == []


def test_a_transaction_with_more_entries_than_it_keeps_is_one_all_the_same(store: Store) -> None:
    def many(tx: Tx, fails: bool) -> None:
        for number in range(2 * JOURNAL_AT_ONCE + 1):
            note(tx, "bal.opened", f"b{number}")
        if fails:
            raise KeyError

    with pytest.raises(KeyError):
        store.write_now(many, True)
    store.write_now(note, "message.accepted", "m")
    store.write_now(many, False)
    assert store.read_now(verify_chain) is None
    last = store.read_now(lambda conn: entries(conn, after_seq=2 * JOURNAL_AT_ONCE, limit=10))
    assert [one.object for one in last] == [f"b{2 * JOURNAL_AT_ONCE - 1}", f"b{2 * JOURNAL_AT_ONCE}"]
