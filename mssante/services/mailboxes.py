"""A bal's mail as its holder works with it: folders, listings, messages, flags, copies, appends, expunges.

Invariants:
- An `Account` reaches the folders of its own bal and no other: a folder id from it was found under its bal.
- Appending, expunging and deleting leave one journal line each: who, which bal, which folder, how many or which uid.
- Outcomes that a client must hear of are `MailboxRefused` with a cause; the store's own errors do not pass this floor.
- A message appended is on stable storage when `Append.finish` returns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final, Literal, TypeVar

import msgspec

from mssante.domain.clock import Clock
from mssante.domain.flags import DELETED
from mssante.mime.scanner import HeaderTooLarge, Scanner
from mssante.services.listing import Changes, Entry, Listing, Listings
from mssante.services.messages import Loaded, Message, Messages
from mssante.store import AlreadyExists, Conn, ContentError, NotFound, Store, StoreError, StoreFull, Tx, mail
from mssante.store.accounts import get_bal
from mssante.store.mail import INBOX, Folder, NewMessage

MAX_FOLDERS: Final = 1000
"""Folders of one bal."""

__all__ = ["Account", "Append", "Cause", "Copied", "Folder", "MailboxRefused", "Mailboxes", "Opened"]

Result = TypeVar("Result")


class Cause(StrEnum):
    """Why something was not done; the values are the response codes of RFC 9051 §7.1, or empty."""

    NONEXISTENT = "NONEXISTENT"
    ALREADYEXISTS = "ALREADYEXISTS"
    CANNOT = "CANNOT"
    LIMIT = "LIMIT"
    OVERQUOTA = "OVERQUOTA"
    UNAVAILABLE = "UNAVAILABLE"
    EXPUNGED = "EXPUNGEISSUED"
    MALFORMED = ""


class MailboxRefused(Exception):
    """Not done; nothing was changed. The text is public, French, ASCII."""

    def __init__(self, cause: Cause, words: str) -> None:
        super().__init__(words)
        self.cause = cause


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

    # -- folders

    async def folders(self) -> list[Folder]:
        return await _told(self._store.read(mail.folders, self.bal_id))

    async def folder(self, name: str) -> Folder:
        """MailboxRefused (NONEXISTENT) when there is none of this name."""
        found = await _told(self._store.read(mail.folder_by_name, self.bal_id, name))
        if found is None:
            raise _nonexistent()
        return found

    async def create(self, name: str, special_use: str = "") -> None:
        """Creates the folder and the levels above it that are missing (RFC 9051 §6.3.4)."""
        await _told(self._store.write(_create, self.bal_id, name, special_use, durable=False))

    async def delete(self, name: str) -> None:
        folder = await self.folder(name)
        if folder.name == INBOX:
            raise MailboxRefused(Cause.CANNOT, "INBOX ne se supprime pas")
        await _told(self._store.write(_delete, folder, self.address))
        self._mailboxes.listings.forget(folder.id)

    async def rename(self, name: str, to: str) -> None:
        """Renames the folder and those below it; INBOX gives its messages away and stays (RFC 9051 §6.3.6)."""
        await _told(self._store.write(_rename, self.bal_id, name, to, durable=False))

    async def subscribe(self, name: str, subscribed: bool) -> None:
        folder = await self.folder(name)
        await _told(self._store.write(mail.set_subscribed, folder.id, subscribed, durable=False))

    # -- the selected folder

    async def open(self, name: str, *, read_only: bool) -> Opened:
        """The folder with its listing, all of one moment. Opening it to write takes the \\Recent mark of its new
        messages."""
        listings = self._mailboxes.listings
        folder, known, changes = await _told(self._store.read(_open, self.bal_id, name, listings))
        if folder is None:
            raise _nonexistent()
        listing = known.share() if known is not None else Listing()
        if changes is not None:
            listing.follow(changes)
            listings.put(folder.id, listing)
            listing = listing.share()
        recent_from = folder.recent_from
        if not read_only and folder.recent_from < folder.uidnext:
            recent_from = await _told(self._store.write(mail.claim_recent, folder.id, durable=False))
        return Opened(folder, listing, recent_from)

    async def changes(self, folder_id: int, modseq: int) -> Changes | None:
        """What happened to the folder after `modseq`; None when the folder is no more."""
        return await _told(self._store.read(_changes, folder_id, modseq))

    async def load(
        self,
        folder_id: int,
        uids: Sequence[int],
        message_ids: Sequence[int],
        *,
        header: bool = False,
        content: bool = False,
    ) -> list[Loaded | None]:
        """See `Messages.load`."""
        return await _told(self._mailboxes.messages.load(folder_id, uids, message_ids, header=header, content=content))

    async def read(self, folder_id: int, uid: int, message: Message, start: int, length: int) -> bytes:
        """Octets of a message's content. MailboxRefused (EXPUNGED) when the message was erased meanwhile."""
        return await _told(self._mailboxes.messages.read(folder_id, uid, message, start, length))

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
        return await _told(
            self._store.write(mail.store_flags, folder_id, uids, operation, bits, keywords, durable=False)
        )

    async def expunge(self, folder_id: int, uids: Sequence[int]) -> list[int]:
        """Removes those of the messages that are \\Deleted at this moment; the uids that went."""
        if not uids:
            return []
        return await _told(self._store.write(_expunge, folder_id, uids, self.address))

    async def copy(self, folder_id: int, uids: Sequence[int], to: str, *, move: bool = False) -> Copied:
        """Copies (or moves) messages into the folder `to`, all or none. MailboxRefused NONEXISTENT without that
        folder."""
        return await _told(self._store.write(_copy, self.bal_id, folder_id, uids, to, move, durable=False))

    def forget(self, message_ids: Iterable[int]) -> None:
        """Expunged messages leave the memory."""
        self._mailboxes.messages.forget(message_ids)

    # -- appending

    async def append(self, name: str, octets: int) -> Append:
        """Begin to append a message of `octets` octets to a folder. MailboxRefused before any octet is taken when the
        folder is not there or the quota would be passed."""
        folder = await self.folder(name)
        bal = await _told(self._store.read(get_bal, self.bal_id))
        if bal is not None and bal.quota_bytes is not None and bal.used_bytes + octets > bal.quota_bytes:
            raise MailboxRefused(Cause.OVERQUOTA, "La boite est pleine: supprimez des messages")
        return Append(self._mailboxes, folder, self.address)

    def watch(self, folder_id: int, changed: Callable[[], None]) -> Callable[[], None]:
        """Calls `changed` on the loop after each commit that touched the folder; returns the way to stop that."""
        return self._store.hints.subscribe("folder", folder_id, changed)


