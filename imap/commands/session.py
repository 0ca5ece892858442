"""Commands that need no mailbox: CAPABILITY, NOOP, CHECK, LOGOUT, ID, ENABLE, NAMESPACE, STARTTLS.

Invariant: none of them changes a mailbox.
"""

from __future__ import annotations

from typing import Final

from imap import responses
from imap.lexer import SyntaxFault
from imap.session import Session
from imap.values import Enable, Id, Plain
from imap.view import NOTHING_RECENT
from mssante.services.shared import PREFIX

ENABLED: Final = {
    "CONDSTORE": b"CONDSTORE",
    "IMAP4REV2": b"IMAP4rev2",
    "QRESYNC": b"QRESYNC",
    "UTF8=ACCEPT": b"UTF8=ACCEPT",
}
"""What ENABLE can turn on; unknown names are passed over (RFC 5161 §3.1)."""


async def capability(session: Session, _: Plain) -> None:
    """RFC 9051 §6.1.1"""
    session.wire.write(b"* CAPABILITY " + session.capability.encode("ascii") + b"\r\n")


async def noop(_: Session, __: Plain) -> None:
    """NOOP, CHECK (RFC 9051 §6.1.2, RFC 3501 §6.4.1): what happened meanwhile is told as after every command."""


async def logout(session: Session, _: Plain) -> None:
    """RFC 9051 §6.1.3"""
    session.unselect()
    session.wire.write(b"* BYE A bientot\r\n")
    session.over = True


async def id_(session: Session, _: Id) -> None:
    """RFC 2971 §3.1; nothing but the product's name is told."""
    session.wire.write(b'* ID ("name" "mssante")\r\n')


async def enable(session: Session, value: Enable) -> None:
    """RFC 5161 §3.1"""
    new = [name for name in value.names if name in ENABLED]
    session.wire.write(b" ".join([b"* ENABLED", *(ENABLED[name] for name in new)]) + b"\r\n")
    if not {"CONDSTORE", "QRESYNC"}.isdisjoint(new):
        session.use_condstore()  # QRESYNC brings CONDSTORE with it (RFC 7162 §3.2.3)
    session.enabled.update(new)
    if session.rev2 and session.view is not None:
        session.view.recent_from = NOTHING_RECENT


async def namespace(session: Session, _: Plain) -> None:
    """RFC 2342 §5: mailboxes that are lent are those of other users."""
    others = b'"' + session.mailbox(PREFIX).strip(b'"') + b'"'  # a string, never an atom (§6)
    session.wire.write(b'* NAMESPACE (("" "/")) ((%b "/")) NIL\r\n' % others)


async def starttls(session: Session, _: Plain) -> bytes:
    """RFC 9051 §6.2.1. Octets that follow the command in clear end the connection (§11.1)."""
    if session.wire.encrypted:
        raise SyntaxFault("TLS is already on")
    session.upgrade = True
    return responses.condition("OK", "Begin TLS now")
