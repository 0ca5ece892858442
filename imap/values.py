"""IMAP commands as values: what a client asked for, with the grammar behind it.

Invariants: frozen; mailbox names are text in canonical spelling, flags are bits and keywords, texts are decoded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from imap.fetch_items import Item
from imap.lexer import Ranges
from imap.notify import Group
from imap.search_keys import Key


class Value(msgspec.Struct, frozen=True):
    """What any command asks for."""


class FlagSet(msgspec.Struct, frozen=True):
    """System flags as bits of `mssante.domain.flags`; keywords sorted, in the client's spelling."""

    bits: int = 0
    keywords: tuple[str, ...] = ()


class Plain(Value, frozen=True):
    """A command without arguments."""


class Id(Value, frozen=True):
    """RFC 2971 §3.1."""

    fields: tuple[tuple[str, str | None], ...] = ()


class Enable(Value, frozen=True):
    """RFC 5161 §3.1; names in capitals."""

    names: tuple[str, ...]


class Login(Value, frozen=True):
    login: str
    password: str


class Authenticate(Value, frozen=True):
    """`initial`: the decoded initial response (RFC 4959), None without one."""

    mechanism: str
    initial: bytes | None = None


class Resync(msgspec.Struct, frozen=True):
    """What a client remembers of a mailbox (RFC 7162 §3.2.5). `known`: UIDs it has, None for all. The sequence match
    data are not kept: nothing that was expunged is forgotten here, which is all they could help with."""

    uidvalidity: int
    modseq: int
    known: Ranges | None = None


class Select(Value, frozen=True):
    mailbox: str
    read_only: bool
    condstore: bool = False
    resync: Resync | None = None


class Mailbox(Value, frozen=True):
    """DELETE, SUBSCRIBE, UNSUBSCRIBE, GETQUOTAROOT."""

    mailbox: str


class Identified(Value, frozen=True):
    """A mailbox and somebody who has rights on it, or not: SETACL, DELETEACL, LISTRIGHTS (RFC 4314)."""

    mailbox: str
    identifier: str


class GetMetadata(Value, frozen=True):
    """RFC 5464 §4.2. `entries` in small letters; `depth` None: all below; `max_size`: octets of a value."""

    mailbox: str
    entries: tuple[str, ...]
    depth: int | None = 0
    max_size: int | None = None


class SetMetadata(Value, frozen=True):
    """RFC 5464 §4.3. (name, value or None) in order."""

    mailbox: str
    notes: tuple[tuple[str, bytes | None], ...]


class Create(Value, frozen=True):
    """`special_use`: attributes asked for by `USE` (RFC 6154 §3), such as `\\Sent`."""

    mailbox: str
    special_use: tuple[str, ...] = ()


class Rename(Value, frozen=True):
    mailbox: str
    to: str


class StatusItem(StrEnum):
    MESSAGES = "MESSAGES"
    RECENT = "RECENT"
    UIDNEXT = "UIDNEXT"
    UIDVALIDITY = "UIDVALIDITY"
    UNSEEN = "UNSEEN"
    HIGHESTMODSEQ = "HIGHESTMODSEQ"
    SIZE = "SIZE"
    DELETED = "DELETED"
    DELETED_STORAGE = "DELETED-STORAGE"
    APPENDLIMIT = "APPENDLIMIT"
    MAILBOXID = "MAILBOXID"


class Status(Value, frozen=True):
    mailbox: str
    items: tuple[StatusItem, ...]


class List(Value, frozen=True):
    """LIST and LSUB. `only_*` are selection options, `special_use`, `children`, `subscribed`, `status` what to return
    besides (RFC 5258 §3, RFC 6154 §2, RFC 5819)."""

    reference: str
    patterns: tuple[str, ...]
    lsub: bool = False
    extended: bool = False
    only_subscribed: bool = False
    recursive: bool = False
    only_special_use: bool = False
    subscribed: bool = False
    status: tuple[StatusItem, ...] = ()


class Appended(Value, frozen=True):
    """What stands before a message literal. `internal_us`: microseconds, None when the client named no date.
    `utf8`: the literal stands in `UTF8 (...)` (RFC 6855 §4); `binary`: it is a literal8 (RFC 3516 §4.4)."""

    flags: FlagSet = FlagSet()
    internal_us: int | None = None
    utf8: bool = False
    binary: bool = False


class AppendHead(Value, frozen=True):
    """APPEND up to its first message. `replaces`: the one message that REPLACE is about (RFC 8508), by UID when
    `uid`."""

    mailbox: str
    message: Appended = Appended()
    replaces: Ranges | None = None
    uid: bool = False


class Search(Value, frozen=True):
    """`returns`: result options (RFC 4731, RFC 5182, RFC 9394), None without RETURN. `partial`: places among what is
    found, first and last, from 1 or from -1 backwards. `charset`: one was named."""

    key: Key
    uid: bool
    returns: frozenset[str] | None = None
    partial: tuple[int, int] | None = None
    charset: bool = False


class Sort(Value, frozen=True):
    """Criteria as (name, descending) (RFC 5256 §3)."""

    criteria: tuple[tuple[str, bool], ...]
    key: Key
    uid: bool


class Thread(Value, frozen=True):
    """RFC 5256 §3; `algorithm` in capitals."""

    algorithm: str
    key: Key
    uid: bool


class Fetch(Value, frozen=True):
    """`changed_since`, `vanished`: RFC 7162 §3.1.4.1, §3.2.6; `partial`: RFC 9394 §3.2."""

    ranges: Ranges
    items: tuple[Item, ...]
    uid: bool
    changed_since: int | None = None
    vanished: bool = False
    partial: tuple[int, int] | None = None


class Store(Value, frozen=True):
    """`unchanged_since`: RFC 7162 §3.1.3."""

    ranges: Ranges
    operation: Literal["+", "-", "="]
    silent: bool
    flags: FlagSet
    uid: bool
    unchanged_since: int | None = None


class Copy(Value, frozen=True):
    """COPY and MOVE."""

    ranges: Ranges
    mailbox: str
    uid: bool


class Quota(Value, frozen=True):
    """GETQUOTA (RFC 9208 §4.1.1)."""

    root: str


class Notify(Value, frozen=True):
    """RFC 5465 §8; no groups: NOTIFY NONE. `status`: tell where all stands before it begins."""

    groups: tuple[Group, ...] = ()
    status: bool = False


class Expunge(Value, frozen=True):
    """`ranges` None: every \\Deleted message; else only those UIDs (RFC 4315 §2.1)."""

    ranges: Ranges | None = None
