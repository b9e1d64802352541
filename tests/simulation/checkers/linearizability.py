"""Strong reads: one that begins after a write was acknowledged, or after another read ended, sees no less."""

from __future__ import annotations

from typing import Any

from tests.simulation.checkers.violation import Violation


class LinearizableReads:
    """Numbers that only grow (how many messages were sent to a queue), by key."""

    name = "strong reads are linearizable"

    def __init__(self) -> None:
        self._acknowledged: dict[Any, int] = {}
        self._invoked: dict[Any, int] = {}
        self._seen: dict[Any, int] = {}
        self.reads = 0

    def invoked(self, key: Any, amount: int) -> None:
        self._invoked[key] = self._invoked.get(key, 0) + amount

    def acknowledged(self, key: Any, amount: int) -> None:
        self._acknowledged[key] = self._acknowledged.get(key, 0) + amount

    def begin(self, key: Any) -> int:
        """The least that a read beginning now may see."""
        return max(self._acknowledged.get(key, 0), self._seen.get(key, 0))

    def end(self, key: Any, least: int, seen: int, node: str) -> None:
        self.reads += 1
        most = self._invoked.get(key, 0)
        if not least <= seen <= most:
            raise Violation(
                self.name,
                f"a read of {key} at {node} saw {seen}; acknowledged before it began were {least}, ever asked for "
                f"{most}",
            )
        self._seen[key] = max(seen, self._seen.get(key, 0))
