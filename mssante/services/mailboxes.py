"""A bal's mail as its holder works with it: folders, listings, messages, flags, copies, appends, expunges.

Invariants:
- An `Account` reaches the folders of its own bal and no other: a folder id from it was found under its bal.
- Appending, expunging and deleting leave one journal line each: who, which bal, which folder, how many or which uid.
- Outcomes that a client must hear of are `MailboxRefused` with a cause; the store's own errors do not pass this floor.
- A message appended is on stable storage when `Append.finish` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import msgspec

from mssante.domain.clock import Clock
from mssante.domain.flags import DELETED
from mssante.mime.scanner import HeaderTooLarge, Scanner
from mssante.services.listing import Changes, Entry, Listing, Listings
from mssante.services.messages import Loaded, Message, Messages
from mssante.services.refusals import Cause, MailboxRefused, nonexistent, refused, told
from mssante.store import (
    Conn,
    ContentWriter,
    PendingContent,
    Store,
    StoreError,
    Tx,
    mail,
    subscriptions,
)
from mssante.store.accounts import get_bal
from mssante.store.columns import Weight, columns, weight
from mssante.store.mail import INBOX, Folder, NewMessage

MAX_FOLDERS: Final = 1000
"""Folders of one bal."""

__all__ = ["Account", "Append", "Cause", "Copied", "Folder", "MailboxRefused", "Mailboxes", "Opened"]


class Opened(msgspec.Struct, frozen=True):
    """A folder as selected: what it holds as of `folder`, and from which uid on messages are \\Recent for the
    opener."""

    folder: Folder
    listing: Listing
    recent_from: int


class Copied(msgspec.Struct, frozen=True):
    """COPYUID (RFC 4315 §3): the target's uidvalidity, and (uid in the source, uid in the target) in order."""

    uidvalidity: int
    pairs: Sequence[tuple[int, int]]


