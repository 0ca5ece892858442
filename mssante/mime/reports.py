"""What other operators and readers report of a message of ours: RFC 3464, RFC 8098, and notices in plain words.

Always true here: whatever the octets are, the answer is a `Report` or None, never an error; only the first
`MOST_OCTETS` of a body are read, at most `MOST_PARTS` parts of one level and `MOST_RECIPIENTS` recipients are told of,
and no pattern takes more than linear time; of what was reported only addresses, identifiers and status codes come out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mssante.mime.content import parse_content_type, parse_encoding
from mssante.mime.headers import Fields, decode_text, message_ids, split_fields
from mssante.mime.part_reader import decoded
from mssante.mime.scanner import Limits, Scanner

MOST_OCTETS: Final = 65_536
MOST_PARTS: Final = 16
MOST_RECIPIENTS: Final = 100

_FIELDS: Final = frozenset(
    {
        *(b"content-type", b"content-transfer-encoding", b"message-id", b"in-reply-to", b"references", b"subject"),
        *(b"original-envelope-id", b"original-recipient", b"final-recipient", b"action", b"status"),
        *(b"original-message-id", b"disposition"),
    }
)
_ACTIONS: Final = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})
_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_PLAIN: Final = re.compile(
    r"undelivered mail|undeliverable|returned mail|returned to sender|mail delivery (?:failed|failure)"
    r"|delivery status notification \(failure\)|failure notice"
    r"|non[ -](?:distribu|remis|délivr|delivr)|échec de (?:la )?(?:remise|distribution)|courrier non",
    re.IGNORECASE,
)
_MESSAGE_ID_LINE: Final = re.compile(rb"^[ \t>]{0,8}Message-ID:[ \t]{0,8}(<[^<>\s]{1,250}>)", re.I | re.M)
_COPY: Final = re.compile(rb"^[ \t>]{0,8}(?:Received|Return-Path|From|To|Cc|Subject|Date|Message-ID):", re.I | re.M)
"""Where a plain notice begins to show the message itself."""
_ADDRESS: Final = re.compile(rb"(?<![^\s<\"'(:;,])([^\s<>\"'(),:;@\\]{1,64}@[A-Za-z0-9.-]{1,250})")


@dataclass(frozen=True, slots=True)
class Told:
    """Of one recipient: `outcome` is failed, delayed, delivered, relayed or read. `addresses`, lower-case: the one that
    the sender wrote to, and what became of it, as far as they are told; `status` RFC 3463 or empty."""

    addresses: frozenset[str]
    outcome: str
    status: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a message reports. `envid` in xtext, as MAIL had it (RFC 3461 §4.4), or empty; `message_ids` of the original
    message, the surest first, in angle brackets."""

    envid: str
    message_ids: tuple[str, ...]
    told: tuple[Told, ...]


def read_report(header: bytes, body: bytes, *, null_sender: bool) -> Report | None:
    """The report that this message is, None when it is none. `body` may be cut. In plain words only a message from the
    null sender can report."""
    fields = split_fields(header, _FIELDS)
    body = body[:MOST_OCTETS]
    if parse_content_type(fields.first(b"content-type")).kind == b"multipart/report":
        return _multipart(header.rstrip(b"\r\n") + b"\r\n\r\n" + body)
    if null_sender and _PLAIN.search(decode_text(fields.first(b"subject"))):
        return _plain(fields, body)
    return None


def _multipart(message: bytes) -> Report | None:
    envid, identifiers, told = "", list[str](), list[Told]()
    for part_kind, content in _parts(message):
        if part_kind.endswith((b"/delivery-status", b"/global-delivery-status")):
            blocks = re.split(rb"\r?\n[ \t]*\r?\n", content.strip())
            first = split_fields(blocks[0], _FIELDS)
            envid = envid or _xtext(first.first(b"original-envelope-id"))
            told += [one for block in blocks[: MOST_RECIPIENTS + 1] if (one := _delivery(block)) is not None]
        elif part_kind.endswith(b"/disposition-notification"):
            fields = split_fields(content, _FIELDS)
            identifiers[:0] = message_ids(fields.first(b"original-message-id"))[:1]
            told += _disposition(fields)
        elif part_kind in (b"message/rfc822", b"text/rfc822-headers", b"message/rfc822-headers", b"message/global"):
            original = re.split(rb"\r?\n\r?\n", content.lstrip(b"\r\n"), maxsplit=1)[0]
            identifiers += message_ids(split_fields(original, _FIELDS).first(b"message-id"))[:1]
    if not told or not (envid or identifiers):
        return None
    return Report(envid, tuple(identifiers), tuple(told[:MOST_RECIPIENTS]))


def _delivery(block: bytes) -> Told | None:
    """One per-recipient block (RFC 3464 §2.3); None of the per-message block and of what cannot be understood."""
    fields = split_fields(block, _FIELDS)
    action = fields.first(b"action").split(b" ")[0].decode("ascii", "replace").lower()
    addresses = _addresses(fields)
    if action not in _ACTIONS or not addresses:
        return None
    status = _STATUS.match(fields.first(b"status").decode("ascii", "replace"))
    return Told(addresses, "relayed" if action == "expanded" else action, status[0] if status else "")


def _disposition(fields: Fields) -> list[Told]:
    """RFC 8098 §3.2.6: displayed is read; whatever else a program does with a message tells nothing of its reader."""
    shown = fields.first(b"disposition").partition(b";")[2].strip().lower().startswith(b"displayed")
    return [Told(_addresses(fields), "read")] if shown else []


def _plain(fields: Fields, body: bytes) -> Report | None:
    """Its message is the one that it shows or answers; who is named before what it shows of it did not get it."""
    named = message_ids(fields.first(b"in-reply-to")) + message_ids(fields.first(b"references"))
    shown = [found.decode("utf-8", "replace") for found in _MESSAGE_ID_LINE.findall(body)[:MOST_PARTS]]
    identifiers = tuple(dict.fromkeys([*shown, *reversed(named)]))
    if not identifiers:
        return None
    words = _COPY.split(body, maxsplit=1)[0]
    written = [found.rstrip(b".").lower().decode("utf-8", "replace") for found in _ADDRESS.findall(words)]
    return Report("", identifiers, (Told(frozenset(written[:MOST_RECIPIENTS]), "failed"),))


def _parts(message: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The type, lower-case, and the decoded content of each part."""
    scanner = Scanner(Limits(header=len(message) + 1))
    scanner.feed(message)
    for part in scanner.finish().root.parts[:MOST_PARTS]:
        fields = split_fields(message[part.header_start : part.body_start], _FIELDS)
        encoding = parse_encoding(fields.first(b"content-transfer-encoding"))
        content = decoded(message[part.body_start : part.body_end], encoding)
        yield parse_content_type(fields.first(b"content-type")).kind, content


def _addresses(fields: Fields) -> frozenset[str]:
    """Of Original-Recipient and Final-Recipient: what stands after the type (RFC 3464 §2.3.1, RFC 8098 §3.2.3)."""
    found = [
        fields.first(name).partition(b";")[2].strip(b" \t<>") for name in (b"original-recipient", b"final-recipient")
    ]
    return frozenset(each.lower().decode("utf-8", "replace") for each in found if each)


def _xtext(value: bytes) -> str:
    """RFC 3461 §4: what a report shows decoded, as it was in MAIL."""
    return "".join(
        chr(octet) if 33 <= octet <= 126 and octet not in b"+=" else f"+{octet:02X}" for octet in value[:100]
    )
