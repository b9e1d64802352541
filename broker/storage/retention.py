"""Forgetting old entries that nothing refers to any more.

A state machine says which entries are still live, as ranges. There may be very many, so they are worked off in slices;
entries that are not yet looked at simply stay a little longer.
"""

from __future__ import annotations

from array import array
from collections import deque

from broker.storage.books import Books
from broker.storage.old_entries import OldEntries, Ranges

_BLOCK_WORK = 20
_FORGOTTEN_PER_RANGE = 10
"""Looking at a block takes as long as looking at so many ranges, and forgetting so many entries as looking at one."""


class Retention:
    """``slice_ranges``: after how many ranges one slice ends, with the block that it is at."""

    def __init__(self, books: Books, slice_ranges: int = 2_000) -> None:
        self._books = books
        self._slice_ranges = slice_ranges
        self._jobs: dict[int, _Job] = {}

    @property
    def pending(self) -> bool:
        return bool(self._jobs)

    def start(self, group: int, live: Ranges, upto: int) -> None:
        """Old entries up to ``upto`` that are in no range of ``live`` may go. Replaces an unfinished job."""
        book = self._books.groups.get(group)
        if book is not None:
            self._jobs[group] = _Job(book.index.old, live, upto)

    def begin(self, retained: list[tuple[int, Ranges, int]]) -> None:
        """All of them: group, live ranges, up to which index; the list is then empty."""
        for group, live, upto in retained:
            self.start(group, live, upto)
        if retained:
            retained.clear()
            self.slice()

    def forget(self, group: int) -> None:
        self._jobs.pop(group, None)

    def slice(self) -> None:
        """Work at one job for a bounded time."""
        for group, job in self._jobs.items():
            self._books.forget(job.step(self._slice_ranges))
            if job.done:
                del self._jobs[group]
            return


class _Job:
    __slots__ = ("_blocks", "_live", "_old", "_place", "_upto")

    def __init__(self, old: OldEntries, live: Ranges, upto: int) -> None:
        self._old = old
        self._live = live
        self._upto = upto
        self._blocks = deque(old.blocks_upto(upto))
        self._place = 0

    @property
    def done(self) -> bool:
        return not self._blocks

    def step(self, ranges: int) -> array[int]:
        """The locations of what was forgotten."""
        forgotten: array[int] = array("Q")
        worked = 0
        while self._blocks and worked < ranges:
            found, place = self._old.retain(self._blocks.popleft(), self._live, self._place, self._upto)
            forgotten.extend(found)
            worked += place - self._place + _BLOCK_WORK + len(found) // _FORGOTTEN_PER_RANGE
            self._place = place
        return forgotten
