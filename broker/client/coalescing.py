"""What goes into the next frame: everything that waits, at once, up to a count and a size.

Nothing is held back to wait for more. Coalescing comes by itself, because what arrives while a frame is on its way
waits together. Pure; knows nothing of streams, and of its items only their size.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import msgspec

from broker.base.limits import MIB

Item = TypeVar("Item")


class FrameLimits(msgspec.Struct, frozen=True):
    """A frame ends before it would exceed either. ``max_bytes`` counts messages as the broker does."""

    max_messages: int = 500
    max_bytes: int = MIB


class Coalescer(Generic[Item]):
    """First in, first out."""

    __slots__ = ("_bytes", "_items", "_limits")

    def __init__(self, limits: FrameLimits) -> None:
        self._limits = limits
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def add(self, item: Item, size: int) -> None:
        self._items.append((item, size))
        self._bytes += size

    def first(self) -> Item | None:
        """What has waited longest."""
        return self._items[0][0] if self._items else None

    def drop_first(self) -> Item:
        """Raises IndexError when nothing waits."""
        item, size = self._items.popleft()
        self._bytes -= size
        return item

    def fills_a_frame(self) -> bool:
        return len(self._items) >= self._limits.max_messages or self._bytes >= self._limits.max_bytes

    def take(self) -> list[Item]:
        """The next frame: at least one item if any waits, even one larger than a frame should be."""
        items, limits = self._items, self._limits
        if len(items) <= limits.max_messages and self._bytes <= limits.max_bytes:
            taken = [item for item, _ in items]
            items.clear()
            self._bytes = 0
            return taken
        taken = []
        taken_bytes = 0
        while items and len(taken) < limits.max_messages:
            item, size = items[0]
            if taken and taken_bytes + size > limits.max_bytes:
                break
            items.popleft()
            taken.append(item)
            taken_bytes += size
        self._bytes -= taken_bytes
        return taken
