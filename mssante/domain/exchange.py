"""The exchange between a professional and a patient: who may write to whom, as a state machine.

What must always hold (seed 001: « l'ouverture d'une conversation est systematiquement a l'initiative des
professionnels qui peuvent a tout moment y mettre fin »; facts 4.1, 4.2):
- only a professional's message makes an exchange, ends it or reopens it; a patient's message changes nothing;
- a patient may write only where the exchange is open;
- an exchange belongs to one pair (professional's address, patient's address) and to no other.
"""

import re
import unicodedata
from enum import StrEnum
from typing import Final

_FIN: Final = re.compile(r"\[\s*[Ff][Ii][Nn]\s*\]")


class ExchangeState(StrEnum):
    """Where an exchange stands. No exchange at all is ``None``. The values are stored."""

    OPEN = "open"
    ENDED = "ended"


def is_fin(subject: str, x_mss_mes: str, exact: bool = False) -> bool:
    """Whether a message ends the exchanges with the patients it is addressed to.

    ``subject`` is decoded (RFC 2047), ``x_mss_mes`` is the value of ``X-MSS-MES``, "" when absent; of a repeated field
    every value counts, one a line. By default the subject has only to contain ``[FIN]``, whatever its case, the spaces
    inside the brackets, the width of its characters, and what cannot be seen between them: a professional who typed
    ``Re: [ fin ]`` meant it. ``exact`` asks for the five characters alone, outer spaces aside.
    The header ends it in both cases (ECO.2.2.8, facts 4.2).
    """
    if any(value.strip().upper() == "FIN" for value in _seen(x_mss_mes).split("\n")):
        return True
    if exact:
        return any(value.strip() == "[FIN]" for value in subject.split("\n"))
    return _FIN.search(_seen(subject)) is not None


def _seen(text: str) -> str:
    """The text as a reader sees it: compatibility forms (full-width ones) folded, format characters left out."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    return "".join(character for character in folded if unicodedata.category(character) != "Cf")


def after_professional_message(current: ExchangeState | None, fin: bool) -> ExchangeState:
    """The exchange once a professional's message to the patient is accepted, whatever it was before.

    A message without FIN opens or reopens; one with FIN ends, be it the first: it is read, not answered. So the
    professional's last word alone decides, whatever ``current`` was.
    """
    return ExchangeState.ENDED if fin else ExchangeState.OPEN


def patient_may_write(state: ExchangeState | None) -> bool:
    """Whether the patient may write to the professional of this exchange."""
    return state is ExchangeState.OPEN
