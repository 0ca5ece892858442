"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS (RFC 9051 §6.3; RFC 6154 §3 for CREATE ... USE).

Invariant: a name is checked before it becomes a mailbox; names that exist are taken as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imap import mailbox_names, responses
from imap.lexer import Refused
from imap.session import Session
from imap.values import Create, Mailbox, Rename, Status, StatusItem
from mssante.services.mailboxes import Folder

SPECIAL_USES: Final = {
    use.upper(): use for use in ("\\Archive", "\\Drafts", "\\Flagged", "\\Important", "\\Junk", "\\Sent", "\\Trash")
}


async def create(session: Session, value: Create) -> bytes:
    """A trailing separator only announces children (§6.3.4)."""
    uses = [SPECIAL_USES.get(use.upper()) for use in value.special_use]
    if len(uses) > 1 or None in uses:
        raise Refused("Cet usage n'est pas possible", "USEATTR")
    await session.own.create(_checked(value.mailbox.removesuffix(mailbox_names.DELIMITER)), (uses or [""])[0] or "")
    return b"OK CREATE completed"


async def delete(session: Session, value: Mailbox) -> bytes:
    """Mailboxes below it stay (§6.3.5)."""
    await session.own.delete(value.mailbox)
    return b"OK DELETE completed"


async def rename(session: Session, value: Rename) -> bytes:
    await session.own.rename(value.mailbox, _checked(value.to))
    return b"OK RENAME completed"


def _checked(name: str) -> str:
    try:
        return mailbox_names.check_new(name)
    except mailbox_names.NameFault:
        raise Refused("Ce nom de dossier n'est pas possible", "CANNOT") from None


async def subscribe(session: Session, value: Mailbox) -> bytes:
    await session.own.subscribe(value.mailbox, True)
    return b"OK SUBSCRIBE completed"


async def unsubscribe(session: Session, value: Mailbox) -> bytes:
    await session.own.subscribe(value.mailbox, False)
    return b"OK UNSUBSCRIBE completed"


async def status(session: Session, value: Status) -> bytes:
    folder = await session.own.folder(value.mailbox)
    await tell_status(session, folder, value.items)
    return b"OK STATUS completed"


async def tell_status(session: Session, folder: Folder, items: Sequence[StatusItem]) -> None:
    """`* STATUS name (...)` (RFC 9051 §7.3.4)."""
    numbers = {
        StatusItem.MESSAGES: folder.messages,
        StatusItem.UIDNEXT: folder.uidnext,
        StatusItem.UIDVALIDITY: folder.uidvalidity,
        StatusItem.UNSEEN: folder.unseen,
        StatusItem.RECENT: 0,
    }
    if StatusItem.RECENT in items and folder.recent_from < folder.uidnext:
        listing = (await session.own.open(folder.name, read_only=True)).listing
        numbers[StatusItem.RECENT] = sum(uid >= folder.recent_from for uid in listing.uids)
    words = b" ".join(b"%b %d" % (item.encode("ascii"), numbers[item]) for item in dict.fromkeys(items))
    session.wire.write(b"* STATUS " + responses.mailbox(folder.name) + b" (" + words + b")\r\n")
