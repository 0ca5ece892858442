"""The registry of citizens."""

from pathlib import Path

import msgspec
import pytest

from mssante.domain.address import parse_address
from mssante.domain.bal import BalState, BalType
from mssante.domain.exchange import ExchangeState
from mssante.domain.ins import ins_key
from mssante.domain.patient import Authority, Standing
from mssante.store import AlreadyExists, Store, patient_notices, schema
from mssante.store.accounts import find_bal, find_bals
from mssante.store.exchanges import (
    end_thread,
    introduce,
    list_exchanges,
    record_exchange,
    relation,
    thread_ended,
)
from mssante.store.patients import (
    Identity,
    NewPatient,
    Patient,
    change_matricule,
    create_patients,
    earlier,
    may_open_as_parent,
    parents,
    patient,
    patients,
    set_notify,
    set_parent,
    set_standing,
    standing,
)
from tests.mssante.store.made import DOCTOR, MATRICULE, PATIENT, PATIENT_DOMAIN, exchange
from tests.support.clock import FakeClock

IDENTITY = Identity(
    ins=MATRICULE,
    nom="Pâquerette",
    prenoms="Ana Lou",
    naissance="1979-03-05",
    sexe="F",
    lieu="12151",
    notify="ana@exemple.test",
)
COLLEAGUE = "luc.petit@cabinet.mssante.fr"


def matricule(number: int) -> str:
    root = f"2790351{number:06d}"
    return f"{root}{ins_key(root):02d}"


def citizen(number: int) -> NewPatient:
    ins = matricule(number)
    return NewPatient(parse_address(f"{ins}@{PATIENT_DOMAIN}"), msgspec.structs.replace(IDENTITY, ins=ins, notify=None))


def opened(store: Store, *new: NewPatient) -> list[Patient]:
    found = [store.read_now(patient, bal_id) for bal_id in store.write_now(create_patients, new)]
    assert None not in found
    return [one for one in found if one is not None]


ANA = NewPatient(parse_address(PATIENT), IDENTITY, "hash")


def test_a_patient_is_found_by_his_address(store: Store) -> None:
    (bal_id,) = store.write_now(create_patients, [ANA])
    bal = store.read_now(find_bal, PATIENT)
    assert bal is not None
    assert (bal.id, bal.address, bal.type, bal.nom, bal.password_hash) == (bal_id, PATIENT, BalType.PAT, "", "hash")
    found = store.read_now(patient, bal_id)
    assert found is not None
    assert (found.bal, found.identity, found.standing) == (bal, IDENTITY, Standing.OPEN)
    assert store.read_now(patients) == [found]
    assert store.read_now(patients, bal_id) == []
    assert store.read_now(patient, 10_000) is None
    with pytest.raises(AlreadyExists) as taken:
        store.write_now(create_patients, [citizen(1), ANA])
    assert MATRICULE not in str(taken.value)
    assert store.read_now(patients) == [found]


def test_who_is_opposed_from_the_start_has_a_bal_that_takes_nothing(store: Store) -> None:
    (opposed,) = opened(store, msgspec.structs.replace(citizen(1), standing=Standing.OPPOSED))
    assert (opposed.bal.state, opposed.standing) == (BalState.DRAFT, Standing.OPPOSED)
    assert store.read_now(standing, opposed.bal.id) is Standing.OPPOSED
    store.write_now(set_standing, opposed.bal.id, Standing.DECEASED)
    assert store.read_now(standing, opposed.bal.id) is Standing.DECEASED
    assert store.read_now(standing, 10_000) is Standing.OPEN


def test_a_page_after_the_other(store: Store) -> None:
    store.write_now(create_patients, [citizen(number) for number in range(1003)])
    first = store.read_now(patients)
    assert len(first) == 1000
    assert [one.identity.ins for one in store.read_now(patients, first[-1].bal.id)] == [
        matricule(number) for number in (1000, 1001, 1002)
    ]


def test_earlier_matricules_lead_to_the_present_one(store: Store, clock: FakeClock) -> None:
    (ana,) = opened(store, ANA)
    for professional, state in ((DOCTOR, ExchangeState.OPEN), (COLLEAGUE, ExchangeState.ENDED)):
        store.write_now(record_exchange, professional, PATIENT, state, "<1@x>")
    store.write_now(lambda tx: introduce(tx, ["x@y.test"], PATIENT, through=DOCTOR, message_id="<1@x>"))
    store.write_now(end_thread, DOCTOR, PATIENT, ["<0@x>"], "id")
    second, third = (parse_address(f"{matricule(number)}@{PATIENT_DOMAIN}") for number in (2, 3))
    changed_us = clock.now_us()
    store.write_now(change_matricule, ana, second, Authority.NIA)
    clock.advance(10)
    (ana,) = store.read_now(patients)
    assert (ana.bal.address, ana.identity.ins, ana.identity.authority) == (str(second), matricule(2), Authority.NIA)
    store.write_now(change_matricule, ana, third, Authority.NIR)
    found = store.read_now(lambda conn: find_bals(conn, [PATIENT, second, third]))
    assert {name: bal.address for name, bal in found.items()} == dict.fromkeys(
        (PATIENT, str(second), str(third)), str(third)
    )
    assert store.read_now(earlier, ana.bal.id) == [(PATIENT, changed_us), (str(second), clock.now_us())]
    # His exchanges are his still, and stand under no former name.
    assert {one.patient for one in store.read_now(list_exchanges)} == {str(third)}
    assert store.read_now(relation, "x@y.test", str(third)).introduced
    assert store.read_now(exchange, DOCTOR, PATIENT) is None
    assert store.read_now(thread_ended, DOCTOR, str(third), ["<0@x>"])
    # One of his own may come back; nobody gets another's, nor one that another had.
    (ana,) = store.read_now(patients)
    store.write_now(change_matricule, ana, parse_address(PATIENT), Authority.NIR)
    assert [address for address, _ in store.read_now(earlier, ana.bal.id)] == [str(second), str(third)]
    (other,) = opened(store, citizen(9))
    for taken in (PATIENT, str(second)):
        with pytest.raises(AlreadyExists):
            store.write_now(change_matricule, other, parse_address(taken), Authority.NIR)
    with pytest.raises(AlreadyExists):
        store.write_now(create_patients, [citizen(2)])
    assert store.read_now(find_bals, [other.bal.address]) == {other.bal.address: other.bal}


