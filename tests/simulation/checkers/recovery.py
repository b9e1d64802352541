"""After the last fault is healed, service returns in bounded time."""

from __future__ import annotations

from tests.simulation.checkers.violation import Violation

SECOND = 1_000_000


class Recovery:
    def __init__(self, name: str, bound: int) -> None:
        """``bound`` in microseconds."""
        self.name = name
        self.slowest = 0
        self._bound = bound

    def recovered(self, healed_at: int, now: int, missing: str) -> None:
        """``missing``: what is not yet as it should be, empty when all is."""
        if not missing:
            self.slowest = max(self.slowest, now - healed_at)
        elif now - healed_at > self._bound:
            raise Violation(self.name, f"{(now - healed_at) / SECOND:.1f} s after healing {missing}")
