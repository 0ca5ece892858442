"""The grammar of IMAP commands: from a complete command to its value (RFC 9051 §9, RFC 3501 for what it left out).

Invariants:
- One command, one value: `read` gives a value or raises `SyntaxFault` (BAD) or `Refused` (NO); nothing is done here.
- Which command has which rule is said in `imap.commands`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

from imap.framer import Command
from imap.lexer import MAX_NUMBER64, Lexer, Ranges, Refused, SyntaxFault
from imap.values import (
    Authenticate,
    Create,
    Enable,
    Id,
    List,
    Login,
    Mailbox,
    Plain,
    Quota,
    Rename,
    Resync,
    Select,
    Status,
    StatusItem,
    Value,
)
from mssante.services import sasl

MAX_PATTERNS: Final = 100


class State(Enum):
    """What a session must be for a command to be taken (RFC 9051 §3)."""

    ANY = 0
    NOT_AUTHENTICATED = 1
    AUTHENTICATED = 2
    SELECTED = 3


def plain(lexer: Lexer) -> Plain:
    return Plain()


def id_(lexer: Lexer) -> Id:
    if not lexer.next_is(b"("):
        if lexer.keyword() != "NIL":
            raise SyntaxFault("a list or NIL is missing")
        return Id()
    values = lexer.parenthesised(lexer.nstring, empty=True)
    if len(values) > 60 or len(values) % 2 or None in values[::2]:
        raise SyntaxFault("ID takes at most 30 pairs of a field and a value")
    texts = [value.decode("utf-8", "replace") if value is not None else None for value in values]
    return Id(tuple((name or "", value) for name, value in zip(texts[::2], texts[1::2], strict=True)))


def enable(lexer: Lexer) -> Enable:
    names = [lexer.keyword()]
    while lexer.take(b" "):
        names.append(lexer.keyword())
    return Enable(tuple(names))


def login(lexer: Lexer) -> Login:
    login = lexer.text()
    lexer.space()
    return Login(login, lexer.text())


def authenticate(lexer: Lexer) -> Authenticate:
    mechanism = lexer.keyword()
    if not lexer.take(b" "):
        return Authenticate(mechanism)
    try:
        return Authenticate(mechanism, sasl.decode(lexer.word()))
    except sasl.SaslFault:
        raise SyntaxFault("response is not base64") from None


def select(lexer: Lexer, read_only: bool = False) -> Select:
    """With the parameters of RFC 7162 §7 (`select-param`)."""
    mailbox = lexer.mailbox()
    parameters: dict[str, Resync | None] = {}

    def parameter() -> None:
        name = lexer.keyword()
        if name not in {"CONDSTORE", "QRESYNC"} or name in parameters:
            raise SyntaxFault("unknown SELECT parameter")
        parameters[name] = _resync(lexer) if name == "QRESYNC" else None

    if lexer.take(b" "):
        lexer.parenthesised(parameter)
    return Select(mailbox, read_only, "CONDSTORE" in parameters, parameters.get("QRESYNC"))


def _resync(lexer: Lexer) -> Resync:
    lexer.space()
    lexer.expect(b"(")
    uidvalidity = lexer.positive()
    lexer.space()
    modseq = lexer.positive(MAX_NUMBER64)
    known: Ranges | None = None
    if lexer.take(b" ") and not lexer.next_is(b"("):
        known = _known(lexer)
        match = lexer.take(b" ")
    else:
        match = lexer.next_is(b"(")
    if match:
        lexer.expect(b"(")
        _known(lexer)
        lexer.space()
        _known(lexer)
        lexer.expect(b")")
    lexer.expect(b")")
    return Resync(uidvalidity, modseq, known)


def _known(lexer: Lexer) -> Ranges:
    """`known-uids`, `known-sequence-set`: numbers without `*` or `$`."""
    ranges = lexer.sequence_set()
    if any(number <= 0 for pair in ranges for number in pair):
        raise SyntaxFault("only numbers are known")
    return ranges


def examine(lexer: Lexer) -> Select:
    return select(lexer, read_only=True)


def mailbox(lexer: Lexer) -> Mailbox:
    return Mailbox(lexer.mailbox())


def create(lexer: Lexer) -> Create:
    mailbox = lexer.mailbox()
    uses: list[str] = []
    if lexer.take(b" "):
        lexer.expect(b"(")
        if lexer.keyword() != "USE":
            raise SyntaxFault("unknown CREATE parameter")
        lexer.space()
        uses = lexer.parenthesised(lambda: lexer.word().decode("ascii"), empty=True)
        lexer.expect(b")")
    return Create(mailbox, tuple(uses))


def rename(lexer: Lexer) -> Rename:
    mailbox = lexer.mailbox()
    lexer.space()
    return Rename(mailbox, lexer.mailbox())


def _status_item(lexer: Lexer) -> StatusItem:
    try:
        return StatusItem(lexer.keyword())
    except ValueError as fault:
        raise fault if isinstance(fault, SyntaxFault) else SyntaxFault("unknown STATUS item") from None


def status(lexer: Lexer) -> Status:
    mailbox = lexer.mailbox()
    lexer.space()
    return Status(mailbox, tuple(lexer.parenthesised(lambda: _status_item(lexer))))


def lsub(lexer: Lexer) -> List:
    reference = lexer.mailbox()
    lexer.space()
    return List(reference, (lexer.list_mailbox(),), lsub=True)


def list_(lexer: Lexer) -> List:
    """`list` with the extended syntax of RFC 5258 §6."""
    selection: list[str] | None = None
    if lexer.next_is(b"("):
        selection = lexer.parenthesised(lexer.keyword, empty=True)
        lexer.space()
    reference = lexer.mailbox()
    lexer.space()
    extended = selection is not None or lexer.next_is(b"(")
    patterns = lexer.parenthesised(lexer.list_mailbox) if lexer.next_is(b"(") else [lexer.list_mailbox()]
    status: tuple[StatusItem, ...] = ()
    returned: set[str] = set()

    def option() -> str:
        nonlocal status
        name = lexer.keyword()
        if name == "STATUS":
            lexer.space()
            status = tuple(lexer.parenthesised(lambda: _status_item(lexer)))
        return name

    if lexer.take(b" "):
        if lexer.keyword() != "RETURN":
            raise SyntaxFault("unknown LIST argument")
        lexer.space()
        extended, returned = True, set(lexer.parenthesised(option, empty=True))
    chosen = set(selection or ())
    if chosen - {"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"}:
        raise SyntaxFault("unknown LIST selection option")
    if "RECURSIVEMATCH" in chosen and not chosen & {"SUBSCRIBED", "SPECIAL-USE"}:
        raise SyntaxFault("RECURSIVEMATCH needs another selection option")
    if returned - {"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "STATUS"}:
        raise SyntaxFault("unknown LIST return option")
    if len(patterns) > MAX_PATTERNS:
        raise Refused("Too many patterns", "LIMIT")
    return List(
        reference,
        tuple(patterns),
        False,
        extended,
        "SUBSCRIBED" in chosen,
        "RECURSIVEMATCH" in chosen,
        "SPECIAL-USE" in chosen,
        "SUBSCRIBED" in returned or "SUBSCRIBED" in chosen,
        status,
    )


def get_quota(lexer: Lexer) -> Quota:
    return Quota(lexer.text())


Rule = Callable[[Lexer], Value]


class Head(msgspec.Struct, frozen=True):
    """Tag and name of a command, and the lexer standing behind them."""

    tag: bytes
    name: str
    lexer: Lexer


def read_head(command: Command, *, utf8: bool = False) -> Head:
    """SyntaxFault without a tag that can be answered. `name` may be unknown."""
    lexer = Lexer(command, utf8=utf8)
    tag = lexer.tag()
    try:
        lexer.space()
        name = lexer.keyword()
        if name == "UID":
            lexer.space()
            name, lexer.uid = "UID " + lexer.keyword(), True
    except SyntaxFault:
        name = ""
    return Head(tag, name, lexer)


def read_value(head: Head, rule: Rule) -> Value:
    """`rule` reads the arguments from behind the first space."""
    if not head.lexer.at_end():
        head.lexer.space()
    value = rule(head.lexer)
    head.lexer.end()
    return value