class Append:
    """A message on its way into a folder: `feed`, then `finish` or `abort`."""

    def __init__(self, mailboxes: Mailboxes, folder: Folder, address: str) -> None:
        self._mailboxes = mailboxes
        self._address = address
        self._writer = mailboxes.store.contents.begin()
        self._scanner = Scanner()
        self.folder = folder

    def feed(self, data: bytes) -> None:
        """The next octets. After MailboxRefused only `abort` may follow."""
        if b"\0" in data:
            raise MailboxRefused(Cause.MALFORMED, "Le message contient un octet nul")
        try:
            self._scanner.feed(data)
            self._writer.write(data)
        except HeaderTooLarge:
            raise MailboxRefused(Cause.LIMIT, "L'en-tete du message est trop long") from None
        except StoreError as error:
            raise _refused(error) from error

    async def finish(self, bits: int, keywords: Sequence[str], internal_us: int | None) -> int:
        """The uid the message got, once it is on stable storage."""
        try:
            card = self._scanner.finish()
        except HeaderTooLarge:
            raise MailboxRefused(Cause.LIMIT, "L'en-tete du message est trop long") from None
        try:
            pending = self._writer.finish()
        except StoreError as error:
            raise _refused(error) from error
        now_us = self._mailboxes.clock.now_us()
        new = NewMessage(pending, now_us, b"", card.encode())
        when = now_us if internal_us is None else internal_us
        store = self._mailboxes.store
        return await _told(
            store.write(_append, self.folder, new, bits, keywords, when, self._address, contents=(pending,))
        )

    def abort(self) -> None:
        """The message is given up, at any point."""
        self._writer.abort()


# -- what runs in the store's threads


def _open(
    conn: Conn, bal_id: int, name: str, listings: Listings
) -> tuple[Folder | None, Listing | None, Changes | None]:
    folder = mail.folder_by_name(conn, bal_id, name)
    if folder is None:
        return None, None, None
    known = listings.get(folder.id)
    if known is not None and known.modseq == folder.highestmodseq:
        return folder, known, None
    if known is not None and known.modseq > folder.highestmodseq:  # read in an earlier moment than the listing was
        known = None
    return folder, known, _changed(conn, folder, known.modseq if known is not None else 0)


