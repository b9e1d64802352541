"""What entries are stamped with follows the clocks of the cluster, as long as more than half of them are right."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.checkers.violation import Violation

EARLY = 50
LATE = 250


class LogTime:
    """``true_time`` in milliseconds; None where nobody promises anything, since several clocks are wrong at once."""

    name = "log time keeps to the clocks"

    def __init__(self, true_time: Callable[[], int] | None = None) -> None:
        self.true_time = true_time
        self.checked = 0

    def stamped(self, group: int, index: int, at: int) -> None:
        """An entry was applied for the first time: it was stamped before."""
        if self.true_time is None:
            return
        self.checked += 1
        ahead = at - self.true_time()
        if ahead > EARLY:
            raise Violation(self.name, f"entry {index} of group {group} is stamped {ahead} ms ahead of the time")

    def believed(self, node: str, at: int) -> None:
        """By a node, when all is well again."""
        if self.true_time is None:
            return
        ahead = at - self.true_time()
        if not -LATE <= ahead <= EARLY:
            raise Violation(self.name, f"{node} believes in a time that is {ahead} ms ahead")
