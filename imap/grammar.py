"""The grammar of IMAP commands: from a complete command to its value (RFC 9051 §9, RFC 3501 for what it left out).

Invariants:
- One command, one value: `read` gives a value or raises `SyntaxFault` (BAD) or `Refused` (NO); nothing is done here.
- `COMMANDS` names every command that exists, the state it needs and its rule; a name that is not there is unknown.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

from imap.fetch_items import lex_items, read_items
from imap.framer import Command
from imap.lexer import Lexer, Refused, SyntaxFault
from imap.search_keys import lex_search
from imap.values import (
    AppendHead,
    Authenticate,
    Copy,
    Create,
    Enable,
    Expunge,
    Fetch,
    FlagSet,
    Id,
    List,
    Login,
    Mailbox,
    Plain,
    Rename,
    Search,
    Select,
    Status,
    StatusItem,
    Store,
    Tagged,
    Value,
)
from mssante.domain import flags

MAX_KEYWORDS: Final = 32
"""Keywords in one flag list."""
MAX_PATTERNS: Final = 100
_KEYWORD = re.compile(r"[!#-$&-'+-\[^-z|}~]{1,64}")


class State(Enum):
    """What a session must be for a command to be taken (RFC 9051 §3)."""

    ANY = 0
    NOT_AUTHENTICATED = 1
    AUTHENTICATED = 2
    SELECTED = 3


def _plain(lexer: Lexer) -> Plain:
    return Plain()


def _id(lexer: Lexer) -> Id:
    lexer.space()
    if not lexer.next_is(b"("):
        if lexer.keyword() != "NIL":
            raise SyntaxFault("a list or NIL is missing")
        return Id()
    values = lexer.parenthesised(lexer.nstring, empty=True)
    if len(values) > 60 or len(values) % 2 or None in values[::2]:
        raise SyntaxFault("ID takes at most 30 pairs of a field and a value")
    texts = [value.decode("utf-8", "replace") if value is not None else None for value in values]
    return Id(tuple((name or "", value) for name, value in zip(texts[::2], texts[1::2], strict=True)))


def _enable(lexer: Lexer) -> Enable:
    names = []
    while not lexer.at_end():
        lexer.space()
        names.append(lexer.keyword())
    if not names:
        raise SyntaxFault("arguments are missing")
    return Enable(tuple(names))


def _login(lexer: Lexer) -> Login:
    lexer.space()
    login = lexer.text()
    lexer.space()
    return Login(login, lexer.text())


def _authenticate(lexer: Lexer) -> Authenticate:
    lexer.space()
    mechanism = lexer.keyword()
    if not lexer.take(b" "):
        return Authenticate(mechanism)
    return Authenticate(mechanism, read_base64(lexer.word()))


def read_base64(text: bytes) -> bytes:
    """A SASL response line; `=` is the empty initial response (RFC 4959 §3)."""
    try:
        return b"" if text == b"=" else b64decode(text, validate=True)
    except Base64Error:
        raise SyntaxFault("response is not base64") from None


def _select(lexer: Lexer) -> Select:
    lexer.space()
    return Select(lexer.mailbox(), read_only=False)


def _examine(lexer: Lexer) -> Select:
    lexer.space()
    return Select(lexer.mailbox(), read_only=True)


def _mailbox(lexer: Lexer) -> Mailbox:
    lexer.space()
    return Mailbox(lexer.mailbox())


def _create(lexer: Lexer) -> Create:
    lexer.space()
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


def _rename(lexer: Lexer) -> Rename:
    lexer.space()
    mailbox = lexer.mailbox()
    lexer.space()
    return Rename(mailbox, lexer.mailbox())


def _status_item(lexer: Lexer) -> StatusItem:
    try:
        return StatusItem(lexer.keyword())
    except ValueError as fault:
        raise fault if isinstance(fault, SyntaxFault) else SyntaxFault("unknown STATUS item") from None


def _status(lexer: Lexer) -> Status:
    lexer.space()
    mailbox = lexer.mailbox()
    lexer.space()
    return Status(mailbox, tuple(lexer.parenthesised(lambda: _status_item(lexer))))


def _lsub(lexer: Lexer) -> List:
    lexer.space()
    reference = lexer.mailbox()
    lexer.space()
    return List(reference, (lexer.list_mailbox(),), lsub=True)


def _list(lexer: Lexer) -> List:
    """`list` with the extended syntax of RFC 5258 §6."""
    lexer.space()
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


def flag_list(lexer: Lexer) -> FlagSet:
    """`flag-list`; \\Recent, which no client can set, is passed over (RFC 3501 §2.3.2)."""
    return _flags(lexer.parenthesised(lexer.word, empty=True))


_BITS: Final = {name.upper(): bit for bit, name in flags.NAMES.items()}


def _flags(words: list[bytes]) -> FlagSet:
    bits, keywords = 0, set()
    for word in words:
        text = word.decode("ascii")
        if text.startswith("\\"):
            bit = _BITS.get(text.upper())
            if bit is None and text.upper() != "\\RECENT":
                raise SyntaxFault("unknown system flag")
            bits |= bit or 0
        elif _KEYWORD.fullmatch(text):
            keywords.add(text)
        else:
            raise SyntaxFault("bad keyword")
    if len(keywords) > MAX_KEYWORDS:
        raise Refused("Too many keywords", "LIMIT")
    return FlagSet(bits, tuple(sorted(keywords)))


def _append(lexer: Lexer) -> AppendHead:
    """APPEND up to where its message literal stands; the literal itself is the framer's."""
    lexer.space()
    mailbox = lexer.mailbox()
    lexer.space()
    found = FlagSet()
    internal_us: int | None = None
    if lexer.next_is(b"("):
        found = flag_list(lexer)
        lexer.space()
    if lexer.next_is(b'"'):
        internal_us = lexer.date_time()
        lexer.space()
    lexer.take(b"~")
    return AppendHead(mailbox, found, internal_us)


