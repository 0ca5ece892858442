"""The grammar of what is said of mailboxes beside their messages: rights (RFC 4314 §8).

Invariants: those of `imap.grammar`, which reads the rest.
"""

from __future__ import annotations

import re

from imap.lexer import Lexer, SyntaxFault
from imap.values import Identified

_RIGHTS = re.compile(r"[+-]?[a-z0-9]*")


def identified(lexer: Lexer) -> Identified:
    """DELETEACL, LISTRIGHTS."""
    lexer.space()
    mailbox = lexer.mailbox()
    lexer.space()
    return Identified(mailbox, lexer.text())


def set_acl(lexer: Lexer) -> Identified:
    """SETACL: the rights are checked and, as nobody may give them here, not kept."""
    value = identified(lexer)
    lexer.space()
    if not _RIGHTS.fullmatch(lexer.text()):
        raise SyntaxFault("rights are small letters and digits")  # §2: also after + or -
    return value
