"""The laws of folders, uids and modseqs, whatever happens in whatever order (RFC 9051 §2.3.1.1, RFC 7162 §3.1).

A state machine plays with two bals and compares the store with a plain model of it after each step.
"""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mssante.domain.flags import ALL, SEEN
from mssante.store import Store
from mssante.store.mail import (
    copy,
    create_folder,
    delete_folder,
    entries,
    expunge,
    expunged_since,
    folders,
    move,
    rows,
    store_flags,
)
from mssante.store.verify import verify
from tests.mssante.store.made import arrive, make_bals, open_store
from tests.support.clock import FakeClock
from tests.support.postgres import Postgres

FLAGS = st.integers(0, ALL)
PICKS = st.sets(st.integers(0, 30), max_size=4)
WORDS = st.lists(st.sampled_from(["suivi", "$Important", "vu"]), max_size=2, unique=True)


class Place:
    """What the model knows of one folder."""

    def __init__(self) -> None:
        self.entries: dict[int, tuple[int, tuple[str, ...], bytes]] = {}
        self.gone: list[int] = []
        self.told_gone = 0
        self.highest_uid = 0
        self.modseq = 1
        self.heard: dict[int, int] = {}
        """modseq of each entry as last told."""

    def some(self, picks: set[int]) -> list[int]:
        """Uids chosen by number, with one that is not there."""
        known = sorted(self.entries)
        return [known[pick % len(known)] for pick in picks] + [self.highest_uid + 100] if known else []


