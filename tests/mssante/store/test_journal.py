"""The journal tells when somebody has touched it."""

from collections.abc import Callable

import pytest
from sqlalchemy import delete, insert, update

from mssante.store import Store, Tx
from mssante.store.journal import FIRST, entries, verify_chain
from mssante.store.schema import journal, journal_head
from tests.mssante.store.made import DOCTOR, MATRICULE, PATIENT
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
