"""What a group has to send to other groups: numbered items that stay until the far side has answered for them.

Numbers ascend for ever, so that a far side which remembers the highest that arrived knows all it has seen. Which item
goes where, and what it means, is the room's affair.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

WAKE_KEY = ("outbox", 0)
"""Of the effect Wake: something has been put into an outbox."""
_SPARE = 1024


class Outbox(Generic[Item]):
    __slots__ = ("_items", "_numbers", "next_number")

    def __init__(self, next_number: int = 1) -> None:
        self.next_number = next_number
        self._items: dict[int, Item] = {}
        self._numbers: list[int] = []
        """Ascending; those that are gone stay until they are the most."""

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        """Ascending by number."""
        return iter(self._items.items())

    def add(self, item: Item) -> int:
        """Its number."""
        number = self.next_number
        self.next_number = number + 1
        self.load(number, item)
        return number

    def load(self, number: int, item: Item) -> None:
        """Put in again what a dump held; numbers ascend from call to call."""
        self._items[number] = item
        self._numbers.append(number)

    def pop(self, number: int) -> Item | None:
        """Take an item out; None when it is not there (any more)."""
        item = self._items.pop(number, None)
        if len(self._numbers) > 2 * len(self._items) + _SPARE:
            self._numbers = list(self._items)
        return item

    def after(self, number: int, limit: int) -> list[tuple[int, Item]]:
        """Up to ``limit`` items with higher numbers, ascending."""
        found: list[tuple[int, Item]] = []
        numbers, items = self._numbers, self._items
        place = bisect_right(numbers, number)
        while len(found) < limit and place < len(numbers):
            item = items.get(numbers[place])
            if item is not None:
                found.append((numbers[place], item))
            place += 1
        return found
