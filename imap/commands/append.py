"""APPEND (RFC 9051 §6.3.12; APPENDUID RFC 4315 §3).

Invariants: the message streams to the store and is never held whole; nothing is kept unless the whole command was
right; what the client still sends of a refused message is read and dropped, so that the next command is understood.
"""

from __future__ import annotations

from imap.framer import Fault, MessageData, MessageEnd, MessageStart
from imap.grammar import COMMANDS, Head, read_value
from imap.lexer import Refused, SyntaxFault
from imap.session import Session
from imap.values import AppendHead
from mssante.services.mailboxes import Append, Cause, MailboxRefused


async def without_message(session: Session, _: AppendHead) -> bytes:
    """APPEND without a literal."""
    raise SyntaxFault("the message is missing")


async def receive(session: Session, head: Head, start: MessageStart) -> None:
    """Run an APPEND whose message literal was just announced, and answer it."""
    appending: Append | None = None
    try:
        try:
            value = read_value(head, COMMANDS[head.name][1])
            if not isinstance(value, AppendHead):
                raise SyntaxFault("not an APPEND")
            if not start.size:
                raise Refused("Le message est vide")
            appending = await _begin(session, value, start.size)
        except (SyntaxFault, Refused, MailboxRefused):
            session.wire.framer.refuse_message(start)
            raise
        if start.sync:
            session.wire.write(b"+ OK\r\n")
        condition = await _take(session, value, appending)
    except SyntaxFault as fault:
        session.bad(head.tag, str(fault))
        return
    except (Refused, MailboxRefused) as refused:
        await session.finish(head, session.refusal(refused))
        return
    finally:
        if appending is not None:
            appending.abort()
    await session.finish(head, condition)


async def _begin(session: Session, value: AppendHead, octets: int) -> Append:
    try:
        return await session.own.append(value.mailbox, octets)
    except MailboxRefused as refused:
        if refused.cause is Cause.NONEXISTENT:
            raise Refused(str(refused), "TRYCREATE") from refused
        raise


async def _take(session: Session, value: AppendHead, appending: Append) -> bytes:
    """The message's octets, to the end of the command. A refusal on the way is told at the end."""
    refused: MailboxRefused | SyntaxFault | None = None
    while True:
        event = await session.wire.event()
        if isinstance(event, MessageData):
            if refused is None:
                try:
                    appending.feed(event.data)
                except MailboxRefused as fault:
                    refused = fault
        elif isinstance(event, MessageStart):
            session.wire.framer.refuse_message(event)
            raise SyntaxFault("one message at a time")
        elif isinstance(event, Fault):
            session.check_fatal(event)
            raise SyntaxFault(event.text)
        elif isinstance(event, MessageEnd):
            if event.tail.texts != (b"",) and refused is None:
                refused = SyntaxFault("unexpected text after the message")
            break
    if refused is not None:
        raise refused
    uid = await appending.finish(value.flags.bits, value.flags.keywords, value.internal_us)
    return b"OK [APPENDUID %d %d] APPEND completed" % (appending.folder.uidvalidity, uid)
