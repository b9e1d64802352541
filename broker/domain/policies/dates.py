"""Dates in policies and requests, as milliseconds of Unix time.

W3C NOTE-datetime, the forms of ISO 8601 that IAM takes: a year, a month, a day, or an instant with its time zone. Or
seconds of Unix time.
"""

from __future__ import annotations

import re

_DATE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
    r"(?:Z|(?P<sign>[+-])(?P<ahead_hours>\d\d):(?P<ahead_minutes>\d\d)))?)?)?",
    re.ASCII,
)
_EPOCH = re.compile(r"-?\d{1,15}(?:\.(?P<fraction>\d{1,9}))?", re.ASCII)
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EPOCH_DAY = 719_468
"""The first of January 1970, counted from the first of March of the year 0."""


def read(text: str) -> int | None:
    """None: it is no date. Four digits are a year."""
    match = _DATE.fullmatch(text)
    if match is None:
        return _seconds(text)
    fields = {name: int(found or default) for name, (found, default) in _fields(match).items()}
    year, month, day = fields["year"], fields["month"], fields["day"]
    if not (1 <= month <= 12 and 1 <= day <= _days(year, month)):
        return None
    hour, minute, second = fields["hour"], fields["minute"], fields["second"]
    ahead_hours, ahead_minutes = fields["ahead_hours"], fields["ahead_minutes"]
    if max(hour, ahead_hours) > 23 or max(minute, second, ahead_minutes) > 59:
        return None
    ahead = (ahead_hours * 60 + ahead_minutes) * (-1 if match["sign"] == "-" else 1)
    minutes = _days_since_epoch(year, month, day) * 1_440 + hour * 60 + minute - ahead
    return (minutes * 60 + second) * 1_000 + _milliseconds(match["fraction"])


def _fields(match: re.Match[str]) -> dict[str, tuple[str | None, str]]:
    defaults = {"month": "1", "day": "1"}
    names = ("year", "month", "day", "hour", "minute", "second", "ahead_hours", "ahead_minutes")
    return {name: (match[name], defaults.get(name, "0")) for name in names}


def _seconds(text: str) -> int | None:
    match = _EPOCH.fullmatch(text)
    if match is None:
        return None
    whole = text.partition(".")[0]
    fraction = _milliseconds(match["fraction"])
    return int(whole) * 1_000 + (-fraction if text.startswith("-") else fraction)


def _milliseconds(fraction: str | None) -> int:
    return int(fraction[:3].ljust(3, "0")) if fraction else 0


def _days(year: int, month: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and leap else _DAYS[month - 1]


def _days_since_epoch(year: int, month: int, day: int) -> int:
    """Of the Gregorian calendar. Counted in years that begin in March, whose last day may be a leap day."""
    if month <= 2:
        year -= 1
        month += 12
    of_year = (153 * (month - 3) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + of_year - _EPOCH_DAY