class Folders(RuleBasedStateMachine):
    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="mssante-laws-"))
        self.store = open_store(self.base, self.database_url(), FakeClock())
        self.bals = make_bals(self.store, "a", "b")
        self.places: dict[int, Place] = {}
        self.validities: dict[tuple[int, str], int] = {}
        self.number = 0
        for bal_id in self.bals:
            for folder in self.store.read_now(folders, bal_id):
                self.places[folder.id] = Place()

    def database_url(self) -> str:
        return "sqlite:///data/mssante.db"

    def teardown(self) -> None:
        assert verify(self.store).faults == []
        self.store.close()
        shutil.rmtree(self.base)

    def folder_id(self, pick: int) -> int:
        known = sorted(self.places)
        return known[pick % len(known)]

    @rule(to=st.sampled_from([(0,), (1,), (0, 1)]), flags=FLAGS)
    def message_arrives(self, to: tuple[int, ...], flags: int) -> None:
        self.number += 1
        body = b"message %d" % self.number
        for one in arrive(self.store, body, [self.bals[index] for index in to], flags):
            place = self.places[one.folder_id]
            assert one.uid > place.highest_uid
            assert one.modseq > place.modseq
            place.highest_uid = one.uid
            place.entries[one.uid] = (flags, (), body)

    @rule(pick=st.integers(0, 30), picks=PICKS, op=st.sampled_from("+-="), flags=FLAGS, words=WORDS)
    def flags_change(self, pick: int, picks: set[int], op: str, flags: int, words: list[str]) -> None:
        folder_id = self.folder_id(pick)
        place = self.places[folder_id]
        uids = place.some(picks)
        changed = set()
        for uid in set(uids) & place.entries.keys():
            old, keywords, body = place.entries[uid]
            new = {"+": old | flags, "-": old & ~flags, "=": flags}[op]
            held = {"+": {*keywords, *words}, "-": set(keywords) - set(words), "=": set(words)}[op]
            place.entries[uid] = (new, tuple(sorted(held)), body)
            if (new, tuple(sorted(held))) != (old, keywords):
                changed.add(uid)
        told = self.store.write_now(store_flags, folder_id, uids, op, flags, words)  # type: ignore[arg-type]
        assert {one.uid for one in told} == set(uids) & place.entries.keys()
        assert {one.uid for one in told if one.modseq > place.modseq} == changed

    @rule(pick=st.integers(0, 30), picks=PICKS)
    def entries_are_expunged(self, pick: int, picks: set[int]) -> None:
        folder_id = self.folder_id(pick)
        place = self.places[folder_id]
        uids = place.some(picks)
        there = sorted(set(uids) & place.entries.keys())
        assert self.store.write_now(expunge, folder_id, uids) == there
        self.forget(place, there)

    def forget(self, place: Place, uids: list[int]) -> None:
        for uid in uids:
            del place.entries[uid]
        place.gone += uids

    @rule(origin=st.integers(0, 30), goal=st.integers(0, 30), picks=PICKS, moving=st.booleans())
    def entries_are_copied(self, origin: int, goal: int, picks: set[int], moving: bool) -> None:
        here, there = self.folder_id(origin), self.folder_id(goal)
        place, other = self.places[here], self.places[there]
        uids = place.some(picks)
        pairs = self.store.write_now(move if moving else copy, here, uids, there)
        assert [uid for uid, _ in pairs] == sorted(set(uids) & place.entries.keys())
        moved = {new: place.entries[old] for old, new in pairs}
        for new in moved:
            assert new > other.highest_uid
            other.highest_uid = new
        if moving:
            self.forget(place, [uid for uid, _ in pairs])
        other.entries.update(moved)

    @rule(bal=st.sampled_from([0, 1]), name=st.sampled_from(["Projet", "Projet/2026"]))
    def folder_comes_or_goes(self, bal: int, name: str) -> None:
        bal_id = self.bals[bal]
        known = {folder.name: folder.id for folder in self.store.read_now(folders, bal_id)}
        if name in known:
            self.store.write_now(delete_folder, known[name])
            del self.places[known[name]]
            return
        folder_id = self.store.write_now(create_folder, bal_id, name)
        assert folder_id not in self.places
        self.places[folder_id] = Place()
        (folder,) = (one for one in self.store.read_now(folders, bal_id) if one.id == folder_id)
        assert folder.uidvalidity > self.validities.get((bal_id, name), 0)
        self.validities[bal_id, name] = folder.uidvalidity

    @precondition(lambda self: any(place.entries for place in self.places.values()))
    @rule(pick=st.integers(0, 30))
    def contents_are_read(self, pick: int) -> None:
        full = [folder_id for folder_id, place in self.places.items() if place.entries]
        folder_id = full[pick % len(full)]
        place = self.places[folder_id]
        found = self.store.read_now(rows, folder_id, list(place.entries))
        assert {row.uid: self.store.contents.read(row.content) for row in found} == {
            uid: body for uid, (_, _, body) in place.entries.items()
        }

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        seen = set()
        for bal_id in self.bals:
            for folder in self.store.read_now(folders, bal_id):
                seen.add(folder.id)
                place = self.places[folder.id]
                found = self.store.read_now(entries, folder.id)
                assert {one.uid: (one.flags, one.keywords) for one in found} == {
                    uid: (flags, words) for uid, (flags, words, _) in place.entries.items()
                }
                assert folder.messages == len(found)
                assert folder.unseen == sum(1 for one in found if not one.flags & SEEN)
                assert folder.uidnext > place.highest_uid
                assert self.store.read_now(expunged_since, folder.id, 0) == sorted(place.gone)
                told = {one.uid: one.modseq for one in found}
                assert all(modseq >= place.heard.get(uid, 0) for uid, modseq in told.items())
                assert folder.highestmodseq >= max([place.modseq, *told.values()])
                changed = {one.uid for one in self.store.read_now(entries, folder.id, place.modseq)}
                assert changed == {uid for uid, modseq in told.items() if place.heard.get(uid) != modseq}
                newly_gone = sorted(place.gone[place.told_gone :])
                assert self.store.read_now(expunged_since, folder.id, place.modseq) == newly_gone
                place.told_gone = len(place.gone)
                place.heard, place.modseq = told, folder.highestmodseq
        assert seen == set(self.places)


QUICK = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_the_laws_hold_on_sqlite() -> None:
    run_state_machine_as_test(Folders, settings=QUICK)


@pytest.fixture(scope="module")
def machine(postgres: Postgres, postgres_template: str) -> type[Folders]:
    class OnPostgres(Folders):
        def database_url(self) -> str:
            self.name = postgres.new_database(postgres_template)
            return postgres.url(self.name)

        def teardown(self) -> None:
            super().teardown()
            postgres.drop(self.name)

    return OnPostgres


def test_the_laws_hold_on_postgresql(machine: type[Folders]) -> None:
    run_state_machine_as_test(machine, settings=settings(QUICK, max_examples=8))
