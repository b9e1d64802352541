"""Which queue wants to be looked at next, among thousands.

An entry may be too early, never too late: whoever gains an earlier deadline plans it; one that moved back is found out
when it comes up, by asking the queue. So planning is cheap on the hot path, and the first deadline is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

_SPARE_ENTRIES = 64


def earlier(one: int | None, other: int | None) -> int | None:
    """Of two deadlines, either of which may not exist."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


class Agenda:
    """``deadline_of`` gives a queue's deadline as it is now; None: it has none, or is gone. Milliseconds."""

    __slots__ = ("_deadline_of", "_heap", "_planned")

    def __init__(self, deadline_of: Callable[[int], int | None]) -> None:
        self._deadline_of = deadline_of
        self._heap: list[tuple[int, int]] = []
        self._planned: dict[int, int] = {}
        """The one entry of each queue that counts; others in the heap are void."""

    def plan(self, queue: int, deadline: int | None) -> None:
        if deadline is None:
            return
        planned = self._planned.get(queue)
        if planned is None or deadline < planned:
            self._planned[queue] = deadline
            heappush(self._heap, (deadline, queue))
            if len(self._heap) > 2 * len(self._planned) + _SPARE_ENTRIES:
                self._heap = [(planned, queue) for queue, planned in self._planned.items()]
                heapify(self._heap)

    def due(self, at: int) -> list[int]:
        """Queues whose deadline may have come; they leave, and are to be planned again once they were looked at. By
        id: which early entries a replica still holds depends on its past, the order of what it does must not."""
        heap = self._heap
        if not heap or heap[0][0] > at:
            return []
        queues: list[int] = []
        while heap and heap[0][0] <= at:
            deadline, queue = heappop(heap)
            if self._planned.get(queue) == deadline:
                del self._planned[queue]
                queues.append(queue)
        queues.sort()
        return queues

    def first(self) -> int | None:
        """The earliest deadline there is."""
        heap = self._heap
        while heap:
            deadline, queue = heap[0]
            if self._planned.get(queue) == deadline:
                actual = self._deadline_of(queue)
                if actual == deadline:
                    return deadline
                del self._planned[queue]
                heappop(heap)
                self.plan(queue, actual)
                heap = self._heap
            else:
                heappop(heap)
        return None