def _search(lexer: Lexer) -> Search:
    lexer.space()
    return Search(lex_search(lexer), uid=False)


def _uid_search(lexer: Lexer) -> Search:
    lexer.space()
    return Search(lex_search(lexer), uid=True)


def _fetch(lexer: Lexer, uid: bool = False) -> Fetch:
    lexer.space()
    ranges = lexer.sequence_set()
    lexer.space()
    rest = lexer.rest()
    return Fetch(ranges, lex_items(lexer) if rest is None else read_items(rest), uid)


def _uid_fetch(lexer: Lexer) -> Fetch:
    return _fetch(lexer, uid=True)


_STORE_ITEM = re.compile(r"([+-]?)FLAGS(\.SILENT)?")


def _store(lexer: Lexer, uid: bool = False) -> Store:
    lexer.space()
    ranges = lexer.sequence_set()
    lexer.space()
    item = _STORE_ITEM.fullmatch(lexer.word().decode("ascii").upper())
    if item is None:
        raise SyntaxFault("unknown STORE item")
    lexer.space()
    if lexer.next_is(b"("):
        found = flag_list(lexer)
    else:
        words = [lexer.word()]
        while lexer.take(b" "):
            words.append(lexer.word())
        found = _flags(words)
    return Store(ranges, item[1] or "=", bool(item[2]), found, uid)


def _uid_store(lexer: Lexer) -> Store:
    return _store(lexer, uid=True)


def _copy(lexer: Lexer, uid: bool = False) -> Copy:
    lexer.space()
    ranges = lexer.sequence_set()
    lexer.space()
    return Copy(ranges, lexer.mailbox(), uid)


def _uid_copy(lexer: Lexer) -> Copy:
    return _copy(lexer, uid=True)


def _expunge(lexer: Lexer) -> Expunge:
    return Expunge()


def _uid_expunge(lexer: Lexer) -> Expunge:
    lexer.space()
    return Expunge(lexer.sequence_set())


Rule = Callable[[Lexer], Value]

COMMANDS: Final[dict[str, tuple[State, Rule]]] = {
    "CAPABILITY": (State.ANY, _plain),
    "NOOP": (State.ANY, _plain),
    "LOGOUT": (State.ANY, _plain),
    "ID": (State.ANY, _id),
    "STARTTLS": (State.NOT_AUTHENTICATED, _plain),
    "LOGIN": (State.NOT_AUTHENTICATED, _login),
    "AUTHENTICATE": (State.NOT_AUTHENTICATED, _authenticate),
    "ENABLE": (State.AUTHENTICATED, _enable),
    "SELECT": (State.AUTHENTICATED, _select),
    "EXAMINE": (State.AUTHENTICATED, _examine),
    "CREATE": (State.AUTHENTICATED, _create),
    "DELETE": (State.AUTHENTICATED, _mailbox),
    "RENAME": (State.AUTHENTICATED, _rename),
    "SUBSCRIBE": (State.AUTHENTICATED, _mailbox),
    "UNSUBSCRIBE": (State.AUTHENTICATED, _mailbox),
    "LIST": (State.AUTHENTICATED, _list),
    "LSUB": (State.AUTHENTICATED, _lsub),
    "NAMESPACE": (State.AUTHENTICATED, _plain),
    "STATUS": (State.AUTHENTICATED, _status),
    "APPEND": (State.AUTHENTICATED, _append),
    "IDLE": (State.AUTHENTICATED, _plain),
    "CHECK": (State.SELECTED, _plain),
    "CLOSE": (State.SELECTED, _plain),
    "UNSELECT": (State.SELECTED, _plain),
    "EXPUNGE": (State.SELECTED, _expunge),
    "UID EXPUNGE": (State.SELECTED, _uid_expunge),
    "SEARCH": (State.SELECTED, _search),
    "UID SEARCH": (State.SELECTED, _uid_search),
    "FETCH": (State.SELECTED, _fetch),
    "UID FETCH": (State.SELECTED, _uid_fetch),
    "STORE": (State.SELECTED, _store),
    "UID STORE": (State.SELECTED, _uid_store),
    "COPY": (State.SELECTED, _copy),
    "UID COPY": (State.SELECTED, _uid_copy),
    "MOVE": (State.SELECTED, _copy),
    "UID MOVE": (State.SELECTED, _uid_copy),
}


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
            name = "UID " + lexer.keyword()
    except SyntaxFault:
        name = ""
    return Head(tag, name, lexer)


def read_value(head: Head, rule: Rule) -> Value:
    value = rule(head.lexer)
    head.lexer.end()
    return value


def read(command: Command, *, utf8: bool = False) -> Tagged:
    """A whole command as a value, whatever the state of a session."""
    head = read_head(command, utf8=utf8)
    known = COMMANDS.get(head.name)
    if known is None:
        raise SyntaxFault("unknown command")
    return Tagged(head.tag, head.name, read_value(head, known[1]))
