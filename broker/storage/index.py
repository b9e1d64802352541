"""Where the entries of one group stand: log index to location, in few bytes of memory.

A *location* is ``segment << 32 | offset`` of a record; 0 means that no place is known. The log itself (consecutive
indexes from ``base``) costs 8 bytes an entry; older entries that are still referred to, with gaps between, cost 16.
This module knows nothing of files; whoever changes an index is told which locations lost their meaning.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable

OFFSET_BITS = 32
OFFSET_MASK = (1 << OFFSET_BITS) - 1

_SEGMENT_WORD = 1 if sys.byteorder == "little" else 0


def segment_counts(locations: array[int]) -> Counter[int]:
    """How many of the locations lie in each segment."""
    if len(locations) < 16:
        return Counter([location >> OFFSET_BITS for location in locations])
    words = memoryview(locations).cast("B").cast("I")
    return Counter(words[_SEGMENT_WORD::2])


class GroupIndex:
    __slots__ = ("base", "changes", "log", "old_indexes", "old_locations")

    def __init__(self) -> None:
        self.base = 1
        self.log: array[int] = array("Q")
        self.old_indexes: array[int] = array("Q")
        self.old_locations: array[int] = array("Q")
        self.changes = 0
        """Grows whenever the old part changes other than by growing at its end."""

    @property
    def last(self) -> int:
        return self.base + len(self.log) - 1

    def find(self, index: int) -> int:
        """Location of an entry of the log, else of an old one, else 0."""
        place = index - self.base
        if 0 <= place < len(self.log):
            return self.log[place]
        return self.find_old(index)

    def find_old(self, index: int) -> int:
        place = bisect_left(self.old_indexes, index)
        if place < len(self.old_indexes) and self.old_indexes[place] == index:
            return self.old_locations[place]
        return 0

    def log_refers_to(self, index: int, location: int) -> bool:
        place = index - self.base
        return 0 <= place < len(self.log) and self.log[place] == location

    def replace_tail(self, first: int, locations: Iterable[int]) -> array[int]:
        """The log continues at ``first`` (between base and last + 1) with these. Returns what was cut off."""
        place = first - self.base
        if place < 0 or place > len(self.log):
            raise ValueError(f"entry {first} does not continue a log of entries {self.base} to {self.last}")
        cut = self.log[place:]
        if cut:
            del self.log[place:]
        self.log.extend(locations)
        return cut

    def trim(self, first: int) -> array[int]:
        """The log begins at ``first`` now; what lies before becomes old. Returns locations of needless copies."""
        count = min(first - self.base, len(self.log))
        if count <= 0:
            return array("Q")
        leaving = self.log[:count]
        indexes = array("Q", range(self.base, self.base + count))
        del self.log[:count]
        self.base += count
        if 0 in leaving:
            pairs = [(index, location) for index, location in zip(indexes, leaving, strict=True) if location]
            indexes = array("Q", [index for index, _ in pairs])
            leaving = array("Q", [location for _, location in pairs])
        return self._add_old(indexes, leaving)

    def drop_log(self, base: int) -> array[int]:
        """Empty the log; it continues at ``base``. Returns what was dropped."""
        dropped, self.log, self.base = self.log, array("Q"), base
        return dropped

    def adopt(self, base: int, last: int) -> None:
        """During recovery: the log is known to span ``base`` to ``last``; unknown places are 0."""
        if last < self.last:
            del self.log[max(last + 1 - self.base, 0) :]
        if base > self.last + 1:
            self.trim(self.last + 1)
            self.base = base
        self.log.extend([0] * (last - self.last))
        self.trim(base)

    def put_old(self, index: int, location: int) -> int:
        """Returns the location it had before, or 0."""
        place = bisect_left(self.old_indexes, index)
        if place == len(self.old_indexes):
            self.old_indexes.append(index)
            self.old_locations.append(location)
            return 0
        self.changes += 1
        if self.old_indexes[place] == index:
            before = self.old_locations[place]
            self.old_locations[place] = location
            return before
        self.old_indexes.insert(place, index)
        self.old_locations.insert(place, location)
        return 0

    def move(self, index: int, old: int, new: int) -> bool:
        """The entry at ``old`` stands at ``new`` too: refer to that copy. False if nothing refers to ``old``."""
        place = index - self.base
        if 0 <= place < len(self.log) and self.log[place] == old:
            self.log[place] = new
            return True
        place = bisect_left(self.old_indexes, index)
        if place < len(self.old_indexes) and self.old_indexes[place] == index and self.old_locations[place] == old:
            self.old_locations[place] = new
            self.changes += 1
            return True
        return False

    def _add_old(self, indexes: array[int], locations: array[int]) -> array[int]:
        needless: array[int] = array("Q")
        if not indexes:
            return needless
        if not self.old_indexes or self.old_indexes[-1] < indexes[0]:
            self.old_indexes.extend(indexes)
            self.old_locations.extend(locations)
            return needless
        for index, location in zip(indexes, locations, strict=True):
            before = self.put_old(index, location)
            if before:
                needless.append(before)
        return needless

    def keep_old(self, keep: Callable[[int], bool]) -> None:
        """Forget the old entries whose location is not to be kept."""
        pairs = [pair for pair in zip(self.old_indexes, self.old_locations, strict=True) if keep(pair[1])]
        self.old_indexes = array("Q", [index for index, _ in pairs])
        self.old_locations = array("Q", [location for _, location in pairs])
        self.changes += 1
