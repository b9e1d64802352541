"""What queues do, as plainly as it can be said: a list of messages, looked through from end to end for everything.

The yardstick for the real machine: no index, no heap, no care for speed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.base.ids import QueueId
from broker.domain.queues import commands
from broker.domain.queues.commands import Deliveries, Delivery, Done, Sent
from broker.domain.queues.model import Counts, Handle, QueueAttributes

HOURS_12 = 12 * 3600 * 1000


@dataclass
class NaiveMessage:
    index: int
    slot: int
    sent: int
    hidden_until: int
    receipt: int = 0
    count: int = 0
    received: int = 0
    first: int = 0
    place: str = "visible"


@dataclass
class NaiveQueue:
    name: str
    attributes: QueueAttributes
    messages: list[NaiveMessage] = field(default_factory=list)
    purged: int | None = None
    sent: int = 0
    received: int = 0
    deleted: int = 0
    expired: int = 0


def rounded_up(delay: int) -> int:
    step = 10 if delay <= 1_000 else 100 if delay <= 60_000 else 1_000
    while delay % step:
        delay += 1
    return delay


class NaiveQueues:
    """``apply`` gives the reply, or the code of the refusal; of a batch of handles, the codes by position."""

    def __init__(self, in_flight_limit: int) -> None:
        self.limit = in_flight_limit
        self.queues: dict[int, NaiveQueue] = {}
        self.woken: dict[int, int] = {}

    def let_pass(self, at: int) -> None:
        self.woken = {}
        for identity, queue in self.queues.items():
            self._expire(queue, at)
            for message in queue.messages:
                if message.place != "visible" and message.hidden_until <= at:
                    message.place = "visible"
                    self._wake(identity)

    def apply(self, command: commands.Command, index: int, at: int) -> object:
        self.let_pass(at)
        if isinstance(command, commands.CreateQueue):
            return self._create(command)
        queue = self.queues.get(command.queue)
        if queue is None:
            return "QueueNotFound"
        return getattr(self, "_" + type(command).__name__.lower())(queue, command, index, at)

    def counts(self, queue: NaiveQueue) -> Counts:
        in_place = [message.place for message in queue.messages]
        return Counts(
            in_place.count("visible"),
            in_place.count("in flight"),
            in_place.count("delayed"),
            min((message.sent for message in queue.messages), default=None),
            queue.sent,
            queue.received,
            queue.deleted,
            queue.expired,
        )

    def next_change(self) -> int | None:
        """When time alone next changes anything; retention in whole seconds."""
        ends = [
            message.hidden_until
            for queue in self.queues.values()
            for message in queue.messages
            if message.place != "visible"
        ]
        expiries = [
            message.sent + queue.attributes.retention for queue in self.queues.values() for message in queue.messages
        ]
        return min([*ends, *(-(-expiry // 1000) * 1000 for expiry in expiries)], default=None)

    def live_indexes(self) -> set[int]:
        return {message.index for queue in self.queues.values() for message in queue.messages}

    # --- commands

    def _create(self, command: commands.CreateQueue) -> object:
        known = self.queues.get(command.queue)
        if known is not None and (known.name, known.attributes) != (command.name, command.attributes):
            return "QueueExists"
        if known is None:
            self.queues[command.queue] = NaiveQueue(command.name, command.attributes)
        return Done()

    def _updatequeue(self, queue: NaiveQueue, command: commands.UpdateQueue, index: int, at: int) -> object:
        queue.attributes = command.attributes
        self._expire(queue, at)
        return Done()

    def _deletequeue(self, queue: NaiveQueue, command: commands.DeleteQueue, index: int, at: int) -> object:
        del self.queues[command.queue]
        return Done()

    def _purgequeue(self, queue: NaiveQueue, command: commands.PurgeQueue, index: int, at: int) -> object:
        if queue.purged is not None and at < queue.purged + 60_000:
            return "PurgeInProgress"
        queue.purged = at
        queue.deleted += len(queue.messages)
        queue.messages = []
        return Done()

    def _send(self, queue: NaiveQueue, command: commands.Send, index: int, at: int) -> object:
        if command.largest > queue.attributes.message_size_limit:
            return "MessageTooLong"
        for slot in range(command.count):
            delay = rounded_up(queue.attributes.delay if command.delays is None else command.delays[slot])
            message = NaiveMessage(index, slot, at, at + delay, place="delayed" if delay else "visible")
            queue.messages.append(message)
            if not delay:
                self._wake(command.queue)
        queue.sent += command.count
        return Sent(index, command.count, at)

    def _receive(self, queue: NaiveQueue, command: commands.Receive, index: int, at: int) -> object:
        timeout = command.visibility_timeout
        if timeout is None:
            timeout = queue.attributes.visibility_timeout
        visible = [message for message in queue.messages if message.place == "visible"]
        visible.sort(key=lambda message: (message.index, message.slot))
        room = self.limit - sum(message.place == "in flight" for message in queue.messages)
        if visible and room <= 0:
            return "OverLimit"
        deliveries = []
        for message in visible[: min(room, command.max_messages)]:
            message.count += 1
            message.first = message.first or at
            message.receipt, message.received, message.hidden_until = index, at, at + timeout
            message.place = "in flight" if timeout else "visible"
            if not timeout:
                self._wake(command.queue)
            queue.received += 1
            deliveries.append(Delivery(message.index, message.slot, index, message.count, message.sent, message.first))
        return Deliveries(tuple(deliveries), at + timeout)

    def _delete(self, queue: NaiveQueue, command: commands.Delete, index: int, at: int) -> object:
        refused = {}
        for position, handle in enumerate(command.handles):
            message = self._find(queue, handle)
            if not handle.index < handle.receipt < index:
                refused[position] = "ReceiptHandleInvalid"
            elif message is None or message.count == 0:
                continue
            elif message.receipt != handle.receipt:
                refused[position] = "ReceiptHandleExpired"
            else:
                queue.messages.remove(message)
                queue.deleted += 1
        return refused

    def _changevisibility(self, queue: NaiveQueue, command: commands.ChangeVisibility, index: int, at: int) -> object:
        refused = {}
        for position, (handle, timeout) in enumerate(zip(command.handles, command.timeouts, strict=True)):
            message = self._find(queue, handle)
            if not 0 <= timeout <= HOURS_12:
                refused[position] = "InvalidArgument"
            elif message is None or message.place != "in flight" or message.receipt != handle.receipt:
                refused[position] = "ReceiptHandleExpired"
            elif at + timeout > message.received + HOURS_12:
                refused[position] = "InvalidArgument"
            else:
                message.hidden_until = at + timeout
                if not timeout:
                    message.place = "visible"
                    self._wake(command.queue)
        return refused

    # --- inside

    def _expire(self, queue: NaiveQueue, at: int) -> None:
        kept = [message for message in queue.messages if message.sent + queue.attributes.retention > at]
        queue.expired += len(queue.messages) - len(kept)
        queue.messages = kept

    def _find(self, queue: NaiveQueue, handle: Handle) -> NaiveMessage | None:
        for message in queue.messages:
            if (message.index, message.slot) == (handle.index, handle.slot):
                return message
        return None

    def _wake(self, queue: int) -> None:
        self.woken[QueueId(queue)] = self.woken.get(QueueId(queue), 0) + 1
