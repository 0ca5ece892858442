"""Arrival, flags, copies, removal: the same on both databases."""

import pytest

from mssante.domain.bal import BalState
from mssante.domain.flags import ANSWERED, DELETED, FLAGGED, SEEN
from mssante.store import AlreadyExists, ContentError, NotFound, Store, StoreError, Tx
from mssante.store.accounts import find_bal, get_bal, set_state
from mssante.store.columns import count
from mssante.store.mail import (
    BalRefused,
    Folder,
    NewMessage,
    add_message,
    append,
    claim_recent,
    copy,
    create_folder,
    delete_folder,
    deliver,
    entries,
    expunge,
    expunged_since,
    folder_by_id,
    folder_by_name,
    folders,
    load_message,
    move,
    rename_folder,
    rows,
    saved_dates,
    set_subscribed,
    store_flags,
)
from mssante.store.verify import verify
from tests.mssante.store.made import arrive, inbox_of, make_bals, pending
from tests.support.clock import FakeClock


def folder(store: Store, folder_id: int) -> Folder:
    found = store.read_now(folder_by_id, folder_id)
    assert found is not None
    return found


def used(store: Store, bal_id: int) -> int:
    found = store.read_now(get_bal, bal_id)
    assert found is not None
    return found.used_bytes


def add(tx: Tx, folder_id: int, new: NewMessage, flags: int = 0, *keywords: str, internal_us: int | None = None) -> int:
    return append(tx, folder_id, new, flags, keywords, internal_us)


def put(store: Store, folder_id: int, body: bytes, flags: int = 0, *keywords: str) -> int:
    content = pending(store, body)
    return store.write_now(add, folder_id, NewMessage(content, 5, b"", b"card"), flags, *keywords, contents=(content,))


