"""A node's two clocks: both run a little fast or slow, the wall clock is also wrong by an amount that may jump, and may
leap together with all others."""

from __future__ import annotations

from broker.base.instants import Instant, Millis, WallMillis
from tests.simulation.world import MILLISECOND, World

EPOCH = 1_700_000_000_000
"""Wall milliseconds at which every simulation begins."""

_PARTS = 1_000_000


class NodeClock:
    """Implements broker.base.instants.Clock. ``drift`` in parts per million, ``skew`` and
    ``leaped`` in milliseconds."""

    def __init__(self, name: str, world: World, drift: int, skew: int, origin: int) -> None:
        self.skew = skew
        self.leaped = 0
        self._name = name
        self._world = world
        self._rate = _PARTS + drift
        self._origin = origin

    def monotonic(self) -> Millis:
        return Millis(self._origin + self._elapsed())

    def wall(self) -> WallMillis:
        return WallMillis(EPOCH + self.skew + self.leaped + self._elapsed())

    def instant(self) -> Instant:
        elapsed = self._world.now * self._rate // _PARTS // MILLISECOND
        return Instant(Millis(self._origin + elapsed), WallMillis(EPOCH + self.skew + self.leaped + elapsed))

    def world_time_of(self, monotonic: Millis) -> int:
        """The first world time (microseconds) at which this clock shows ``monotonic``."""
        elapsed = monotonic - self._origin
        return -(-elapsed * MILLISECOND * _PARTS // self._rate)

    # --- faults

    def jump(self, by: int) -> None:
        self.skew += by
        self._world.note(self._name, "clock jumps", by)

    def set_right(self) -> None:
        self.skew = 0
        self._world.note(self._name, "clock is set right")

    def leap(self, by: int) -> None:
        self.leaped += by

    # --- inside

    def _elapsed(self) -> int:
        return self._world.now * self._rate // _PARTS // MILLISECOND
