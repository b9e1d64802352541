"""Time as data: integer milliseconds, handed in. Nothing on the pure floors reads a clock."""

from __future__ import annotations

from typing import NamedTuple, NewType, Protocol

Millis = NewType("Millis", int)
"""A duration, or an instant of the monotonic clock (deadlines of this process)."""

WallMillis = NewType("WallMillis", int)
"""Milliseconds since the Unix epoch: what entries carry and what clients see."""

SECOND = Millis(1_000)
MINUTE = Millis(60_000)
DAY = Millis(86_400_000)


class Clock(Protocol):
    """Where the shells get their time from: the system's clock, or the simulator's."""

    def monotonic(self) -> Millis:
        """Milliseconds that never go back; the origin means nothing."""

    def wall(self) -> WallMillis:
        """Milliseconds since the Unix epoch; may jump."""


def earliest(*deadlines: Millis | None) -> Millis | None:
    """The first of the deadlines that exist."""
    first: Millis | None = None
    for deadline in deadlines:
        if deadline is not None and (first is None or deadline < first):
            first = deadline
    return first


class Instant(NamedTuple):
    """Both clocks, read once per turn of a loop: ``now`` for deadlines, ``wall`` for what entries carry."""

    now: Millis
    wall: WallMillis