def test_a_bal_is_born_with_its_folders(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    born = store.read_now(folders, bal_id)
    assert {one.name: one.special_use for one in born} == {
        "INBOX": "",
        "Brouillons": "\\Drafts",
        "Envoyés": "\\Sent",
        "Corbeille": "\\Trash",
        "Indésirables": "\\Junk",
        "Archives": "\\Archive",
    }
    assert len({one.uidvalidity for one in born}) == len(born)
    assert all(one.subscribed and one.uidnext == 1 and one.messages == 0 for one in born)


def test_one_stored_message_reaches_many(store: Store) -> None:
    bals = make_bals(store, *(f"u{number}" for number in range(20)))
    delivered = arrive(store, b"Bonjour\r\n", bals)
    assert sorted(one.bal_id for one in delivered) == sorted(bals)
    assert {(one.uid, one.modseq) for one in delivered} == {(1, 2)}
    seen = set()
    for bal_id in bals:
        (row,) = store.read_now(rows, inbox_of(store, bal_id), [1])
        assert (row.card, row.prepend, row.flags, row.keywords) == (b"card", b"Received: from here\r\n", 0, ())
        assert row.size == len(b"Received: from here\r\n") + len(b"Bonjour\r\n") == used(store, bal_id)
        assert store.contents.read(row.content) == b"Bonjour\r\n"
        seen.add((row.message_id, row.content))
    assert len(seen) == 1
    assert verify(store).faults == []


def test_delivering_twice_to_one_bal_is_delivering_once(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    assert len(arrive(store, b"x", [bal_id, bal_id])) == 1
    assert arrive(store, b"y", [bal_id], SEEN)[0].uid == 2
    now = folder(store, inbox_of(store, bal_id))
    assert (now.messages, now.unseen, now.uidnext, now.highestmodseq) == (2, 1, 3, 3)


@pytest.mark.parametrize("state", [BalState.DRAFT, BalState.CLOSING, BalState.CLOSED])
def test_a_bal_closed_since_rcpt_refuses_the_whole_delivery(store: Store, state: BalState) -> None:
    open_, closed = make_bals(store, "open", "closed")
    store.write_now(set_state, closed, state)
    with pytest.raises(BalRefused) as refused:
        arrive(store, b"x", [open_, closed])
    assert refused.value.bal_ids == (closed,)
    assert folder(store, inbox_of(store, open_)).messages == 0
    assert verify(store).messages == 0


def test_a_suspended_bal_keeps_receiving_unless_the_operator_says_no(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    store.write_now(set_state, bal_id, BalState.SUSPENDED)
    assert len(arrive(store, b"x", [bal_id])) == 1
    content = pending(store, b"y")

    def strict(tx: Tx) -> object:
        message_id = add_message(tx, NewMessage(content, 5, b"", b""))
        return deliver(tx, message_id, [bal_id], accepting={BalState.ACTIVE})

    with pytest.raises(BalRefused):
        store.write_now(strict, contents=(content,))


def test_flags_and_keywords(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    for _ in range(3):
        arrive(store, b"x", [bal_id])
    inbox = inbox_of(store, bal_id)
    changed = store.write_now(store_flags, inbox, [1, 3, 9], "+", SEEN | FLAGGED, ("$Important", "suivi"))
    assert [(one.uid, one.flags, one.keywords, one.modseq) for one in changed] == [
        (1, SEEN | FLAGGED, ("$Important", "suivi"), 5),
        (3, SEEN | FLAGGED, ("$Important", "suivi"), 5),
    ]
    assert folder(store, inbox).unseen == 1
    (one,) = store.write_now(store_flags, inbox, [1], "-", SEEN, ("suivi", "absent"))
    assert (one.flags, one.keywords, one.modseq) == (FLAGGED, ("$Important",), 6)
    (two,) = store.write_now(store_flags, inbox, [2], "=", ANSWERED, ())
    assert (two.flags, two.modseq) == (ANSWERED, 7)
    now = folder(store, inbox)
    assert (now.unseen, now.highestmodseq) == (2, 7)
    assert [one.uid for one in store.read_now(entries, inbox, 5)] == [1, 2]
    assert [one.uid for one in store.read_now(entries, inbox)] == [1, 2, 3]


def test_a_store_that_changes_nothing_leaves_the_modseq(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    arrive(store, b"x", [bal_id], SEEN)
    inbox = inbox_of(store, bal_id)
    before = folder(store, inbox)
    (same,) = store.write_now(store_flags, inbox, [1], "+", SEEN, ())
    assert same.modseq == before.highestmodseq
    assert folder(store, inbox) == before


def test_expunging_the_last_place_erases_the_message(store: Store) -> None:
    first, second = make_bals(store, "first", "second")
    arrive(store, b"x" * 100, [first, second])
    (row,) = store.read_now(rows, inbox_of(store, first), [1])
    assert store.write_now(expunge, inbox_of(store, first), [1, 2]) == [1]
    assert used(store, first) == 0
    assert store.read_now(load_message, row.message_id).content == row.content
    assert store.write_now(expunge, inbox_of(store, second), [1]) == [1]
    with pytest.raises(NotFound):
        store.read_now(load_message, row.message_id)
    assert not store.contents.cached(row.content)
    assert store.read_now(rows, inbox_of(store, second), [1]) == []
    found = verify(store)
    assert (found.messages, found.orphans, found.faults) == (0, 1, [])


def test_erasing_a_large_message_removes_its_file(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    body = b"0123456789" * 100_000
    arrive(store, body, [bal_id])
    (row,) = store.read_now(rows, inbox_of(store, bal_id), [1])
    assert store.contents.read(row.content) == body
    assert store.write_now(expunge, inbox_of(store, bal_id), [1]) == [1]
    assert list(store.contents.segments()) == []
    with pytest.raises(ContentError):
        store.contents.read(row.content)


def test_expunged_uids_are_told_to_those_who_missed_them(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    for _ in range(5):
        arrive(store, b"x", [bal_id])
    inbox = inbox_of(store, bal_id)
    start = folder(store, inbox).highestmodseq
    store.write_now(expunge, inbox, [2, 4])
    middle = folder(store, inbox).highestmodseq
    store.write_now(expunge, inbox, [5])
    assert store.read_now(expunged_since, inbox, start) == [2, 4, 5]
    assert store.read_now(expunged_since, inbox, middle) == [5]
    assert store.read_now(expunged_since, inbox, folder(store, inbox).highestmodseq) == []
    assert arrive(store, b"x", [bal_id])[0].uid == 6
    assert store.write_now(expunge, inbox, [99]) == []


def test_copies_keep_flags_keywords_and_date(store: Store, clock: FakeClock) -> None:
    (bal_id,) = make_bals(store, "a")
    arrive(store, b"x", [bal_id])
    arrive(store, b"y", [bal_id])
    inbox = inbox_of(store, bal_id)
    store.write_now(store_flags, inbox, [2], "+", FLAGGED | DELETED, ("suivi",))
    clock.advance(1000)
    target = store.write_now(create_folder, bal_id, "Patients/2026")
    assert store.write_now(copy, inbox, [2, 1, 7], target) == [(1, 1), (2, 2)]
    old, new = store.read_now(rows, inbox, [2])[0], store.read_now(rows, target, [2])[0]
    assert (new.flags, new.keywords, new.internal_us) == (FLAGGED | DELETED, ("suivi",), old.internal_us)
    assert (new.message_id, new.content) == (old.message_id, old.content)
    assert used(store, bal_id) == 4 * len(b"Received: from here\r\nx")
    assert folder(store, target).unseen == 2
    assert store.write_now(copy, inbox, [], target) == []
    assert verify(store).faults == []


def test_moving_leaves_one_place(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    arrive(store, b"x", [bal_id])
    arrive(store, b"y", [bal_id])
    inbox = inbox_of(store, bal_id)
    trash = store.read_now(folder_by_name, bal_id, "Corbeille")
    assert trash is not None
    before = used(store, bal_id)
    assert store.write_now(move, inbox, [2], trash.id) == [(2, 1)]
    assert used(store, bal_id) == before
    assert store.read_now(expunged_since, inbox, 1) == [2]
    assert [one.uid for one in store.read_now(entries, inbox)] == [1]
    assert store.contents.read(store.read_now(rows, trash.id, [1])[0].content) == b"y"
    assert store.write_now(move, inbox, [1], inbox) == [(1, 3)]
    assert verify(store).faults == []


def test_appending(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    sent = store.read_now(folder_by_name, bal_id, "Envoyés")
    assert sent is not None
    assert put(store, sent.id, b"one", SEEN, "b", "a") == 1
    content = pending(store, b"two")
    new = NewMessage(content, 5, b"", b"card")
    assert store.write_now(lambda tx: add(tx, sent.id, new, internal_us=77), contents=(content,)) == 2
    first, second = store.read_now(rows, sent.id, [1, 2])
    assert (first.flags, first.keywords, first.internal_us) == (SEEN, ("a", "b"), 5)
    assert (second.flags, second.internal_us) == (0, 77)


def test_appending_to_a_closed_bal_or_a_lost_folder_is_refused(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    inbox = inbox_of(store, bal_id)
    with pytest.raises(NotFound):
        put(store, 10_000, b"x")
    store.write_now(set_state, bal_id, BalState.CLOSED)
    with pytest.raises(BalRefused):
        put(store, inbox, b"x")
    assert verify(store).messages == 0


def test_a_folder_made_anew_has_a_greater_uidvalidity(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    validities = []
    for _ in range(3):
        folder_id = store.write_now(create_folder, bal_id, "Projet")
        validities.append(folder(store, folder_id).uidvalidity)
        with pytest.raises(AlreadyExists):
            store.write_now(create_folder, bal_id, "Projet")
        put(store, folder_id, b"x")
        store.write_now(delete_folder, folder_id)
        assert store.read_now(folder_by_id, folder_id) is None
    assert validities == sorted(set(validities))
    assert used(store, bal_id) == 0
    assert verify(store).messages == 0


def test_the_inbox_stays(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    inbox = inbox_of(store, bal_id)
    arrive(store, b"x", [bal_id])
    with pytest.raises(StoreError, match="INBOX"):
        store.write_now(delete_folder, inbox)
    store.write_now(rename_folder, inbox, "Ancien")
    assert inbox_of(store, bal_id) == inbox
    assert folder(store, inbox).messages == 0
    old = store.read_now(folder_by_name, bal_id, "Ancien")
    assert old is not None
    assert old.messages == 1
    assert arrive(store, b"y", [bal_id])[0].uid == 2


def test_renaming_takes_the_children_along(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    parent, child, near = (
        store.write_now(create_folder, bal_id, name) for name in ("Équipe", "Équipe/Bloc", "Équipement")
    )
    store.write_now(rename_folder, parent, "Service")
    assert [folder(store, one).name for one in (parent, child, near)] == ["Service", "Service/Bloc", "Équipement"]
    with pytest.raises(AlreadyExists):
        store.write_now(rename_folder, parent, "Équipement")
    assert folder(store, parent).name == "Service"
    with pytest.raises(NotFound):
        store.write_now(rename_folder, 10_000, "Rien")


def test_subscriptions(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    inbox = inbox_of(store, bal_id)
    store.write_now(set_subscribed, inbox, False)
    assert not folder(store, inbox).subscribed


def test_recent_messages_are_told_to_one_session_only(store: Store) -> None:
    (bal_id,) = make_bals(store, "a")
    inbox = inbox_of(store, bal_id)
    arrive(store, b"x", [bal_id])
    assert store.write_now(claim_recent, inbox) == 1
    assert store.write_now(claim_recent, inbox) == 2
    arrive(store, b"y", [bal_id])
    assert store.write_now(claim_recent, inbox) == 2
    assert store.write_now(claim_recent, inbox) == 3


def test_only_what_was_told_is_taken(store: Store) -> None:
    inbox = inbox_of(store, make_bals(store, "a")[0])
    for number in range(3):
        put(store, inbox, b"%d" % number)
    assert store.write_now(claim_recent, inbox, 3) == 1
    assert store.write_now(claim_recent, inbox, 2) == 3
    assert folder(store, inbox).recent_from == 3
    assert [store.read_now(count, inbox, uid, 4) for uid in (1, 3, 4)] == [3, 1, 0]
    assert store.read_now(count, inbox, 1, 3) == 2


def test_a_copy_has_a_save_date_of_its_own(store: Store, clock: FakeClock) -> None:
    (bal_id,) = make_bals(store, "a")
    inbox = inbox_of(store, bal_id)
    uid = put(store, inbox, b"m")
    saved_us = clock.now_us()
    clock.advance(60)
    target = store.write_now(create_folder, bal_id, "Ailleurs")
    ((_, copied),) = store.write_now(copy, inbox, [uid], target)
    arrive(store, b"n", [bal_id])
    assert store.read_now(saved_dates, inbox, [1, 2, 9]) == {1: saved_us, 2: clock.now_us()}
    assert store.read_now(saved_dates, target, [copied]) == {copied: clock.now_us()}


def test_a_folder_that_is_gone_is_told(store: Store) -> None:
    for attempt in (
        lambda tx: store_flags(tx, 10_000, [1], "+", SEEN, ()),
        lambda tx: expunge(tx, 10_000, [1]),
        lambda tx: copy(tx, 10_000, [1], 10_001),
        lambda tx: create_folder(tx, 10_000, "x"),
    ):
        with pytest.raises(NotFound):
            store.write_now(attempt)


def test_many_at_once(store: Store) -> None:
    """More uids than one statement takes."""
    (bal_id,) = make_bals(store, "a")
    inbox = inbox_of(store, bal_id)
    arrive(store, b"x", [bal_id])
    other = store.write_now(create_folder, bal_id, "copies")
    for _ in range(11):
        here = [one.uid for one in store.read_now(entries, inbox)]
        store.write_now(copy, inbox, here, inbox)
    everything = [one.uid for one in store.read_now(entries, inbox)]
    assert len(everything) == 2048
    assert len(store.read_now(rows, inbox, everything)) == 2048
    assert len(store.write_now(store_flags, inbox, everything, "+", SEEN, ())) == 2048
    assert folder(store, inbox).unseen == 0
    assert len(store.write_now(move, inbox, everything, other)) == 2048
    assert len(store.write_now(expunge, other, everything)) == 2048
    assert verify(store).messages == 0
    assert store.read_now(find_bal, "a@cabinet.mssante.fr").used_bytes == 0  # type: ignore[union-attr]
