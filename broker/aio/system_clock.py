"""The operating system's clock: the one place that reads it. Everything else is handed a ``Clock``."""

from __future__ import annotations

import time

from broker.base.instants import Millis, WallMillis

_NANOSECONDS_PER_MILLISECOND = 1_000_000
_NANOSECONDS_PER_MICROSECOND = 1_000


def microseconds() -> int:
    """Of the monotonic clock: for measuring how long something took, never for deciding anything."""
    return time.monotonic_ns() // _NANOSECONDS_PER_MICROSECOND


class SystemClock:
    """Implements ``broker.base.instants.Clock``. Milliseconds, rounded down."""

    __slots__ = ()

    def monotonic(self) -> Millis:
        return Millis(time.monotonic_ns() // _NANOSECONDS_PER_MILLISECOND)

    def wall(self) -> WallMillis:
        return WallMillis(time.time_ns() // _NANOSECONDS_PER_MILLISECOND)
