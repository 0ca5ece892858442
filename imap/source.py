"""A mailbox at another operator, read by IMAP for `bal fetch`.

Always true here: the source is read only (EXAMINE, BODY.PEEK); one message is in memory at a time; folders come with
the use they say they have (RFC 6154), and virtual ones (\\All, \\Flagged) are left out, as they repeat the others.
"""

from __future__ import annotations

import imaplib
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from imap.mailbox_names import NameFault, canonical, decode
from mssante.domain.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from mssante.services.loading import Archived, ArchiveError, OutOfReach, crlf

_LIST: Final = re.compile(rb'\((?P<attributes>[^)]*)\) (?:"(?P<delimiter>\\?.)"|NIL) (?P<name>.+)', re.DOTALL)
_FLAGS: Final = (
    (b"\\seen", SEEN),
    (b"\\answered", ANSWERED),
    (b"\\flagged", FLAGGED),
    (b"\\deleted", DELETED),
    (b"\\draft", DRAFT),
)
MOST_OCTETS: Final = 256 * 1024 * 1024
"""Of one message: it is held in memory."""
_USES: Final = {use.lower().encode(): use for use in ("\\Sent", "\\Drafts", "\\Trash", "\\Junk", "\\Archive")}
_LEFT_OUT: Final = frozenset({b"\\noselect", b"\\nonexistent", b"\\all", b"\\flagged"})


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """``name`` as here (levels parted by ``/``), ``wire`` as it is said there, ``special_use`` such as ``\\Sent`` or
    empty."""

    name: str
    wire: bytes
    special_use: str


class _Session(imaplib.IMAP4_SSL):
    def read(self, size: int) -> bytes:
        """The octets of a literal."""
        if size > MOST_OCTETS:
            raise self.error(f"a message of {size} octets: {MOST_OCTETS} are taken at most")
        return super().read(size)


class Source:
    """A session at the other operator. Raises ArchiveError with what went wrong, from `open` on."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, timeout_s: float = 60) -> None:
        try:
            self._session = _Session(host, port, ssl_context=context, timeout=timeout_s)
        except (OSError, imaplib.IMAP4.error) as fault:
            raise _failed(f"{host}:{port}", fault) from fault

    def sign_in(self, user: str, password: str) -> None:
        self._ask(self._session.authenticate, "PLAIN", lambda _: f"\0{user}\0{password}".encode())

    def folders(self) -> list[RemoteFolder]:
        found = []
        for line in self._ask(self._session.list):
            # A name in a literal comes as a pair.
            text = line[0].rpartition(b" ")[0] + b' "' + line[1] + b'"' if isinstance(line, tuple) else line
            match = _LIST.fullmatch(text) if text else None
            if match is None:
                continue
            attributes = match["attributes"].lower().split()
            if _LEFT_OUT.isdisjoint(attributes):
                found.append(_folder(match["name"], match["delimiter"] or b"/", match["attributes"].split()))
        return found

    def messages(
        self, folder: RemoteFolder, into: str, source: str, known: Callable[[], tuple[int, int]]
    ) -> Iterator[Archived]:
        """Those that came after ``known()``, a (UIDVALIDITY, UID), to be put into the folder ``into``; ``source`` is
        what they are remembered to come from."""
        self._ask(self._session.select, folder.wire, readonly=True)
        uidvalidity = _number(self._session.response("UIDVALIDITY")[1][0])
        before, last = known()
        last = last if before == uidvalidity else 0
        found = self._ask(self._session.uid, "SEARCH", f"UID {last + 1}:*")
        uids = [uid for uid in map(_number, b" ".join(filter(None, found)).split()) if uid > last]
        for uid in uids:
            parts = self._ask(self._session.uid, "FETCH", str(uid), "(UID FLAGS INTERNALDATE BODY.PEEK[])")
            one = _message(parts, into, f"{folder.name} UID {uid}", (source, uidvalidity, uid))
            if one is not None:  # else it is gone since
                yield one

    def close(self) -> None:
        try:
            self._session.logout()
        except (OSError, imaplib.IMAP4.error):
            self._session.shutdown()

    def _ask(self, command: Callable[..., tuple[str, Any]], *args: object, **named: object) -> list[Any]:
        try:
            status, answer = command(*args, **named)
        except (OSError, imaplib.IMAP4.error) as fault:
            raise _failed("the other server", fault) from fault
        if status != "OK":
            raise ArchiveError(f"the other server: {b' '.join(filter(None, answer)).decode('utf-8', 'replace')}")
        found: list[Any] = answer
        return found


def _number(said: bytes | None) -> int:
    """A UIDVALIDITY or UID (RFC 3501 §9, nz-number)."""
    if said is None or not re.fullmatch(rb"[1-9][0-9]{0,9}", said):
        raise ArchiveError("the other server: it numbers its messages as no IMAP server does")
    return int(said)


def _failed(who: str, fault: Exception) -> ArchiveError:
    """A connection that ends or never stands is out of reach; an answer, and a certificate, are not."""
    lost = isinstance(fault, OSError | imaplib.IMAP4.abort) and not isinstance(fault, ssl.SSLCertVerificationError)
    return (OutOfReach if lost else ArchiveError)(f"{who}: {fault}")


def _folder(wire: bytes, delimiter: bytes, attributes: list[bytes]) -> RemoteFolder:
    plain = wire[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\") if wire.startswith(b'"') else wire
    delimiter = delimiter[-1:]
    try:
        levels = [decode(level) for level in plain.split(delimiter)]
    except NameFault:
        levels = [plain.decode("utf-8", "replace")]
    name = canonical("/".join(level.replace("/", "_").strip() or "_" for level in levels))
    use = next((_USES[one.lower()] for one in attributes if one.lower() in _USES), "")
    quoted = b'"' + plain.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return RemoteFolder(name, quoted, use)


def _message(parts: list[Any], into: str, origin: str, fetched: tuple[str, int, int]) -> Archived | None:
    """Of an answer to FETCH: the literal is the message, all around it are its facts."""
    octets = next((part[1] for part in parts if isinstance(part, tuple)), None)
    if octets is None:
        return None
    facts = b" ".join(part[0] if isinstance(part, tuple) else part for part in parts if part)
    spoken = {word.lower() for word in imaplib.ParseFlags(facts)}
    flags = sum(bit for word, bit in _FLAGS if word in spoken)
    received = imaplib.Internaldate2tuple(facts)
    received_us = None if received is None else int(time.mktime(received)) * 1_000_000
    return Archived(into, crlf(octets), flags, received_us, origin, fetched)
