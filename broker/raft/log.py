"""What the core knows of its log: where it begins and ends, which terms it holds, how far it is durable, committed
and handed out. Terms are kept as runs; of the bodies only a small recent tail, everything else is read back.

Knows nothing of roles and messages. Section numbers are those of the Raft paper.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from broker.base.ids import Index, Term
from broker.raft.restored import Restored
from broker.raft.types import Entry, SnapshotMark


class RaftLog:
    """Entries ``first_index`` to ``last_index``; everything up to ``mark`` is covered by a snapshot.

    Always: first_index - 1 <= mark.index <= handed_out <= commit <= last_index, and persisted <= last_index.
    """

    __slots__ = (
        "_max_tail_bytes",
        "_reader",
        "_runs",
        "_tail",
        "_tail_bytes",
        "_tail_first",
        "commit",
        "first_index",
        "handed_out",
        "last_index",
        "last_term",
        "mark",
        "persisted",
    )

    def __init__(self, restored: Restored, max_tail_bytes: int) -> None:
        self._reader = restored.reader
        self._max_tail_bytes = max_tail_bytes
        self._runs: list[tuple[Index, Term]] = []
        self.restart(restored.mark)
        if restored.last_index > restored.mark.index and _continues(restored):
            self.first_index = restored.first_index
            self.last_index = self.persisted = restored.last_index
            self._runs = list(restored.term_runs)
            self.last_term = self._runs[-1][1]
            self._tail_first = Index(restored.last_index + 1)

    def restart(self, mark: SnapshotMark) -> None:
        """The log is empty behind a durable snapshot that the machine already holds."""
        self.mark = mark
        self.first_index = Index(mark.index + 1)
        self.last_index = self.persisted = self.commit = self.handed_out = mark.index
        self.last_term = mark.term
        self._runs = [(mark.index, mark.term)]
        self._tail: list[Entry] = []
        self._tail_first = Index(mark.index + 1)
        self._tail_bytes = 0

    def term_at(self, index: Index) -> Term | None:
        """None where neither the log nor the snapshot's mark tells."""
        if index > self.last_index:
            return None
        start, term = self._runs[-1]
        if index >= start:
            return term
        if index == self.mark.index:
            return self.mark.term
        position = bisect_right(self._runs, index, key=_start) - 1
        if position >= 0:
            return self._runs[position][1]
        return self._reader.term_at(index) if index > 0 else None

    def last_agreeing(self, index: Index, term: Term) -> tuple[Index, Term]:
        """The last index up to ``index`` whose term is not above ``term``, and its term: where a log that holds
        ``term`` at ``index`` may agree with this one (5.3, end). (0, 0) when nothing does."""
        index = min(index, self.last_index)
        position = bisect_right(self._runs, index, key=_start) - 1
        while position >= 0:
            start, run_term = self._runs[position]
            if run_term <= term:
                return index, run_term
            index = Index(start - 1)
            position -= 1
        return Index(0), Term(0)

    def append(self, entries: Sequence[Entry]) -> None:
        """``entries`` follow the last one; terms never fall.

        The tail is trimmed before, not after: what is appended now stays readable until storage has been told.
        """
        if self._tail_bytes > self._max_tail_bytes:
            self._trim()
        term = self.last_term
        size = 0
        for entry in entries:
            size += len(entry.data)
            if entry.term != term:
                term = entry.term
                self._runs.append((entry.index, term))
        self.last_term = term
        self.last_index = entries[-1].index
        self._tail.extend(entries)
        self._tail_bytes += size

    def _trim(self) -> None:
        surplus = self._tail_bytes - self._max_tail_bytes // 2
        count = 0
        for entry in self._tail:
            if surplus <= 0:
                break
            surplus -= len(entry.data)
            self._tail_bytes -= len(entry.data)
            count += 1
        del self._tail[:count]
        self._tail_first = Index(self._tail_first + count)

    def cut_from(self, index: Index) -> None:
        """Forget the entries from ``index`` on; ``index`` is above the commit index."""
        self.last_index = Index(index - 1)
        self.persisted = min(self.persisted, self.last_index)
        while self._runs and self._runs[-1][0] >= index:
            self._runs.pop()
        if not self._runs:
            self._runs = [(self.mark.index, self.mark.term)]
        self.last_term = self._runs[-1][1]
        keep = max(0, index - self._tail_first)
        self._tail_bytes -= sum(len(entry.data) for entry in self._tail[keep:])
        del self._tail[keep:]
        self._tail_first = min(self._tail_first, index)

    def compact(self, mark: SnapshotMark, keep_from: Index) -> None:
        """A durable snapshot covers everything up to ``mark``, already handed out; the log now begins at ``keep_from``.
        The term just before its first entry stays known, so that the first can still be sent."""
        self.mark = mark
        keep_from = min(keep_from, Index(mark.index + 1))
        if keep_from <= self.first_index:
            return
        before = Index(keep_from - 1)
        term = self.term_at(before)
        self.first_index = keep_from
        if term is not None:
            self._runs = [(before, term), *(run for run in self._runs if run[0] > before)]
        if keep_from > self._tail_first:
            count = keep_from - self._tail_first
            self._tail_bytes -= sum(len(entry.data) for entry in self._tail[:count])
            del self._tail[:count]
            self._tail_first = keep_from

    def entries(self, first: Index, last: Index, max_bytes: int) -> Sequence[Entry]:
        """Consecutive entries from ``first``, not beyond ``last``: at least one, and no more than ``max_bytes`` of data
        unless one alone is larger. Empty if the log does not hold ``first``."""
        if first < self.first_index or first > last:
            return ()
        if first < self._tail_first:
            return self._reader.read(first, min(last, Index(self._tail_first - 1)), max_bytes)
        start = first - self._tail_first
        found = self._tail[start : last - self._tail_first + 1]
        if self._tail_bytes <= max_bytes:
            return found
        size = 0
        for count, entry in enumerate(found):
            size += len(entry.data)
            if size > max_bytes and count:
                return found[:count]
        return found

    def hand_out(self, max_bytes: int) -> list[Entry]:
        """The next committed entries; the rest, if they are more than ``max_bytes``, at the next call."""
        found = list(self.entries(Index(self.handed_out + 1), self.commit, max_bytes))
        self.handed_out = Index(self.handed_out + len(found))
        return found


def _continues(restored: Restored) -> bool:
    """Whether the log goes on behind the snapshot. One that disagrees with it is older: what replaced it had been
    applied, and so is in the snapshot, but was not synced when the process ended."""
    mark = restored.mark
    position = bisect_right(restored.term_runs, mark.index, key=_start) - 1
    if mark.index < restored.first_index:
        return mark.index == restored.first_index - 1
    return position >= 0 and restored.term_runs[position][1] == mark.term


def _start(run: tuple[Index, Term]) -> Index:
    return run[0]
