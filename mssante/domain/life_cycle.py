"""What becomes of a mailbox that nobody opens: its holder is warned, may object, and only then is it closed.

What must always hold: nobody loses a mailbox without every warning having been given, each with the time in between
that the settings say, whatever the day on which the operator began to count (CNIL délibération 2014-239, facts 7: the
user is told beforehand and may object). Times are microseconds UTC; months are calendar months.
"""

from dataclasses import dataclass
from enum import StrEnum

from mssante.domain.bal import BalState
from mssante.domain.clock import DAY_US, months_later


@dataclass(frozen=True, slots=True)
class Patience:
    """After how many months without a visit the holder is warned, the mailbox is closing, and how many days later it
    is closed. ``closing_months`` 0: nothing ever happens."""

    warning_months: tuple[int, ...] = (10, 11)
    closing_months: int = 12
    objection_days: int = 30


@dataclass(frozen=True, slots=True)
class Unused:
    """A mailbox as far as its use goes. ``since_us``: the last visit, or what counts as one (its opening, an
    objection). ``warnings``: how many steps were taken since, the last one at ``warned_us``."""

    state: BalState
    since_us: int
    warnings: int = 0
    warned_us: int = 0


class Step(StrEnum):
    WARN = "warn"
    BEGIN_CLOSING = "begin_closing"
    """Nothing arrives any more; the holder may still take his mail away, and signing in is an objection."""
    CLOSE = "close"
    FORGET = "forget"
    """Visited, or objected to: the count begins anew."""


def step_due(unused: Unused, now_us: int, patience: Patience) -> Step | None:
    """What is to be done with the mailbox now."""
    months = (*patience.warning_months, patience.closing_months)
    if patience.closing_months == 0:
        return Step.FORGET if unused.warnings else None
    if unused.warnings and unused.since_us >= unused.warned_us:
        return Step.FORGET
    if unused.warnings == len(months):
        # Somebody opened it again, by hand or by `bal reopen`: the holder has objected.
        if unused.state is not BalState.CLOSING:
            return Step.FORGET
        return Step.CLOSE if now_us >= unused.warned_us + patience.objection_days * DAY_US else None
    due_us = months_later(unused.since_us, months[unused.warnings])
    if unused.warnings:
        between = months[unused.warnings] - months[unused.warnings - 1]
        due_us = max(due_us, months_later(unused.warned_us, between))
    if unused.state is not BalState.ACTIVE or now_us < due_us:
        return None
    return Step.WARN if unused.warnings < len(patience.warning_months) else Step.BEGIN_CLOSING
