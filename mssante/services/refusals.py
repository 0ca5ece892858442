"""Why something was not done to a mailbox, as the edges tell it.

Invariant: the store's own errors do not pass: whatever it raises becomes a `MailboxRefused` with a public text.
"""

from __future__ import annotations

from collections.abc import Awaitable
from enum import StrEnum
from typing import TypeVar

from mssante.store import AlreadyExists, ContentError, NotFound, StoreError, StoreFull

Result = TypeVar("Result")


class Cause(StrEnum):
    """Why something was not done; the values are the response codes of RFC 9051 §7.1, or empty."""

    NONEXISTENT = "NONEXISTENT"
    ALREADYEXISTS = "ALREADYEXISTS"
    CANNOT = "CANNOT"
    LIMIT = "LIMIT"
    NOPERM = "NOPERM"
    OVERQUOTA = "OVERQUOTA"
    UNAVAILABLE = "UNAVAILABLE"
    USEATTR = "USEATTR"
    EXPUNGED = "EXPUNGEISSUED"
    TOO_MANY_NOTES = "METADATA TOOMANY"
    UNKNOWN_CTE = "UNKNOWN-CTE"


class MailboxRefused(Exception):
    """Not done; nothing was changed. The text is public, French, ASCII."""

    def __init__(self, cause: Cause, words: str) -> None:
        super().__init__(words)
        self.cause = cause


async def told(outcome: Awaitable[Result]) -> Result:
    """The outcome, the store's errors as refusals."""
    try:
        return await outcome
    except StoreError as error:
        raise refused(error) from error


def refused(error: StoreError) -> MailboxRefused:
    if isinstance(error, StoreFull):
        return MailboxRefused(Cause.UNAVAILABLE, "Plus de place sur le serveur: reessayez plus tard")
    if isinstance(error, ContentError):
        return MailboxRefused(Cause.EXPUNGED, "Un message a ete supprime entre-temps")
    if isinstance(error, NotFound):
        return nonexistent()
    if isinstance(error, AlreadyExists):
        return MailboxRefused(Cause.ALREADYEXISTS, "Ce dossier existe deja")
    return MailboxRefused(Cause.UNAVAILABLE, "Service momentanement indisponible: reessayez plus tard")


def nonexistent() -> MailboxRefused:
    return MailboxRefused(Cause.NONEXISTENT, "Ce dossier n'existe pas")
