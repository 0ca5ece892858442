"""How answers are written (RFC 9051 §7). Pure: values in, octets out.

Invariants: everything a client or a message chose goes out as a checked atom, a quoted string or a literal, so that no
value can end a line or begin an answer of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from imap import mailbox_names
from mssante.domain import flags
from mssante.mime.imap_text import string

__all__ = ["string"]

_ATOM = re.compile(rb"[A-Za-z0-9!#$&'+,\-./:;<=>?@^_`|~]+")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SYSTEM_FLAGS = b"\\Answered \\Flagged \\Deleted \\Seen \\Draft"


def _system_flags(bits: int) -> bytes:
    return " ".join(name for bit, name in flags.NAMES.items() if bits & bit).encode("ascii")


_SYSTEM = tuple(_system_flags(bits) for bits in range(flags.ALL + 1))
SYSTEM_LISTS = tuple(b"(" + words + b")" for words in _SYSTEM)
"""`flag_list` of every set of system flags, by their bits."""
RECENT_LISTS = tuple(b"(" + (words + b" " if words else b"") + b"\\Recent)" for words in _SYSTEM)
"""The same with \\Recent."""


def flag_list(bits: int, keywords: tuple[str, ...] = (), *, recent: bool = False) -> bytes:
    """`(\\Seen $Forwarded)`"""
    if not keywords and not recent:
        return SYSTEM_LISTS[bits]
    words = [_SYSTEM[bits]] if bits else []
    if recent:
        words.append(b"\\Recent")
    words += [word.encode("ascii") for word in keywords]
    return b"(" + b" ".join(words) + b")"


def mailbox(name: str, *, utf8: bool = False) -> bytes:
    """A mailbox name: modified UTF-7, or UTF-8 for a client that enabled it."""
    coded = name.encode("utf-8") if utf8 else mailbox_names.encode(name)
    if utf8 and not coded.isascii():
        return b'"' + coded.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return astring(coded)


def astring(coded: bytes) -> bytes:
    """As an atom where it is one."""
    return coded if _ATOM.fullmatch(coded) and coded.upper() != b"NIL" else string(coded)


def date_time(time_us: int) -> bytes:
    """INTERNALDATE, in UTC."""
    moment = _EPOCH + timedelta(microseconds=time_us)
    return b'"%2d-%b-%04d %02d:%02d:%02d +0000"' % (
        moment.day,
        _MONTHS[moment.month - 1].encode("ascii"),
        moment.year,
        moment.hour,
        moment.minute,
        moment.second,
    )


def text(words: str) -> bytes:
    """Human-readable text on one line, in ASCII."""
    return " ".join(words.encode("ascii", "replace").decode("ascii").split()).encode("ascii") or b"-"


@lru_cache(maxsize=64)
def condition(status: str, words: str, code: str = "") -> bytes:
    """`OK [CODE] words` without tag and line end."""
    return status.encode("ascii") + (b" [" + code.encode("ascii") + b"]" if code else b"") + b" " + text(words)


def folder_id(number: int) -> bytes:
    """MAILBOXID of a folder (RFC 8474 §4): never given twice, kept when it is renamed."""
    return b"F%d" % number


def message_id(number: int) -> bytes:
    """EMAILID of a message (RFC 8474 §5.1): the same for all its copies."""
    return b"M%d" % number


def exists(count: int) -> bytes:
    return b"* %d EXISTS\r\n" % count


def recent(count: int) -> bytes:
    return b"* %d RECENT\r\n" % count


def expunge(numbers: Iterable[int]) -> bytes:
    return b"".join([b"* %d EXPUNGE\r\n" % number for number in numbers])


def vanished(uids: bytes, *, earlier: bool = False) -> bytes:
    """RFC 7162 §3.2.10; `uids` as a set, not empty."""
    return b"* VANISHED %b%b\r\n" % (b"(EARLIER) " if earlier else b"", uids)


def flag_words(keywords: Iterable[str]) -> bytes:
    """The content of a FLAGS answer: system flags and known keywords."""
    return b" ".join([SYSTEM_FLAGS, *(word.encode("ascii") for word in sorted(keywords))])
