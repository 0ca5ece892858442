"""How abuse is reported: a message marked $Junk or $Phishing or put among the Indésirables, or forwarded to
signalement@; and by the service itself.

Always true here: what is kept is who is meant, by whom, how and when, nothing of the message; one person reports one
message once; nobody reports himself, nor a notice, which has no sender.
"""

import re
from collections.abc import Sequence
from typing import Final

from mssante.domain.address import AddressError, parse_address
from mssante.domain.clock import DAY_US
from mssante.mime.card import LEAF, MESSAGE, Card, Part
from mssante.mime.headers import header_facts, split_fields
from mssante.mime.imap_text import author
from mssante.mime.part_reader import Read, content_of
from mssante.store import Tx
from mssante.store.messages import load_message
from mssante.store.regulateur import SYSTEM, Kind, report

REPORTING: Final = "signalement"
"""Local part of the address, in each of the operator's domains, that whoever is signed in may report to."""
KEYWORDS: Final = {"$junk": Kind.JUNK, "$phishing": Kind.PHISHING}
"""Keywords of the IANA registry that say so, in lower case."""
JUNK_USE: Final = "\\Junk"
MOST_AT_ONCE: Final = 100
"""Messages that one command reports."""
MOST_REFERENCE: Final = 500
"""Characters of a Message-ID that are kept: an index of PostgreSQL takes no more than some 2,700 octets."""
_MOST_TEXT: Final = 65_536
_RETURN_PATH: Final = re.compile(rb"^Return-Path: <([^>]*)>", re.MULTILINE)
# What stands before the word stays within its line: over many empty ones it would be looked for again from each.
_QUOTED_AUTHOR: Final = re.compile(
    r"^(?:[>*]|[^\S\n])*(?:De|From|Exp[ée]diteur)\s?\**\s?:[^\r\n]{0,200}?([^\s<>:\[\"']{1,64}@[\w.-]+\w)",
    re.IGNORECASE | re.MULTILINE,
)


def signal(tx: Tx, about: str, kind: Kind, reporter: str, reference: str, **facts: int) -> None:
    """Puts it before the regulator, once for each `reference` of a reporter."""
    if about and about != reporter and report(tx, about, kind, reporter, reference):
        tx.journal("signalement", actor=reporter, object=about, kind=str(kind), **facts)


def signal_of_day(tx: Tx, about: str, kind: Kind, **facts: int) -> None:
    """What the service noticed by itself, once a day."""
    signal(tx, about, kind, SYSTEM, f"{kind} {tx.now_us // DAY_US}", **facts)


def kind_of(keywords: Sequence[str]) -> Kind | None:
    """What these keywords report, the gravest of it."""
    said = {KEYWORDS.get(word.lower()) for word in keywords}
    return Kind.PHISHING if Kind.PHISHING in said else Kind.JUNK if Kind.JUNK in said else None


def signal_messages(tx: Tx, reporter: str, kind: Kind, message_ids: Sequence[int]) -> None:
    """Reports stored messages, of which the reporter has them before him."""
    for message_id in message_ids[:MOST_AT_ONCE]:
        stored = load_message(tx.conn, message_id)
        path = _RETURN_PATH.search(stored.prepend)
        # What also left for other operators has no Return-Path; its From was held to be the sender's own.
        about = path[1].decode("utf-8", "replace") if path else author(Card.decode(stored.card).envelope)
        signal(tx, _plain(about), kind, reporter, f"message {message_id}")


def denounced(read: Read, card: Card) -> list[tuple[str, str]]:
    """(address, reference) of the authors of the messages forwarded in a message: attached to it (message/rfc822), or
    else quoted in its text as mail programs do."""
    found: dict[str, str] = {}
    texts: list[Part] = []
    waiting = [card.root]
    while waiting:
        part = waiting.pop()
        if part.kind == MESSAGE:  # what is forwarded within it is not what is reported
            inner = part.parts[0]
            header = read(inner.header_start, min(inner.body_start - inner.header_start, _MOST_TEXT))
            facts = header_facts(header)
            found.update((_plain(text), facts.message_id[:MOST_REFERENCE]) for text in facts.authors)
        elif part.kind == LEAF:
            texts.append(part)
        else:
            waiting += reversed(part.parts)
    if not found and texts:
        found.update((_plain(text), "") for text in _QUOTED_AUTHOR.findall(_text(read, texts[0])))
    return [(address, reference) for address, reference in found.items() if address][:MOST_AT_ONCE]


def _text(read: Read, part: Part) -> str:
    header = read(part.header_start, min(part.body_start - part.header_start, _MOST_TEXT))
    encoding = split_fields(header, frozenset({b"content-transfer-encoding"})).get(b"content-transfer-encoding", [b""])[
        0
    ]
    octets = content_of(read, part.body_start, part.body_end, encoding).at(0, _MOST_TEXT)
    return octets.decode("utf-8", "replace")


def _plain(text: str) -> str:
    """The address as mailboxes have it, "" for what is none."""
    try:
        return str(parse_address(text))
    except AddressError:
        return ""