class Mailboxes:
    """The mail of all bals, for the sessions of one process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.listings = Listings()
        self.messages = Messages(store)

    def account(self, bal_id: int, address: str) -> Account:
        """The mail of a bal whose holder has signed in. `address` names the actor in the journal."""
        return Account(self, bal_id, address)


class Account:
    __slots__ = ("_mailboxes", "_store", "address", "bal_id")

    def __init__(self, mailboxes: Mailboxes, bal_id: int, address: str) -> None:
        self._mailboxes = mailboxes
        self._store = mailboxes.store
        self.bal_id = bal_id
        self.address = address

    def now_us(self) -> int:
        return self._mailboxes.clock.now_us()

    # -- folders

    async def folders(self) -> list[Folder]:
        return await told(self._store.read(mail.folders, self.bal_id))

    async def folder(self, name: str) -> Folder:
        """MailboxRefused (NONEXISTENT) when there is none of this name."""
        found = await told(self._store.read(mail.folder_by_name, self.bal_id, name))
        if found is None:
            raise nonexistent()
        return found

    async def quota(self) -> tuple[int, int | None]:
        """Octets used, and how many there may be; None without a limit."""
        bal = await told(self._store.read(get_bal, self.bal_id))
        return (bal.used_bytes, bal.quota_bytes) if bal is not None else (0, None)

    async def create(self, name: str, special_use: str = "") -> int:
        """Creates the folder and the levels above it that are missing (RFC 9051 §6.3.4); its id."""
        return await told(self._store.write(_create, self.bal_id, name, special_use, durable=False))

    async def delete(self, name: str) -> None:
        folder = await self.folder(name)
        if folder.name == INBOX:
            raise MailboxRefused(Cause.CANNOT, "INBOX ne se supprime pas")
        await told(self._store.write(_delete, folder, self.address))
        self._mailboxes.listings.forget(folder.id)

    async def rename(self, name: str, to: str) -> None:
        """Renames the folder and those below it; INBOX gives its messages away and stays (RFC 9051 §6.3.6)."""
        await told(self._store.write(_rename, self.bal_id, name, to, durable=False))

    async def subscribe(self, name: str, subscribed: bool) -> None:
        """MailboxRefused (NONEXISTENT) for a name that is neither a folder's nor subscribed to."""
        await told(self._store.write(_subscribe, self.bal_id, name, subscribed, durable=False))

    async def subscribed_names(self) -> list[str]:
        """Names without a folder that the holder is subscribed to (RFC 3501 §6.3.6)."""
        return await told(self._store.read(subscriptions.subscribed_names, self.bal_id))

    # -- the selected folder

    async def open(self, name: str, *, read_only: bool) -> Opened:
        """The folder with its listing, all of one moment. Opening it to write takes the \\Recent mark of its new
        messages."""
        listings = self._mailboxes.listings
        folder, found, changes = await told(self._store.read(_open, self.bal_id, name, listings))
        if folder is None or found is None:
            raise nonexistent()
        listing = found.share()
        if changes is not None:
            listing.follow(changes)
        if changes is not None or found is not listings.get(folder.id):
            listings.put(folder.id, listing)
            listing = listing.share()
        recent_from = folder.recent_from
        if not read_only and folder.recent_from < folder.uidnext:
            recent_from = await told(self._store.write(mail.claim_recent, folder.id, durable=False))
        return Opened(folder, listing, recent_from)

    async def changes(self, folder_id: int, modseq: int) -> Changes | None:
        """What happened to the folder after `modseq`; None when the folder is no more."""
        return await told(self._store.read(_changes, folder_id, modseq))

    async def load(
        self,
        folder_id: int,
        uids: Sequence[int],
        message_ids: Sequence[int],
        *,
        header: bool = False,
        content: bool = False,
        remember: bool = True,
    ) -> list[Loaded | None]:
        """See `Messages.load`."""
        messages = self._mailboxes.messages
        return await told(
            messages.load(folder_id, uids, message_ids, header=header, content=content, remember=remember)
        )

    async def read(self, folder_id: int, uid: int, message: Message, start: int, length: int) -> bytes:
        """Octets of a message's content. MailboxRefused (EXPUNGED) when the message was erased meanwhile."""
        return await told(self._mailboxes.messages.read(folder_id, uid, message, start, length))

    async def store_flags(
        self,
        folder_id: int,
        uids: Sequence[int],
        operation: Literal["+", "-", "="],
        bits: int,
        keywords: Sequence[str] = (),
    ) -> list[Entry]:
        """Flags and keywords added, removed or replaced; the entries as they now are, those that are gone left
        out."""
        return await told(
            self._store.write(mail.store_flags, folder_id, uids, operation, bits, keywords, durable=False)
        )

    async def store_unchanged(
        self,
        folder_id: int,
        uids: Sequence[int],
        operation: Literal["+", "-", "="],
        bits: int,
        keywords: Sequence[str],
        unchanged_since: int,
    ) -> tuple[list[Entry], list[int]]:
        """As `store_flags`, but only on messages whose modseq is `unchanged_since` at most, judged in the same
        transaction; the entries of those, and the uids of the others (RFC 7162 §3.1.3)."""
        return await told(
            self._store.write(
                _store_unchanged, folder_id, uids, operation, bits, keywords, unchanged_since, durable=False
            )
        )

    async def expunged_since(self, folder_id: int, modseq: int) -> list[int]:
        """UIDs expunged after `modseq`, ascending (RFC 7162 §3.2.10)."""
        return await told(self._store.read(mail.expunged_since, folder_id, modseq))

    async def weight(self, folder_id: int) -> Weight:
        """What the folder's messages weigh, and the \\Deleted among them."""
        return await told(self._store.read(weight, folder_id))

    async def expunge(self, folder_id: int, uids: Sequence[int]) -> list[int]:
        """Removes those of the messages that are \\Deleted at this moment; the uids that went."""
        if not uids:
            return []
        return await told(self._store.write(_expunge, folder_id, uids, self.address))

    async def copy(self, folder_id: int, uids: Sequence[int], to: str, *, move: bool = False) -> Copied:
        """Copies (or moves) messages into the folder `to`, all or none. MailboxRefused NONEXISTENT without that
        folder."""
        return await told(self._store.write(_copy, self.bal_id, folder_id, uids, to, move, durable=False))

    def forget(self, message_ids: Iterable[int]) -> None:
        """Expunged messages leave the memory."""
        self._mailboxes.messages.forget(message_ids)

    # -- appending

    async def append(self, name: str) -> Append:
        """Begin to append messages to a folder. MailboxRefused when it is not there."""
        folder = await self.folder(name)
        used, limit = await self.quota()
        return Append(self._mailboxes, folder, self.address, None if limit is None else limit - used)

    def watch(self, folder_id: int, changed: Callable[[], None]) -> Callable[[], None]:
        """Calls `changed` on the loop after each commit that touched the folder; returns the way to stop that."""
        return self._store.hints.subscribe("folder", folder_id, changed)


class _Arrived(msgspec.Struct, frozen=True):
    """A message that came whole."""

    new: NewMessage
    bits: int
    keywords: Sequence[str]
    internal_us: int


