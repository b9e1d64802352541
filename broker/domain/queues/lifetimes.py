"""Messages that have a lifetime of their own: when it ends, wherever they are by then.

One lane per lifetime, as for delays, and rounded up like these. A message that is gone before stays listed until its
lifetime ends. Knows nothing of the places where messages are.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.domain.queues.delayed import Delayed, rounded
from broker.domain.queues.message_groups import MessageGroup
from broker.domain.queues.runs import RunList


class Lifetimes:
    __slots__ = ("lanes", "owners")

    def __init__(self) -> None:
        self.lanes = Delayed()
        """By lifetime."""
        self.owners: dict[int, MessageGroup] = {}
        """The message groups of those that have a named one."""

    def add(self, key: int, sent: int, lifetime: int, group: MessageGroup) -> None:
        self.lanes.add(key, 1, sent, rounded(lifetime))
        if group.name:
            self.owners[key] = group

    def next_end(self) -> int | None:
        return self.lanes.next_due()

    def end_of(self, key: int) -> int:
        """When the message's lifetime ends; 0 when it has none of its own, or that has ended. Asks every lane."""
        for lifetime, lane in self.lanes.lanes.items():
            sent = lane.find(key)
            if sent is not None:
                return sent + lifetime
        return 0

    def ended(self, at: int) -> Iterator[tuple[int, MessageGroup | None]]:
        """The messages whose lifetime has ended by ``at``, and their named message groups; they are listed no more."""
        if self.lanes.messages:
            ended = RunList()
            self.lanes.ripen(at, ended)
            for key, _ in ended.rows(-1):
                yield key, self.owners.pop(key, None)
