"""Forgetting old entries that nothing refers to any more.

A state machine says which entries are still live, as ranges. There may be very many, so they are worked off in slices;
entries that are not yet looked at simply stay a little longer.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from broker.storage.books import Books
from broker.storage.index import GroupIndex

Ranges = Sequence[tuple[int, int]]


class Retention:
    """``slice_ranges``: how many ranges one slice works off."""

    def __init__(self, books: Books, slice_ranges: int = 2_000) -> None:
        self._books = books
        self._slice_ranges = slice_ranges
        self._jobs: dict[int, _Job] = {}

    @property
    def pending(self) -> bool:
        return bool(self._jobs)

    def start(self, group: int, live: Ranges, upto: int) -> None:
        """Old entries up to ``upto`` that are in no range of ``live`` may go. Replaces an unfinished job."""
        self._jobs[group] = _Job(self._books.group(group).index, live, upto)

    def slice(self) -> None:
        """Work at one job for a bounded time."""
        for group, job in self._jobs.items():
            dropped = job.step(self._slice_ranges)
            if dropped is not None:
                self._books.forget(dropped)
                del self._jobs[group]
            return


class _Job:
    __slots__ = ("_dropped", "_index", "_indexes", "_live", "_locations", "_place", "_position", "_seen", "_upto")

    def __init__(self, index: GroupIndex, live: Ranges, upto: int) -> None:
        self._index = index
        self._live = live
        self._upto = upto
        self._seen = -1
        self._place = self._position = 0
        self._indexes: array[int] = array("Q")
        self._locations: array[int] = array("Q")
        self._dropped: array[int] = array("Q")

    def step(self, ranges: int) -> array[int] | None:
        """None while there is more to do; then the locations of what was dropped."""
        index = self._index
        if self._seen != index.changes:
            self._restart()
        indexes, locations, position = index.old_indexes, index.old_locations, self._position
        stop = self._place + ranges
        for first, last in self._live[self._place : stop]:
            begin = bisect_left(indexes, first, position)
            end = bisect_right(indexes, last, begin)
            if begin > position:
                self._dropped.extend(locations[position:begin])
            if end > begin:
                self._indexes.extend(indexes[begin:end])
                self._locations.extend(locations[begin:end])
            position = end
        self._place, self._position = stop, position
        if stop < len(self._live):
            return None
        beyond = bisect_right(indexes, self._upto, position)
        self._dropped.extend(locations[position:beyond])
        self._indexes.extend(indexes[beyond:])
        self._locations.extend(locations[beyond:])
        index.old_indexes, index.old_locations = self._indexes, self._locations
        index.changes += 1
        return self._dropped

    def _restart(self) -> None:
        self._seen = self._index.changes
        self._place = self._position = 0
        self._indexes, self._locations, self._dropped = array("Q"), array("Q"), array("Q")
