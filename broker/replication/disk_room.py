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
    come and go with every segment. What is written between two looks at the disk counts at once: a small reserve may be
    written in less time than that."""

    def __init__(self, settings: ReserveSettings | None = None) -> None:
        self._settings = settings or ReserveSettings()
        self.full = False
        self.free = 0
        self.reserve = 0

    def judge(self, free_bytes: int, total_bytes: int) -> bool:
        """Whether the verdict is another one than before."""
        self.reserve = self._settings.of(total_bytes)
        return self._judge(free_bytes)

    def written(self, size: int) -> bool:
        """So many bytes more. Whether the verdict is another one than before; there is none before the first look."""
        return self.reserve > 0 and self._judge(self.free - size)

    def _judge(self, free: int) -> bool:
        self.free = free
        was = self.full
        self.full = free < (self.reserve * 6 // 5 if was else self.reserve)
        return self.full != was


def too_many_full(voters: int, full: int) -> bool:
    """Whether, should the full disks refuse everything, no majority of the voters could write."""
    return voters - full < voters // 2 + 1
