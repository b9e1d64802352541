"""Instants and durations as people write and read them: ``+10m``, ``2026-05-01T09:00``; ``1h30m``, ``2 h 5 min``."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from broker.base.errors import InvalidArgument

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
_FORMS = "write +10m, 2026-05-01T09:00 (your time), 2026-05-01T09:00Z, or seconds since 1970"


def parse_duration(text: str, what: str) -> float:
    """Seconds, from ``90``, ``10m``, ``1h30m`` or ``250ms``. Raises InvalidArgument."""
    if _NUMBER.fullmatch(text):
        return float(text)
    if not re.fullmatch(rf"({_PART.pattern})+", text, re.ASCII):
        raise InvalidArgument(f"{what} is {text!r}, which is no duration; write 90, 90s, 10m, 1h30m, 2d or 250ms")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def parse_instant(text: str, what: str, now: float) -> float:
    """Seconds since 1970; ``now`` is so, too. ``+10m`` is from now on. A date without a zone is in local time. Raises
    InvalidArgument."""
    if text == "now":
        return now
    if text.startswith("+"):
        return now + parse_duration(text[1:], what)
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise InvalidArgument(f"{what} is {text!r}, which is no instant; {_FORMS}") from None


def parse_past(text: str, what: str, now: float) -> float:
    """As ``parse_instant``; a duration alone, ``10m``, is so long ago. Raises InvalidArgument."""
    if re.fullmatch(rf"({_PART.pattern})+", text, re.ASCII):
        return max(0.0, now - parse_duration(text, what))
    return parse_instant(text, what, now)


def local_time(seconds: float) -> str:
    """In local time, to the second."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float, units: int = 2) -> str:
    """In the largest ``units`` that matter: ``3 d 4 h``, ``12 s``, ``250 ms``."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(
        f"{count} {unit}" for place, (count, unit) in enumerate(parts[first : first + units]) if count or not place
    )
