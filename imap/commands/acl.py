"""MYRIGHTS, GETACL, LISTRIGHTS, SETACL, DELETEACL (RFC 4314).

Invariants: rights are those of a whole mailbox (bal), the same in all its folders; they are read here and changed by
the operator alone (`mssante bal delegate`), so that a slip in a mail client opens no patient's letters to anybody:
SETACL and DELETEACL are refused to everyone (§3.1, §3.2 leave that to the server).
"""

from __future__ import annotations

from imap.lexer import Refused
from imap.responses import string
from imap.session import Session
from imap.values import Identified, Mailbox
from mssante.domain.rights import READER, WRITER, shown
from mssante.services.mailboxes import Account


async def my_rights(session: Session, value: Mailbox) -> None:
    """§3.5"""
    mail, _ = await _existing(session, value.mailbox, "l")
    rights = shown(mail.access.letters).encode("ascii")
    session.wire.write(b"* MYRIGHTS %b %b\r\n" % (session.mailbox(value.mailbox), rights))


async def get_acl(session: Session, value: Mailbox) -> None:
    """§3.3: the holder, then each delegate by the address or RPPS that the right was given to."""
    mail, _ = await _existing(session, value.mailbox, "a")
    pairs = [
        b" " + string(name.encode("utf-8")) + b" " + shown(letters).encode("ascii")
        for name, letters in await mail.acl()
    ]
    session.wire.write(b"* ACL " + session.mailbox(value.mailbox) + b"".join(pairs) + b"\r\n")


async def list_rights(session: Session, value: Identified) -> None:
    """§3.4: the holder always has all; to another `read` gives some together, `write` the others besides."""
    mail, _ = await _existing(session, value.mailbox, "a")
    if value.identifier == mail.access.address:
        groups = [shown(mail.access.letters)]
    else:
        groups = ['""', READER, shown(WRITER)]
    words = " ".join(groups).encode("ascii")
    identifier = string(value.identifier.encode("utf-8"))
    session.wire.write(b"* LISTRIGHTS %b %b %b\r\n" % (session.mailbox(value.mailbox), identifier, words))


async def change_acl(session: Session, value: Identified) -> bytes:
    """§3.1, §3.2"""
    await _existing(session, value.mailbox, "a")
    raise Refused("Les droits se donnent et se retirent chez l'operateur", "CANNOT")


async def _existing(session: Session, name: str, letters: str) -> tuple[Account, str]:
    mail, inner = await session.own.at(name, letters)
    await mail.folder(inner)
    return mail, inner
