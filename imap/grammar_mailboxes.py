"""The grammar of what is said of mailboxes beside their messages: rights (RFC 4314 §8), notes
(RFC 5464 §5), what to hear of (RFC 5465 §8).

Invariants: those of `imap.grammar`, which reads the rest.
"""

from __future__ import annotations

import re
from typing import Final

from imap.fetch_items import Item, lex_items
from imap.lexer import Lexer, Refused, SyntaxFault
from imap.notify import COUNTED, FILTERS, MAX_GROUPS, NAMED, SELECTED, Events, Group
from imap.values import GetMetadata, Identified, Notify, SetMetadata

_RIGHTS = re.compile(r"[+-]?[a-z0-9]*")


def identified(lexer: Lexer) -> Identified:
    """DELETEACL, LISTRIGHTS."""
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


_EVENTS: Final = {
    "MESSAGENEW": Events.MESSAGES,
    "MESSAGEEXPUNGE": Events.MESSAGES,
    "FLAGCHANGE": Events.FLAGS,
    "MAILBOXNAME": Events.NAMES,
    "SUBSCRIPTIONCHANGE": Events.SUBSCRIPTIONS,
    "MAILBOXMETADATACHANGE": Events.NOTES,
    "SERVERMETADATACHANGE": Events.SERVER_NOTES,
}
_BADEVENT = (
    "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange"
    " ServerMetadataChange)"
)


def notify(lexer: Lexer) -> Notify:
    """An event that is not known is refused with NO once all was read (§3.1)."""
    word = lexer.keyword()
    if word == "NONE":
        return Notify()
    if word != "SET":
        raise SyntaxFault("SET or NONE expected")
    lexer.space()
    status = not lexer.next_is(b"(")
    if status:
        if lexer.keyword() != "STATUS":
            raise SyntaxFault("STATUS or a group expected")
        lexer.space()
    unknown: set[str] = set()
    groups = [_group(lexer, unknown)]
    while lexer.take(b" "):
        groups.append(_group(lexer, unknown))
    lexer.end()
    if sum(group.filter in SELECTED for group in groups) > 1:
        raise SyntaxFault("one group may be about the selected mailbox")
    if unknown:
        raise Refused("Ces evenements ne sont pas connus", _BADEVENT)
    if len(groups) > MAX_GROUPS:
        raise Refused("Too many groups", "LIMIT")
    return Notify(tuple(groups), status)


def _group(lexer: Lexer, unknown: set[str]) -> Group:
    lexer.expect(b"(")
    filter_ = lexer.keyword()
    if filter_ not in FILTERS:
        raise SyntaxFault("unknown mailbox specifier")
    names: list[str] = []
    if filter_ in NAMED:
        lexer.space()
        names = lexer.parenthesised(lexer.mailbox) if lexer.next_is(b"(") else [lexer.mailbox()]
    lexer.space()
    events, items = Events.NONE, tuple[Item, ...]()
    if lexer.next_is(b"("):
        events, items = _events(lexer, filter_ in SELECTED, unknown)
    elif lexer.keyword() != "NONE":
        raise SyntaxFault("events or NONE expected")
    lexer.expect(b")")
    return Group(filter_, events, frozenset(names), items)


def _events(lexer: Lexer, selected: bool, unknown: set[str]) -> tuple[Events, tuple[Item, ...]]:
    """`events`, with what to fetch of a new message: only of the selected mailbox (§5.2)."""
    found: set[str] = set()
    items: tuple[Item, ...] = ()
    lexer.expect(b"(")
    while True:
        name = lexer.keyword()
        found.add(name)
        more = lexer.take(b" ")
        if name == "MESSAGENEW" and selected and more and lexer.next_is(b"("):
            items = lex_items(lexer)
            more = lexer.take(b" ")
        if not more:
            break
    lexer.expect(b")")
    unknown |= found - _EVENTS.keys()
    both = {"MESSAGENEW", "MESSAGEEXPUNGE"}
    if found & both and not found >= both:
        raise SyntaxFault("MessageNew and MessageExpunge go together")
    if found & {"FLAGCHANGE", "ANNOTATIONCHANGE"} and not found >= both:
        raise SyntaxFault("FlagChange needs MessageNew and MessageExpunge")
    events = Events.NONE
    for name in found & _EVENTS.keys():
        events |= _EVENTS[name]
    if selected and events & ~COUNTED:
        raise SyntaxFault("the selected mailbox has message events only")
    return events, items
