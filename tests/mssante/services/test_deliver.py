"""What the courier asks of the store: leases, octets, and every outcome with all that follows from it in one write."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from mssante.domain.address import parse_address
from mssante.domain.bal import BalState, BalType
from mssante.domain.dsn import DEFAULT, Notify
from mssante.mime.scanner import Scanner
from mssante.services.deliver import CHUNK, Attempt, Deliveries, Delivery, Result
from mssante.services.lease_owner import is_gone, this_process
from mssante.store import Conn, ContentError, Store, Tx
from mssante.store import journal as journals
from mssante.store.accounts import NewBal, create_bal, set_state
from mssante.store.mail import entries, folder_by_name, rows
from mssante.store.messages import NewMessage, add_message
from mssante.store.queue import QueueItem, QueueRecipient, QueueState, drop, enqueue, hold, lease_due, listing, retry
from tests.support.clock import FakeClock

CABINET, CLINIQUE, EHPAD = "cabinet.mssante.example", "clinique.mssante.example", "ehpad.mssante.example"
SENDER = f"anne.exemple@{CABINET}"
A, B = f"a@{CLINIQUE}", f"b@{CLINIQUE}"
CONTENT = b"Subject: Compte rendu\r\n\r\nBonjour,\r\n"
PREPEND = b"Received: by mx\r\n"
HOUR, DAY = 3600, 86_400

SENT = Attempt(Result.SENT, "accepted", "2.0.0", "250 2.0.0 ok", "250 2.0.0 ok", "mx.clinique.example")
LATER = Attempt(Result.TEMPORARY, "refused", "4.3.0", "451 4.3.0 later", "451 4.3.0 later", "mx.clinique.example")
NEVER = Attempt(Result.PERMANENT, "refused", "5.1.1", "550 5.1.1 who?", "550 5.1.1 who?", "mx.clinique.example")
DOUBT = Attempt(Result.TEMPORARY, "not_listed", "4.7.1", "not_listed: CN=x", trust=True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    store = Store.open("sqlite:///m.db", "file:contents", bytes(32), clock=clock, base=tmp_path, create=True)
    yield store
    store.close()


@pytest.fixture
def bal_id(store: Store) -> int:
    return store.write_now(create_bal, NewBal(address=SENDER, type=BalType.PER))


@pytest.fixture
def deliveries(store: Store, clock: FakeClock, bal_id: int) -> Deliveries:
    return made(store, clock)


def made(store: Store, clock: FakeClock, owner: str = "") -> Deliveries:
    hostname = f"mx.{CABINET}"
    return Deliveries(store, clock, hostname=hostname, domains=frozenset({CABINET}), owner=owner)


async def post(
    store: Store, *recipients: str, content: bytes = CONTENT, sender: str = SENDER, notify: Notify = DEFAULT
) -> int:
    scanner = Scanner()
    scanner.feed(content)
    writer = store.contents.begin()
    writer.write(content)
    pending = writer.finish()
    card = scanner.finish().encode()

    def accept(tx: Tx) -> int:
        message_id = add_message(tx, NewMessage(pending, tx.now_us, PREPEND, card))
        wishes = [QueueRecipient(parse_address(each), notify) for each in recipients]
        enqueue(tx, message_id, sender, wishes, expires_us=tx.now_us + 5 * DAY * 1_000_000)
        return message_id

    return await store.write(accept, contents=(pending,))


async def taken(deliveries: Deliveries) -> Delivery:
    (delivery,) = await deliveries.lease(100, set())
    return delivery


async def items(store: Store) -> list[QueueItem]:
    def everything(conn: Conn) -> list[QueueItem]:
        return sorted((item for state in QueueState for item in listing(conn, state)), key=lambda item: item.id)

    return await store.read(everything)


async def inbox(store: Store, bal_id: int) -> list[str]:
    def found(conn: Conn) -> list[object]:
        folder = folder_by_name(conn, bal_id, "INBOX")
        assert folder is not None
        return [row.content for row in rows(conn, folder.id, [each.uid for each in entries(conn, folder.id)])]

    return [(await store.read_content(ref)).decode() for ref in await store.read(found)]  # type: ignore[arg-type]


async def test_due_recipients_are_grouped_by_message_and_domain(store: Store, deliveries: Deliveries) -> None:
    first = await post(store, A, B, f"a@{EHPAD}")
    second = await post(store, *(f"r{n}@{CLINIQUE}" for n in range(41)))
    found = await deliveries.lease(100, set())
    assert sorted((each.message_id, each.domain, len(each.recipients)) for each in found) == [
        (first, CLINIQUE, 2),
        (first, EHPAD, 1),
        (second, CLINIQUE, 1),
        (second, CLINIQUE, 40),
    ]
    assert await deliveries.lease(100, set()) == []


async def test_the_limit_counts_recipients(store: Store, deliveries: Deliveries) -> None:
    await post(store, A, B, f"a@{EHPAD}")
    assert sum(len(each.recipients) for each in await deliveries.lease(2, set())) == 2
    assert sum(len(each.recipients) for each in await deliveries.lease(2, set())) == 1


async def test_only_what_was_asked_is_asked_of_the_peer(store: Store, deliveries: Deliveries) -> None:
    """RFC 3461 §5.2.1: a NOTIFY that the sender did not give is not invented."""
    await post(store, A)
    await post(store, A, notify=Notify.SUCCESS | Notify.FAILURE)
    await post(store, A, notify=Notify.NEVER)
    wishes = [each.recipients[0].notify for each in await deliveries.lease(100, set())]
    assert wishes == ["", "SUCCESS,FAILURE", "NEVER"]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
async def test_the_octets_are_those_stored_in_bounded_pieces(store: Store, deliveries: Deliveries, size: int) -> None:
    content = (b"\r\n" + bytes(range(256)) * (size // 256 + 1))[:size]
    await post(store, A, content=content)
    delivery = await taken(deliveries)
    pieces = [piece async for piece in deliveries.body(delivery)]
    assert b"".join(pieces) == PREPEND + content
    assert delivery.size == len(PREPEND + content)
    assert max(len(piece) for piece in pieces) <= CHUNK + len(PREPEND)


async def test_octets_that_are_gone_are_an_error_and_not_an_end(
    store: Store, deliveries: Deliveries, tmp_path: Path
) -> None:
    await post(store, A, content=b"\r\n" + b"x" * 400_000)
    for segment in (path for path in (tmp_path / "contents").rglob("*") if path.is_file()):
        segment.write_bytes(segment.read_bytes()[:200_000])
    delivery = await taken(deliveries)
    with pytest.raises(ContentError):
        assert [piece async for piece in deliveries.body(delivery)] == []


async def test_what_a_dead_process_held_is_its_successor_s_at_once(store: Store, clock: FakeClock, bal_id: int) -> None:
    await post(store, A, B)
    await made(store, clock, "one").lease(1, set())
    await made(store, clock, "two").lease(1, set())
    again = made(store, clock, "one")
    assert await again.reclaim() == 1
    found = await again.lease(10, set())
    assert [each.recipients[0].address for each in found] == [A]
    assert found[0].recipients[0].item.attempts == 0


async def test_leases_of_processes_that_ended_are_free_and_of_others_not(
    store: Store, clock: FakeClock, bal_id: int
) -> None:
    await post(store, A, B, f"c@{CLINIQUE}")
    asked = "from mssante.services.lease_owner import this_process as t; print(t('mx.test'), end='')"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", asked, stdout=subprocess.PIPE)
    ended = (await process.communicate())[0].decode()
    own = this_process("mx.test")
    elsewhere = "mx.test " + ended.removeprefix("mx.test ")[::-1]
    assert ended != own
    assert (is_gone(ended), is_gone(own), is_gone(elsewhere), is_gone("an old name")) == (True, False, False, False)
    for owner in (ended, this_process("mx.autre.test"), elsewhere):
        await made(store, clock, owner).lease(1, set())
    assert await made(store, clock).reclaim() == 1
    found = await made(store, clock).lease(10, set())
    assert [each.recipients[0].address for each in found] == [A]


async def test_what_is_given_back_is_due_at_once_and_was_not_tried(store: Store, deliveries: Deliveries) -> None:
    await post(store, A)
    delivery = await taken(deliveries)
    await deliveries.give_back(delivery.ids)
    assert (await taken(deliveries)).recipients[0].item.attempts == 0


async def test_a_lease_that_ran_out_in_hand_is_renewed_and_not_given_twice(
    store: Store, deliveries: Deliveries, clock: FakeClock
) -> None:
    await post(store, A)
    delivery = await taken(deliveries)
    clock.advance(300)
    assert await deliveries.lease(10, set(delivery.ids)) == []
    assert (await items(store))[0].due_us == clock.now_us() + 300_000_000


async def test_each_recipient_has_its_outcome(store: Store, deliveries: Deliveries, clock: FakeClock) -> None:
    c = f"c@{CLINIQUE}"
    await post(store, A, B, c)
    await deliveries.settle(await taken(deliveries), [SENT, LATER, NEVER])
    found = await items(store)
    assert [(item.state, item.attempts, item.last_reply, item.due_us) for item in found] == [
        (QueueState.SENT, 1, SENT.text, None),
        (QueueState.QUEUED, 1, LATER.text, clock.now_us() + 60_000_000),
        (QueueState.FAILED, 1, NEVER.text, None),
    ]
    journal = await store.read(journals.entries)
    assert [(entry.action, entry.detail["recipients"], entry.detail["cause"]) for entry in journal] == [
        ("delivery.sent", [A], "accepted"),
        ("delivery.deferred", [B], "refused"),
        ("delivery.failed", [c], "refused"),
    ]
    assert "who?" not in str(journal), "the peer's words may hold addresses: they stay in the queue"


@pytest.mark.parametrize(
    ("attempt", "after", "state", "status"),
    [
        (LATER, 5 * DAY - 1, QueueState.QUEUED, ""),
        (LATER, 5 * DAY, QueueState.FAILED, "5.4.7"),
        (DOUBT, DAY - 1, QueueState.QUEUED, ""),
        (DOUBT, DAY, QueueState.FAILED, "5.7.1"),
        (NEVER, 0, QueueState.FAILED, "5.1.1"),
    ],
)
async def test_time_ends_what_no_answer_ends(
    store: Store,
    deliveries: Deliveries,
    clock: FakeClock,
    bal_id: int,
    attempt: Attempt,
    after: int,
    state: QueueState,
    status: str,
) -> None:
    await post(store, A)
    clock.advance(after)
    await deliveries.settle(await taken(deliveries), [attempt])
    (item,) = await items(store)
    assert item.state is state
    notices = await inbox(store, bal_id)
    assert len(notices) == (state is QueueState.FAILED)
    assert all(f"Status: {status}" in notice for notice in notices)
    if state is QueueState.QUEUED:
        patience = DAY if attempt.trust else 5 * DAY
        assert item.due_us == item.created_us + patience * 1_000_000, "one last try at the very end"


async def test_one_notice_for_all_who_failed_together(store: Store, deliveries: Deliveries, bal_id: int) -> None:
    await post(store, A, B, f"c@{CLINIQUE}")
    await deliveries.settle(await taken(deliveries), [NEVER, NEVER, SENT])
    (notice,) = await inbox(store, bal_id)
    assert A in notice
    assert B in notice
    assert f"c@{CLINIQUE}" not in notice


async def test_the_delay_is_told_with_its_own_end(
    store: Store, deliveries: Deliveries, clock: FakeClock, bal_id: int
) -> None:
    """The seventh attempt is the first after three hours; a question of trust is tried for a day only."""
    await post(store, A)
    created = (await items(store))[0].created_us
    for attempt in range(1, 8):
        assert await inbox(store, bal_id) == []
        clock.advance(((await items(store))[0].due_us or 0) / 1e6 - clock.now_us() / 1e6)
        await deliveries.settle(await taken(deliveries), [DOUBT])
        assert (await items(store))[0].attempts == attempt
    (notice,) = await inbox(store, bal_id)
    assert "Action: delayed" in notice
    until = next(line for line in notice.splitlines() if line.startswith("Will-Retry-Until: "))
    assert parsedate_to_datetime(until.partition(": ")[2]).timestamp() == created // 1_000_000 + DAY


async def test_nobody_is_told_when_the_mailbox_is_closed(store: Store, deliveries: Deliveries, bal_id: int) -> None:
    await post(store, A)
    delivery = await taken(deliveries)
    await store.write(set_state, bal_id, BalState.CLOSED, "essai")
    await deliveries.settle(delivery, [NEVER])
    assert (await items(store))[0].state is QueueState.FAILED
    assert await inbox(store, bal_id) == []
    assert "notice.nobody" in {entry.action for entry in await store.read(journals.entries)}


async def test_a_finished_message_is_erased_and_its_failure_still_told(
    store: Store, deliveries: Deliveries, bal_id: int
) -> None:
    """The last recipient's failure erases the content; the notice keeps the header."""
    await post(store, A)
    delivery = await taken(deliveries)
    await deliveries.settle(delivery, [NEVER])
    assert (await items(store))[0].message_id is None
    (notice,) = await inbox(store, bal_id)
    assert "Compte rendu" in notice
    assert "Bonjour" not in notice


