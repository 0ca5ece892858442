"""Holders are told once for each level that their mailbox passes."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from mssante.domain.bal import BalState, BalType
from mssante.domain.quota import level_of
from mssante.services.notices import packed
from mssante.services.quota import warn_of_full
from mssante.store import Store, journal
from mssante.store.accounts import NewBal, create_bal, get_bal, set_quota, set_state
from mssante.store.mail import append, entries, expunge, folder_by_name, rows
from tests.support.clock import FakeClock

LEVELS = (80, 95)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    opened = Store.open("sqlite:///s.db", "file:contents", bytes(range(32)), clock=clock, base=tmp_path, create=True)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("used", "quota", "level"),
    [(0, 100, 0), (79, 100, 0), (80, 100, 80), (94, 100, 80), (95, 100, 95), (300, 100, 95), (5, 0, 0)],
)
def test_levels(used: int, quota: int, level: int) -> None:
    assert level_of(used, quota, LEVELS) == level
    assert level_of(used, quota, ()) == 0


def put(store: Store, bal_id: int, octets: int) -> int:
    """A message of so many octets comes into the INBOX; its uid."""
    inbox = store.read_now(folder_by_name, bal_id, "INBOX")
    assert inbox is not None
    pending, new = packed(store, b"a: b\r\n\r\n" + b"x" * (octets - 8), b"", 1)
    return store.write_now(append, inbox.id, new, contents=(pending,))


def inbox(store: Store, bal_id: int) -> list[str]:
    """The subjects of what is there."""
    folder = store.read_now(folder_by_name, bal_id, "INBOX")
    assert folder is not None
    found = store.read_now(rows, folder.id, [one.uid for one in store.read_now(entries, folder.id)])
    parsed = [message_from_bytes(store.contents.read(one.content), policy=policy.default) for one in found]
    return [str(one["Subject"]) for one in parsed if one["Subject"]]


async def test_each_rise_is_told_once(store: Store, clock: FakeClock) -> None:
    bal_id = store.write_now(create_bal, NewBal(address="a@cabinet.test", type=BalType.PER, quota_bytes=1_000_000))
    other = store.write_now(create_bal, NewBal(address="b@cabinet.test", type=BalType.PER))
    put(store, other, 900_000)
    uid = put(store, bal_id, 799_999)
    assert await warn_of_full(store, clock, LEVELS) == 0
    put(store, bal_id, 10)
    assert await warn_of_full(store, clock, LEVELS) == 1
    assert await warn_of_full(store, clock, LEVELS) == 0
    put(store, bal_id, 160_000)
    assert await warn_of_full(store, clock, LEVELS) == 1
    assert inbox(store, bal_id) == ["Votre boîte est remplie à 80 %", "Votre boîte est remplie à 95 %"]
    assert inbox(store, other) == []
    folder = store.read_now(folder_by_name, bal_id, "INBOX")
    assert folder is not None
    store.write_now(expunge, folder.id, [uid])
    assert await warn_of_full(store, clock, LEVELS) == 0
    put(store, bal_id, 700_000)
    assert await warn_of_full(store, clock, LEVELS) == 1
    told = [one for one in store.read_now(journal.entries) if one.action == "quota.warned"]
    assert [one.detail for one in told] == [{"level": 80}, {"level": 95}, {"level": 80}]


async def test_who_receives_nothing_is_told_nothing(store: Store, clock: FakeClock) -> None:
    bal_id = store.write_now(create_bal, NewBal(address="a@cabinet.test", type=BalType.PER, quota_bytes=1000))
    put(store, bal_id, 990)
    store.write_now(set_state, bal_id, BalState.CLOSING)
    assert await warn_of_full(store, clock, LEVELS) == 0
    store.write_now(set_quota, bal_id, None)
    assert await warn_of_full(store, clock, LEVELS) == 0
    assert inbox(store, bal_id) == []
    found = store.read_now(get_bal, bal_id)
    assert found is not None and not found.full
