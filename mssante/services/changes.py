"""What happens to a mailbox inside the store's transaction: one function a change, run in the store's threads.

Invariants:
- Each leaves one journal line a command: who (`Access.actor`), whose mailbox, which folder, how many messages or which
  uids; a mailbox that is lent has lines for what was looked at and flagged too. Folders are journalled by their ids:
  their names may tell of patients.
- All of a change or nothing: MailboxRefused takes everything back.
- Whether the person may is asked before, by `shared.permit`, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from mssante.domain.flags import DELETED
from mssante.services.refusals import Cause, MailboxRefused, nonexistent
from mssante.services.shared import Access, permit
from mssante.services.signalement import JUNK_USE, kind_of, signal_messages
from mssante.store import Conn, Tx, mail, subscriptions
from mssante.store.accounts import get_bal
from mssante.store.mail import Entry, Folder, NewMessage
from mssante.store.regulateur import Kind

MAX_FOLDERS: Final = 1000
"""Folders of one bal."""

Operation = Literal["+", "-", "="]


class Copied(msgspec.Struct, frozen=True):
    """COPYUID (RFC 4315 §3): the target's uidvalidity, and (uid in the source, uid in the target) in order."""

    uidvalidity: int
    pairs: Sequence[tuple[int, int]]


class Arrived(msgspec.Struct, frozen=True):
    """A message that came whole."""

    new: NewMessage
    bits: int
    keywords: Sequence[str]
    internal_us: int


def _note(tx: Tx, access: Access, action: str, folder_id: int, uids: Sequence[int] = (), **more: object) -> None:
    """The journal line of a command. Uids ascend."""
    if uids:
        more |= {"messages": len(uids), "first_uid": uids[0], "last_uid": uids[-1]}
    tx.journal(action, actor=access.actor, object=access.address, folder=folder_id, **more)


# -- folders


def create(tx: Tx, access: Access, name: str, special_use: str = "") -> int:
    """Creates the folder and the levels above it that are missing (RFC 9051 §6.3.4); its id."""
    present = {folder.name: folder for folder in mail.folders(tx.conn, access.bal_id)}
    if special_use and any(folder.special_use == special_use for folder in present.values()):
        raise MailboxRefused(Cause.USEATTR, "Un autre dossier a deja cet usage")
    missing = [above for above in _above(name) if above not in present]
    if len(present) + len(missing) >= MAX_FOLDERS:
        raise MailboxRefused(Cause.LIMIT, "Trop de dossiers")
    for above in missing:
        _new_folder(tx, access, above)
    return _new_folder(tx, access, name, special_use)


def _above(name: str) -> list[str]:
    levels = name.split("/")
    return ["/".join(levels[:count]) for count in range(1, len(levels))]


def _new_folder(tx: Tx, access: Access, name: str, special_use: str = "") -> int:
    folder_id = mail.create_folder(tx, access.bal_id, name, special_use)
    subscriptions.take_subscription(tx, access.bal_id, name, folder_id)
    _note(tx, access, "mail.folder_created", folder_id)
    return folder_id


def delete(tx: Tx, access: Access, folder: Folder) -> None:
    subscriptions.keep_subscription(tx, folder.id)
    mail.delete_folder(tx, folder.id)
    _note(tx, access, "mail.folder_deleted", folder.id, messages=folder.messages)


def rename(tx: Tx, access: Access, name: str, to: str) -> None:
    """Renames the folder and those below it; INBOX gives its messages away and stays (RFC 9051 §6.3.6)."""
    bal_id = access.bal_id
    found = mail.folder_by_name(tx.conn, bal_id, name)
    if found is None:
        raise nonexistent()
    if to == name or to.startswith(name + "/"):
        raise MailboxRefused(Cause.CANNOT, "Un dossier ne se range pas dans lui-meme")
    present = {folder.name for folder in mail.folders(tx.conn, bal_id)}
    for above in _above(to):
        if above not in present:
            _new_folder(tx, access, above)
    mail.rename_folder(tx, found.id, to)
    for folder in mail.folders(tx.conn, bal_id):
        if folder.name == to or folder.name.startswith(to + "/"):
            subscriptions.take_subscription(tx, bal_id, folder.name, folder.id)
    _note(tx, access, "mail.folder_renamed", found.id)


def subscribe(tx: Tx, access: Access, name: str, subscribed: bool) -> None:
    """Of the own bal's names: a folder's, or one that stayed when its folder went."""
    found = mail.folder_by_name(tx.conn, access.bal_id, name)
    if found is not None:
        mail.set_subscribed(tx, found.id, subscribed)
        tx.hint("folders", access.bal_id)
    elif subscribed:
        if name not in subscriptions.subscribed_names(tx.conn, access.bal_id):
            raise nonexistent()
    elif not subscriptions.forget_subscription(tx, access.bal_id, name):
        raise nonexistent()