async def test_what_the_operator_dropped_meanwhile_stays_dropped(store: Store, deliveries: Deliveries) -> None:
    await post(store, A)
    delivery = await taken(deliveries)
    await store.write(drop, delivery.ids, "essai")
    await deliveries.settle(delivery, [LATER])
    assert (await items(store))[0].state is QueueState.DROPPED


@pytest.mark.parametrize("attempt", [LATER, None])
async def test_what_the_operator_holds_meanwhile_stays_held(
    store: Store, deliveries: Deliveries, attempt: Attempt | None
) -> None:
    await post(store, A)
    delivery = await taken(deliveries)
    await store.write(hold, delivery.ids)
    if attempt:
        await deliveries.settle(delivery, [attempt])
    else:
        await deliveries.give_back(delivery.ids)
    (item,) = await items(store)
    assert (item.state, item.due_us) == (QueueState.HELD, None)


async def test_what_the_operator_holds_and_was_sent_is_sent(store: Store, deliveries: Deliveries) -> None:
    await post(store, A)
    delivery = await taken(deliveries)
    await store.write(hold, delivery.ids)
    await deliveries.settle(delivery, [SENT])
    assert (await items(store))[0].state is QueueState.SENT


async def test_the_operator_s_wish_and_new_mail_are_heard(store: Store, deliveries: Deliveries) -> None:
    heard: list[str] = []
    ends = [deliveries.on_change(lambda: heard.append("change")), deliveries.on_asked(lambda: heard.append("asked"))]
    await post(store, A)
    assert heard == ["change"]
    await store.write(retry, None)
    assert set(heard[1:]) == {"asked", "change"}
    heard.clear()
    for end in ends:
        end()
    await store.write(lease_due, "somebody", 1, 1)
    await post(store, B)
    assert heard == []


