"""The outbound queue."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from mssante.domain.address import parse_address
from mssante.domain.dsn import Notify
from mssante.store import NotFound, Store, Tx
from mssante.store.messages import NewMessage, add_message, load_message
from mssante.store.queue import (
    QueueItem,
    QueueRecipient,
    QueueState,
    counts,
    drop,
    enqueue,
    give_back,
    hold,
    lease_due,
    listing,
    next_due_us,
    of_accepted,
    prune_finished,
    record_deferred,
    record_failed,
    record_sent,
    release,
    renew,
    retry,
    show,
    told_of,
)
from mssante.store.verify import verify
from tests.mssante.store.made import DOCTOR, MATRICULE, PATIENT, pending
from tests.support.clock import FakeClock

MINUTE = 60_000_000


def send(store: Store, *recipients: str, sender: str = DOCTOR, body: bytes = b"x") -> int:
    """A queued message; its id."""
    content = pending(store, body)

    def accept(tx: Tx) -> int:
        message_id = add_message(tx, NewMessage(content, tx.now_us, b"", b""))
        to = [QueueRecipient(parse_address(one), Notify.FAILURE, f"rfc822;{one}") for one in recipients]
        enqueue(tx, message_id, sender, to, envid="QQ314159", ret="HDRS", expires_us=tx.now_us + 100 * MINUTE)
        return message_id

    return store.write_now(accept, contents=(content,))


def lease(
    store: Store, owner: str = "me", limit: int = 100, *, spread: int = 50, without: Sequence[str] = ()
) -> list[QueueItem]:
    return store.write_now(partial(lease_due, spread=spread, without=without), owner, limit, MINUTE)


def test_an_item_says_all_that_sending_needs(store: Store, clock: FakeClock) -> None:
    message_id = send(store, "b@clinique.test")
    (item,) = lease(store)
    assert item == store.read_now(show, item.id)
    assert (item.message_id, item.sender, item.recipient, item.domain) == (
        message_id,
        DOCTOR,
        "b@clinique.test",
        "clinique.test",
    )
    assert (item.state, item.due_us, item.attempts, item.lease_owner) == (
        QueueState.LEASED,
        clock.now_us() + MINUTE,
        0,
        "me",
    )
    assert (item.notify, item.orcpt, item.envid, item.ret) == (
        Notify.FAILURE,
        "rfc822;b@clinique.test",
        "QQ314159",
        "HDRS",
    )
    assert (item.created_us, item.expires_us, item.last_reply) == (clock.now_us(), clock.now_us() + 100 * MINUTE, "")
    with pytest.raises(NotFound):
        store.read_now(show, 10_000)


def test_a_leased_item_is_nobody_elses_until_the_lease_ends(store: Store, clock: FakeClock) -> None:
    send(store, "b@clinique.test")
    assert len(lease(store, "one")) == 1
    assert lease(store, "two") == []
    clock.advance(59)
    assert lease(store, "two") == []
    clock.advance(1)
    (item,) = lease(store, "two")
    assert item.lease_owner == "two"


def test_leases_are_taken_in_turn(store: Store, clock: FakeClock) -> None:
    send(store, "1@un.test", "2@deux.test")
    clock.advance(1)
    send(store, "3@un.test")
    assert [item.recipient for item in lease(store, limit=1)] == ["1@un.test"]
    assert [item.recipient for item in lease(store, without=["deux.test"])] == ["3@un.test"]
    assert [item.recipient for item in lease(store)] == ["2@deux.test"]


def test_what_goes_to_a_domain_is_leased_together(store: Store, clock: FakeClock) -> None:
    send(store, "1@un.test", "2@deux.test", "3@trois.test")
    clock.advance(1)
    send(store, "4@trois.test", "5@deux.test", "6@un.test")
    assert [item.recipient for item in lease(store, spread=2)] == [
        "1@un.test",
        "2@deux.test",
        "5@deux.test",
        "6@un.test",
    ]
    assert [item.recipient for item in lease(store, limit=1)] == ["3@trois.test"]


def test_each_recipient_has_its_own_fate(store: Store, clock: FakeClock) -> None:
    message_id = send(store, "a@un.test", "b@un.test", "c@un.test")
    a, b, c = (item.id for item in lease(store))
    store.write_now(record_sent, [a], "250 2.0.0 ok")
    store.write_now(record_deferred, [b], "451 4.3.0 plus tard", clock.now_us() + 5 * MINUTE)
    store.write_now(record_failed, [c], "550 5.1.1 inconnu")
    fates = {
        item.id: (item.state, item.attempts, item.last_reply, item.due_us)
        for item in (store.read_now(show, id_) for id_ in (a, b, c))
    }
    assert fates == {
        a: (QueueState.SENT, 1, "250 2.0.0 ok", None),
        b: (QueueState.QUEUED, 1, "451 4.3.0 plus tard", clock.now_us() + 5 * MINUTE),
        c: (QueueState.FAILED, 1, "550 5.1.1 inconnu", None),
    }
    assert [item.id for item in store.read_now(listing)] == [b]
    assert store.read_now(counts) == {QueueState.SENT: 1, QueueState.QUEUED: 1, QueueState.FAILED: 1}
    assert store.read_now(next_due_us) == clock.now_us() + 5 * MINUTE
    store.read_now(load_message, message_id)


def test_a_message_goes_with_its_last_unfinished_item(store: Store) -> None:
    message_id = send(store, "a@un.test", "b@un.test")
    a, b = (item.id for item in lease(store))
    store.write_now(record_sent, [a], "250 ok")
    store.read_now(load_message, message_id)
    store.write_now(record_sent, [b], "250 ok")
    with pytest.raises(NotFound):
        store.read_now(load_message, message_id)
    assert store.read_now(show, b).message_id is None
    assert store.read_now(next_due_us) is None
    assert verify(store).faults == []


def test_a_finished_item_stays_finished(store: Store, clock: FakeClock) -> None:
    send(store, "a@un.test")
    (item,) = lease(store)
    store.write_now(record_sent, [item.id], "250 ok")
    store.write_now(record_deferred, [item.id], "late answer of an old lease", clock.now_us())
    assert store.read_now(show, item.id).state is QueueState.SENT
    assert store.write_now(hold, [item.id]) == 0
    assert store.write_now(drop, [item.id], "motif") == 0


def test_the_operator_holds_releases_retries_and_drops(store: Store, clock: FakeClock) -> None:
    message_id = send(store, "a@un.test")
    (item,) = lease(store)
    store.write_now(record_deferred, [item.id], "451", clock.now_us() + 50 * MINUTE)
    assert lease(store) == []
    assert store.write_now(retry, None) == 1
    assert store.write_now(retry, [item.id]) == 1
    assert store.write_now(hold, [item.id]) == 1
    clock.advance(100 * 60)
    assert lease(store) == []
    assert store.read_now(show, item.id).state is QueueState.HELD
    store.read_now(load_message, message_id)
    assert store.write_now(release, [item.id]) == 1
    assert len(lease(store)) == 1
    assert store.write_now(drop, [item.id], "erreur de saisie") == 1
    dropped = store.read_now(show, item.id)
    assert (dropped.state, dropped.last_reply, dropped.message_id) == (QueueState.DROPPED, "erreur de saisie", None)


def test_finished_items_are_pruned_with_age(store: Store, clock: FakeClock) -> None:
    send(store, "a@un.test", "b@un.test")
    (a, _) = lease(store)
    store.write_now(record_sent, [a.id], "250 ok")
    assert store.write_now(prune_finished, clock.now_us()) == 0
    clock.advance(10)
    assert store.write_now(prune_finished, clock.now_us()) == 1
    assert len(store.read_now(listing)) == 1


def test_the_null_sender(store: Store) -> None:
    send(store, "a@un.test", sender="")
    assert store.read_now(listing)[0].sender == ""


def test_addresses_and_replies_are_sealed(sqlite_store: Store, tmp_path: Path) -> None:
    send(sqlite_store, PATIENT, sender=DOCTOR)
    (item,) = lease(sqlite_store)
    sqlite_store.write_now(record_deferred, [item.id], f"450 4.2.0 <{PATIENT}> occupé", 0)
    sqlite_store.close()
    raw = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert b"patient.mssante.fr" in raw
    assert MATRICULE.encode() not in raw
    assert b"marie.durand" not in raw


async def test_the_queue_is_hinted(store: Store) -> None:
    content = pending(store, b"x")
    woken: list[bool] = []
    store.hints.subscribe("queue", None, lambda: woken.append(True))

    def accept(tx: Tx) -> None:
        message_id = add_message(tx, NewMessage(content, tx.now_us, b"", b""))
        enqueue(tx, message_id, "", [QueueRecipient(parse_address("a@un.test"))], expires_us=1)

    await store.write(accept, contents=(content,))
    assert woken == [True]


def test_a_lease_is_prolonged_by_its_owner_alone(store: Store, clock: FakeClock) -> None:
    send(store, "a@un.test", "b@un.test", "c@un.test", "d@un.test")
    a, b, c, d = (item.id for item in lease(store, "one"))
    store.write_now(hold, [b])
    store.write_now(record_sent, [c], "250 ok")
    later = clock.now_us() + 3 * MINUTE
    assert store.write_now(renew, "two", [a, b, c, d], later) == set()
    assert store.write_now(renew, "one", [a, b, c], later) == {a}
    clock.advance(60)
    assert [item.id for item in lease(store, "two")] == [d]
    assert store.write_now(renew, "one", [a, d], later) == {a}
    assert store.read_now(show, d).lease_owner == "two"
    assert store.write_now(renew, "one", [], later) == set()


def test_a_lease_is_given_back_by_its_owner_alone(store: Store, clock: FakeClock) -> None:
    send(store, "a@un.test", "b@un.test", "c@un.test")
    a, b, c = (item.id for item in lease(store, "one"))
    store.write_now(hold, [b])
    assert store.write_now(give_back, "two", [a, b, c]) == 0
    assert store.write_now(give_back, "one", [a, b]) == 1
    given = store.read_now(show, a)
    assert (given.state, given.due_us, given.attempts, given.lease_owner) == (
        QueueState.QUEUED,
        clock.now_us(),
        0,
        None,
    )
    assert store.read_now(show, b).state is QueueState.HELD
    assert [item.id for item in lease(store, "two")] == [a]


def test_items_are_found_by_what_reports_name_them_by(store: Store) -> None:
    content = pending(store, b"x")

    def accept(tx: Tx) -> None:
        message_id = add_message(tx, NewMessage(content, tx.now_us, b"", b""))
        to = [QueueRecipient(parse_address(one)) for one in ("a@un.test", "b@deux.test")]
        said = {"accepted_as": "0123456789abcdef", "header_id": "<1@cabinet.test>"}
        enqueue(tx, message_id, DOCTOR, to, envid="QQ+2B1", expires_us=tx.now_us + MINUTE, **said)

    store.write_now(accept, contents=(content,))
    send(store, "c@un.test")
    ours = store.read_now(of_accepted, "0123456789abcdef")
    assert [item.recipient for item in ours] == ["a@un.test", "b@deux.test"]
    assert {item.traced_as for item in ours} == {"0123456789abcdef"}

    def found(sender: str, envid: str = "", header_id: str = "") -> list[QueueItem]:
        return store.read_now(partial(told_of, sender=sender, envid=envid, header_id=header_id))

    assert found(DOCTOR, envid="QQ+2B1") == ours
    assert found(DOCTOR, header_id="<1@cabinet.test>") == ours
    assert found(DOCTOR, envid="unknown", header_id="<1@cabinet.test>") == ours
    assert found("somebody@else.test", envid="QQ+2B1", header_id="<1@cabinet.test>") == []
    assert found(DOCTOR, envid="", header_id="") == []
