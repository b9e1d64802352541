"""Many time-outs that almost never fire, kept in coarse buckets: adding one costs a dict look-up, cancelling nothing.

Tokens that were served in the meantime are simply reported again when their bucket falls due; the owner ignores them.
"""

from __future__ import annotations

from collections.abc import Container
from heapq import heappop, heappush

from broker.base.instants import Millis

_BUCKET = 50
"""Milliseconds: a time-out may be this late, never early."""


class Timeouts:
    def __init__(self) -> None:
        self._buckets: dict[int, list[int]] = {}
        self._numbers: list[int] = []
        """Of the buckets, as a heap."""
        self._count = 0

    def __len__(self) -> int:
        """Tokens kept, those served already among them."""
        return self._count

    def add(self, token: int, deadline: Millis) -> None:
        self._count += 1
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
        self._count -= len(due)
        return due

    def keep(self, waiting: Container[int]) -> None:
        """Forgets every token that is not ``waiting`` any more."""
        kept = {number: [each for each in bucket if each in waiting] for number, bucket in self._buckets.items()}
        self._buckets = {number: bucket for number, bucket in kept.items() if bucket}
        self._numbers = sorted(self._buckets)
        self._count = sum(map(len, self._buckets.values()))
