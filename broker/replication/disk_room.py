"""Whether this node's disk has room for more messages, or only for what empties queues.

What is left below the reserve belongs to receives, deletes and visibility changes: they must be logged too, and they
are what makes room again. Pure; knows neither the disk nor who asks.
"""

from __future__ import annotations

import msgspec


class ReserveSettings(msgspec.Struct, frozen=True):
    """The reserve is ``percent`` of the file system, but at least ``least_bytes``."""

    percent: int = 5
    least_bytes: int = 0

    def of(self, total_bytes: int) -> int:
        return max(total_bytes * self.percent // 100, self.least_bytes)


class DiskRoom:
    """``full``: sends are to be refused. It ends when a fifth more than the reserve is free again, so that it does not
    come and go with every segment."""

    def __init__(self, settings: ReserveSettings | None = None) -> None:
        self._settings = settings or ReserveSettings()
        self.full = False
        self.free = 0
        self.reserve = 0

    def judge(self, free_bytes: int, total_bytes: int) -> bool:
        """Whether the verdict is another one than before."""
        self.free = free_bytes
        self.reserve = self._settings.of(total_bytes)
        was = self.full
        self.full = free_bytes < (self.reserve * 6 // 5 if was else self.reserve)
        return self.full != was


def too_many_full(voters: int, full: int) -> bool:
    """Whether, should the full disks refuse everything, no majority of the voters could write."""
    return voters - full < voters // 2 + 1