class Append:
    """Messages on their way into a folder: for each `begin`, `feed`, `end`; then `commit` puts all of them there at
    once, or `abort` none (RFC 3502 §6.3.11). After MailboxRefused only `abort` may follow."""

    def __init__(self, mailboxes: Mailboxes, folder: Folder, address: str, room: int | None) -> None:
        self._mailboxes = mailboxes
        self._address = address
        self._room = room
        self._arrived: list[_Arrived] = []
        self._pending: list[PendingContent] = []
        self._writer: ContentWriter | None = None
        self._scanner = Scanner()
        self.folder = folder

    def begin(self, octets: int) -> None:
        """A message of `octets` octets comes. Refused before any is taken when the quota would be passed."""
        if self._room is not None:
            self._room -= octets
            if self._room < 0:
                raise MailboxRefused(Cause.OVERQUOTA, "La boite est pleine: supprimez des messages")
        self._writer = self._mailboxes.store.contents.begin()
        self._scanner = Scanner()

    def feed(self, data: bytes) -> None:
        """The next octets."""
        if b"\0" in data:
            raise MailboxRefused(Cause.UNKNOWN_CTE, "Le message contient un octet nul")
        if self._writer is None:
            raise ValueError("no message was begun")
        try:
            self._scanner.feed(data)
            self._writer.write(data)
        except HeaderTooLarge:
            raise _header_too_large() from None
        except StoreError as error:
            raise refused(error) from error

    def end(self, bits: int, keywords: Sequence[str], internal_us: int | None) -> None:
        """The message is whole. `internal_us` None: it has come just now."""
        if self._writer is None:
            raise ValueError("no message was begun")
        try:
            card = self._scanner.finish()
            pending = self._writer.finish()
        except HeaderTooLarge:
            raise _header_too_large() from None
        except StoreError as error:
            raise refused(error) from error
        self._writer = None
        now_us = self._mailboxes.clock.now_us()
        new = NewMessage(pending, now_us, b"", card.encode())
        self._pending.append(pending)
        self._arrived.append(_Arrived(new, bits, keywords, now_us if internal_us is None else internal_us))

    async def commit(self, replaces: tuple[int, int] | None = None) -> list[int]:
        """The uids the messages got, in order, once they are on stable storage. `replaces`: (folder id, uid) of a
        message that goes in the same transaction (RFC 8508 §3)."""
        store = self._mailboxes.store
        pending, self._pending = tuple(self._pending), []
        return await told(store.write(_append, self.folder, self._arrived, replaces, self._address, contents=pending))

    def abort(self) -> None:
        """What is not committed is given up, at any point."""
        if self._writer is not None:
            self._writer.abort()
            self._writer = None
        for pending in self._pending:
            pending.discard()
        self._pending.clear()


def _header_too_large() -> MailboxRefused:
    return MailboxRefused(Cause.LIMIT, "L'en-tete du message est trop long")


# -- what runs in the store's threads


def _open(
    conn: Conn, bal_id: int, name: str, listings: Listings
) -> tuple[Folder | None, Listing | None, Changes | None]:
    folder = mail.folder_by_name(conn, bal_id, name)
    if folder is None:
        return None, None, None
    known = listings.get(folder.id)
    if known is None or known.modseq > folder.highestmodseq:  # none, or read in a later moment than the folder was
        return folder, Listing.of(columns(conn, folder.id), folder.highestmodseq), None
    if known.modseq == folder.highestmodseq:
        return folder, known, None
    return folder, known, _changed(conn, folder, known.modseq)


def _changes(conn: Conn, folder_id: int, modseq: int) -> Changes | None:
    folder = mail.folder_by_id(conn, folder_id)
    if folder is None:
        return None
    if folder.highestmodseq <= modseq:
        return Changes((), (), modseq)
    return _changed(conn, folder, modseq)


def _changed(conn: Conn, folder: Folder, modseq: int) -> Changes:
    entries = mail.entries(conn, folder.id, modseq)
    return Changes(entries, mail.expunged_since(conn, folder.id, modseq), folder.highestmodseq)


def _create(tx: Tx, bal_id: int, name: str, special_use: str) -> int:
    present = {folder.name: folder for folder in mail.folders(tx.conn, bal_id)}
    if special_use and any(folder.special_use == special_use for folder in present.values()):
        raise MailboxRefused(Cause.USEATTR, "Un autre dossier a deja cet usage")
    levels = name.split("/")
    missing = [above for above in ("/".join(levels[:count]) for count in range(1, len(levels))) if above not in present]
    if len(present) + len(missing) >= MAX_FOLDERS:
        raise MailboxRefused(Cause.LIMIT, "Trop de dossiers")
    for above in missing:
        _new_folder(tx, bal_id, above)
    return _new_folder(tx, bal_id, name, special_use)


