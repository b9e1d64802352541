"""Many time-outs that almost never fire, kept in coarse buckets: adding one costs a dict look-up, cancelling nothing.

Tokens that were served in the meantime are simply reported again when their bucket falls due; the owner ignores them.
"""

from __future__ import annotations

from heapq import heappop, heappush

from broker.base.instants import Millis

_BUCKET = 50
"""Milliseconds: a time-out may be this late, never early."""


class Timeouts:
    def __init__(self) -> None:
        self._buckets: dict[int, list[int]] = {}
        self._numbers: list[int] = []
        """Of the buckets, as a heap."""

    def add(self, token: int, deadline: Millis) -> None:
        number = -(-deadline // _BUCKET)
        bucket = self._buckets.get(number)
        if bucket is None:
            self._buckets[number] = [token]
            heappush(self._numbers, number)
        else:
            bucket.append(token)

    def next_deadline(self) -> Millis | None:
        return Millis(self._numbers[0] * _BUCKET) if self._numbers else None

    def wake(self, now: Millis) -> list[int]:
        """Tokens whose deadline has passed, oldest first."""
        due: list[int] = []
        while self._numbers and self._numbers[0] * _BUCKET <= now:
            due += self._buckets.pop(heappop(self._numbers))
        return due
