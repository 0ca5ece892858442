"""The mail of a bal as its holder works with it: what lasts, what is journalled, what is remembered."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mssante.domain.bal import BalType
from mssante.domain.flags import DELETED, SEEN
from mssante.mime.scanner import Scanner
from mssante.services import mailboxes as mailboxes_module
from mssante.services import messages
from mssante.services.listing import Listing
from mssante.services.mailboxes import Account, Cause, Folder, Mailboxes, MailboxRefused
from mssante.store import PendingContent, Store, Tx, journal
from mssante.store.accounts import NewBal, create_bal, get_bal
from mssante.store.mail import NewMessage, add_message, deliver
from tests.support.clock import FakeClock

ADDRESS = "claire.roux@cabinet.test"
MESSAGE = b"Subject: essai\r\nMessage-ID: <1@cabinet.test>\r\n\r\nBonjour\r\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(
        "sqlite:///mssante.db", "file:contents", bytes(range(32)), clock=FakeClock(), base=tmp_path, create=True
    )
    yield store
    store.close()


@pytest.fixture
def mailboxes(store: Store) -> Mailboxes:
    return Mailboxes(store, FakeClock())


@pytest.fixture
def account(store: Store, mailboxes: Mailboxes) -> Account:
    bal_id = store.write_now(create_bal, NewBal(address=ADDRESS, type=BalType.PER))
    return mailboxes.account(bal_id, ADDRESS)


def _arrive(tx: Tx, pending: PendingContent, card: bytes, bal_id: int) -> None:
    deliver(tx, add_message(tx, NewMessage(pending, tx.now_us, b"Received: x\r\n", card)), [bal_id])


@pytest.fixture
def arrive(store: Store, account: Account) -> Callable[[bytes], None]:
    def arrive(message: bytes = MESSAGE) -> None:
        scanner, writer = Scanner(), store.contents.begin()
        scanner.feed(message)
        writer.write(message)
        pending = writer.finish()
        store.write_now(_arrive, pending, scanner.finish().encode(), account.bal_id, contents=(pending,))

    return arrive


async def appended(account: Account, message: bytes = MESSAGE, name: str = "INBOX") -> int:
    append = await account.append(name)
    append.begin(len(message))
    append.feed(message)
    append.end(SEEN, ("$a",), 1_000_000)
    [uid] = await append.commit()
    return uid


async def selected(account: Account) -> tuple[Folder, Listing]:
    """INBOX and what it holds."""
    opened = await account.open("INBOX", read_only=True)
    if opened.listing is not None:
        return opened.folder, opened.listing
    listing, gone = await account.rows(opened.folder)
    assert not gone
    return opened.folder, listing


async def test_an_appended_message_is_there_and_journalled(account: Account, store: Store) -> None:
    assert await appended(account) == 1
    folder, listing = await selected(account)
    assert list(listing.uids) == [1]
    assert listing.flags[0] == SEEN and listing.keywords_of(0) == ("$a",)
    batches = account.messages.each(folder.id, listing, [0], header=True, content=True)
    [(_, loaded)] = await anext(batches)
    assert loaded is not None and loaded.content == MESSAGE
    assert loaded.message.header == MESSAGE.partition(b"Bonjour")[0]
    assert loaded.message.internal_us == 1_000_000
    [line] = [entry for entry in store.read_now(journal.entries) if entry.action.startswith("mail.")]
    assert (line.action, line.actor, line.object) == ("mail.appended", ADDRESS, ADDRESS)
    assert line.detail == {"folder": folder.id, "messages": 1, "first_uid": 1, "last_uid": 1}


async def test_an_expunge_is_one_journal_line_and_takes_only_what_is_deleted_now(
    account: Account, store: Store
) -> None:
    for _ in range(3):
        await appended(account)
    folder = await account.folder("INBOX")
    await account.store_flags(folder.id, [1, 2], "+", DELETED)
    assert await account.expunge(folder.id, [1, 2, 3, 99]) == [1, 2]
    assert await account.expunge(folder.id, [3]) == []
    lines = [entry for entry in store.read_now(journal.entries) if entry.action == "mail.expunged"]
    assert [line.detail for line in lines] == [{"folder": folder.id, "messages": 2, "first_uid": 1, "last_uid": 2}]


async def test_an_account_reaches_its_own_folders_only(account: Account, mailboxes: Mailboxes, store: Store) -> None:
    other_id = store.write_now(create_bal, NewBal(address="autre@cabinet.test", type=BalType.PER))
    await mailboxes.account(other_id, "autre@cabinet.test").create("Secret")
    with pytest.raises(MailboxRefused) as refused:
        await account.open("Secret", read_only=True)
    assert refused.value.cause is Cause.NONEXISTENT
    assert "Secret" not in {folder.name for _, folder in await account.listed()}


async def test_a_listing_follows_what_changed_and_never_what_did_not(
    account: Account, arrive: Callable[[], None]
) -> None:
    arrive()
    arrive()
    folder, first = await selected(account)
    folder_id = folder.id
    await account.store_flags(folder_id, [1], "+", DELETED)
    await account.expunge(folder_id, [1])
    arrive()
    _, second = await selected(account)
    assert list(first.uids) == [1, 2]
    assert list(second.uids) == [2, 3]
    changes = await account.changes(folder_id, first.modseq)
    assert changes is not None
    assert [entry.uid for entry in changes.entries] == [3] and list(changes.expunged) == [1]
    first.follow(changes)
    assert list(first.uids) == [2, 3] and first.modseq == second.modseq
    unchanged = await account.changes(folder_id, second.modseq)
    assert unchanged is not None and not unchanged.entries and not unchanged.expunged


async def test_a_folder_is_told_before_it_is_read_and_read_as_it_was_told(
    account: Account, arrive: Callable[[], None]
) -> None:
    for _ in range(4):
        arrive()
    folder_id = (await account.folder("INBOX")).id
    await account.store_flags(folder_id, [1, 2], "+", SEEN, ("$a",))
    opened = await account.open("INBOX", read_only=True)
    assert opened.listing is None
    assert opened.outline == (3, {"$a"}) and opened.recent == 4
    await account.store_flags(folder_id, [2, 3], "+", DELETED)
    await account.expunge(folder_id, [2])
    arrive()
    listing, gone = await account.rows(opened.folder)
    assert list(listing.uids) == [1, 2, 3, 4] and gone == [2]
    assert listing.keywords_of(0) == ("$a",) and listing.modseq == opened.folder.highestmodseq
    changes = await account.changes(folder_id, listing.modseq)
    assert changes is not None
    assert [entry.uid for entry in changes.entries] == [3, 5] and list(changes.expunged) == [2]
    listing.follow(changes)
    _, now = await selected(account)
    assert (listing.uids, listing.flags, listing.modseqs) == (now.uids, now.flags, now.modseqs)
    assert (listing.message_ids, listing.keywords) == (now.message_ids, now.keywords)


async def test_a_listing_far_behind_is_read_anew(
    account: Account, arrive: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive()
    await selected(account)
    monkeypatch.setattr(mailboxes_module, "_FOLLOWED", 1)
    arrive()
    assert (await account.open("INBOX", read_only=True)).listing is not None
    arrive()
    arrive()
    opened = await account.open("INBOX", read_only=True)
    assert opened.listing is None
    listing, _ = await account.rows(opened.folder)
    assert list(listing.uids) == [1, 2, 3, 4]


async def test_messages_that_are_gone_are_left_out(account: Account, arrive: Callable[[], None]) -> None:
    arrive()
    folder, listing = await selected(account)
    folder_id, ids = folder.id, list(listing.message_ids)
    await account.store_flags(folder_id, [1], "+", DELETED)
    await account.expunge(folder_id, [1])
    assert await account.messages.load(folder_id, [1], ids) == [None]


async def test_messages_come_in_batches_bounded_in_octets(
    account: Account, arrive: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        arrive(b"Subject: %d %b\r\n\r\nBonjour\r\n" % (number, b"x" * (30_000 if number % 2 else 1)))
    folder, listing = await selected(account)
    places = [place for place in range(20) if place != 3]
    monkeypatch.setattr(messages, "_ROOM", 40_000)
    for header in (False, True):
        sizes, subjects = [], []
        async for batch in account.messages.each(folder.id, listing, places, header=header):
            loaded = [found.message for _, found in batch if found is not None]
            sizes.append(sum(len(message.encoded) + len(message.header or b"") for message in loaded))
            subjects += [int(message.card.subject.split()[0]) for message in loaded]
        assert subjects == places
        assert len(sizes) > 5
        assert max(sizes) < 40_000 + 70_000  # the one that fills the room is still there


async def test_a_message_erased_while_it_is_read_is_refused(account: Account, arrive: Callable[[bytes], None]) -> None:
    arrive(b"Subject: grand\r\n\r\n" + b"x" * 300_000)
    folder, listing = await selected(account)
    [loaded] = await account.messages.load(folder.id, [1], listing.message_ids)
    assert loaded is not None and loaded.content is None
    await account.store_flags(folder.id, [1], "+", DELETED)
    await account.expunge(folder.id, [1])
    with pytest.raises(MailboxRefused) as refused:
        await loaded.octets(0, 100)
    assert refused.value.cause is Cause.EXPUNGED


async def test_what_is_remembered_without_its_header_is_gone_when_it_was_erased(
    account: Account, store: Store, arrive: Callable[[bytes], None]
) -> None:
    arrive(b"Subject: grand\r\n\r\n" + b"x" * 300_000)
    folder, listing = await selected(account)
    read = messages.Messages(store)
    assert await read.load(folder.id, [1], listing.message_ids) != [None]
    await account.store_flags(folder.id, [1], "+", DELETED)
    await account.expunge(folder.id, [1])
    assert [batch async for batch in read.each(folder.id, listing, [0], header=True)] == [[(0, None)]]


async def test_an_append_given_up_leaves_nothing(account: Account, store: Store) -> None:
    append = await account.append("INBOX")
    for whole in (True, False):
        append.begin(400_014)
        append.feed(b"Subject: x\r\n\r\n" + b"x" * 400_000)
        if whole:
            append.end(0, (), None)
    append.abort()
    append = await account.append("INBOX")
    append.begin(1)
    with pytest.raises(MailboxRefused):
        append.feed(b"\0")
    append.abort()
    bal = store.read_now(get_bal, account.bal_id)
    assert bal is not None and bal.used_bytes == 0
    assert list(store.contents.segments()) == []


async def test_move_is_all_or_nothing(account: Account) -> None:
    await appended(account)
    folder = await account.folder("INBOX")
    with pytest.raises(MailboxRefused):
        await account.copy(folder.id, [1], "Nulle part", move=True)
    assert (await account.folder("INBOX")).messages == 1
    copied = await account.copy(folder.id, [1], "Archives", move=True)
    assert copied.pairs == [(1, 1)]
    assert (await account.folder("INBOX")).messages == 0
    assert (await account.folder("Archives")).messages == 1


async def test_appends_at_once_do_not_pass_the_quota_together(store: Store, mailboxes: Mailboxes) -> None:
    full = NewBal(address="pleine@cabinet.test", type=BalType.PER, quota_bytes=2 * len(MESSAGE))
    account = mailboxes.account(store.write_now(create_bal, full), full.address)
    begun = [await account.append("INBOX") for _ in range(3)]
    for one in begun:
        one.begin(len(MESSAGE))
        one.feed(MESSAGE)
        one.end(0, (), None)
    for one in begun[:2]:
        await one.commit()
    with pytest.raises(MailboxRefused) as refused:
        await begun[2].commit()
    begun[2].abort()
    assert refused.value.cause is Cause.OVERQUOTA
    assert await account.quota() == (2 * len(MESSAGE), 2 * len(MESSAGE))


async def test_folders_have_a_limit(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mssante.services.changes.MAX_FOLDERS", 8)
    await account.create("a/b")
    with pytest.raises(MailboxRefused) as refused:
        await account.create("c")
    assert refused.value.cause is Cause.LIMIT
