"""Delivery status notifications (RFC 3464, in the multipart/report of RFC 6522).

What must always hold:

- The person who reads the notice finds, in French then in English, what happened to each recipient and what to do.
- Of the original message only the header is given back, cut at `MAX_ORIGINAL_HEADER`: never its content (facts 4.5.8).
- Every line is ASCII, short and ended by CRLF, so that any relay takes the notice as it is; only an address that is
  not ASCII itself stands as UTF-8 in From or To (RFC 6532). What another server said is shown without controls and
  cut, and cannot add a field or a part.
- The caller sends it with the null sender, so that no notice answers a notice (RFC 3464 §2).
"""

import binascii
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from typing import Final

from mssante.domain.dsn import Outcome
from mssante.mime.headers import decode_text, split_fields
from mssante.mime.notice_texts import CLOSINGS, INTRODUCTIONS, LABELS, SUBJECTS, explanation

MAX_ORIGINAL_HEADER: Final = 32_768
MAX_DIAGNOSTIC: Final = 500

_ACTIONS: Final = {
    Outcome.FAILED: "failed",
    Outcome.DELAYED: "delayed",
    Outcome.DELIVERED: "delivered",
    Outcome.RELAYED: "relayed",
    Outcome.HANDED_ON: "relayed",
}
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")
_EVENTS: Final = frozenset({b"subject", b"date", b"message-id"})


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What became of one recipient. Texts of other servers may be given as they came."""

    address: str
    """As the sender typed it, or as it became."""
    outcome: Outcome
    status: str
    """RFC 3463, such as ``5.1.1``."""
    diagnostic: str = ""
    """The SMTP reply that decided, such as ``550 5.1.1 No such user``; empty when there was none."""
    remote: str = ""
    """Name of the server that said it; empty for our own decision."""
    orcpt: str = ""
    """The ORCPT parameter as given, type and xtext (RFC 3461 §4.2)."""
    attempted_us: int | None = None
    retry_until_us: int | None = None
    """Of a delayed message: until when it is tried."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice to the sender of a message, on one or more of its recipients."""

    reporting_mta: str
    """Our host name."""
    sender: str
    """Address shown in From, such as ``postmaster@cabinet.mss.test``."""
    recipient: str
    """The original sender, who gets the notice."""
    message_id: str
    """Of the notice, with its angle brackets; unique, chosen by the caller."""
    reports: Sequence[RecipientReport]
    original_header: bytes
    """The header block of the original message, as received."""
    arrived_us: int
    envid: str = ""
    """The ENVID parameter as given, xtext (RFC 3461 §4.4)."""


def build_notice(notice: Notice, *, now_us: int) -> bytes:
    """The notice as a message, CRLF line ends. Its kind is that of its gravest outcome: failed, delayed, success."""
    outcome = _gravest(notice.reports)
    header = notice.original_header
    fields = split_fields(header, _EVENTS)
    original_id = _line(fields.first(b"message-id").decode("ascii", "replace"))
    text = _explanation(notice, outcome, decode_text(fields.first(b"subject")))
    status = _delivery_status(notice)
    returned, encoding = _returned_header(header)
    boundary = "=_" + sha256(notice.message_id.encode() + returned).hexdigest()[:32]
    lines = [
        f"From: {_encoded('Remise du courrier MSSanté')} <{_line(notice.sender)}>",
        f"To: <{_line(notice.recipient)}>",
        f"Subject: {_encoded(SUBJECTS[outcome])}",
        f"Date: {_date(now_us)}",
        f"Message-ID: {_line(notice.message_id)}",
        *([f"References: {original_id}"] if 0 < len(original_id) < 900 else []),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Language: fr, en",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
        "",
        "",
    ]
    parts = (
        ("text/plain; charset=utf-8", "quoted-printable", binascii.b2a_qp(text.encode(), istext=True)),
        ("message/delivery-status", "7bit", status),
        ("text/rfc822-headers; charset=utf-8", encoding, returned),
    )
    pieces = ["\r\n".join(lines).encode()]
    for content_type, transfer_encoding, content in parts:
        pieces.append(
            f"--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Transfer-Encoding: {transfer_encoding}\r\n\r\n".encode()
        )
        pieces.append(content)
        pieces.append(b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces)


def _gravest(reports: Sequence[RecipientReport]) -> Outcome:
    outcomes = {report.outcome for report in reports}
    for outcome in (Outcome.FAILED, Outcome.DELAYED, Outcome.RELAYED, Outcome.HANDED_ON):
        if outcome in outcomes:
            return outcome
    return Outcome.DELIVERED


