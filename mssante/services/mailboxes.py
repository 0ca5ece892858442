"""A bal's mail as its holder, or one it is lent to, works with it: folders, listings, messages, flags, copies, appends.

Invariants:
- An `Account` reaches the folders of its one bal: a folder id from it was found under its bal. `at` leads from the
  holder's account to those that are lent to him.
- Every change goes through `_change`, which names the rights that it needs.
- Outcomes that a client must hear of are `MailboxRefused` with a cause; the store's own errors do not pass this floor.
- A message appended is on stable storage when `Append.finish` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, TypeVarTuple

import msgspec

from mssante.domain.clock import Clock
from mssante.mime.scanner import HeaderTooLarge, Scanner
from mssante.services import changes as act
from mssante.services.annotations import note_marks, read_notes, set_notes
from mssante.services.changes import Arrived, Copied
from mssante.services.listing import Changes, Entry, Listing, Listings
from mssante.services.messages import Messages
from mssante.services.recents import Recents
from mssante.services.refusals import Cause, MailboxRefused, nonexistent, refused, told
from mssante.services.searching import Reading, Search
from mssante.services.shared import PREFIX, Access, access_now, acl, lent, permit
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
from mssante.store.columns import Outline, Weight, columns, count, count_changed, outline, weight
from mssante.store.mail import INBOX, Folder, NewMessage

_FOLLOWED: Final = 2000
"""Changes up to which a remembered listing is brought up to date."""

Arguments = TypeVarTuple("Arguments")
Given = ParamSpec("Given")
Result = TypeVar("Result")
Answer = Coroutine[Any, Any, Result]

__all__ = ["Account", "Append", "Cause", "Copied", "Folder", "MailboxRefused", "Mailboxes", "Opened"]


class Opened(msgspec.Struct, frozen=True):
    """A folder as selected, all as of `folder`. `listing`: its messages, None when they have to be read (`rows`);
    `recent_from`: the first uid that is \\Recent for the opener, `recent`: how many are."""

    folder: Folder
    listing: Listing | None
    outline: Outline
    recent_from: int
    recent: int


class Mailboxes:
    """The mail of all bals, for the sessions of one process."""

    def __init__(self, store: Store, clock: Clock, reading: Reading | None = None) -> None:
        self.store = store
        self.clock = clock
        self.listings = Listings()
        self.messages = Messages(store)
        self.recents = Recents(store)
        self.search = Search(store, reading or Reading())

    def account(self, bal_id: int, address: str) -> Account:
        """The mail of a bal whose holder has signed in. `address` names the actor in the journal."""
        return Account(self, Access(bal_id, address, address, bal_id))


def _changing(
    letters: str, change: Callable[Concatenate[Tx, Access, Given], Result]
) -> Callable[Concatenate[Account, Given], Answer[Result]]:
    """The method that makes a change, for which these rights are needed."""

    def method(account: Account, /, *args: Given.args, **named: Given.kwargs) -> Answer[Result]:
        return account._change(letters, lambda tx, access: change(tx, access, *args, **named))

    return method


class Account:
    """`messages` reads messages, `texts` finds them, `recents` knows who was first told of which."""

    def __init__(self, mailboxes: Mailboxes, access: Access) -> None:
        self._mailboxes = mailboxes
        self._store = mailboxes.store
        self.messages = mailboxes.messages
        self.texts = mailboxes.search
        self.recents = mailboxes.recents
        self.access = access
        self.bal_id = access.bal_id

    def now_us(self) -> int:
        return self._mailboxes.clock.now_us()

    async def _change(
        self, letters: str, change: Callable[[Tx, Access, *Arguments], Result], *args: *Arguments, durable: bool = False
    ) -> Result:
        """What the store's change gives. MailboxRefused when the rights do not allow it in that very transaction."""
        return await told(self._store.write(_permitted, self.access, letters, change, args, durable=durable))

    # -- whose folders

    async def at(self, name: str, letters: str) -> tuple[Account, str]:
        """The mailbox that a name of this holder leads to, and the folder's name there. MailboxRefused (NONEXISTENT,
        NOPERM) for one that is not lent to him, or not with these rights. Nothing of his own is made where the names of
        others are."""
        if not name.startswith(PREFIX):
            return self, name
        address, _, inner = name.removeprefix(PREFIX).partition("/")
        for access in await told(self._store.read(lent, self.access)):
            if access.address == address and inner:
                access.require(letters)
                return Account(self._mailboxes, access), inner
        if await told(self._store.read(mail.folder_by_name, self.bal_id, name)) is None:
            raise nonexistent()
        return self, name  # one that was brought along from elsewhere

    async def listed(self) -> list[tuple[Account, Folder]]:
        """Every folder that the holder may see, with its mailbox: his own first. Those of others have no special use
        here: he has his own Sent and Drafts."""
        found = await told(self._store.read(_listed, self.access))
        return [(Account(self._mailboxes, access) if access.lent else self, folder) for access, folder in found]

    async def may_go_on(self) -> bool:
        """Whether the rights are still those that this account was opened with."""
        try:
            return await self._store.read(access_now, self.access) == self.access
        except StoreError:
            return True  # cannot tell now: each change asks again

    async def acl(self) -> list[tuple[str, frozenset[str]]]:
        """Who may do what here, in letters of `mssante.domain.rights`: the holder first."""
        return await told(self._store.read(acl, self.access))

    # -- folders

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

    create = _changing("k", act.create)
    rename = _changing("kx", act.rename)

    async def delete(self, name: str) -> None:
        folder = await self.folder(name)
        if folder.name == INBOX:
            raise MailboxRefused(Cause.CANNOT, "INBOX ne se supprime pas")
        await self._change("x", act.delete, folder, durable=True)
        self._mailboxes.listings.forget(folder.id)

    async def subscribe(self, name: str, subscribed: bool) -> None:
        """MailboxRefused (NONEXISTENT) for a name that is neither a folder's nor subscribed to."""
        if subscribed and name.startswith(PREFIX):
            other, inner = await self.at(name, "l")
            await other.folder(inner)
            await self._change("", act.subscribe_elsewhere, name)
        else:
            await self._change("", act.subscribe, name, subscribed)

    async def subscribed_names(self) -> list[str]:
        """Names without a folder that the holder is subscribed to (RFC 3501 §6.3.6)."""
        return await told(self._store.read(subscriptions.subscribed_names, self.bal_id))

    async def notes(self, folder: Folder | None) -> dict[str, bytes]:
        """What is noted of the folder, or of the server (None), by name (RFC 5464)."""
        return await told(self._store.read(read_notes, self.access, folder))

    async def note_marks(self) -> dict[int, dict[str, int]]:
        """See `annotations.note_marks`."""
        return await told(self._store.read(note_marks, self.access))

    async def annotate(self, folder: Folder | None, notes: Mapping[str, bytes | None], letters: str) -> None:
        """Sets notes, takes away those of value None, all or none; `letters`: the rights that they need."""
        await self._change(letters, set_notes, folder, notes)

    # -- the selected folder

    async def open(self, name: str, *, read_only: bool) -> Opened:
        """The folder with its listing, all of one moment. Opening it to write takes the \\Recent mark of its new
        messages."""
        listings = self._mailboxes.listings
        folder, known, changes, outline = await told(self._store.read(_open, self.bal_id, name, listings))
        if folder is None:
            raise nonexistent()
        listing = None
        if known is not None:
            listing = known.share()
            if changes is not None:
                listing.follow(changes)
                listings.put(folder.id, listing)
                listing = listing.share()
        recent_from = self._mailboxes.recents.first(folder)
        if self.access.lent:
            await self._change("r", act.opened, folder.id)
        if not read_only and recent_from < folder.uidnext:
            recent_from = max(recent_from, await self._change("r", act.claim_recent, folder.id))
        recent = 0
        if recent_from < folder.uidnext:
            recent = await told(self._store.read(count, folder.id, recent_from, folder.uidnext))
        return Opened(folder, listing, outline or (listing or Listing()).outline(), recent_from, recent)

    async def rows(self, opened: Folder) -> tuple[Listing, list[int]]:
        """The messages of a folder as they were numbered when it was `opened`, and the uids of those among them that
        are gone since. MailboxRefused (NONEXISTENT) when the folder is."""
        listing, gone = await told(self._store.read(_rows, opened))
        self._mailboxes.listings.put(opened.id, listing)
        listing = listing.share()
        if listing.modseq != opened.highestmodseq:
            listing.rewind(opened.uidnext, opened.highestmodseq, gone)
        return listing, gone

    async def changes(self, folder_id: int, modseq: int) -> Changes | None:
        """What happened to the folder after `modseq`; None when the folder is no more."""
        return await told(self._store.read(_changes, folder_id, modseq))

    store_flags = _changing("w", act.store_flags)
    store_unchanged = _changing("w", act.store_unchanged)

    async def recent(self, folder: Folder) -> int:
        """How many of the folder's messages no session has been told of as \\Recent."""
        first = self._mailboxes.recents.first(folder)
        return await told(self._store.read(count, folder.id, first, folder.uidnext))

    async def saved_dates(self, folder_id: int, uids: Sequence[int]) -> dict[int, int]:
        """When each message came into the folder (µs), by uid; without those that are gone."""
        return await told(self._store.read(mail.saved_dates, folder_id, uids))

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
        return await self._change("te", act.expunge, folder_id, uids, durable=True)

    async def copy(
        self, folder_id: int, uids: Sequence[int], to: str, *, into: Account | None = None, move: bool = False
    ) -> Copied:
        """Copies (or moves) messages into the folder `to`, of the mailbox `into` when it is another, all or none.
        MailboxRefused NONEXISTENT without that folder."""
        target = (into or self).access
        return await self._change("rte" if move else "r", act.copy, target, folder_id, uids, to, move)

    # -- appending

    async def append(self, name: str) -> Append:
        """Begin to append messages to a folder. MailboxRefused when it is not there."""
        folder = await self.folder(name)
        used, limit = await self.quota()
        return Append(self._mailboxes, folder, self.access, None if limit is None else limit - used)

    def watch(self, folder_id: int, changed: Callable[[Entry | None], None]) -> Callable[[], None]:
        """Calls `changed` on the loop after each change of the folder, with the new entry when that was all of it; its
        message is remembered, as whoever hears of it will read it. Returns the way to stop that."""

        def heard(news: mail.News | None) -> None:
            if news is not None:
                self._mailboxes.messages.keep(news.message)
            changed(news and news.entry)

        return self._store.hints.follow("folder", folder_id, heard)

    def watch_names(self, bal_id: int, changed: Callable[[], None]) -> Callable[[], None]:
        """As `watch`, of the names and notes of a bal's folders, of what its holder is subscribed to and of who may see
        them."""
        stops = [self._store.hints.subscribe(kind, bal_id, changed) for kind in ("folders", "bal")]

        def stop() -> None:
            for each in stops:
                each()

        return stop