def _new_folder(tx: Tx, bal_id: int, name: str, special_use: str = "") -> int:
    folder_id = mail.create_folder(tx, bal_id, name, special_use)
    subscriptions.take_subscription(tx, bal_id, name, folder_id)
    return folder_id


def _subscribe(tx: Tx, bal_id: int, name: str, subscribed: bool) -> None:
    found = mail.folder_by_name(tx.conn, bal_id, name)
    if found is not None:
        mail.set_subscribed(tx, found.id, subscribed)
    elif subscribed:
        if name not in subscriptions.subscribed_names(tx.conn, bal_id):
            raise nonexistent()
    elif not subscriptions.forget_subscription(tx, bal_id, name):
        raise nonexistent()


def _delete(tx: Tx, folder: Folder, actor: str) -> None:
    subscriptions.keep_subscription(tx, folder.id)
    mail.delete_folder(tx, folder.id)
    tx.journal("mail.folder_deleted", actor=actor, object=actor, folder=folder.id, messages=folder.messages)


def _rename(tx: Tx, bal_id: int, name: str, to: str) -> None:
    found = mail.folder_by_name(tx.conn, bal_id, name)
    if found is None:
        raise nonexistent()
    if to == name or to.startswith(name + "/"):
        raise MailboxRefused(Cause.CANNOT, "Un dossier ne se range pas dans lui-meme")
    present = {folder.name for folder in mail.folders(tx.conn, bal_id)}
    levels = to.split("/")
    for above in ("/".join(levels[:count]) for count in range(1, len(levels))):
        if above not in present:
            _new_folder(tx, bal_id, above)
    mail.rename_folder(tx, found.id, to)
    for folder in mail.folders(tx.conn, bal_id):
        if folder.name == to or folder.name.startswith(to + "/"):
            subscriptions.take_subscription(tx, bal_id, folder.name, folder.id)


def _store_unchanged(
    tx: Tx,
    folder_id: int,
    uids: Sequence[int],
    operation: Literal["+", "-", "="],
    bits: int,
    keywords: Sequence[str],
    unchanged_since: int,
) -> tuple[list[Entry], list[int]]:
    found = mail.store_flags(tx, folder_id, uids, "+")  # a no-op: reads the modseqs under the folder's lock
    changed = [entry.uid for entry in found if entry.modseq > unchanged_since]
    unchanged = [entry.uid for entry in found if entry.modseq <= unchanged_since]
    stored = mail.store_flags(tx, folder_id, unchanged, operation, bits, keywords) if unchanged else []
    return stored, changed


def _expunge(tx: Tx, folder_id: int, uids: Sequence[int], actor: str) -> list[int]:
    # A no-op "+" reads the flags under the folder's lock: another session may just have taken \Deleted away.
    deleted = [entry.uid for entry in mail.store_flags(tx, folder_id, uids, "+") if entry.flags & DELETED]
    gone = mail.expunge(tx, folder_id, deleted)
    if gone:
        tx.journal(
            "mail.expunged",
            actor=actor,
            object=actor,
            folder=folder_id,
            messages=len(gone),
            first_uid=gone[0],
            last_uid=gone[-1],
        )
    return gone


def _copy(tx: Tx, bal_id: int, folder_id: int, uids: Sequence[int], to: str, move: bool) -> Copied:
    target = mail.folder_by_name(tx.conn, bal_id, to)
    if target is None:
        raise nonexistent()
    bal = get_bal(tx.conn, bal_id)
    pairs = mail.move(tx, folder_id, uids, target.id) if move else mail.copy(tx, folder_id, uids, target.id)
    if not move and bal is not None and bal.quota_bytes is not None:
        after = get_bal(tx.conn, bal_id)
        if after is not None and after.used_bytes > bal.quota_bytes:
            raise MailboxRefused(Cause.OVERQUOTA, "La boite est pleine: supprimez des messages")
    return Copied(target.uidvalidity, pairs)


def _append(
    tx: Tx, folder: Folder, arrived: Sequence[_Arrived], replaces: tuple[int, int] | None, actor: str
) -> list[int]:
    uids = [mail.append(tx, folder.id, one.new, one.bits, one.keywords, one.internal_us) for one in arrived]
    for uid in uids:
        tx.journal("mail.appended", actor=actor, object=actor, folder=folder.id, uid=uid)
    if replaces is not None:
        source, uid = replaces
        if not mail.expunge(tx, source, [uid]):
            raise MailboxRefused(Cause.EXPUNGED, "Le message a ete supprime entre-temps")
        tx.journal("mail.expunged", actor=actor, object=actor, folder=source, messages=1, first_uid=uid, last_uid=uid)
    return uids
