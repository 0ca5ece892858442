"""Exchanges between professionals and patients."""

from pathlib import Path

from mssante.domain.exchange import UNRELATED, ExchangeState, Relation
from mssante.store import Store
from mssante.store.exchanges import (
    end_thread,
    introduce,
    list_exchanges,
    record_exchange,
    relation,
    reopen_thread,
    thread_ended,
    welcome,
    welcoming,
)
from tests.mssante.store.made import DOCTOR, MATRICULE, PATIENT, PATIENT_DOMAIN, exchange
from tests.support.clock import FakeClock

COLLEAGUE = "luc.petit@cabinet.mssante.fr"
OTHER = f"2790351215190{97 - 2790351215190 % 97:02d}@{PATIENT_DOMAIN}"


def test_an_exchange_is_opened_ended_and_reopened(store: Store, clock: FakeClock) -> None:
    assert store.read_now(exchange, DOCTOR, PATIENT) is None
    opened = clock.now_us()
    assert store.write_now(record_exchange, DOCTOR, PATIENT, ExchangeState.OPEN, "<1@x>")
    clock.advance(10)
    assert not store.write_now(record_exchange, DOCTOR, PATIENT, ExchangeState.OPEN, "<2@x>")
    found = store.read_now(exchange, DOCTOR, PATIENT)
    assert found is not None
    assert (found.professional, found.patient, found.state, found.since_us, found.message_id) == (
        DOCTOR,
        PATIENT,
        ExchangeState.OPEN,
        opened,
        "<1@x>",
    )
    assert store.write_now(record_exchange, DOCTOR, PATIENT, ExchangeState.ENDED, "<3@x>")
    ended = store.read_now(exchange, DOCTOR, PATIENT)
    assert ended is not None
    assert (ended.state, ended.since_us, ended.message_id) == (ExchangeState.ENDED, clock.now_us(), "<3@x>")


def test_an_exchange_belongs_to_its_pair(store: Store) -> None:
    for professional, patient in ((DOCTOR, PATIENT), (COLLEAGUE, PATIENT), (DOCTOR, OTHER)):
        store.write_now(record_exchange, professional, patient, ExchangeState.OPEN, "<1@x>")
    store.write_now(record_exchange, DOCTOR, PATIENT, ExchangeState.ENDED, "<2@x>")

    def states(professional: str | None, patient: str | None) -> dict[tuple[str, str], str]:
        found = store.read_now(list_exchanges, professional, patient)
        return {(one.professional, one.patient): one.state.value for one in found}

    assert states(DOCTOR, None) == {(DOCTOR, PATIENT): "ended", (DOCTOR, OTHER): "open"}
    assert states(None, PATIENT) == {(DOCTOR, PATIENT): "ended", (COLLEAGUE, PATIENT): "open"}
    assert len(states(None, None)) == 3


def test_the_patient_is_sealed(sqlite_store: Store, tmp_path: Path) -> None:
    sqlite_store.write_now(record_exchange, DOCTOR, PATIENT, ExchangeState.OPEN, "<1@x>")
    sqlite_store.close()
    raw = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert b"marie.durand" in raw
    assert MATRICULE.encode() not in raw


async def test_only_a_change_is_hinted(store: Store) -> None:
    heard: list[bool] = []
    store.hints.subscribe("exchange", None, lambda: heard.append(True))
    await store.write(record_exchange, DOCTOR, PATIENT, ExchangeState.OPEN, "<1@x>")
    await store.write(record_exchange, DOCTOR, PATIENT, ExchangeState.OPEN, "<2@x>")
    assert heard == [True]


def test_an_introduction_lasts_as_long_as_the_exchange_it_came_through(store: Store) -> None:
    def introduced(professional: str, through: str) -> None:
        store.write_now(lambda tx: introduce(tx, [professional], PATIENT, through=through, message_id="<1@x>"))

    store.write_now(record_exchange, DOCTOR, PATIENT, ExchangeState.OPEN, "<1@x>")
    introduced(COLLEAGUE, DOCTOR)
    introduced(COLLEAGUE, DOCTOR)
    introduced(COLLEAGUE, "third@cabinet.mssante.fr")
    assert store.read_now(relation, COLLEAGUE, PATIENT) == Relation(None, introduced=True)
    assert store.read_now(relation, COLLEAGUE, OTHER) == UNRELATED
    listed = store.read_now(list_exchanges, COLLEAGUE, PATIENT)
    assert [(one.through, one.state, one.patient) for one in listed] == [
        (DOCTOR, ExchangeState.OPEN, PATIENT),
        ("third@cabinet.mssante.fr", ExchangeState.OPEN, PATIENT),
    ]
    store.write_now(record_exchange, DOCTOR, PATIENT, ExchangeState.ENDED, "<2@x>")
    assert [one.through for one in store.read_now(list_exchanges, COLLEAGUE)] == ["third@cabinet.mssante.fr"]
    store.write_now(record_exchange, COLLEAGUE, PATIENT, ExchangeState.ENDED, "<3@x>")
    assert store.read_now(relation, COLLEAGUE, PATIENT) == Relation(ExchangeState.ENDED)


def test_a_mailbox_that_citizens_write_to_first(store: Store) -> None:
    assert store.write_now(welcome, DOCTOR, True)
    assert not store.write_now(welcome, DOCTOR, True)
    assert store.read_now(relation, DOCTOR, PATIENT).introduced
    assert not store.read_now(relation, COLLEAGUE, PATIENT).introduced
    assert (store.read_now(welcoming), store.read_now(list_exchanges)) == ([DOCTOR], [])
    assert store.write_now(welcome, DOCTOR, False)
    assert not store.write_now(welcome, DOCTOR, False)
    assert store.read_now(relation, DOCTOR, PATIENT) == UNRELATED


def test_a_thread_is_known_by_any_of_its_messages(store: Store) -> None:
    store.write_now(end_thread, DOCTOR, PATIENT, ["<1@x>", "<2@x>"], "a")
    store.write_now(end_thread, DOCTOR, PATIENT, ["<9@x>"], "b")

    def ended(*references: str) -> bool:
        return store.read_now(thread_ended, DOCTOR, PATIENT, references)

    assert (ended("<1@x>"), ended("<0@x>", "<2@x>"), ended("<9@x>"), ended("<3@x>"), ended()) == (
        *(True, True, True, False, False),
    )
    assert not store.read_now(thread_ended, COLLEAGUE, PATIENT, ["<1@x>"])
    assert not store.read_now(thread_ended, DOCTOR, OTHER, ["<1@x>"])
    # The next message of a thread ends it once more, under its own name; one that goes on reopens all of it.
    store.write_now(end_thread, DOCTOR, PATIENT, ["<2@x>", "<3@x>"], "c")
    assert (ended("<1@x>"), ended("<3@x>")) == (False, True)
    store.write_now(reopen_thread, DOCTOR, PATIENT, ["<3@x>", "<4@x>"])
    assert (ended("<2@x>"), ended("<3@x>"), ended("<9@x>")) == (False, False, True)
    many = [f"<{number}@x>" for number in range(200)]
    store.write_now(end_thread, DOCTOR, PATIENT, many, "d")
    assert ended(*many)
