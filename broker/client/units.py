"""Seconds, as callers of the client count time, and the milliseconds of the wire."""

from __future__ import annotations

import math
from datetime import datetime

from broker.base.errors import InvalidArgument
from broker.client.model import Instant

_MOST = 2**32 - 1


def to_millis(seconds: float, what: str, least: float = 0) -> int:
    """Raises InvalidArgument for what is not a number of seconds from ``least``."""
    if not _is_number(seconds) or seconds < least:
        raise InvalidArgument(f"{what} is {seconds!r}; it must be a number of seconds, {least:g} or more")
    return round(seconds * 1000)


def to_epoch_millis(instant: Instant, what: str) -> int:
    """Raises InvalidArgument for what is no instant since 1970."""
    seconds = instant.timestamp() if isinstance(instant, datetime) else instant
    if isinstance(instant, datetime) and instant.tzinfo is None:
        raise InvalidArgument(
            f"{what} is {instant.isoformat()} without a time zone; use datetime.now(UTC), or .astimezone()"
        )
    if not _is_number(seconds) or seconds < 0:
        raise InvalidArgument(
            f"{what} is {instant!r}; it must be a datetime, or seconds since 1970 as time.time() gives"
        )
    return round(seconds * 1000)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def to_count(number: int, what: str) -> int:
    """Raises InvalidArgument for what no such number can be."""
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MOST:
        raise InvalidArgument(f"{what} is {number!r}; it must be a whole number from 0 to {_MOST:,}")
    return number
