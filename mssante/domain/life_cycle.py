"""What becomes of a mailbox that nobody opens: its holder is warned, may object, and only then is it closed.

What must always hold: nobody loses a mailbox without every warning having been given, each with the time in between
that the settings say, whatever the day on which the operator began to count (CNIL délibération 2014-239, facts 7: the
user is told beforehand and may object). Times are microseconds UTC; months are calendar months.
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from mssante.domain.bal import BalState

DAY_US = 24 * 3600 * 1_000_000


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


def months_later(time_us: int, months: int) -> int:
    """The same day and time ``months`` later (or earlier, below zero); the month's last day when it is shorter."""
    when = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    year, month = divmod(month_of(time_us) + months, 12)
    day = min(when.day, calendar.monthrange(year, month + 1)[1])
    return int(when.replace(year=year, month=month + 1, day=day).timestamp()) * 1_000_000 + time_us % 1_000_000


def month_of(time_us: int) -> int:
    """The month of an instant, counted from the year 0: ``year * 12 + month - 1``."""
    when = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    return when.year * 12 + when.month - 1


def month_bounds_us(month: int) -> tuple[int, int]:
    """The first instant of the month, and of the next one."""
    return _first_us(month), _first_us(month + 1)


def _first_us(month: int) -> int:
    year, index = divmod(month, 12)
    return int(datetime(year, index + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