def _changes(conn: Conn, folder_id: int, modseq: int) -> Changes | None:
    folder = mail.folder_by_id(conn, folder_id)
    if folder is None:
        return None
    if folder.highestmodseq <= modseq:
        return Changes((), (), modseq)
    return _changed(conn, folder, modseq)


def _changed(conn: Conn, folder: Folder, modseq: int) -> Changes:
    entries = mail.entries(conn, folder.id, modseq)
    expunged = mail.expunged_since(conn, folder.id, modseq) if modseq else ()
    return Changes(entries, expunged, folder.highestmodseq)


def _create(tx: Tx, bal_id: int, name: str, special_use: str) -> None:
    present = {folder.name: folder for folder in mail.folders(tx.conn, bal_id)}
    if special_use and any(folder.special_use == special_use for folder in present.values()):
        raise MailboxRefused(Cause.CANNOT, "Une autre boite a deja cet usage")
    levels = name.split("/")
    missing = [above for above in ("/".join(levels[:count]) for count in range(1, len(levels))) if above not in present]
    if len(present) + len(missing) >= MAX_FOLDERS:
        raise MailboxRefused(Cause.LIMIT, "Trop de dossiers")
    for above in missing:
        mail.create_folder(tx, bal_id, above)
    mail.create_folder(tx, bal_id, name, special_use)


def _delete(tx: Tx, folder: Folder, actor: str) -> None:
    mail.delete_folder(tx, folder.id)
    tx.journal("mail.folder_deleted", actor=actor, object=actor, folder=folder.id, messages=folder.messages)


def _rename(tx: Tx, bal_id: int, name: str, to: str) -> None:
    found = mail.folder_by_name(tx.conn, bal_id, name)
    if found is None:
        raise _nonexistent()
    if to == name or to.startswith(name + "/"):
        raise MailboxRefused(Cause.CANNOT, "Un dossier ne se range pas dans lui-meme")
    present = {folder.name for folder in mail.folders(tx.conn, bal_id)}
    levels = to.split("/")
    for above in ("/".join(levels[:count]) for count in range(1, len(levels))):
        if above not in present:
            mail.create_folder(tx, bal_id, above)
    mail.rename_folder(tx, found.id, to)


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
        raise _nonexistent()
    bal = get_bal(tx.conn, bal_id)
    pairs = mail.move(tx, folder_id, uids, target.id) if move else mail.copy(tx, folder_id, uids, target.id)
    if not move and bal is not None and bal.quota_bytes is not None:
        after = get_bal(tx.conn, bal_id)
        if after is not None and after.used_bytes > bal.quota_bytes:
            raise MailboxRefused(Cause.OVERQUOTA, "La boite est pleine: supprimez des messages")
    return Copied(target.uidvalidity, pairs)


def _append(
    tx: Tx, folder: Folder, new: NewMessage, bits: int, keywords: Sequence[str], internal_us: int, actor: str
) -> int:
    uid = mail.append(tx, folder.id, new, bits, keywords, internal_us)
    tx.journal("mail.appended", actor=actor, object=actor, folder=folder.id, uid=uid)
    return uid


# -- errors


async def _told(outcome: Awaitable[Result]) -> Result:
    """The outcome, the store's errors as refusals."""
    try:
        return await outcome
    except StoreError as error:
        raise _refused(error) from error


def _refused(error: StoreError) -> MailboxRefused:
    if isinstance(error, StoreFull):
        return MailboxRefused(Cause.UNAVAILABLE, "Plus de place sur le serveur: reessayez plus tard")
    if isinstance(error, ContentError):
        return MailboxRefused(Cause.EXPUNGED, "Un message a ete supprime entre-temps")
    if isinstance(error, NotFound):
        return _nonexistent()
    if isinstance(error, AlreadyExists):
        return MailboxRefused(Cause.ALREADYEXISTS, "Ce dossier existe deja")
    return MailboxRefused(Cause.UNAVAILABLE, "Service momentanement indisponible: reessayez plus tard")


def _nonexistent() -> MailboxRefused:
    return MailboxRefused(Cause.NONEXISTENT, "Ce dossier n'existe pas")