def _explanation(notice: Notice, outcome: Outcome, subject: str) -> str:
    """The text for the reader, CRLF line ends."""
    lines: list[str] = []
    for language in ("fr", "en"):
        labels = LABELS[language]
        lines += [INTRODUCTIONS[language][outcome], ""]
        lines.append(f"{labels.message} {_line(subject)[:200] or labels.no_subject}")
        lines += [f"{labels.received} {_moment(notice.arrived_us)}", ""]
        for report in notice.reports:
            cause, advice = explanation(language, report.outcome, report.status)
            lines += [f"  {_line(report.address)}", f"    {cause}"]
            if advice:
                lines.append(f"    {labels.advice} {advice}")
            if report.retry_until_us is not None and report.outcome is Outcome.DELAYED:
                lines.append(f"    {labels.until} {_moment(report.retry_until_us)}")
            if report.diagnostic:
                by = f" {_line(report.remote)}" if report.remote else ""
                lines.append(f"    {labels.answer}{by} : {_line(report.diagnostic)[:MAX_DIAGNOSTIC]}")
            lines.append("")
        lines += [CLOSINGS[language].format(host=_line(notice.reporting_mta)), ""]
        if language == "fr":
            lines += ["-" * 20 + " English " + "-" * 20, ""]
    return "\r\n".join(lines)


def _delivery_status(notice: Notice) -> bytes:
    """The message/delivery-status content (RFC 3464 §2.1)."""
    fields = []
    if notice.envid:
        fields.append(_field("Original-Envelope-Id", _xtext(notice.envid)))
    fields.append(_field("Reporting-MTA", f"dns; {notice.reporting_mta}"))
    fields.append(_field("Arrival-Date", _date(notice.arrived_us)))
    for report in notice.reports:
        fields.append("")
        kind, separator, original = report.orcpt.partition(";")
        if separator:
            fields.append(_field("Original-Recipient", f"{kind};{_xtext(original)}"))
        fields.append(_field("Final-Recipient", _typed_address(report.address)))
        fields.append(_field("Action", _ACTIONS[report.outcome]))
        fields.append(_field("Status", report.status))
        if report.remote:
            fields.append(_field("Remote-MTA", f"dns; {report.remote}"))
        if report.diagnostic:
            fields.append(_field("Diagnostic-Code", f"smtp; {_line(report.diagnostic)[:MAX_DIAGNOSTIC]}"))
        if report.attempted_us is not None:
            fields.append(_field("Last-Attempt-Date", _date(report.attempted_us)))
        if report.retry_until_us is not None and report.outcome is Outcome.DELAYED:
            fields.append(_field("Will-Retry-Until", _date(report.retry_until_us)))
    fields.append("")
    return "\r\n".join(fields).encode("ascii", "replace")


def _field(name: str, value: str) -> str:
    """One field, folded at spaces to lines of 76 octets where there are any."""
    lines = [f"{name}:"]
    for word in _line(value).split(" "):
        if len(lines[-1]) + 1 + len(word) > 76 and lines[-1].strip() not in ("", f"{name}:"):
            lines.append("")
        lines[-1] += " " + word
    return "\r\n".join(lines)


def _typed_address(address: str) -> str:
    if address.isascii():
        return f"rfc822; {address}"
    # RFC 6533 §3: the form for a message/delivery-status of ASCII lines.
    return "utf-8; " + "".join(char if char.isascii() else f"\\x{{{ord(char):X}}}" for char in address)


def _returned_header(header: bytes) -> tuple[bytes, str]:
    """The original header without its empty line, cut after a whole field, and its transfer encoding."""
    lines = header[:MAX_ORIGINAL_HEADER].splitlines()
    if len(header) > MAX_ORIGINAL_HEADER:
        # The last field was cut in its middle: it is left out with its first lines.
        while lines and lines.pop()[:1] in (b" ", b"\t"):
            pass
    while lines and not lines[-1]:
        lines.pop()
    returned = b"".join(line + b"\r\n" for line in lines)
    if returned.isascii() and b"\0" not in returned and max(map(len, lines), default=0) <= 998:
        return returned, "7bit"
    return binascii.b2a_qp(returned, istext=True), "quoted-printable"


def _xtext(value: str) -> str:
    """RFC 3461 §4 decoded, without anything that could end the line."""
    return _line(_XTEXT.sub(lambda match: chr(int(match[1], 16)), value))


def _line(text: str) -> str:
    return _CONTROLS.sub(" ", text).strip()


def _encoded(text: str) -> str:
    """`text` as one encoded word (RFC 2047); our own short texts only."""
    return f"=?utf-8?b?{b64encode(text.encode()).decode()}?="


def _date(moment_us: int) -> str:
    return format_datetime(datetime.fromtimestamp(moment_us // 1_000_000, UTC))


def _moment(moment_us: int) -> str:
    return datetime.fromtimestamp(moment_us // 1_000_000, UTC).strftime("%d/%m/%Y %H:%M UTC")
