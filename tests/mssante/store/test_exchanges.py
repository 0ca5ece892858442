"""Exchanges between professionals and patients."""

from pathlib import Path

from mssante.domain.exchange import ExchangeState
from mssante.store import Store
from mssante.store.exchanges import exchange, list_exchanges, record_exchange
from tests.mssante.store.made import DOCTOR, MATRICULE, PATIENT, PATIENT_DOMAIN
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
