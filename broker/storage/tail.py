"""A group's log as the loop sees it: what was staged counts at once, and the newest entries are held in memory.

The books follow when a batch is sealed, the disk when it is committed; until then an entry is found only here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from broker.base.ids import Index, Term
from broker.raft.types import Entry, SnapshotMark
from broker.storage.operations import Append
from broker.storage.term_runs import TermRuns

_ENTRY_OVERHEAD = 120
"""Bytes of memory that an entry costs beyond its data."""
_SPAN_ENTRIES = 256
"""Entries that go together, at most, unless they came together."""


class Tail:
    __slots__ = ("first", "last", "mark", "mark_name", "recent", "recent_first", "resets", "terms")

    def __init__(self, first: int = 1, last: int = 0, terms: TermRuns | None = None) -> None:
        self.first = first
        self.last = last
        self.terms = terms or TermRuns()
        self.recent: list[Entry] = []
        """Entries from ``recent_first`` to ``last``."""
        self.recent_first = last + 1
        self.mark: SnapshotMark | None = None
        self.mark_name = ""
        self.resets = 0
        """Resets staged and not sealed: until then the books still show the dropped log."""

    def term_at(self, index: int) -> Term | None:
        if self.first - 1 <= index <= self.last:
            term = self.terms.at(index)
            return None if term is None else Term(term)
        if self.mark is not None and self.mark.index == index:
            return self.mark.term
        return None

    def recent_from(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        """Entries from ``first``, which must be recent: about ``max_bytes`` of data, at least one."""
        start = first - self.recent_first
        found = self.recent[start : last - self.recent_first + 1]
        size = 0
        for count, entry in enumerate(found):
            size += len(entry.data)
            if size > max_bytes and count:
                return found[:count]
        return found


class _Span(msgspec.Struct, gc=False):
    """Entries of one tail up to ``last`` that may go, behind those that went before."""

    tail: Tail
    last: int
    entries: int


class Cache:
    """Memory of all tails together. Entries that are not durable yet stay, whatever the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._spans: deque[_Span] = deque()
        """Durable, in the order in which they may go. Whoever appends one entry at a time must not make an object for
        each of them: the collector looks at every one."""
        self._newest: dict[Tail, _Span] = {}

    @property
    def bytes(self) -> int:
        return self._bytes

    def add(self, tail: Tail, entries: list[Entry]) -> None:
        tail.recent.extend(entries)
        self._bytes += _cost(entries)

    def cut(self, tail: Tail, first: int, under_way: Iterable[Append]) -> None:
        """Entries from ``first`` on are about to be replaced. ``under_way``: the group's appends not yet durable."""
        start = max(first - tail.recent_first, 0)
        self._bytes -= _cost(tail.recent[start:])
        del tail.recent[start:]
        tail.recent_first = min(tail.recent_first, first)
        for append in under_way:
            append.last = min(append.last, first - 1)
        for span in self._spans:
            if span.tail is tail:
                span.last = min(span.last, first - 1)
        self._newest.pop(tail, None)

    def drop(self, tail: Tail) -> None:
        """The tail's group is gone."""
        self._bytes -= _cost(tail.recent)
        tail.recent = []
        tail.recent_first = tail.last + 1
        self._newest.pop(tail, None)

    def may_go(self, tail: Tail, append: Append) -> None:
        entries = len(append.offsets)
        newest = self._newest.get(tail)
        if newest is not None and newest.entries + entries <= _SPAN_ENTRIES:
            newest.last = append.last
            newest.entries += entries
        else:
            newest = self._newest[tail] = _Span(tail, append.last, entries)
            self._spans.append(newest)

    def shrink(self) -> None:
        while self._bytes > self._limit and self._spans:
            span = self._spans.popleft()
            tail = span.tail
            if self._newest.get(tail) is span:
                del self._newest[tail]
            count = span.last - tail.recent_first + 1
            if count > 0:
                self._bytes -= _cost(tail.recent[:count])
                del tail.recent[:count]
                tail.recent_first += count


def _cost(entries: list[Entry]) -> int:
    return sum([len(entry.data) for entry in entries]) + _ENTRY_OVERHEAD * len(entries)


def next_index(entries: list[Entry], last: int) -> Index:
    """Checks that ``entries`` are consecutive and continue or replace a log that ends at ``last``; the first's index.

    Raises ValueError.
    """
    first = entries[0].index
    if first > last + 1 or entries[-1].index - first + 1 != len(entries):
        raise ValueError(
            f"entries {first} to {entries[-1].index} ({len(entries)} of them) do not continue a log that ends at {last}"
        )
    return first
