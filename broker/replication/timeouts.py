"""Many time-outs that almost never fire, kept in coarse buckets: adding one costs a dict look-up, cancelling nothing.

Tokens that were served in the meantime are simply reported again when their bucket falls due; the owner ignores them.
"""

from __future__ import annotations

from broker.base.instants import Millis

_BUCKET = 50
"""Milliseconds: a time-out may be this late, never early."""


class Timeouts:
    def __init__(self) -> None:
        self._buckets: dict[int, list[int]] = {}

    def add(self, token: int, deadline: Millis) -> None:
        number = -(-deadline // _BUCKET)
        bucket = self._buckets.get(number)
        if bucket is None:
            self._buckets[number] = [token]
        else:
            bucket.append(token)

    def next_deadline(self) -> Millis | None:
        return Millis(min(self._buckets) * _BUCKET) if self._buckets else None

    def wake(self, now: Millis) -> list[int]:
        """Tokens whose deadline has passed, oldest first."""
        due = sorted(number for number in self._buckets if number * _BUCKET <= now)
        return [token for number in due for token in self._buckets.pop(number)]
