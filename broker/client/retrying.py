"""When to try again: exponential backoff with full jitter, until a deadline.

Full jitter (a pause drawn evenly from zero to the exponential bound) spreads the callers of a node that just failed
better than any fixed schedule: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

Pure: times are seconds handed in, chance is injected. Knows nothing of calls or channels.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from broker.base.errors import BrokerError, Overloaded


class Chance(Protocol):
    """What of ``random.Random`` the client needs."""

    def uniform(self, a: float, b: float) -> float: ...

    def randbytes(self, n: int) -> bytes: ...


class Backoff(msgspec.Struct, frozen=True):
    """Bounds of the pauses in seconds: the first, and the one that no pause exceeds."""

    first: float = 0.03
    ceiling: float = 1.0

    def pause(self, attempt: int, chance: Chance) -> float:
        """Before attempt ``attempt`` + 2, so 0 after the first one failed."""
        return chance.uniform(0.0, min(self.ceiling, self.first * 2.0 ** min(attempt, 30)))


FAILOVER = Backoff(first=0.02, ceiling=0.05)
"""While a new leader is looked for: every pause adds to the gap, and the question is cheap."""

RECONNECT = Backoff(first=0.02, ceiling=0.5)
"""Between two streams: the first pauses are short, but everything unacknowledged is sent again after each."""

MAKING_WAY = Backoff(first=0.25, ceiling=4.0)
"""Whoever was told that there is too much to do adds to it by asking again soon."""


def worth_retrying(error: BrokerError) -> bool:
    """Whether the same call may succeed in a moment without anybody changing anything."""
    return error.retryable and not error.caller_fault


class Retry:
    """The attempts of one call. Ask after each failure."""

    __slots__ = ("_attempt", "_backoff", "_chance", "deadline")

    def __init__(self, backoff: Backoff, chance: Chance, deadline: float) -> None:
        self._backoff = backoff
        self._chance = chance
        self._attempt = 0
        self.deadline = deadline

    def after(self, error: BrokerError, now: float) -> float | None:
        """Seconds to wait before the next attempt; None: give up, and raise the error."""
        if not worth_retrying(error):
            return None
        backoff = MAKING_WAY if isinstance(error, Overloaded) else self._backoff
        pause = backoff.pause(self._attempt, self._chance)
        self._attempt += 1
        return pause if now + pause < self.deadline else None

    def succeeded(self) -> None:
        """There was progress: the next failure is a first one again."""
        self._attempt = 0
