"""The naive picture of one group's queues: a dict of messages, told of each command that was applied and its reply.

It believes the replies; the checkers look at it before each command is followed, and judge.
"""

from __future__ import annotations

from typing import Any

import msgspec

from broker.domain.queues import commands, model

Key = tuple[int, int]
"""Log index of the send, and slot."""


class Held(msgspec.Struct):
    """One message. ``receipt`` 0: never received."""

    sent_at: int
    visible_at: int
    receipt: int = 0
    receive_count: int = 0
    first_received_at: int = 0


class ModelQueue(msgspec.Struct):
    name: str
    attributes: model.QueueAttributes
    messages: dict[Key, Held] = msgspec.field(default_factory=dict)
    gone: set[Key] = msgspec.field(default_factory=set)
    sent: int = 0
    received: int = 0
    deleted: int = 0

    def visible(self, now: int) -> int:
        """``now``: machine time, milliseconds."""
        return sum(1 for held in self.messages.values() if held.visible_at <= now)


class QueueModel:
    """All queues of one group. ``now`` is machine time in milliseconds."""

    def __init__(self) -> None:
        self.queues: dict[int, ModelQueue] = {}
        self._followers = {
            commands.CreateQueue: self._create,
            commands.UpdateQueue: self._update,
            commands.DeleteQueue: self._delete_queue,
            commands.PurgeQueue: self._purge,
            commands.Send: self._send,
            commands.Receive: self._receive,
            commands.Delete: self._delete,
            commands.ChangeVisibility: self._change_visibility,
        }

    def follow(self, command: Any, reply: Any, index: int, now: int) -> None:
        if type(reply) is not commands.Refused:
            self._followers[type(command)](command, reply, index, now)

    def _create(self, command: commands.CreateQueue, reply: Any, index: int, now: int) -> None:
        self.queues.setdefault(command.queue, ModelQueue(command.name, command.attributes))

    def _update(self, command: commands.UpdateQueue, reply: Any, index: int, now: int) -> None:
        self.queues[command.queue].attributes = command.attributes

    def _delete_queue(self, command: commands.DeleteQueue, reply: Any, index: int, now: int) -> None:
        self.queues.pop(command.queue, None)

    def _purge(self, command: commands.PurgeQueue, reply: Any, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        queue.gone.update(queue.messages)
        queue.deleted += len(queue.messages)
        queue.messages.clear()

    def _send(self, command: commands.Send, reply: commands.Sent, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        delays = command.delays or (queue.attributes.delay,) * command.count
        for slot, delay in enumerate(delays):
            queue.messages[index, slot] = Held(now, now + delay)
        queue.sent += command.count

    def _receive(self, command: commands.Receive, reply: commands.Deliveries, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        for delivery in reply.deliveries:
            held = queue.messages[delivery.index, delivery.slot]
            held.visible_at = reply.until
            held.receipt = delivery.receipt
            held.receive_count += 1
            held.first_received_at = held.first_received_at or now
        queue.received += len(reply.deliveries)

    def _delete(self, command: commands.Delete, reply: commands.Results, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        refused = {position for position, _ in reply.refused}
        for position, handle in enumerate(command.handles):
            key = (handle.index, handle.slot)
            if position not in refused and queue.messages.pop(key, None) is not None:
                queue.gone.add(key)
                queue.deleted += 1

    def _change_visibility(
        self, command: commands.ChangeVisibility, reply: commands.Results, index: int, now: int
    ) -> None:
        queue = self.queues[command.queue]
        refused = {position for position, _ in reply.refused}
        for position, (handle, timeout) in enumerate(zip(command.handles, command.timeouts, strict=True)):
            held = queue.messages.get((handle.index, handle.slot))
            if position not in refused and held is not None:
                held.visible_at = now + timeout
