"""Where the entries of one group stand: log index to location, in few bytes of memory.

The log itself (consecutive indexes from ``base``) costs 8 bytes an entry; older entries that are still referred to cost
10. This module knows nothing of files; whoever changes an index is told which locations lost their meaning.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from broker.storage.old_entries import OldEntries


class GroupIndex:
    __slots__ = ("base", "log", "old")

    def __init__(self) -> None:
        self.base = 1
        self.log: array[int] = array("Q")
        self.old = OldEntries()

    @property
    def last(self) -> int:
        return self.base + len(self.log) - 1

    def find(self, index: int) -> int:
        """Location of an entry of the log, else of an old one, else 0."""
        place = index - self.base
        if 0 <= place < len(self.log):
            return self.log[place]
        return self.old.find(index)

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
        begun, leaving = self.base, self.log[:count]
        del self.log[:count]
        self.base += count
        return self.old.add(begun, leaving)

    def drop_log(self, base: int) -> array[int]:
        """Empty the log; it continues at ``base``. Returns what was dropped."""
        dropped, self.log, self.base = self.log, array("Q"), base
        return dropped

    def adopt(self, base: int, last: int) -> None:
        """During recovery: the log is known to span ``base`` to ``last``; unknown places are 0.

        A log that begins before the one known so far is that of another life: the group was dropped meanwhile.
        """
        if base < self.base:
            self.drop_log(base)
            self.old = OldEntries()
        if last < self.last:
            del self.log[max(last + 1 - self.base, 0) :]
        if base > self.last + 1:
            self.trim(self.last + 1)
            self.base = base
        self.log.extend([0] * (last - self.last))
        self.trim(base)

    def move(self, index: int, old: int, new: int) -> bool:
        """The entry at ``old`` stands at ``new`` too: refer to that copy. False if nothing refers to ``old``."""
        place = index - self.base
        if 0 <= place < len(self.log) and self.log[place] == old:
            self.log[place] = new
            return True
        return self.old.move(index, old, new)
