"""The exchange between a professional's mailbox and a patient: who may write to whom, as a state machine.

What must always hold (seed 001: « l'ouverture d'une conversation est systematiquement a l'initiative des
professionnels qui peuvent a tout moment y mettre fin »; facts 4.1 to 4.3):
- only a professional's message makes an exchange, ends it or reopens it; a patient's message changes nothing;
- an exchange belongs to a mailbox, whoever holds it or was lent it, and to one patient;
- the mailbox's own last word goes before whatever others said of it: who ended the exchange is not written to through
  a colleague's message;
- whom a colleague's message names beside the patient (copy, Reply-To) may be written to while that exchange is open;
- a mailbox that citizens may write to first, a pharmacy's, needs no message before.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mssante.domain.normal_forms import normalized

_FIN: Final = re.compile(r"\[\s*[Ff]\s*[Ii]\s*[Nn]\s*\]")


class ExchangeState(StrEnum):
    """Where an exchange stands. No exchange at all is ``None``. The values are stored."""

    OPEN = "open"
    ENDED = "ended"


class Ending(StrEnum):
    """What a professional's message ends. The values of `THREAD` and `EXCHANGE` are a setting's."""

    NOTHING = "nothing"
    THREAD = "thread"
    """This thread alone: the patient may begin another."""
    EXCHANGE = "exchange"


class Guard(StrEnum):
    """What becomes of a patient's message outside any exchange that comes from another operator. A setting's values."""

    STRICT = "strict"
    """Refused, as that of a citizen hosted here."""
    SOFT = "soft"
    """Taken, with a mark for its reader and an entry in the journal."""
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Relation:
    """All that decides whether a patient may write to a mailbox."""

    state: ExchangeState | None = None
    """What the mailbox's own messages to the patient made of their exchange."""
    introduced: bool = False
    """An open exchange of a colleague names the mailbox, or citizens may write to it first."""


UNRELATED: Final = Relation()


def is_fin(subject: str, x_mss_mes: str, exact: bool = False) -> bool:
    """Whether a message says FIN, in its subject or in its header."""
    return ending(subject, x_mss_mes, exact) is not Ending.NOTHING


def ending(subject: str, x_mss_mes: str, exact: bool = False, header_ends: Ending = Ending.EXCHANGE) -> Ending:
    """What a professional's message ends of its exchanges with the patients it is addressed to.

    ``subject`` is decoded (RFC 2047), ``x_mss_mes`` is the value of ``X-MSS-MES``, "" when absent; of a repeated field
    every value counts, one a line. By default the subject has only to contain ``[FIN]``, whatever its case, the spaces
    inside the brackets, the width of its characters, and what cannot be seen between them: a professional who typed
    ``Re: [ F I N ]`` meant it. ``exact`` asks for the five characters alone, outer spaces aside.
    The subject ends the whole exchange; the header (ECO.2.2.8, facts 4.2: « blocks the reply to that message ») what
    ``header_ends`` says.
    """
    if exact:
        in_subject = any(value.strip() == "[FIN]" for value in subject.split("\n"))
    else:
        in_subject = "[" in (seen := _seen(subject)) and _FIN.search(seen) is not None
    if in_subject:
        return Ending.EXCHANGE
    if x_mss_mes and any(value.strip().upper() == "FIN" for value in _seen(x_mss_mes).split("\n")):
        return header_ends
    return Ending.NOTHING


def _seen(text: str) -> str:
    """The text as a reader sees it: compatibility forms (full-width ones) folded, format characters left out."""
    if text.isascii():
        return text
    folded = normalized("NFKC", text)
    return "".join(character for character in folded if unicodedata.category(character) != "Cf")


def after_professional_message(current: ExchangeState | None, ends: Ending) -> ExchangeState:
    """The exchange once a professional's message to the patient is accepted, whatever it was before.

    A message without FIN opens or reopens; one with FIN ends, be it the first: it is read, not answered. One that ends
    its own thread alone opens nothing, and leaves what is open in its other threads.
    """
    if ends is Ending.NOTHING or (ends is Ending.THREAD and current is ExchangeState.OPEN):
        return ExchangeState.OPEN
    return ExchangeState.ENDED


def patient_may_write(relation: Relation) -> bool:
    """Whether the patient may write to the mailbox, in a thread that it did not end."""
    return relation.state is ExchangeState.OPEN or (relation.state is None and relation.introduced)
