"""Log matching (paper figure 3): equal index and term means equal entries up to there."""

from __future__ import annotations

from typing import Protocol

from tests.simulation.checkers.violation import Violation


class LogView(Protocol):
    """One replica's log. ``first`` to ``last`` are the indexes it can tell the term of."""

    node: str
    first: int
    last: int

    def term_at(self, index: int) -> int | None: ...
    def data_at(self, index: int) -> bytes | None: ...
    def readable(self, index: int) -> bool: ...


class LogMatching:
    name = "log matching"

    def compare(self, group: int, a: LogView, b: LogView, with_data: bool) -> None:
        first, last = max(a.first, b.first), min(a.last, b.last)
        agreed_at: int | None = None
        for index in range(last, first - 1, -1):
            term_a, term_b = a.term_at(index), b.term_at(index)
            if term_a != term_b:
                if agreed_at is not None:
                    raise Violation(
                        self.name,
                        f"group {group}: {a.node} and {b.node} agree at {agreed_at} but not at {index}: "
                        f"terms {term_a} and {term_b}",
                    )
                continue
            if agreed_at is None:
                agreed_at = index
            if with_data and a.data_at(index) != b.data_at(index) and a.readable(index) and b.readable(index):
                raise Violation(
                    self.name,
                    f"group {group}: entry {index} of term {term_a} has different data on {a.node} and {b.node}",
                )
