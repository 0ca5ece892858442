"""The Date field (RFC 5322 §3.3, §4.3).

What must always hold: reading never raises; a date that names no possible instant is None.
"""

import re
from datetime import date
from email.utils import parsedate_tz
from typing import Final

_DATE: Final = re.compile(
    r"\s*(?:[A-Za-z]{3}\s*,)?\s*([0-9]{1,2})\s+([A-Za-z]{3})\s+([0-9]{4})\s+([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?"
    r"\s+([+-])([0-9]{2})([0-9]{2})\b"
)
_COMMENT: Final = re.compile(r"\([^()]*\)")
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_EPOCH: Final = date(1970, 1, 1).toordinal()
_LONGEST: Final = 200


def parse_date(value: bytes) -> tuple[int, int] | None:
    """The instant in microseconds since the epoch, and the zone in minutes east of UTC."""
    text = value[:_LONGEST].decode("latin-1")
    match = _DATE.match(text)
    if match is None and "(" in text:
        text = _COMMENT.sub(" ", text)
        match = _DATE.match(text)
    if match is None:
        return _parse_obsolete(text) if text else None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    zone = int(zone_hours) * 60 + int(zone_minutes)
    if sign == "-":
        zone = -zone
    return _instant(int(year), _MONTHS.get(month.lower(), 0), int(day), int(hour), int(minute), int(second or 0), zone)


def _parse_obsolete(text: str) -> tuple[int, int] | None:
    """Named zones, two-digit years: the standard library's reader is lenient with these."""
    try:
        parsed = parsedate_tz(text)
    except (ValueError, IndexError, OverflowError):
        return None
    if parsed is None:
        return None
    year, month, day, hour, minute, second, _, _, _, zone = parsed
    return _instant(year, month, day, hour, minute, second, (zone or 0) // 60)


def _instant(year: int, month: int, day: int, hour: int, minute: int, second: int, zone: int) -> tuple[int, int] | None:
    if hour > 23 or minute > 59 or second > 60 or abs(zone) >= 24 * 60:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    return (days * 86_400 + hour * 3_600 + minute * 60 + second - zone * 60) * 1_000_000, zone
