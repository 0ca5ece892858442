"""IMAP commands as values: what a client asked for, with the grammar behind it.

Invariants: frozen; mailbox names are text in canonical spelling, flags are bits and keywords, texts are decoded.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from imap.fetch_items import Item
from imap.lexer import Ranges
from imap.search_keys import Key


class FlagSet(msgspec.Struct, frozen=True):
    """System flags as bits of `mssante.domain.flags`; keywords sorted, in the client's spelling."""

    bits: int = 0
    keywords: tuple[str, ...] = ()


class Plain(msgspec.Struct, frozen=True):
    """A command without arguments."""


class Id(msgspec.Struct, frozen=True):
    """RFC 2971 §3.1."""

    fields: tuple[tuple[str, str | None], ...] = ()


class Enable(msgspec.Struct, frozen=True):
    """RFC 5161 §3.1; names in capitals."""

    names: tuple[str, ...]


class Login(msgspec.Struct, frozen=True):
    login: str
    password: str


class Authenticate(msgspec.Struct, frozen=True):
    """`initial`: the decoded initial response (RFC 4959), None without one."""

    mechanism: str
    initial: bytes | None = None


class Select(msgspec.Struct, frozen=True):
    mailbox: str
    read_only: bool


class Mailbox(msgspec.Struct, frozen=True):
    """DELETE, SUBSCRIBE, UNSUBSCRIBE."""

    mailbox: str


class Create(msgspec.Struct, frozen=True):
    """`special_use`: attributes asked for by `USE` (RFC 6154 §3), such as `\\Sent`."""

    mailbox: str
    special_use: tuple[str, ...] = ()


class Rename(msgspec.Struct, frozen=True):
    mailbox: str
    to: str


class StatusItem(StrEnum):
    MESSAGES = "MESSAGES"
    RECENT = "RECENT"
    UIDNEXT = "UIDNEXT"
    UIDVALIDITY = "UIDVALIDITY"
    UNSEEN = "UNSEEN"


class Status(msgspec.Struct, frozen=True):
    mailbox: str
    items: tuple[StatusItem, ...]


class List(msgspec.Struct, frozen=True):
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


class AppendHead(msgspec.Struct, frozen=True):
    """APPEND up to its message. `internal_us`: microseconds, None when the client named no date."""

    mailbox: str
    flags: FlagSet = FlagSet()
    internal_us: int | None = None


class Search(msgspec.Struct, frozen=True):
    key: Key
    uid: bool


class Fetch(msgspec.Struct, frozen=True):
    ranges: Ranges
    items: tuple[Item, ...]
    uid: bool


class Store(msgspec.Struct, frozen=True):
    """`operation` is `+`, `-` or `=`."""

    ranges: Ranges
    operation: str
    silent: bool
    flags: FlagSet
    uid: bool


class Copy(msgspec.Struct, frozen=True):
    """COPY and MOVE."""

    ranges: Ranges
    mailbox: str
    uid: bool


class Expunge(msgspec.Struct, frozen=True):
    """`ranges` None: every \\Deleted message; else only those UIDs (RFC 4315 §2.1)."""

    ranges: Ranges | None = None


Value = (
    Plain
    | Id
    | Enable
    | Login
    | Authenticate
    | Select
    | Mailbox
    | Create
    | Rename
    | Status
    | List
    | AppendHead
    | Search
    | Fetch
    | Store
    | Copy
    | Expunge
)


class Tagged(msgspec.Struct, frozen=True):
    tag: bytes
    name: str
    value: Value
