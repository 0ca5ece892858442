"""`verify` finds what does not agree, and calls orphans harmless."""

import os

import pytest
from sqlalchemy import text

from mssante.store import Store, Tx
from mssante.store.contents import ContentRef
from mssante.store.mail import NewMessage, add_message, rows
from mssante.store.verify import verify
from tests.mssante.store.made import arrive, inbox_of, make_bals, pending


@pytest.fixture
def bal(store: Store) -> int:
    (bal_id,) = make_bals(store, "a")
    arrive(store, b"small", [bal_id])
    arrive(store, b"large" * 100_000, [bal_id])
    return bal_id


def refs(store: Store, bal_id: int) -> list[ContentRef]:
    return [row.content for row in store.read_now(rows, inbox_of(store, bal_id), [1, 2])]


def test_all_is_well(store: Store, bal: int) -> None:
    found = verify(store)
    assert (found.messages, found.segments, found.orphans, found.faults) == (2, 2, 0, [])


@pytest.mark.parametrize(("which", "where"), [(0, 30), (0, 2), (1, 300_000)])
def test_a_damaged_content(store: Store, bal: int, which: int, where: int) -> None:
    path = store.contents.path(refs(store, bal)[which].segment)
    raw = bytearray(path.read_bytes())
    raw[where] ^= 1
    path.write_bytes(raw)
    (fault,) = verify(store).faults
    assert fault.startswith(f"message {which + 1}: ")


def test_a_missing_and_a_cut_segment(store: Store, bal: int) -> None:
    small, large = refs(store, bal)
    store.contents.path(small.segment).unlink()
    os.truncate(store.contents.path(large.segment), 1000)
    assert [fault.partition(":")[0] for fault in verify(store).faults] == ["message 1", "message 2"]


def test_a_content_without_a_row_is_only_counted(store: Store, bal: int) -> None:
    content = pending(store, b"orphan")

    def fail(tx: Tx) -> None:
        add_message(tx, NewMessage(content, 1, b"", b""))
        raise ValueError("the process stops here")

    with pytest.raises(ValueError, match="stops"):
        store.write_now(fail, contents=(content,))
    found = verify(store)
    assert (found.messages, found.orphans, found.faults) == (2, 1, [])


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        ("UPDATE folder SET messages = messages + 1 WHERE name = 'INBOX'", "folder 1: its counters"),
        ("UPDATE folder SET messages = messages + 1 WHERE name = 'Archives'", "folder 6: its counters"),
        ("UPDATE folder SET unseen = 0", "folder 1: its counters"),
        ("UPDATE folder SET uidnext = 2", "folder 1: its counters"),
        ("UPDATE folder SET highestmodseq = 2", "folder 1: its counters"),
        ("UPDATE bal SET used_bytes = 0", "bal 1: used_bytes"),
        ("DELETE FROM journal_head", "journal: the head"),
    ],
)
def test_counters_that_do_not_agree(store: Store, bal: int, harm: str, fault: str) -> None:
    store.write_now(lambda tx: tx.conn.execute(text(harm)).rowcount)
    assert any(one.startswith(fault) for one in verify(store).faults)


def test_a_message_that_nothing_refers_to(store: Store, bal: int) -> None:
    content = pending(store, b"lost")
    store.write_now(lambda tx: add_message(tx, NewMessage(content, 1, b"", b"")), contents=(content,))
    assert verify(store).faults == ["message 3: nothing refers to it"]
