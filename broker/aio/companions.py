"""Waiting a moment for one another, so that what many ask at about the same time is asked together.

Callers who were answered ask again at once, as a rule, and what many ask together costs little more than what one asks
alone. So whoever asks waits while a crowd is on its way, for its answers, and then until as many have asked as were
answered; but not for long. Who comes when nobody is expected waits for nobody, and neither does a caller who is alone:
the answer that is waited for was its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from broker.base.instants import SECOND, Millis

MOMENT = Millis(4)
"""How long anybody waits, at most."""
CROWD = 4
"""So many on their way are worth waiting for: by then an answer takes several times as long as that of a caller alone
does."""


class Companions:
    """What waits is let go by the ``go`` of each who joined: when all who are expected have asked, or the moment is
    over. Belongs to one event loop."""

    __slots__ = ("_away", "_expected", "_joined", "_monotonic", "_timer", "_until")

    def __init__(self, monotonic: Callable[[], Millis]) -> None:
        self._monotonic = monotonic
        self._joined: list[Callable[[], None]] = []
        self._away = 0
        self._expected = 0
        self._until = Millis(0)
        """When nobody is expected any more."""
        self._timer: asyncio.TimerHandle | None = None

    def join(self, go: Callable[[], None]) -> None:
        self._joined.append(go)

    def left(self, count: int) -> None:
        """So many are on their way."""
        self._away += count

    def answered(self, count: int) -> None:
        """Of those, so many have their answers, and may ask again."""
        self._away -= count
        now = self._monotonic()
        self._expected = count if now >= self._until else self._expected + count
        self._until = Millis(now + MOMENT)

    def asked(self) -> None:
        """One more has."""
        if self._expected:
            self._expected -= 1
        self.wait()

    def wait(self) -> None:
        """Somebody waits, who may have asked before."""
        if self._away < CROWD and (not self._expected or self._monotonic() >= self._until):
            self._over()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(MOMENT / SECOND, self._over)

    def _over(self) -> None:
        self._expected = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for go in self._joined:
            go()
