"""The grammar of commands about messages: APPEND, SEARCH, SORT, THREAD, FETCH, STORE, COPY and their kin (RFC 9051 §9
and the extensions named at each rule).

Invariant: as in `grammar.py`, one rule, one value or a fault.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from imap.fetch_items import lex_items, read_items
from imap.framer import Command
from imap.lexer import MAX_NUMBER64, Lexer, Refused, SyntaxFault
from imap.search_keys import Key, lex_charset, lex_search
from imap.values import Appended, AppendHead, Copy, Expunge, Fetch, FlagSet, Search, Sort, Store, Thread
from mssante.domain import flags

MAX_KEYWORDS: Final = 32
"""Keywords in one flag list."""
_KEYWORD = re.compile(r"[!#-$&-'+-\[^-z|}~]{1,64}")


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


def append(lexer: Lexer) -> AppendHead:
    """APPEND up to where its first message literal stands; the literal itself is the framer's."""
    mailbox = lexer.mailbox()
    return AppendHead(mailbox, appended(lexer))


def replace(lexer: Lexer) -> AppendHead:
    """RFC 8508 §3"""
    ranges = lexer.sequence_set()
    if len(ranges) != 1 or ranges[0][0] != ranges[0][1] or ranges[0][0] < 0:
        raise SyntaxFault("one message is replaced at a time")
    lexer.space()
    mailbox = lexer.mailbox()
    return AppendHead(mailbox, appended(lexer), ranges, lexer.uid)


def appended(lexer: Lexer) -> Appended:
    """`append-message` up to its literal, its first space included (RFC 3502 §6.3.11, RFC 6855 §4)."""
    lexer.space()
    found = FlagSet()
    internal_us: int | None = None
    if lexer.next_is(b"("):
        found = flag_list(lexer)
        lexer.space()
    if lexer.next_is(b'"'):
        internal_us = lexer.date_time()
        lexer.space()
    utf8 = False
    if not lexer.at_end() and not lexer.next_is(b"~"):
        if lexer.keyword() != "UTF8":
            raise SyntaxFault("unknown APPEND data")
        lexer.space()
        lexer.expect(b"(")
        utf8 = True
    binary = lexer.take(b"~")
    if utf8 and not binary:
        raise SyntaxFault("UTF8 takes a literal8")
    return Appended(found, internal_us, utf8, binary)


_RESULTS: Final = frozenset({"MIN", "MAX", "ALL", "COUNT", "SAVE", "PARTIAL"})


def search(lexer: Lexer) -> Search:
    """`search` with result options (RFC 4731 §4, RFC 5182 §3, RFC 9394 §4)."""
    returns: frozenset[str] | None = None
    partial: tuple[int, int] | None = None

    def result() -> str:
        nonlocal partial
        name = lexer.keyword()
        if name not in _RESULTS:
            raise SyntaxFault("unknown SEARCH result option")
        if name == "PARTIAL":
            lexer.space()
            partial = lexer.partial()
        return name

    if _word_is_next(lexer, b"RETURN"):
        returns = frozenset(lexer.parenthesised(result, empty=True)) or frozenset({"ALL"})
        lexer.space()
        if {"ALL", "PARTIAL"} <= returns:
            raise SyntaxFault("PARTIAL is in place of ALL")
    charset = _word_is_next(lexer, b"CHARSET")
    if charset:
        lex_charset(lexer)
    return Search(lex_search(lexer), lexer.uid, returns, partial, charset)


def _word_is_next(lexer: Lexer, word: bytes) -> bool:
    """Step over a word and the space behind it if it is next, in any case."""
    if not any(lexer.next_is(spelt + b" ") for spelt in (word, word.lower(), word.capitalize())):
        return False
    lexer.word()
    lexer.space()
    return True


_SORT_KEYS: Final = frozenset({"ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO"})
MAX_SORT_KEYS: Final = 20


