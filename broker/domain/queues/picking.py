"""What one receive takes from a queue, being gathered: deliveries, the batches that hold them, and dead letters.

Which message group is asked is the queue's affair; here is how messages are taken from one.
"""

from __future__ import annotations

from broker.base.instants import WallMillis
from broker.domain.queues.commands import Delivery
from broker.domain.queues.keys import AFTER_ALL, SLOT_BITS, SLOT_MASK
from broker.domain.queues.message_groups import MessageGroup, MessageGroups
from broker.domain.queues.returned import Row
from broker.domain.queues.visibility import Batch


class _Taken:
    """From one message group; keys ascend."""

    __slots__ = ("keys", "repeats", "sents")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.sents: list[int] = []
        self.repeats: dict[int, tuple[int, int]] = {}


class Picking:
    """``most_receives``: a message received so often is a dead letter; None: none is. ``dead``: those found, and whose
    they are. What was sent at ``horizon`` or before has expired: ``expired`` messages were found so, of named groups in
    ``shed``."""

    __slots__ = (
        "_groups",
        "_horizon",
        "_taken",
        "at",
        "dead",
        "deliveries",
        "expired",
        "most_receives",
        "receipt",
        "shed",
    )

    def __init__(
        self, groups: MessageGroups, receipt: int, at: WallMillis, horizon: int, most_receives: int | None
    ) -> None:
        self.receipt = receipt
        self.at = at
        self._horizon = horizon
        self.expired = 0
        self.shed: dict[str, MessageGroup] = {}
        self.most_receives = most_receives
        self.deliveries: list[Delivery] = []
        self.dead: list[tuple[MessageGroup, Row]] = []
        self._groups = groups
        self._taken: dict[str, tuple[MessageGroup, _Taken]] = {}

    def taken_from(self, group: MessageGroup) -> int:
        """How many messages."""
        taken = self._taken.get(group.name)
        return 0 if taken is None else len(taken[1].keys)

    def take(self, group: MessageGroup, wanted: int, below: int = AFTER_ALL) -> int:
        """Up to ``wanted`` of the group's oldest messages with keys < ``below``; how many that were. Dead letters found
        on the way leave, and are not counted."""
        if group.name and (group.oldest_sent() or 0) <= self._horizon:
            self.expired += self._groups.drop_from(group, self._horizon)
            self.shed[group.name] = group
        known = self._taken.get(group.name)
        if known is None:
            known = self._taken[group.name] = (group, _Taken())
        taken, fresh, returned = known[1], group.fresh, group.returned
        left = wanted
        while left:
            next_fresh, next_returned = fresh.first_key(), returned.first_key()
            if next_returned < next_fresh and next_returned < below:
                left -= self._take_returned(group, taken, left, min(next_fresh, below))
            elif next_fresh < below:
                left -= self._take_fresh(group, taken, left, min(next_returned, below))
            else:
                break
        return wanted - left

    def batches(self, until: int) -> list[Batch]:
        """What was taken, to be held until then: one batch for each message group."""
        return [
            Batch(group, self.receipt, self.at, until, taken.keys, taken.sents, taken.repeats or None)
            for group, taken in self._taken.values()
            if taken.keys
        ]

    # --- inside

    def _take_returned(self, group: MessageGroup, taken: _Taken, wanted: int, below: int) -> int:
        rows = group.returned.take(wanted, below)
        if group.name:
            self._groups.taken(rows, 0)
        if self.most_receives is not None:
            limit = self.most_receives
            self.dead += [(group, row) for row in rows if row[4] >= limit]
            rows = [row for row in rows if row[4] < limit]
        for key, sent, received, _, count in rows:
            taken.keys.append(key)
            taken.sents.append(sent)
            first = received or self.at  # 0: it came back from the outbox and was never received
            taken.repeats[key] = first, count + 1
            self.deliveries.append(
                Delivery(
                    key >> SLOT_BITS,
                    key & SLOT_MASK,
                    self.receipt,
                    count + 1,
                    WallMillis(sent),
                    WallMillis(first),
                    group.name,
                )
            )
        return len(rows)

    def _take_fresh(self, group: MessageGroup, taken: _Taken, wanted: int, below: int) -> int:
        receipt, at, name = self.receipt, self.at, group.name
        count = 0
        for key, messages, sent in group.fresh.take(wanted, below):
            index, slot = key >> SLOT_BITS, key & SLOT_MASK
            taken.keys += range(key, key + messages)
            taken.sents += [sent] * messages
            self.deliveries += [
                Delivery(index, each, receipt, 1, WallMillis(sent), at, name) for each in range(slot, slot + messages)
            ]
            count += messages
        if name:
            self._groups.taken([], count)
        return count
