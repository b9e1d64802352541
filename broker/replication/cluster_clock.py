"""The time of the cluster, as one node knows it: what entries are stamped with, whatever this node's wall clock says.

Every frame between nodes carries the sender's wall clock. The time of the cluster is the median of the clocks heard
lately, this node's own included; between two that differ, the one that fits what was the time so far. It runs on the
monotonic clock, so that a wall clock which jumps moves nothing by itself. Deadlines and leases know none of this.
"""

from __future__ import annotations

from broker.base.ids import NodeId
from broker.base.instants import MINUTE, SECOND, Clock, Instant, Millis, WallMillis
from broker.base.trouble import Trouble
from broker.replication.frames import ClockReport
from broker.telemetry import logs

_log = logs.get(__name__)

REPORT_EVERY = Millis(500)
"""A peer to which nothing else is said hears the time so often."""
LATELY = 3 * REPORT_EVERY
"""Whoever was not heard for longer is hardly there: a connection that is cut ends later than that."""
HEARD_FOR = Millis(3_000)
"""A clock that was not heard for longer does not count."""
WRONG_BY = SECOND
"""A wall clock further from the cluster's time is worth an operator's attention."""

_REVIEW_EVERY = Millis(100)
_SLEW = 5
"""Milliseconds by which the time is corrected in one review: it runs at most so much faster or slower."""
_STEP = 250
"""Larger differences are no drift, and are made good at once."""
_NEWS = 50
_STANDSTILL = 2 * REPORT_EVERY
"""A process that is well looks at the time at least half as often as this."""
_DEAF_FOR = 200
_ALONE_FOR = 10 * MINUTE
"""A node that hears nobody goes by what was the time so far; after this long its own wall clock is the better guess."""
_TROUBLE = "wall-clock"


class _Source:
    """A peer's wall clock less this node's monotonic one. Of readings that differ little the largest of the last second
    or two counts: what a frame's way takes makes it look smaller, never larger. One that differs much is believed."""

    __slots__ = ("_before", "_best", "_until", "heard_at")

    def __init__(self, offset: int, now: Millis) -> None:
        self._before = self._best = offset
        self._until = now + SECOND
        self.heard_at = now

    def heard(self, offset: int, now: Millis) -> None:
        self.heard_at = now
        if abs(offset - self.offset) > _STEP:
            self._before = self._best = offset
            self._until = now + SECOND
        elif now >= self._until:
            self._before, self._best, self._until = self._best, offset, now + SECOND
        elif offset > self._best:
            self._best = offset

    @property
    def offset(self) -> int:
        return max(self._before, self._best)


class ClusterClock:
    """Implements Clock: ``wall`` is the time of the cluster, ``monotonic`` that of ``clock``, this machine's own."""

    def __init__(self, clock: Clock) -> None:
        self.monotonic = clock.monotonic
        self.settled = False
        """Other clocks have confirmed the time; from now on it is extrapolated through disagreement and silence."""
        self._clock = clock
        self._sources: dict[NodeId, _Source] = {}
        now = clock.monotonic()
        self._own = self._offset = self._told = clock.wall() - now
        self._review_at = now
        self._report_at = now
        self._alone_since = now
        self._last = now
        self._deaf_until = now

    def instant(self) -> Instant:
        now = self.monotonic()
        if now - self._last > _STANDSTILL:
            self._stood_still(now)
        self._last = now
        if now >= self._review_at:
            self._review(now)
        return Instant(now, WallMillis(now + self._offset))

    def wall(self) -> WallMillis:
        return self.instant().wall

    @property
    def error(self) -> Millis:
        """How far this node's own wall clock is ahead of the cluster's time, as of the last review."""
        return Millis(self._own - self._offset)

    # --- what nodes tell one another

    def report(self) -> ClockReport:
        at = self.instant()
        wall = self._clock.wall()
        return ClockReport(wall, Millis(at.wall - wall) if self.settled else None)

    def heard(self, peer: NodeId, report: ClockReport) -> None:
        now = self.monotonic()
        if now - self._last > _STANDSTILL:
            self._stood_still(now)
        self._last = now
        if now < self._deaf_until:
            return
        offset = report.wall - now
        source = self._sources.get(peer)
        if source is None:
            source = self._sources[peer] = _Source(offset, now)
            self._review_at = now
        else:
            source.heard(offset, now)
        if report.ahead is not None and not self.settled:
            self.settled = True
            self._offset = offset + report.ahead
            self._review_at = now

    def heard_lately(self, peer: NodeId) -> bool:
        source = self._sources.get(peer)
        return source is not None and self.monotonic() - source.heard_at <= LATELY

    def report_is_due(self) -> bool:
        """Once when it is: everyone connected is to hear the time now."""
        now = self.monotonic()
        if now < self._report_at:
            return False
        self._report_at = Millis(now + REPORT_EVERY)
        return True

    def next_deadline(self) -> Millis:
        """When the next report is due."""
        return self._report_at

    # --- what others must know of it

    def moved(self) -> bool:
        """Once when the time has moved against the monotonic clock, so that what waits for it must reckon anew."""
        if abs(self._offset - self._told) < _NEWS:
            return False
        self._told = self._offset
        return True

    def tell(self, trouble: Trouble) -> None:
        """Say what is to be said about this node's wall clock."""
        error = self.error
        if not self.settled or abs(error) <= WRONG_BY:
            if trouble.clear(_TROUBLE):
                _log.info("the wall clock agrees with the other nodes again", ahead_ms=error)
            return
        way = "ahead of" if error > 0 else "behind"
        sentence = (
            f"this node's wall clock is {abs(error) / SECOND:.0f} s {way} the other nodes' and is not used: set it, "
            "and see that NTP keeps it right"
        )
        if _TROUBLE not in trouble.names:
            _log.warning("the wall clock is wrong", ahead_ms=error)
        trouble.set(_TROUBLE, sentence)

    # --- inside

    def _stood_still(self, now: Millis) -> None:
        """Then frames come that were sent long ago, by clocks that may have been set since. Who knows the time does not
        listen to those."""
        if self.settled:
            self._sources.clear()
            self._deaf_until = Millis(now + _DEAF_FOR)

    def _review(self, now: Millis) -> None:
        self._review_at = Millis(now + _REVIEW_EVERY)
        self._own = own = self._clock.wall() - now
        heard = [source.offset for source in self._sources.values() if now - source.heard_at <= HEARD_FOR]
        if heard:
            self._alone_since = now
        elif self.settled:
            if now - self._alone_since < _ALONE_FOR:
                return
            self.settled = False
        offsets = sorted([own, *heard])
        low, high = offsets[(len(offsets) - 1) // 2], offsets[len(offsets) // 2]
        if not self.settled:
            # The lower of two: too late is put right as soon as a third is heard, too early cannot be undone.
            self._offset = low
            self.settled = len(offsets) > 2 or (bool(heard) and high - low <= WRONG_BY)
            return
        move = min(max(self._offset, low), high) - self._offset
        self._offset += move if abs(move) > _STEP else min(max(move, -_SLEW), _SLEW)
