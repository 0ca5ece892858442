"""APPEND and REPLACE (RFC 9051 §6.3.12; APPENDUID RFC 4315 §3; MULTIAPPEND RFC 3502; UTF8 RFC 6855 §4; RFC 8508).

Invariants: a message streams to the store and is never held whole; nothing is kept unless the whole command was right,
all of its messages or none; what the client still sends of a refused message is read and dropped, so that the next
command is understood.
"""

from __future__ import annotations

from imap.framer import Fault, MessageData, MessageEnd, MessageStart
from imap.grammar import Head, read_value
from imap.grammar_messages import appended
from imap.lexer import Lexer, Refused, SyntaxFault
from imap.session import Session, missing_may_be_created
from imap.values import Appended, AppendHead
from imap.view import compact
from mssante.services.mailboxes import Account, Append, MailboxRefused


async def without_message(session: Session, _: AppendHead) -> bytes:
    """APPEND or REPLACE without a literal."""
    raise SyntaxFault("the message is missing")


async def receive(session: Session, head: Head, start: MessageStart) -> None:
    """Run a command whose first message literal was just announced, and answer it."""
    appending: Append | None = None
    session.tag = head.tag
    try:
        try:
            value = read_value(head, session.server.commands[head.name].rule)
            if not isinstance(value, AppendHead):
                raise SyntaxFault("no message belongs here")
            replaced = await _replaced(session, value)
            with missing_may_be_created():
                mail, name = await session.own.at(value.mailbox, "i")
                appending = await mail.append(name)
            _begin(session, appending, start)
        except (SyntaxFault, Refused, MailboxRefused):
            session.wire.framer.refuse_message(start)
            raise
        await _take(session, value.message, appending)
        uids = await appending.commit(replaced)
    except SyntaxFault as fault:
        session.bad(head.tag, str(fault))
        return
    except (Refused, MailboxRefused) as refused:
        await session.finish(head, session.refusal(refused))
        return
    finally:
        if appending is not None:
            appending.abort()
    code = b"OK [APPENDUID %d %b] " % (appending.folder.uidvalidity, compact(uids))
    if replaced is None:
        await session.finish(head, code + b"APPEND completed")
        return
    session.wire.write(b"* " + code + b"Replacement kept\r\n")  # RFC 8508 §3.3
    await session.finish(head, await session.expunged([replaced[2]], "REPLACE"))


async def _replaced(session: Session, value: AppendHead) -> tuple[Account, int, int] | None:
    """Mailbox, folder and UID of the message that goes (RFC 8508 §3), None for APPEND."""
    if value.replaces is None:
        return None
    await session.read_rows()
    view = session.writable
    places = view.places(value.replaces, uid=value.uid)
    if len(places) != 1 or view.is_gone(places[0]):
        raise Refused("Le message n'existe pas ou plus", "NONEXISTENT")
    return session.there, view.folder_id, view.listing.uids[places[0]]


def _begin(session: Session, appending: Append, start: MessageStart) -> None:
    if not start.size:
        raise Refused("Le message est vide")
    appending.begin(start.size)
    if start.sync:
        session.wire.write(b"+ OK\r\n")


async def _take(session: Session, message: Appended, appending: Append) -> None:
    """The messages' octets, to the end of the command. A refusal on the way is told at the end."""
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
            try:
                if refused is not None:
                    raise refused
                lexer = Lexer(event.head, utf8=session.utf8)
                _end(appending, message, lexer)
                message = appended(lexer)
                lexer.end()
                _begin(session, appending, event)
            except (SyntaxFault, Refused, MailboxRefused):
                session.wire.framer.refuse_message(event)
                raise
        elif isinstance(event, Fault):
            session.check_fatal(event)
            raise Refused(event.text, event.code) if event.code else SyntaxFault(event.text)
        elif isinstance(event, MessageEnd):
            if refused is not None:
                raise refused
            lexer = Lexer(event.tail)
            _end(appending, message, lexer)
            lexer.end()
            return


def _end(appending: Append, message: Appended, lexer: Lexer) -> None:
    """A message is whole; `lexer` stands behind it."""
    if message.utf8:
        lexer.expect(b")")
    appending.end(message.flags.bits, message.flags.keywords, message.internal_us)