class Append:
    """Messages on their way into a folder: for each `begin`, `feed`, `end`; then `commit` puts all of them there at
    once, or `abort` none (RFC 3502 §6.3.11). After MailboxRefused only `abort` may follow."""

    def __init__(self, mailboxes: Mailboxes, folder: Folder, access: Access, room: int | None) -> None:
        self._mailboxes = mailboxes
        self._access = access
        self._room = room
        self._arrived: list[Arrived] = []
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
        self._arrived.append(Arrived(new, bits, keywords, now_us if internal_us is None else internal_us))

    async def commit(self, replaces: tuple[Account, int, int] | None = None) -> list[int]:
        """The uids the messages got, in order, once they are on stable storage. `replaces`: (mailbox, folder id, uid)
        of a message that goes in the same transaction (RFC 8508 §3)."""
        gone = None if replaces is None else (replaces[0].access, *replaces[1:])
        pending, self._pending = tuple(self._pending), []
        args = (self.folder, self._arrived, gone)
        return await told(
            self._mailboxes.store.write(_permitted, self._access, "i", act.append, args, contents=pending)
        )

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
) -> tuple[Folder | None, Listing | None, Changes | None, Outline | None]:
    """The folder with its listing, if that is remembered, and what it has to follow; an outline without a listing."""
    folder = mail.folder_by_name(conn, bal_id, name)
    if folder is None:
        return None, None, None, None
    known = listings.get(folder.id)
    if known is not None and known.modseq == folder.highestmodseq:
        return folder, known, None, None
    # One of a later moment than the folder cannot be used, one of long ago takes longer to follow than to read anew.
    if known is None or known.modseq > folder.highestmodseq or count_changed(conn, folder.id, known.modseq) > _FOLLOWED:
        return folder, None, None, outline(conn, folder.id)
    return folder, known, _changed(conn, folder, known.modseq), None


