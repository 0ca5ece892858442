"""What a command line says: paths and parameters of MAIL and RCPT, the names given to EHLO (RFC 5321 §4.1.2).

What must always hold:
- Pure, and strict: a path is ``<`` mailbox ``>`` and nothing else, so that the next relay cannot read it otherwise.
  The one laxity is a space after the colon, which old clients write.
- Keywords in any case; values keep theirs: ENVID and ORCPT go back to the sender as he wrote them (RFC 3461 §4).
- `CommandFault` is the only exception, and it carries the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mssante.domain.address import Address, AddressError, parse_address
from mssante.domain.verdict import Rule
from mssante.services import sasl
from smtp_in.answers import NEEDS_SMTPUTF8, REFUSALS

LINE_LIMIT: Final = 512
"""Octets of a command line with its CRLF (RFC 5321 §4.5.3.1.4)."""
# What extensions add to MAIL: SIZE 26, BODY 17, SMTPUTF8 10, RET 9, ENVID 107, AUTH 500; to RCPT: NOTIFY 29, ORCPT 507,
# SMTPUTF8 10.
LINE_LIMITS: Final = {"MAIL": LINE_LIMIT + 669, "RCPT": LINE_LIMIT + 546, "AUTH": sasl.MAX_LINE}
"""Octets of those that may be longer (RFC 1870 §3, 3461 §3, 4954 §3 and §4, 6152 §2, 6531 §3.1)."""
MAX_ENVID: Final = 100
"""RFC 3461 §4.4."""
MAX_ORCPT: Final = 500
"""RFC 3461 §4.2."""

# A plain path has no quote and ends at the first ">"; in a quoted local part everything may stand.
_PATH: Final = re.compile(r' ?<([^"<> ]*|"(?:[^"\\]|\\.)*"@[^"<> ]*)>(?: +(.*))?', re.DOTALL)
_PARAMETER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")
# RFC 3461 §4: printable ASCII but "+" and "=", or "+" and two upper-case hexadecimal digits.
_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_ORCPT: Final = re.compile(r"[A-Za-z0-9-]+;(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
# RFC 6533 §3: utf-8-addr-unitext allows UTF-8 as it is.
_ORCPT_UTF8: Final = re.compile(r"(?i:utf-8);[^\x00-\x20+=\x7f]+(?:\+[0-9A-F]{2}[^\x00-\x20+=\x7f]*)*")
_NOTIFY: Final = frozenset({"SUCCESS", "FAILURE", "DELAY"})
_BDAT: Final = re.compile(r"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE)
# A domain, an address literal, and the underscores and bare words that real clients say. Goes into Received.
_HELO: Final = re.compile(r"[A-Za-z0-9._:\-]{1,255}|\[[A-Za-z0-9.:\-]{1,253}\]")


class CommandFault(ValueError):
    """The command cannot be read. ``answer``: what the peer is told, a whole line."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Mail:
    """``sender`` is None for ``<>``; ``size`` in octets, None when not announced; ``envid`` is xtext as written."""

    sender: Address | None
    size: int | None = None
    body: str = ""
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""


@dataclass(frozen=True, slots=True)
class Rcpt:
    """``notify`` is ``NEVER`` or a comma list in upper case; ``orcpt`` is ``type;xtext`` as written."""

    address: Address
    notify: str = ""
    orcpt: str = ""


def parse_helo(text: str) -> str:
    """The name a client gives itself. Raises CommandFault."""
    if not _HELO.fullmatch(text):
        raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
    return text


