"""The grammar of what is said of mailboxes beside their messages: rights (RFC 4314 §8), notes
(RFC 5464 §5).

Invariants: those of `imap.grammar`, which reads the rest.
"""

from __future__ import annotations

import re

from imap.lexer import Lexer, SyntaxFault
from imap.values import GetMetadata, Identified, SetMetadata

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


_ENTRY = re.compile(r"/(?:private|shared)(?:/[^/*%\x00-\x1f\x7f-\U0010ffff]+)*")
_DEPTHS = {"0": 0, "1": 1, "INFINITY": None}


def get_metadata(lexer: Lexer) -> GetMetadata:
    """Options stand before the mailbox in the grammar of RFC 5464 §5, behind it in its §4.2.1: both are read."""
    lexer.space()
    options = _Options()
    if lexer.next_is(b"("):
        lexer.parenthesised(lambda: options.read(lexer, lexer.keyword()))
        lexer.space()
    mailbox = lexer.mailbox()
    lexer.space()
    if lexer.next_is(b"(MAXSIZE") or lexer.next_is(b"(DEPTH"):
        lexer.parenthesised(lambda: options.read(lexer, lexer.keyword()))
        lexer.space()
    entries = lexer.parenthesised(lambda: _entry(lexer)) if lexer.next_is(b"(") else [_entry(lexer)]
    return GetMetadata(mailbox, tuple(entries), options.depth, options.max_size)


class _Options:
    def __init__(self) -> None:
        self.max_size: int | None = None
        self.depth: int | None = 0

    def read(self, lexer: Lexer, name: str) -> None:
        lexer.space()
        if name == "MAXSIZE":
            self.max_size = lexer.number()
        elif name == "DEPTH" and (depth := lexer.keyword()) in _DEPTHS:
            self.depth = _DEPTHS[depth]
        else:
            raise SyntaxFault("unknown GETMETADATA option")


def set_metadata(lexer: Lexer) -> SetMetadata:
    lexer.space()
    mailbox = lexer.mailbox()
    lexer.space()

    def note() -> tuple[str, bytes | None]:
        name = _entry(lexer)
        if name.count("/") < 2:
            raise SyntaxFault("/private and /shared have no value of their own")
        lexer.space()
        lexer.take(b"~")  # a literal8 holds any octets, and so does a note
        return name, lexer.nstring()

    return SetMetadata(mailbox, tuple(lexer.parenthesised(note)))


def _entry(lexer: Lexer) -> str:
    """A name in small letters (§3.1)."""
    name = lexer.text().lower()
    if not _ENTRY.fullmatch(name):
        raise SyntaxFault("not the name of an entry")
    return name