def sort(lexer: Lexer) -> Sort:
    """RFC 5256 §5"""

    def criterion() -> tuple[str, bool]:
        name = lexer.keyword()
        descending = name == "REVERSE"
        if descending:
            lexer.space()
            name = lexer.keyword()
        if name not in _SORT_KEYS:
            raise SyntaxFault("unknown SORT criterion")
        return name, descending

    criteria = tuple(lexer.parenthesised(criterion))
    if len(criteria) > MAX_SORT_KEYS:
        raise Refused("Too many criteria", "LIMIT")
    return Sort(criteria, _charset_and_keys(lexer), lexer.uid)


def thread(lexer: Lexer) -> Thread:
    """RFC 5256 §5"""
    algorithm = lexer.keyword()
    if algorithm not in {"ORDEREDSUBJECT", "REFERENCES"}:
        raise SyntaxFault("unknown threading algorithm")
    return Thread(algorithm, _charset_and_keys(lexer), lexer.uid)


def _charset_and_keys(lexer: Lexer) -> Key:
    lexer.space()
    lex_charset(lexer)
    return lex_search(lexer)


_MODIFIERS = re.compile(rb" (\((?:CHANGEDSINCE|VANISHED|PARTIAL)[^()]*\)) *$", re.IGNORECASE)


def fetch(lexer: Lexer) -> Fetch:
    ranges = lexer.sequence_set()
    lexer.space()
    rest = lexer.rest()
    if rest is None:
        plain = Fetch(ranges, lex_items(lexer), lexer.uid)
        return _modified(lexer, plain) if lexer.take(b" ") else plain
    found = _MODIFIERS.search(rest)
    plain = Fetch(ranges, read_items(rest[: found.start()] if found else rest), lexer.uid)
    return _modified(Lexer(Command((found[1],))), plain) if found else plain


def _modified(lexer: Lexer, plain: Fetch) -> Fetch:
    """`fetch-modifiers` (RFC 4466 §2.4, RFC 7162 §7, RFC 9394 §4)."""
    values: dict[str, int | bool | tuple[int, int]] = {}

    def modifier() -> None:
        name = lexer.keyword()
        if name == "CHANGEDSINCE":
            lexer.space()
            values["changed_since"] = lexer.positive(MAX_NUMBER64)
        elif name == "VANISHED":
            values["vanished"] = True
        elif name == "PARTIAL" and plain.uid:
            lexer.space()
            values["partial"] = lexer.partial()
        else:
            raise SyntaxFault("unknown FETCH modifier")

    lexer.parenthesised(modifier)
    lexer.end()
    if "vanished" in values and not (plain.uid and "changed_since" in values):
        raise SyntaxFault("VANISHED is for UID FETCH with CHANGEDSINCE")
    return msgspec.structs.replace(plain, **values)


_OPERATIONS: Final[dict[str, Literal["+", "-", "="]]] = {"+": "+", "-": "-", "": "="}
_STORE_ITEM = re.compile(r"([+-]?)FLAGS(\.SILENT)?")


def store(lexer: Lexer) -> Store:
    ranges = lexer.sequence_set()
    unchanged_since: int | None = None
    lexer.space()
    if lexer.take(b"("):  # `store-modifiers` (RFC 7162 §3.1.3)
        if lexer.keyword() != "UNCHANGEDSINCE":
            raise SyntaxFault("unknown STORE modifier")
        lexer.space()
        unchanged_since = lexer.number(MAX_NUMBER64)
        lexer.expect(b")")
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
    return Store(ranges, _OPERATIONS[item[1]], bool(item[2]), found, lexer.uid, unchanged_since)


def copy(lexer: Lexer) -> Copy:
    ranges = lexer.sequence_set()
    lexer.space()
    return Copy(ranges, lexer.mailbox(), lexer.uid)


def expunge(lexer: Lexer) -> Expunge:
    return Expunge(lexer.sequence_set() if lexer.uid else None)
