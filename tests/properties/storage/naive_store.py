"""What a store ought to hold, said as simply as can be: dictionaries, copied when a batch is sealed."""

from __future__ import annotations

from copy import deepcopy

from broker.raft.types import Entry, HardState, SnapshotMark


class NaiveGroup:
    def __init__(self) -> None:
        self.hard_state = HardState()
        self.mark: SnapshotMark | None = None
        self.snapshot = b""
        self.first = 1
        self.log: dict[int, Entry] = {}
        self.old: dict[int, Entry] = {}
        """Entries before the log that are still live."""
        self.dead: dict[int, Entry] = {}
        """Entries that may be forgotten, and may be there: then they must be these."""
        self.carried: list[Entry] = []
        """All that ever came with a snapshot. A dead one may be found again: here, unlike in a cluster, an entry of a
        transfer that was broken off may differ from what the log later holds in its place."""

    @property
    def last(self) -> int:
        return self.first + len(self.log) - 1

    def append(self, entries: list[Entry]) -> None:
        for index in range(entries[0].index, self.last + 1):
            del self.log[index]
        for entry in entries:
            self.log[entry.index] = entry

    def carry(self, entries: list[Entry]) -> None:
        self.carried += entries
        for entry in entries:
            self.old[entry.index] = entry

    def reset(self, mark: SnapshotMark, snapshot: bytes) -> None:
        self.mark, self.snapshot = mark, snapshot
        self.log.clear()
        self.first = mark.index + 1

    def retain(self, mark_index: int, live: list[tuple[int, int]], keep_from: int) -> None:
        while self.first < keep_from and self.log:
            self.old[self.first] = self.log.pop(self.first)
            self.first += 1
        kept = {index for first, last in live for index in range(first, last + 1)}
        for index in [index for index in self.old if index <= mark_index and index not in kept]:
            self.dead[index] = self.old.pop(index)


class NaiveStore:
    def __init__(self) -> None:
        self.groups: dict[int, NaiveGroup] = {}

    def group(self, group: int) -> NaiveGroup:
        return self.groups.setdefault(group, NaiveGroup())

    def copy(self) -> NaiveStore:
        return deepcopy(self)