@pytest.mark.parametrize("attempt", [LATER, NEVER])
async def test_what_another_process_has_now_is_left_to_it(
    store: Store, clock: FakeClock, bal_id: int, attempt: Attempt
) -> None:
    await post(store, A)
    slow, other = made(store, clock, "slow"), made(store, clock, "other")
    delivery = await taken(slow)
    clock.advance(300)
    (taken_over,) = await other.lease(10, set())
    assert (await slow.renew(delivery.ids))[0] == set(delivery.ids)
    await slow.settle(delivery, [attempt])
    await slow.give_back(delivery.ids)
    (item,) = await items(store)
    assert (item.state, item.lease_owner, item.attempts) == (QueueState.LEASED, "other", 0)
    assert await inbox(store, bal_id) == []
    await other.settle(taken_over, [SENT])
    assert (await items(store))[0].state is QueueState.SENT


async def test_what_was_sent_is_sent_whoever_has_it_now(store: Store, clock: FakeClock, bal_id: int) -> None:
    await post(store, A)
    slow, other = made(store, clock, "slow"), made(store, clock, "other")
    delivery = await taken(slow)
    clock.advance(300)
    (taken_over,) = await other.lease(10, set())
    await slow.settle(delivery, [SENT])
    await other.settle(taken_over, [LATER])
    assert (await items(store))[0].state is QueueState.SENT


async def test_a_renewed_lease_is_nobody_elses(store: Store, clock: FakeClock, bal_id: int) -> None:
    await post(store, A)
    slow, other = made(store, clock, "slow"), made(store, clock, "other")
    delivery = await taken(slow)
    clock.advance(299)
    assert await slow.renew(delivery.ids) == (set(), clock.now_us() + 300_000_000)
    clock.advance(299)
    assert await other.lease(10, set()) == []
