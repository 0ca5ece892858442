"""IDLE (RFC 9051 §6.3.13).

Invariant: news are told as they come, as long as the client idles; whatever line ends it, the session goes on in step.
"""

from __future__ import annotations

from imap.framer import Fault
from imap.lexer import SyntaxFault
from imap.session import Session
from imap.values import Plain


async def idle(session: Session, _: Plain) -> None:
    wire = session.wire
    wire.write(b"+ idling\r\n")
    wire.idling = True
    try:
        while True:
            view = session.view
            if view is not None and (view.stale or view.has_gone):
                await session.sync(expunge=True)
            await session.tell_elsewhere()
            await wire.flush()
            line = wire.framer.next_line()
            if line is not None:
                break
            await wire.wait()
    finally:
        wire.idling = False
    if isinstance(line, Fault):
        session.check_fatal(line)
        raise SyntaxFault(line.text)
    if line.data.upper() != b"DONE":
        raise SyntaxFault("DONE expected")
