"""One FIFO queue: message groups in strict order, and no message stored twice within five minutes.

A message group is blocked while a message of it is in flight or on its way to another queue; then its next message in
order is handed out, and other groups go on meanwhile. Amazon SQS Developer Guide, "FIFO queue delivery logic",
"Exactly-once processing in Amazon SQS", "Amazon SQS delay queues" (a FIFO queue's delay is the queue's alone, and a
change of it counts for what is still delayed).
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush

from broker.base.errors import DeduplicationIdRequired, MessageGroupRequired, NotForFifo
from broker.base.ids import QueueId
from broker.base.instants import WallMillis
from broker.base.limits import DEDUPLICATION_INTERVAL, MAX_VISIBILITY_TIMEOUT
from broker.domain.queues.commands import Arrival, Deliveries, Delivery, Receive, Send, Sent
from broker.domain.queues.deduplication import Attempt, Attempts, Deduplication, digest
from broker.domain.queues.keys import SLOT_BITS, SLOT_MASK
from broker.domain.queues.message_groups import MessageGroup
from broker.domain.queues.model import PER_MESSAGE_GROUP, QueueAttributes
from broker.domain.queues.picking import Picking
from broker.domain.queues.queue import Came, Queue
from broker.domain.queues.returned import Row
from broker.domain.queues.runs import RunList


class FifoQueue(Queue):
    __slots__ = ("_unripe_heads", "attempts", "deduplication", "unripe")

    def __init__(
        self, queue: QueueId, name: str, attributes: QueueAttributes, at: WallMillis, in_flight_limit: int
    ) -> None:
        super().__init__(queue, name, attributes, at, in_flight_limit)
        self.deduplication = Deduplication()

    # --- commands

    def send(self, command: Send, index: int, at: WallMillis) -> tuple[Sent, int]:
        groups, identities = _checked(self.name, command)
        per_group = self.attributes.deduplication_scope == PER_MESSAGE_GROUP
        deduplication = self.deduplication
        deduplication.forget(at)
        duplicates: list[tuple[int, int]] = []
        visible = 0
        for slot in range(command.count):
            key, name = index << SLOT_BITS | slot, groups[slot]
            identity = digest(name if per_group else "", identities[slot])
            first = deduplication.find(identity)
            if first is not None:
                duplicates.append((slot, first))
                continue
            deduplication.remember(identity, at, key)
            visible += self._append(key, name, at)
            if command.lifetimes is not None and command.lifetimes[slot]:
                self.lifetimes.add(key, at, command.lifetimes[slot], self.named.by_name[name])
        self.sent_total += command.count - len(duplicates)
        self.duplicates_total += len(duplicates)
        return Sent(index, command.count, at, tuple(duplicates)), visible

    def arrive(self, arrival: Arrival, key: int, at: WallMillis) -> int:
        if not arrival.group:
            raise MessageGroupRequired(f"FIFO queue {self.name} takes no message without a message group")
        self.arrived_total += 1
        return self._append(key, arrival.group, at)

    def receive(self, command: Receive, timeout: int, index: int, at: WallMillis) -> tuple[Deliveries, Picking, int]:
        """A receive-attempt id that is asked for again gets the same messages, held anew, as long as all of them are
        held by that attempt and nobody has changed how long."""
        if not command.attempt:
            return super().receive(command, timeout, index, at)
        self.attempts.forget(at)
        known = self.attempts.find(command.attempt)
        if known is not None and timeout and self._unchanged(known):
            return self._again(known, timeout, at), Picking(self.named, index, at, 0, None), 0
        deliveries, picking, visible = super().receive(command, timeout, index, at)
        if deliveries.deliveries:
            keys = tuple(each.index << SLOT_BITS | each.slot for each in deliveries.deliveries)
            self.attempts.remember(command.attempt, Attempt(at, index, deliveries.until, keys))
        return deliveries, picking, visible

    def withdraw_for_move(self, wanted: int) -> list[tuple[MessageGroup, Row]]:
        taken: list[tuple[MessageGroup, Row]] = []
        bound = self.unripe.first_key()
        while len(taken) < wanted and (group := self.named.first(self._is_free)) is not None:
            taken += [(group, row) for row in self.named.withdraw(group, wanted - len(taken), bound)]
            self._await_ripening(group)
        return taken

    # --- time and questions

    def would_repeat(self, attempt: str, at: int) -> bool:
        """Whether a receive under this id would get what it got before."""
        known = self.attempts.find(attempt)
        return known is not None and at < known.at + DEDUPLICATION_INTERVAL and self._unchanged(known)

    @property
    def visible(self) -> int:
        return self.named.messages - self.unripe.messages

    @property
    def delayed_messages(self) -> int:
        return self.unripe.messages

    def oldest_delayed(self) -> int | None:
        return None  # what is delayed waits in its message group, too

    def next_ripening(self) -> int | None:
        oldest = self.unripe.oldest_sent()
        return None if oldest is None else oldest + self.attributes.delay

    @property
    def has_free(self) -> bool:
        return self.named.first(self._is_free) is not None

    def has_visible(self, at: int) -> bool:
        if self.has_free:
            return True
        due = self.next_surfacing()
        return due is not None and due <= at

    def replan(self) -> None:
        super().replan()
        for group in self.named.by_name.values():
            self._await_ripening(group)

    # --- inside

    def _empty(self) -> None:
        super()._empty()
        self.unripe = RunList()
        """What is delayed, beside its message group: the youngest messages of all, as the delay is one for all."""
        self._unripe_heads: list[tuple[int, str]] = []
        """Heap: first key that waits in a message group, where that is delayed."""
        self.attempts = Attempts()

    def _append(self, key: int, name: str, at: int) -> int:
        """How many message groups became ready to be received from."""
        group = self.named.open(name)
        first = not group.messages
        self.named.append(group, key, 1, at)
        if self.attributes.delay:
            self.unripe.append(key, 1, at)
            if first:
                self._await_ripening(group)
            return 0
        return int(first and self._is_free(group))

    def _is_free(self, group: MessageGroup) -> bool:
        """Its next message may be handed out."""
        return not group.held and not group.leaving and group.first_key() < self.unripe.first_key()

    def _await_ripening(self, group: MessageGroup) -> None:
        """If the group's next message is delayed."""
        if group.messages and group.first_key() >= self.unripe.first_key():
            heappush(self._unripe_heads, (group.first_key(), group.name))

    def _pick(self, picking: Picking, wanted: int) -> None:
        left = wanted
        asked: set[str] = set()

        def usable(group: MessageGroup) -> bool:
            return group.name not in asked and self._is_free(group)

        while left and (group := self.named.first(usable)) is not None:
            asked.add(group.name)
            left -= self._take(picking, group, left)

    def _take(self, picking: Picking, group: MessageGroup, wanted: int) -> int:
        """The group's next messages, up to a dead letter; one that comes first leaves, and the group waits for it."""
        below = self.unripe.first_key()
        most = picking.most_receives
        if most is not None:
            for place, row in enumerate(group.returned.rows(-1)):
                if place == wanted:
                    break
                if row[4] >= most:
                    if not place:
                        return picking.take(group, 1, row[0] + 1)
                    below = row[0]
                    break
        return picking.take(group, wanted, below)

    def _surfaced(self, came: Came) -> int:
        ready = 0
        for group, _ in came.values():
            if not group.messages:
                self.named.close(group)
            elif self._is_free(group):
                self.named.offer(group)
                ready += 1
            else:
                self._await_ripening(group)
        return ready

    def _ripen(self, at: int) -> int:
        first = self.unripe.first_key()
        if not self.unripe.move_sent_until(at - self.attributes.delay, RunList()):
            return 0
        bound, heads = self.unripe.first_key(), self._unripe_heads
        ripe: Came = {}
        while heads and heads[0][0] < bound:
            group = self.named.by_name.get(heappop(heads)[1])
            if group is not None and group.first_key() >= first:  # else an older message has come back before it
                ripe[group.name] = group, 0
        return self._surfaced(ripe)

    def _drop_waiting(self, instant: int) -> int:
        self.unripe.drop_sent_until(instant)
        return 0  # counted where its message group loses it

    def _remove_waiting(self, key: int) -> bool:  # noqa: ARG002 - what is delayed waits in its message group
        return False

    def _remove(self, key: int, group: MessageGroup) -> bool:
        self.unripe.remove(key)
        return super()._remove(key, group)

    def _unchanged(self, attempt: Attempt) -> bool:
        holders = self.in_flight.holders
        return all(
            (batch := holders.get(key)) is not None
            and batch.receipt == attempt.receipt
            and batch.until == attempt.until
            for key in attempt.keys
        )

    def _again(self, attempt: Attempt, timeout: int, at: int) -> Deliveries:
        in_flight = self.in_flight
        deliveries: list[Delivery] = []
        until = at + timeout
        for key in attempt.keys:
            batch = in_flight.holders[key]
            until = min(until, batch.received_at + MAX_VISIBILITY_TIMEOUT)
            _, sent, first, receipt, count = batch.row(key, batch.sents[bisect_left(batch.keys, key)])
            index, slot = key >> SLOT_BITS, key & SLOT_MASK
            deliveries.append(
                Delivery(index, slot, receipt, count, WallMillis(sent), WallMillis(first), batch.group.name)
            )
        for key in attempt.keys:
            in_flight.extend(key, in_flight.holders[key], until)
        in_flight.settle()
        attempt.until = until
        return Deliveries(tuple(deliveries), WallMillis(until))


def _checked(name: str, command: Send) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Message groups and deduplication ids, one for each message. Raises what is missing or too much."""
    if command.delays is not None or command.due is not None:
        raise NotForFifo(f"FIFO queue {name} takes no delay or schedule of single messages: set the queue's delay")
    if command.groups is None or not all(command.groups):
        raise MessageGroupRequired(f"FIFO queue {name} takes no message without a message group: give each one")
    if command.deduplication is None or not all(command.deduplication):
        raise DeduplicationIdRequired(
            f"FIFO queue {name} takes no message without a deduplication id: give each one, or let the queue "
            "deduplicate by content"
        )
    return command.groups, command.deduplication
