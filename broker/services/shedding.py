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

_LEAST_SHRINK, _MOST_SHRINK = 0.7, 0.2
"""What takes twice the time it may is twice too much; but one long pause is not to close the window altogether."""
_IN_USE = 2
"""It is in use when no more than one part in so many of it is free."""
_RECOVERY = 125
"""Percent: one that is not in use opens so far each time the target passes, to where it began: for the next burst."""


class WindowSettings(msgspec.Struct, frozen=True):
    """``target``: sends that take longer close the window. Bytes: where the window begins, and its bounds."""

    target: Millis = Millis(250)
    first: int = 8 * MIB
    least: int = 512 * KIB
    most: int = 64 * MIB


class SendWindow:
    __slots__ = ("_opens_at", "_recovers_at", "_settings", "_shrunk_at", "on_its_way", "size")

    def __init__(self, settings: WindowSettings) -> None:
        self._settings = settings
        self._shrunk_at = Millis(0)
        self._opens_at = self._recovers_at = Millis(0)
        self.size = settings.first
        self.on_its_way = 0

    def enter(self, cost: int) -> bool:
        """Whether there is room for so many bytes more; whatever its size, one is let in when nothing is on its way."""
        if self.on_its_way and self.on_its_way + cost > self.size:
            return False
        self.on_its_way += cost
        return True

    def close(self, waited: Millis, now: Millis) -> None:
        """Sends wait for so long before they enter: fewer of those that have are to be on their way."""
        target = self._settings.target
        if now - self._shrunk_at >= target:
            self._shrink(self.on_its_way, target / (2 * waited), now)
        self._opens_at = Millis(now + 2 * target)

    def may_open(self) -> None:
        """Sends do not wait before they enter, or no longer."""
        self._opens_at = Millis(0)

    def _shrink(self, in_use: int, part: float, now: Millis) -> None:
        """To a part of what is in use. Where that is little, something else than sends was slow, and half will do."""
        part = min(_LEAST_SHRINK, max(_MOST_SHRINK, part))
        wanted = in_use * part if in_use * _IN_USE >= self.size else self.size / 2
        self.size = min(self.size, max(self._settings.least, round(wanted)))
        self._shrunk_at = now
        self._recovers_at = Millis(now + self._settings.target)

    def leave(self, cost: int, began: Millis, now: Millis, stored: bool) -> None:
        """What entered at ``began`` has ended. Only what was ``stored`` says something about how fast that goes."""
        in_use = self.on_its_way
        self.on_its_way -= cost
        if not stored or began < self._shrunk_at:  # what began before the window was closed says the same once more
            return
        settings, took = self._settings, now - began
        if took > settings.target:
            self._shrink(in_use, settings.target / took, now)
        elif 2 * took < settings.target and now >= self._opens_at:
            if in_use * _IN_USE >= self.size:
                self.size = min(settings.most, self.size + cost * (settings.target - 2 * took) // settings.target)
            elif self.size < settings.first and now >= self._recovers_at:
                self.size = min(settings.first, self.size * _RECOVERY // 100)
                self._recovers_at = Millis(now + settings.target)
