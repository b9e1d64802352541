"""Instants as the protocols write them; within the edge they are seconds since 1970, as float."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import Any

LATEST = 253_402_300_800
"""The end of the year 9999, and as far the other way: what no calendar has is no instant."""


def checked(value: float) -> float:
    """Raises ValueError for what no calendar has."""
    if not math.isfinite(value) or abs(value) >= LATEST:
        raise ValueError(value)
    return float(value)


def _from_iso(text: str) -> float:
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def _to_iso(value: float) -> str:
    return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _from_rfc822(text: str) -> float:
    instant = parsedate_to_datetime(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


FROM_TEXT: dict[str, Callable[[str], float]] = {
    "iso8601": _from_iso,
    "rfc822": _from_rfc822,
    "unixTimestamp": lambda text: checked(float(text)),
}
"""By the model's name of a format. They raise ValueError."""
TO_TEXT: dict[str, Callable[[float], str]] = {
    "iso8601": _to_iso,
    "rfc822": lambda value: formatdate(value, usegmt=True),
    "unixTimestamp": lambda value: repr(number(value)),
}


def number(value: Any) -> float | int:
    """Whole seconds without a fraction, as AWS sends them."""
    return int(value) if value == int(value) else value
