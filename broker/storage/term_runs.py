"""Which term each entry of a log has, kept as the few places where the term changes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from broker.raft.types import Entry

Run = tuple[int, int]
"""First index, term."""


class TermRuns:
    """Covers a log from the index before its first entry (the term an append to the first entry is checked against)."""

    __slots__ = ("_starts", "_terms")

    def __init__(self, runs: list[Run] | None = None) -> None:
        runs = runs or [(0, 0)]
        self._starts = [start for start, _ in runs]
        self._terms = [term for _, term in runs]

    def at(self, index: int) -> int | None:
        """None before the beginning. The end is the caller's to know."""
        place = bisect_right(self._starts, index) - 1
        return self._terms[place] if place >= 0 else None

    def replace(self, runs: list[Run]) -> None:
        """From the first run's index on, these are the terms."""
        for start, term in runs:
            while self._starts and self._starts[-1] >= start:
                self._starts.pop()
                self._terms.pop()
            if not self._terms or self._terms[-1] != term:
                self._starts.append(start)
                self._terms.append(term)

    def trim(self, first: int) -> None:
        """Forget what lies before ``first - 1``."""
        place = bisect_right(self._starts, first - 1) - 1
        if place > 0:
            del self._starts[:place]
            del self._terms[:place]
        if place >= 0:
            self._starts[0] = first - 1

    def reset(self, index: int, term: int) -> None:
        """The log is empty and continues after ``index``."""
        self._starts = [index]
        self._terms = [term]

    def all(self) -> list[Run]:
        return list(zip(self._starts, self._terms, strict=True))

    def within(self, first: int, last: int) -> list[Run]:
        """Runs that cover exactly ``first`` to ``last``."""
        found: list[Run] = []
        for start, term in self.all():
            if start <= last:
                if found and start <= first:
                    found.clear()
                found.append((max(start, first), term))
        return found if first <= last else []


def runs_of(indexes_and_terms: list[Run]) -> list[Run]:
    """Only where the term changes."""
    runs: list[Run] = []
    for index, term in indexes_and_terms:
        if not runs or runs[-1][1] != term:
            runs.append((index, term))
    return runs


def runs_in(entries: Sequence[Entry]) -> list[Run]:
    """Of consecutive entries."""
    first, last = entries[0], entries[-1]
    if first.term == last.term:
        return [(int(first.index), int(last.term))]
    return runs_of([(entry.index, entry.term) for entry in entries])
