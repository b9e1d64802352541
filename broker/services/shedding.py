"""How much may be on its way at once, learned from how long it takes. Pure: time is passed in, in milliseconds.

What is sent faster than the cluster stores it queues up somewhere: in a log, on a disk, in a connection, in the event
loop. Wherever that is, it shows in one number, the time that a send takes. So the window closes when sends take longer
than they should, and opens again, a little with each one that was quick; what does not fit is refused at once instead
of waiting for seconds. TCP does the same with its congestion window (Jacobson, "Congestion Avoidance and Control",
1988), for which a lost segment says what here a late send says.
"""

from __future__ import annotations

import msgspec

from broker.base.instants import Millis
from broker.base.limits import KIB, MIB

_SHRINK = 0.7
_GROWTH = 8
"""A window that is in use and gets its work done in time opens by one part in so many in the time of one send."""
_IN_USE = 2
"""It is in use when no more than one part in so many of it is free."""


class WindowSettings(msgspec.Struct, frozen=True):
    """``target``: sends that take longer close the window. ``least`` and ``most``: bounds of the window, in bytes."""

    target: Millis = Millis(250)
    least: int = 256 * KIB
    most: int = 64 * MIB


class SendWindow:
    __slots__ = ("_settings", "_shrunk_at", "on_its_way", "size")

    def __init__(self, settings: WindowSettings) -> None:
        self._settings = settings
        self._shrunk_at = Millis(0)
        self.size = settings.most
        self.on_its_way = 0

    def enter(self, cost: int) -> bool:
        """Whether there is room for so many bytes more; whatever its size, one is let in when nothing is on its way."""
        if self.on_its_way and self.on_its_way + cost > self.size:
            return False
        self.on_its_way += cost
        return True

    def leave(self, cost: int, began: Millis, now: Millis, stored: bool) -> None:
        """What entered at ``began`` has ended. Only what was ``stored`` says something about how fast that goes."""
        in_use = self.on_its_way
        self.on_its_way -= cost
        if not stored or began < self._shrunk_at:  # what began before the window was closed says the same once more
            return
        settings, took = self._settings, now - began
        if took > settings.target:
            self.size = max(settings.least, int(min(self.size, in_use) * _SHRINK))
            self._shrunk_at = now
        elif 2 * took <= settings.target and in_use * _IN_USE >= self.size:
            self.size = min(settings.most, self.size + cost // _GROWTH)
