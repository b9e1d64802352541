"""Messages that were sent with a delay which has not ended.

One lane per delay: within a lane, messages become visible in the order in which they were sent, so a lane is a run list
and only its front is ever looked at. Delays are rounded up to a resolution, which bounds the number of lanes. Knows
nothing of receiving.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace

from broker.base.instants import MINUTE, SECOND
from broker.domain.queues.runs import RunList

_RESOLUTIONS = ((SECOND, 10), (MINUTE, 100))
_COARSEST = 1_000


def rounded(delay: int) -> int:
    """A message never becomes visible early. Up to a second: multiples of 10 ms; up to a minute: of 100 ms; beyond: of
    1 s. That makes at most 1,530 lanes of a queue, whatever its senders ask for."""
    resolution = next((step for limit, step in _RESOLUTIONS if delay <= limit), _COARSEST)
    return -(-delay // resolution) * resolution


class Delayed:
    __slots__ = ("_due", "lanes", "messages")

    def __init__(self) -> None:
        self.lanes: dict[int, RunList] = {}
        """By delay; none is empty."""
        self._due: list[tuple[int, int]] = []
        """Heap: when the first message of a lane becomes visible, and the lane's delay. One entry a lane."""
        self.messages = 0

    def add(self, key: int, count: int, sent: int, delay: int) -> None:
        """``delay`` as ``rounded`` gives it; keys ascend from call to call."""
        lane = self.lanes.get(delay)
        if lane is None:
            lane = self.lanes[delay] = RunList()
            heappush(self._due, (sent + delay, delay))
        lane.append(key, count, sent)
        self.messages += count

    def lane(self, delay: int) -> RunList:
        """For loading; ``replan`` must follow."""
        return self.lanes.setdefault(delay, RunList())

    def next_due(self) -> int | None:
        return self._due[0][0] if self._due else None

    def ripen(self, at: int, into: RunList) -> int:
        """Move what is due by ``at`` into ``into``; how many messages that were."""
        before = self.messages
        while self._due and self._due[0][0] <= at:
            delay = self._due[0][1]
            lane = self.lanes[delay]
            self.messages -= lane.move_sent_until(at - delay, into)
            oldest = lane.oldest_sent()
            if oldest is None:
                heappop(self._due)
                del self.lanes[delay]
            else:
                heapreplace(self._due, (oldest + delay, delay))
        return before - self.messages

    def oldest_sent(self) -> int | None:
        return min((sent for lane in self.lanes.values() if (sent := lane.oldest_sent()) is not None), default=None)

    def drop_sent_until(self, instant: int) -> int:
        """Forget the messages sent at or before ``instant``; how many that were."""
        dropped = sum(lane.drop_sent_until(instant) for lane in self.lanes.values())
        if dropped:
            self.replan()
        return dropped

    def remove(self, key: int) -> bool:
        """Remove one message; whether it was here. Asks every lane."""
        if any(lane.remove(key) is not None for lane in self.lanes.values()):
            self.replan()
            return True
        return False

    def replan(self) -> None:
        """After lanes were loaded, or lost what is in front."""
        self.lanes = {delay: lane for delay, lane in self.lanes.items() if lane.messages}
        self.messages = sum(lane.messages for lane in self.lanes.values())
        self._due = [
            (sent + delay, delay) for delay, lane in self.lanes.items() if (sent := lane.oldest_sent()) is not None
        ]
        heapify(self._due)
