"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS (RFC 9051 §6.3; RFC 6154 §3 for CREATE ... USE; RFC 8438 and
RFC 9208 §4.1.4 for sizes), GETQUOTA, GETQUOTAROOT (RFC 9208).

Invariant: a name is checked before it becomes a mailbox; names that exist are taken as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imap import mailbox_names, responses
from imap.lexer import Refused
from imap.session import Session
from imap.values import Create, Mailbox, Quota, Rename, Status, StatusItem
from mssante.services.annotations import USES
from mssante.services.mailboxes import Account, Folder
from mssante.services.shared import PREFIX

_WEIGHED: Final = frozenset({StatusItem.SIZE, StatusItem.DELETED, StatusItem.DELETED_STORAGE})


async def create(session: Session, value: Create) -> bytes:
    """A trailing separator only announces children (§6.3.4)."""
    uses = [USES.get(use.lower()) for use in value.special_use]
    if len(uses) > 1 or None in uses:
        raise Refused("Cet usage n'est pas possible", "USEATTR")
    name = _checked(value.mailbox.removesuffix(mailbox_names.DELIMITER))
    mail, inner = await session.own.at(name, "k")
    if uses and mail.access.lent:
        raise Refused("Les usages d'une boite sont l'affaire de son titulaire", "USEATTR")
    created = await mail.create(inner, (uses or [""])[0] or "")
    _tell_normalised(session, name, value.mailbox)
    return b"OK [MAILBOXID (%b)] CREATE completed" % responses.folder_id(created)  # RFC 8474 §4.1


async def delete(session: Session, value: Mailbox) -> None:
    """Mailboxes below it stay (§6.3.5)."""
    mail, name = await session.own.at(value.mailbox, "x")
    await mail.delete(name)


async def rename(session: Session, value: Rename) -> None:
    name = _checked(value.to)
    mail, old = await session.own.at(value.mailbox, "x")
    into, new = await session.own.at(name, "k")
    if into.bal_id != mail.bal_id:
        raise Refused("Un dossier ne change pas de boite", "CANNOT")
    await mail.rename(old, new)
    _tell_normalised(session, name, value.to)


def _tell_normalised(session: Session, name: str, asked: str) -> None:
    """The name that a mailbox really got, to a client of IMAP4rev2 (RFC 9051 §6.3.9.7 OLDNAME)."""
    asked = asked.removesuffix(mailbox_names.DELIMITER)
    if session.rev2 and name != asked:
        old = session.mailbox(asked)
        session.wire.write(b'* LIST () "/" %b ("OLDNAME" (%b))\r\n' % (session.mailbox(name), old))


def _checked(name: str) -> str:
    try:
        return mailbox_names.check_new(name)
    except mailbox_names.NameFault:
        raise Refused("Ce nom de dossier n'est pas possible", "CANNOT") from None


async def subscribe(session: Session, value: Mailbox) -> None:
    await session.own.subscribe(value.mailbox, True)


async def unsubscribe(session: Session, value: Mailbox) -> None:
    await session.own.subscribe(value.mailbox, False)


async def status(session: Session, value: Status) -> None:
    mail, name = await session.own.at(value.mailbox, "r")
    if StatusItem.HIGHESTMODSEQ in value.items:
        session.use_condstore()  # RFC 7162 §3.1
    await tell_status(session, mail, await mail.folder(name), value.mailbox, value.items)


async def tell_status(session: Session, mail: Account, folder: Folder, name: str, items: Sequence[StatusItem]) -> None:
    """`* STATUS name (...)` (RFC 9051 §7.3.4) of a folder in the mailbox `mail`."""
    numbers = {
        StatusItem.MESSAGES: folder.messages,
        StatusItem.UIDNEXT: folder.uidnext,
        StatusItem.UIDVALIDITY: folder.uidvalidity,
        StatusItem.UNSEEN: folder.unseen,
        StatusItem.RECENT: 0,
        StatusItem.HIGHESTMODSEQ: folder.highestmodseq,
        StatusItem.APPENDLIMIT: session.server.settings.message_octets,  # RFC 7889 §3.1
    }
    if not _WEIGHED.isdisjoint(items):
        weight = await mail.weight(folder.id)
        numbers[StatusItem.SIZE] = weight.octets
        numbers[StatusItem.DELETED] = weight.deleted
        numbers[StatusItem.DELETED_STORAGE] = weight.deleted_octets
    if StatusItem.RECENT in items and folder.recent_from < folder.uidnext:
        numbers[StatusItem.RECENT] = await mail.recent(folder)
    words = b" ".join(
        b"MAILBOXID (%b)" % responses.folder_id(folder.id)
        if item is StatusItem.MAILBOXID
        else b"%b %d" % (item.encode("ascii"), numbers[item])
        for item in dict.fromkeys(items)
    )
    session.wire.write(b"* STATUS " + session.mailbox(name) + b" (" + words + b")\r\n")


async def get_quota(session: Session, value: Quota) -> None:
    """RFC 9208 §4.1.1. A mailbox with a limit is a quota root: "" is the own one, another has its address."""
    mail, _ = await session.own.at(f"{PREFIX}{value.root}/INBOX" if value.root else "INBOX", "r")
    if not await _tell_quota(session, mail):
        raise Refused("Ce quota n'existe pas", "NONEXISTENT")


async def get_quota_root(session: Session, value: Mailbox) -> None:
    """RFC 9208 §4.1.2"""
    mail, name = await session.own.at(value.mailbox, "r")
    await mail.folder(name)
    _, limit = await mail.quota()
    root = b"" if limit is None else b" " + _root(mail)
    session.wire.write(b"* QUOTAROOT " + session.mailbox(value.mailbox) + root + b"\r\n")
    await _tell_quota(session, mail)


def _root(mail: Account) -> bytes:
    return responses.string(mail.access.address.encode("utf-8") if mail.access.lent else b"")


async def _tell_quota(session: Session, mail: Account) -> bool:
    """`* QUOTA` in units of 1024 octets (RFC 9208 §5.1); False without a limit."""
    used, limit = await mail.quota()
    if limit is not None:
        numbers = (_root(mail), -(-used // 1024), limit // 1024)
        session.wire.write(b"* QUOTA %b (STORAGE %d %d)\r\n" % numbers)
    return limit is not None
