"""What other operators and readers report of a message of ours: RFC 3464, RFC 8098, and notices in plain words.

Always true here: whatever the octets are, the answer is a `Report` or None, never an error; only the first
`MOST_OCTETS` of a body are read, at most `MOST_PARTS` parts of one level and `MOST_RECIPIENTS` recipients are told of,
and no pattern takes more than linear time; of what was reported only addresses, identifiers and status codes come out.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mssante.mime.headers import decode_text, message_ids, split_fields

MOST_OCTETS: Final = 65_536
MOST_PARTS: Final = 16
MOST_RECIPIENTS: Final = 100

_REPORT: Final = re.compile(rb"\s*multipart/report\b", re.IGNORECASE)
_BOUNDARY: Final = re.compile(rb';\s*boundary\s*=\s*(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
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
    kind = _value(fields, b"content-type")
    body = body[:MOST_OCTETS]
    if _REPORT.match(kind):
        return _multipart(kind, body)
    if null_sender and _PLAIN.search(decode_text(_value(fields, b"subject"))):
        return _plain(fields, body)
    return None


def _multipart(kind: bytes, body: bytes) -> Report | None:
    envid, identifiers, told = "", list[str](), list[Told]()
    for part_kind, content in _parts(kind, body):
        if part_kind.endswith((b"/delivery-status", b"/global-delivery-status")):
            blocks = re.split(rb"\r?\n[ \t]*\r?\n", content.strip())
            first = split_fields(blocks[0], _FIELDS)
            envid = envid or _xtext(_value(first, b"original-envelope-id"))
            told += [one for block in blocks[: MOST_RECIPIENTS + 1] if (one := _delivery(block)) is not None]
        elif part_kind.endswith(b"/disposition-notification"):
            fields = split_fields(content, _FIELDS)
            identifiers[:0] = message_ids(_value(fields, b"original-message-id"))[:1]
            told += _disposition(fields)
        elif part_kind in (b"message/rfc822", b"text/rfc822-headers", b"message/rfc822-headers", b"message/global"):
            original = re.split(rb"\r?\n\r?\n", content.lstrip(b"\r\n"), maxsplit=1)[0]
            identifiers += message_ids(_value(split_fields(original, _FIELDS), b"message-id"))[:1]
    if not told or not (envid or identifiers):
        return None
    return Report(envid, tuple(identifiers), tuple(told[:MOST_RECIPIENTS]))


def _delivery(block: bytes) -> Told | None:
    """One per-recipient block (RFC 3464 §2.3); None of the per-message block and of what cannot be understood."""
    fields = split_fields(block, _FIELDS)
    action = _value(fields, b"action").split(b" ")[0].decode("ascii", "replace").lower()
    addresses = _addresses(fields)
    if action not in _ACTIONS or not addresses:
        return None
    status = _STATUS.match(_value(fields, b"status").decode("ascii", "replace"))
    return Told(addresses, "relayed" if action == "expanded" else action, status[0] if status else "")


def _disposition(fields: dict[bytes, list[bytes]]) -> list[Told]:
    """RFC 8098 §3.2.6: displayed is read; whatever else a program does with a message tells nothing of its reader."""
    shown = _value(fields, b"disposition").partition(b";")[2].strip().lower().startswith(b"displayed")
    return [Told(_addresses(fields), "read")] if shown else []


def _plain(fields: dict[bytes, list[bytes]], body: bytes) -> Report | None:
    """Its message is the one that it shows or answers; who is named before what it shows of it did not get it."""
    named = message_ids(_value(fields, b"in-reply-to")) + message_ids(_value(fields, b"references"))
    shown = [found.decode("utf-8", "replace") for found in _MESSAGE_ID_LINE.findall(body)[:MOST_PARTS]]
    identifiers = tuple(dict.fromkeys([*shown, *reversed(named)]))
    if not identifiers:
        return None
    words = _COPY.split(body, maxsplit=1)[0]
    written = [found.rstrip(b".").lower().decode("utf-8", "replace") for found in _ADDRESS.findall(words)]
    return Report("", identifiers, (Told(frozenset(written[:MOST_RECIPIENTS]), "failed"),))


def _parts(kind: bytes, body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The type, lower-case, and the decoded content of each part."""
    found = _BOUNDARY.search(kind)
    if found is None:
        return
    boundary = re.escape(found[1] or found[2])
    pieces = re.split(rb"(?:\A|\r?\n)--" + boundary + rb"(?:--)?[ \t]*(?=\r?\n|\Z)", body, maxsplit=MOST_PARTS)
    for piece in pieces[1:]:
        lines = piece.removeprefix(b"\r").removeprefix(b"\n")
        empty = re.search(rb"(?:\A|\n)\r?\n", lines)
        if empty is None:
            continue
        fields = split_fields(lines[: empty.start() + 1], _FIELDS)
        encoding = _value(fields, b"content-transfer-encoding").lower()
        part_kind = _value(fields, b"content-type").partition(b";")[0].strip().lower()
        yield part_kind, _decoded(lines[empty.end() :], encoding)


def _decoded(content: bytes, encoding: bytes) -> bytes:
    if encoding == b"quoted-printable":
        return binascii.a2b_qp(content)
    if encoding == b"base64":
        digits = re.sub(rb"[^A-Za-z0-9+/]", b"", content)
        return b64decode(digits[: len(digits) // 4 * 4])
    return content


def _addresses(fields: dict[bytes, list[bytes]]) -> frozenset[str]:
    """Of Original-Recipient and Final-Recipient: what stands after the type (RFC 3464 §2.3.1, RFC 8098 §3.2.3)."""
    found = [
        _value(fields, name).partition(b";")[2].strip(b" \t<>") for name in (b"original-recipient", b"final-recipient")
    ]
    return frozenset(each.lower().decode("utf-8", "replace") for each in found if each)


def _xtext(value: bytes) -> str:
    """RFC 3461 §4: what a report shows decoded, as it was in MAIL."""
    return "".join(
        chr(octet) if 33 <= octet <= 126 and octet not in b"+=" else f"+{octet:02X}" for octet in value[:100]
    )


def _value(fields: dict[bytes, list[bytes]], name: bytes) -> bytes:
    values = fields.get(name)
    return values[0] if values else b""