def test_a_parents_right_ends_by_itself(store: Store, clock: FakeClock) -> None:
    child, mother, father = opened(store, citizen(1), citizen(2), citizen(3))

    def may(who: Patient) -> bool:
        return store.read_now(may_open_as_parent, who.bal.id, child.bal.id, clock.now_us())

    until_us = clock.now_us() + 10_000_000
    assert store.write_now(set_parent, child.bal.id, mother.bal.id, until_us)
    assert store.write_now(set_parent, child.bal.id, father.bal.id, until_us)
    assert (may(mother), may(father), may(child)) == (True, True, False)
    assert [(bal.id, end) for bal, end in store.read_now(parents, child.bal.id)] == [
        (mother.bal.id, until_us),
        (father.bal.id, until_us),
    ]
    assert store.write_now(set_parent, child.bal.id, father.bal.id, 0)
    assert not store.write_now(set_parent, child.bal.id, father.bal.id, 0)
    assert (may(mother), may(father)) == (True, False)
    clock.advance(9)
    assert may(mother)
    clock.advance(1)
    assert not may(mother)
    assert not store.read_now(may_open_as_parent, child.bal.id, mother.bal.id, clock.now_us())


def test_who_wants_to_be_told_has_a_row_and_no_other(store: Store) -> None:
    (ana, other) = opened(store, ANA, citizen(2))

    def rows() -> list[int]:
        return store.read_now(lambda conn: list(conn.execute(schema.patient_notice.select()).scalars()))

    assert rows() == [ana.bal.id]
    store.write_now(set_notify, other, "autre@exemple.test")
    store.write_now(set_notify, ana, None)
    assert rows() == [other.bal.id]
    found = store.read_now(patient, ana.bal.id)
    assert found is not None
    assert (found.identity.notify, found.identity.nom) == (None, "Pâquerette")


def test_no_trace_of_a_patient_in_the_files(sqlite_store: Store, tmp_path: Path) -> None:
    (ana,) = opened(sqlite_store, ANA)
    sqlite_store.write_now(change_matricule, ana, citizen(2).address, Authority.NIA)
    sqlite_store.close()
    raw = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert b"ins:" in raw
    for secret in (MATRICULE, matricule(2), "Pâquerette", "Ana Lou", "1979-03-05", "ana@exemple.test"):
        assert secret.encode() not in raw


def test_who_is_to_be_told_of_new_mail_and_when(store: Store, clock: FakeClock) -> None:
    every_us = 3_600_000_000
    ana, other = opened(store, ANA, msgspec.structs.replace(citizen(2), identity=IDENTITY))
    (silent,) = opened(store, citizen(3))
    ids = [ana.bal.id, other.bal.id, silent.bal.id]

    def claimed() -> list[tuple[int, int]]:
        return sorted(store.write_now(patient_notices.claim, 10, every_us))

    assert store.read_now(patient_notices.next_due_us) is None
    store.write_now(patient_notices.mail_arrived, ids, every_us)
    assert store.read_now(patient_notices.next_due_us) == clock.now_us()
    assert claimed() == [(ana.bal.id, 1), (other.bal.id, 1)]
    assert claimed() == []
    clock.advance(1)
    store.write_now(patient_notices.mail_arrived, [ana.bal.id], every_us)
    store.write_now(patient_notices.told, ids)
    # Of what came while the notice was on its way she is told in her next turn; the other is done with.
    assert store.read_now(patient_notices.next_due_us) == clock.now_us() + every_us - 1_000_000
    store.write_now(patient_notices.mail_arrived, [other.bal.id], every_us)
    clock.advance(3598)
    assert claimed() == []
    clock.advance(1)
    assert claimed() == [(ana.bal.id, 1), (other.bal.id, 1)]
    store.write_now(patient_notices.later, [other.bal.id], clock.now_us() + 60_000_000)
    store.write_now(patient_notices.told, [ana.bal.id])
    clock.advance(60)
    assert claimed() == [(other.bal.id, 2)]