def subscribe_elsewhere(tx: Tx, access: Access, name: str) -> None:
    """To a folder of another's mailbox, by its name there for this holder."""
    subscriptions.add_subscription(tx, access.actor_id, name)


def opened(tx: Tx, access: Access, folder_id: int) -> None:
    """Who looked at a mailbox that is not his own is journalled."""
    _note(tx, access, "mail.opened", folder_id)


def claim_recent(tx: Tx, access: Access, folder_id: int) -> int:
    """The first uid that is \\Recent for who opens the folder to write."""
    return mail.claim_recent(tx, folder_id)


# -- messages


def store_flags(
    tx: Tx,
    access: Access,
    folder_id: int,
    uids: Sequence[int],
    operation: Operation,
    bits: int,
    keywords: Sequence[str] = (),
) -> list[Entry]:
    """Flags and keywords added, removed or replaced; the entries as they now are, those that are gone left out."""
    if access.lent and uids:
        _note(tx, access, "mail.flagged", folder_id, sorted(uids), flags=operation + str(bits))
    entries = mail.store_flags(tx, folder_id, uids, operation, bits, keywords)
    if keywords and operation != "-" and (kind := kind_of(keywords)) is not None:
        signal_messages(tx, access.actor, kind, [entry.message_id for entry in entries])
    return entries


def store_unchanged(
    tx: Tx,
    access: Access,
    folder_id: int,
    uids: Sequence[int],
    operation: Operation,
    bits: int,
    keywords: Sequence[str],
    unchanged_since: int,
) -> tuple[list[Entry], list[int]]:
    """As `store_flags`, but only on messages whose modseq is `unchanged_since` at most, judged in the same transaction;
    the entries of those, and the uids of the others (RFC 7162 §3.1.3)."""
    found = mail.store_flags(tx, folder_id, uids, "+")  # a no-op: reads the modseqs under the folder's lock
    changed = [entry.uid for entry in found if entry.modseq > unchanged_since]
    unchanged = [entry.uid for entry in found if entry.modseq <= unchanged_since]
    stored = store_flags(tx, access, folder_id, unchanged, operation, bits, keywords) if unchanged else []
    return stored, changed


def expunge(tx: Tx, access: Access, folder_id: int, uids: Sequence[int]) -> list[int]:
    # A no-op "+" reads the flags under the folder's lock: another session may just have taken \Deleted away.
    deleted = [entry.uid for entry in mail.store_flags(tx, folder_id, uids, "+") if entry.flags & DELETED]
    gone = mail.expunge(tx, folder_id, deleted)
    if gone:
        _note(tx, access, "mail.expunged", folder_id, gone)
    return gone


def copy(tx: Tx, access: Access, into: Access, folder_id: int, uids: Sequence[int], to: str, move: bool) -> Copied:
    if into.lent:
        permit(tx.conn, into, "i")
    target = mail.folder_by_name(tx.conn, into.bal_id, to)
    if target is None:
        raise nonexistent()
    pairs = mail.move(tx, folder_id, uids, target.id) if move else mail.copy(tx, folder_id, uids, target.id)
    if pairs:
        action, sources = ("mail.moved" if move else "mail.copied"), sorted(uid for uid, _ in pairs)
        _note(tx, access, action, folder_id, sources, to_folder=target.id)
        if into.bal_id != access.bal_id:
            _note(tx, into, action, target.id, sorted(uid for _, uid in pairs), from_folder=folder_id)
        if target.special_use == JUNK_USE and target.id != folder_id:
            placed = mail.store_flags(tx, target.id, [uid for _, uid in pairs], "+")
            signal_messages(tx, access.actor, Kind.JUNK, [entry.message_id for entry in placed])
    if not move or into.bal_id != access.bal_id:
        _check_quota(tx.conn, into)
    return Copied(target.uidvalidity, pairs)


def _check_quota(conn: Conn, access: Access) -> None:
    bal = get_bal(conn, access.bal_id)
    if bal is not None and bal.quota_bytes is not None and bal.used_bytes > bal.quota_bytes:
        raise MailboxRefused(Cause.OVERQUOTA, "La boite est pleine: supprimez des messages")


def append(
    tx: Tx,
    access: Access,
    folder: Folder,
    arrived: Sequence[Arrived],
    replaces: tuple[Access, int, int] | None,
) -> list[int]:
    """`replaces`: (access, folder id, uid) of a message that goes."""
    uids = [mail.append(tx, folder.id, one.new, one.bits, one.keywords, one.internal_us) for one in arrived]
    _note(tx, access, "mail.appended", folder.id, uids)
    if replaces is not None:
        source, folder_id, uid = replaces
        if source.lent:
            permit(tx.conn, source, "te")
        if not mail.expunge(tx, folder_id, [uid]):
            raise MailboxRefused(Cause.EXPUNGED, "Le message a ete supprime entre-temps")
        _note(tx, source, "mail.expunged", folder_id, [uid])
    _check_quota(tx.conn, access)  # others may have filled it since this one began
    return uids
