"""How long to wait before dialling again. Pure."""

from __future__ import annotations

from typing import Protocol

from broker.base.instants import Millis


class Chance(Protocol):
    """The part of ``random.Random`` that is needed here."""

    def random(self) -> float:
        """Uniform in [0, 1)."""


class Backoff:
    """Doubles from ``shortest`` to ``longest``, each wait drawn from the upper half, so that nodes that lost the same
    peer at once do not return at once."""

    def __init__(self, shortest: Millis, longest: Millis, chance: Chance) -> None:
        if not 0 < shortest <= longest:
            raise ValueError(f"backoff must be 0 < shortest <= longest, got {shortest} and {longest} ms")
        self._shortest = shortest
        self._longest = longest
        self._chance = chance
        self._ceiling = shortest

    def next(self) -> Millis:
        """The wait before the next attempt, in milliseconds."""
        ceiling = self._ceiling
        self._ceiling = min(Millis(2 * ceiling), self._longest)
        return Millis(round(ceiling * (1 + self._chance.random()) / 2))

    def reset(self) -> None:
        """The peer proved to be there: begin again with short waits."""
        self._ceiling = self._shortest