def _rows(conn: Conn, opened: Folder) -> tuple[Listing, list[int]]:
    folder = mail.folder_by_id(conn, opened.id)
    if folder is None:
        raise nonexistent()
    gone = mail.expunged_since(conn, folder.id, opened.highestmodseq)
    listing = Listing.of(columns(conn, folder.id), folder.highestmodseq)
    return listing, [uid for uid in gone if uid < opened.uidnext]


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


def _listed(conn: Conn, holder: Access) -> list[tuple[Access, Folder]]:
    own = [(holder, folder) for folder in mail.folders(conn, holder.bal_id)]
    others = [(access, folder) for access in lent(conn, holder) for folder in mail.folders(conn, access.bal_id)]
    kept = frozenset(subscriptions.subscribed_names(conn, holder.bal_id)) if others else frozenset[str]()
    return own + [(access, _as_lent(folder, access.prefix + folder.name, kept)) for access, folder in others]


def _as_lent(folder: Folder, name: str, kept: frozenset[str]) -> Folder:
    return msgspec.structs.replace(folder, name=name, special_use="", subscribed=name in kept)


def _permitted(
    tx: Tx,
    access: Access,
    letters: str,
    change: Callable[..., Result],
    args: Sequence[object],
) -> Result:
    if access.lent:
        permit(tx.conn, access, letters)
    return change(tx, access, *args)
