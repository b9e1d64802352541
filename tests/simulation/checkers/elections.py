"""Raft's election safety and leader completeness (paper figure 3)."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.checkers.violation import Violation


class OneLeaderPerTerm:
    name = "one leader per term"

    def __init__(self) -> None:
        self._leaders: dict[tuple[int, int], str] = {}

    def elected(self, node: str, group: int, term: int) -> None:
        leader = self._leaders.setdefault((group, term), node)
        if leader != node:
            raise Violation(self.name, f"group {group} has two leaders in term {term}: {leader} and {node}")


class LeaderCompleteness:
    """A leader of a later term has everything that was ever committed. Checked at the highest entry that any machine
    has applied: log matching vouches for those below. Whoever's votes came late may well win a term that has passed."""

    name = "leader completeness"

    def __init__(self) -> None:
        self._highest: dict[int, tuple[int, int, int]] = {}

    def applied(self, group: int, index: int, term: int, known_in: int) -> None:
        """``known_in``: the term of the replica that applied it, at least the one in which it was committed."""
        if index > self._highest.get(group, (0, 0, 0))[0]:
            self._highest[group] = (index, term, known_in)

    def elected(self, node: str, group: int, term: int, snapshot: int, term_at: Callable[[int], int | None]) -> None:
        """``snapshot``: what the new leader's log no longer needs to hold."""
        index, committed_term, known_in = self._highest.get(group, (0, 0, 0))
        if index <= snapshot or term < known_in:
            return
        found = term_at(index)
        if found != committed_term:
            raise Violation(
                self.name,
                f"{node} leads group {group} in term {term} without the committed entry {index} of term "
                f"{committed_term}; it has there {'nothing' if found is None else f'term {found}'}",
            )
