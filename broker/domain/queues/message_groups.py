"""The message groups of a queue: what of each waits, and which of them has the oldest message.

In a FIFO queue a message group is what keeps its order; in a standard queue it is a tenant who must not delay the
others. Both kinds ask the same: whose message is next, and whose has lived too long. Answers come from heaps whose
entries are checked when they surface: an entry may be out of date, but whoever has a message has one that is true.
Knows nothing of receipts or of who may be served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, heapreplace

from broker.domain.queues.keys import AFTER_ALL
from broker.domain.queues.returned import Columns, ReturnedList, Row
from broker.domain.queues.runs import RunList

_SPARE_ENTRIES = 64
_NOTHING = ReturnedList()
"""Shared by all groups of which nothing has come back; stays empty."""


class MessageGroup:
    """``fresh``: never received; ``returned``: received before and visible again. Beside what waits here, ``held``
    messages are in flight, ``leaving`` on their way to another queue, ``scheduled`` wait for an instant of theirs."""

    __slots__ = ("fresh", "held", "leaving", "name", "number", "returned", "scheduled")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fresh = RunList()
        self.returned = _NOTHING
        self.held = 0
        self.leaving = 0
        self.scheduled = 0
        self.number = 0
        """Of this replica only, while something is scheduled."""

    @property
    def messages(self) -> int:
        """Those that wait."""
        return self.fresh.messages + self.returned.messages

    @property
    def in_use(self) -> bool:
        return bool(self.fresh.messages or self.returned.messages or self.held or self.leaving or self.scheduled)

    def first_key(self) -> int:
        """Of the oldest message that waits; AFTER_ALL when none does."""
        fresh, returned = self.fresh.first_key(), self.returned.first_key()
        return fresh if fresh < returned else returned

    def give_back(self, columns: Columns) -> None:
        """Messages that were received before."""
        if self.returned is _NOTHING:
            self.returned = ReturnedList()
        self.returned.add_columns(columns)

    def oldest_sent(self) -> int | None:
        """Of those that wait."""
        fresh, returned = self.fresh.oldest_sent(), self.returned.oldest_sent()
        if fresh is None or returned is None:
            return returned if fresh is None else fresh
        return fresh if fresh < returned else returned


class MessageGroups:
    """The named ones. Whoever adds to a group, or gives back to it, must ``offer`` it."""

    __slots__ = ("_heads", "_parked", "by_name", "homes", "messages")

    def __init__(self) -> None:
        self.by_name: dict[str, MessageGroup] = {}
        self.messages = 0
        """That wait, in all groups."""
        self.homes: dict[int, MessageGroup] = {}
        """Where the messages are that wait and were received before: handles name a message, not its group."""
        self._heads: list[tuple[int, str]] = []
        """Heap: first key that waits, and whose it is. Keys ascend with send times."""
        self._parked: list[tuple[int, str]] = []
        """Heap of the same: groups that were found not usable."""

    def __len__(self) -> int:
        return len(self.by_name)

    def open(self, name: str) -> MessageGroup:
        group = self.by_name.get(name)
        if group is None:
            group = self.by_name[name] = MessageGroup(name)
        return group

    def close(self, group: MessageGroup) -> None:
        """Forget the group if nothing of it is left."""
        if not group.in_use:
            self.by_name.pop(group.name, None)

    def append(self, group: MessageGroup, key: int, count: int, sent: int) -> None:
        """New messages, younger than all there are."""
        first = not group.messages
        group.fresh.append(key, count, sent)
        self.messages += count
        if first:
            self.offer(group)

    def insert(self, group: MessageGroup, key: int, sent: int) -> None:
        """One that was never received and may be older than others."""
        group.fresh.insert(key, 1, sent)
        self.messages += 1
        self.offer(group)

    def give_back(self, group: MessageGroup, columns: Columns) -> None:
        """Messages that were received before."""
        group.give_back(columns)
        self.messages += len(columns[0])
        for key in columns[0]:
            self.homes[key] = group
        self.offer(group)

    def taken(self, rows: list[Row], fresh: int) -> None:
        """Messages were taken from their group: ``rows`` of its returned ones and so many fresh ones."""
        self.messages -= len(rows) + fresh
        for row in rows:
            del self.homes[row[0]]

    def withdraw(self, group: MessageGroup, wanted: int, below: int = AFTER_ALL) -> list[Row]:
        """Take the group's oldest messages with keys < ``below`` out of the queue; those that were never received have
        zeros for what receiving would have told."""
        rows: list[Row] = []
        while len(rows) < wanted:
            fresh, returned = group.fresh.first_key(), group.returned.first_key()
            if returned < min(fresh, below):
                rows += group.returned.take(wanted - len(rows), min(fresh, below))
            elif fresh < below:
                for key, count, sent in group.fresh.take(wanted - len(rows), min(returned, below)):
                    rows += [(each, sent, 0, 0, 0) for each in range(key, key + count)]
            else:
                break
        if group.name:
            self.messages -= len(rows)
            for row in rows:
                self.homes.pop(row[0], None)
        return rows

    def remove_returned(self, key: int) -> MessageGroup:
        """One that waits and was received before. Raises KeyError when there is none."""
        group = self.homes.pop(key)
        group.returned.remove(key)
        self.messages -= 1
        return group

    def remove_fresh(self, group: MessageGroup, key: int) -> bool:
        """One that was never received; whether it was there."""
        if group.fresh.remove(key) is None:
            return False
        self.messages -= 1
        return True

    def offer(self, group: MessageGroup) -> None:
        """The group may have become the one with the oldest message, or usable."""
        key = group.first_key()
        if key < AFTER_ALL:
            heappush(self._heads, (key, group.name))
            if len(self._heads) + len(self._parked) > 4 * len(self.by_name) + _SPARE_ENTRIES:
                self.reindex()

    def reindex(self) -> None:
        """Of every group one entry: after loading, or when the heaps hold little that is true."""
        waiting = [group for group in self.by_name.values() if group.messages]
        self._heads = [(group.first_key(), group.name) for group in waiting]
        self._parked = []
        heapify(self._heads)
        self.messages = sum(group.messages for group in waiting)

    def first(self, usable: Callable[[MessageGroup], bool]) -> MessageGroup | None:
        """Of the usable groups, the one with the oldest message that waits. A group found not usable is not asked again
        until it is offered."""
        while (group := self._front(self._heads)) is not None:
            if usable(group):
                return group
            heappush(self._parked, heappop(self._heads))
        return None

    def bound_after(self, key: int) -> int:
        """Below this key, and from ``key`` on, there are only messages of the group that ``first`` has just found with
        ``key``. Greater than ``key``."""
        return max(key + 1, min((entry[0] for entry in self._heads[1:3]), default=AFTER_ALL))

    def oldest_sent(self) -> int | None:
        """Of all that wait."""
        oldest = self._oldest()
        return None if oldest is None else oldest.oldest_sent()

    def drop_sent_until(self, instant: int, limit: int) -> Iterator[tuple[MessageGroup, int]]:
        """Forget waiting messages sent at or before ``instant``, group by group, until ``limit`` were dropped: which
        group, and how many."""
        while limit > 0 and (group := self._oldest()) is not None and (group.oldest_sent() or 0) <= instant:
            dropped = self.drop_from(group, instant)
            limit -= dropped
            yield group, dropped

    def drop_from(self, group: MessageGroup, instant: int) -> int:
        """Forget waiting messages of the group sent at or before ``instant``; how many that were."""
        for row in group.returned.rows(-1):
            if row[1] > instant:
                break
            del self.homes[row[0]]
        dropped = group.returned.drop_sent_until(instant) + group.fresh.drop_sent_until(instant)
        self.messages -= dropped
        return dropped

    # --- inside

    def _oldest(self) -> MessageGroup | None:
        """The group with the oldest message that waits, usable or not."""
        head, parked = self._front(self._heads), self._front(self._parked)
        if head is None or parked is None:
            return parked if head is None else head
        return head if head.first_key() <= parked.first_key() else parked

    def _front(self, heap: list[tuple[int, str]]) -> MessageGroup | None:
        """The group that the first true entry names; others before it are put right or dropped."""
        while heap:
            key, name = heap[0]
            group = self.by_name.get(name)
            actual = AFTER_ALL if group is None else group.first_key()
            if actual == key:
                return group
            if key < actual < AFTER_ALL:
                heapreplace(heap, (actual, name))
            else:
                heappop(heap)
        return None