@lru_cache(maxsize=4096)
def parse_mail(text: str, extended: bool) -> Mail:
    """What follows ``MAIL ``. ``extended``: the session began with EHLO, parameters are known. Raises CommandFault."""
    path, parameters = _path_and_parameters(text, "FROM:", Rule.SENDER_MALFORMED, extended)
    smtputf8 = "SMTPUTF8" in parameters
    if parameters.pop("SMTPUTF8", None) is not None:
        raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
    size, body, ret, envid = (_value(parameters, keyword) for keyword in ("SIZE", "BODY", "RET", "ENVID"))
    # RFC 4954 §5: who first submitted it, said by whoever relays; understood, and nobody here is trusted to say it.
    _value(parameters, "AUTH")
    if parameters:
        raise CommandFault(REFUSALS[Rule.COMMAND_PARAMETER])
    if (
        not re.fullmatch(r"[0-9]{0,20}", size)
        or body.upper() not in ("", "7BIT", "8BITMIME")
        or ret.upper() not in ("", "FULL", "HDRS")
        or (envid and (len(envid) > MAX_ENVID or not _XTEXT.fullmatch(envid)))
    ):
        raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
    sender = _mailbox(path, smtputf8, Rule.SENDER_MALFORMED) if path else None
    return Mail(sender, int(size) if size else None, body.upper(), smtputf8, ret.upper(), envid)


@lru_cache(maxsize=4096)
def parse_rcpt(text: str, extended: bool, smtputf8: bool, postmaster: str = "") -> Rcpt:
    """What follows ``RCPT ``. ``smtputf8``: MAIL said so; ``postmaster``: whom ``<postmaster>`` names.

    Raises CommandFault.
    """
    path, parameters = _path_and_parameters(text, "TO:", Rule.RECIPIENT_MALFORMED, extended)
    if path.lower() == "postmaster":
        path = postmaster
    if not parameters:
        return Rcpt(_mailbox(path, smtputf8, Rule.RECIPIENT_MALFORMED))
    notify, orcpt = _value(parameters, "NOTIFY").upper(), _value(parameters, "ORCPT")
    if parameters:
        raise CommandFault(REFUSALS[Rule.COMMAND_PARAMETER])
    wanted = notify.split(",") if notify else []
    if (
        (notify != "NEVER" and (not _NOTIFY.issuperset(wanted) or len(set(wanted)) != len(wanted)))
        or len(orcpt) > MAX_ORCPT
        or (orcpt and not (_ORCPT.fullmatch(orcpt) or (smtputf8 and _ORCPT_UTF8.fullmatch(orcpt))))
    ):
        raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
    return Rcpt(_mailbox(path, smtputf8, Rule.RECIPIENT_MALFORMED), notify, orcpt)


def parse_bdat(text: str) -> tuple[int, bool]:
    """The octets of the chunk that follows, and whether it is the last (RFC 3030 §2). Raises CommandFault."""
    match = _BDAT.fullmatch(text)
    if match is None:
        raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
    return int(match[1]), match[2] is not None


def _path_and_parameters(text: str, prefix: str, malformed: Rule, extended: bool) -> tuple[str, dict[str, str | None]]:
    """The path without its brackets, and the parameters by keyword in upper case (None: keyword alone)."""
    if text[: len(prefix)].upper() != prefix:
        raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
    match = _PATH.fullmatch(text, len(prefix))
    if match is None:
        raise CommandFault(REFUSALS[malformed])
    parameters: dict[str, str | None] = {}
    for word in (match.group(2) or "").split(" "):
        if not word:
            continue
        parameter = _PARAMETER.fullmatch(word)
        if parameter is None or parameter.group(1).upper() in parameters:
            raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
        parameters[parameter.group(1).upper()] = parameter.group(2)
    if parameters and not extended:
        # RFC 5321 §4.1.1.11: after HELO there are none.
        raise CommandFault(REFUSALS[Rule.COMMAND_PARAMETER])
    return match.group(1), parameters


def _value(parameters: dict[str, str | None], keyword: str) -> str:
    """The value of a parameter that must have one, "" when it was not given."""
    value = parameters.pop(keyword, "")
    if value is None:
        raise CommandFault(REFUSALS[Rule.COMMAND_ARGUMENT])
    return value


def _mailbox(path: str, smtputf8: bool, malformed: Rule) -> Address:
    if not smtputf8 and not path.isascii():
        raise CommandFault(NEEDS_SMTPUTF8)
    try:
        return parse_address(path)
    except AddressError:
        raise CommandFault(REFUSALS[malformed]) from None
