"""The naive picture of one group's queues, told of each command that was applied, its reply, and what left for the
outbox.

It believes what it is told; the checkers look at it before each command is followed, and judge.
"""

from __future__ import annotations

from typing import Any

from broker.base.errors import Refusal
from broker.base.limits import REDRIVE_SUSPENSION
from broker.domain.queues import commands, questions
from tests.simulation.checkers.model_queue import (
    CANCELLED,
    DELETED,
    DOUBLED,
    MOVED,
    PURGED,
    Departed,
    Held,
    ModelQueue,
    Task,
)


class QueueModel:
    """All queues of ``group``. ``now`` is machine time in milliseconds."""

    def __init__(self, group: int) -> None:
        self.group = group
        self.queues: dict[int, ModelQueue] = {}
        self.outbox: dict[int, Departed] = {}
        """Whatever is not answered for, also of queues that were deleted."""
        self.last_departed = 0
        self.answers: dict[tuple[int, int], Refusal | None] = {}
        """What was said of each message from another group's outbox, by source and number; None: it is in."""
        self.highest: dict[int, int] = {}
        """The highest number that came, by source."""
        self.settled: dict[int, int] = {}
        self._followers = {
            commands.CreateQueue: self._create,
            commands.UpdateQueue: self._update,
            commands.DeleteQueue: self._delete_queue,
            commands.PurgeQueue: self._purge,
            commands.Send: self._send,
            commands.Receive: self._receive,
            commands.Delete: self._delete,
            commands.ChangeVisibility: self._change_visibility,
            commands.Cancel: self._cancel,
            commands.Exchange: self._exchange,
            commands.StartMove: self._start_move,
            commands.CancelMove: self._cancel_move,
            commands.Arrive: self._arrive,
            commands.Shipped: self._shipped,
            commands.Retarget: self._retarget,
        }

    def pass_time(self, now: int) -> int:
        """How many messages have expired."""
        return sum(queue.expire(now) for queue in self.queues.values())

    def follow(self, command: Any, reply: Any, index: int, now: int) -> None:
        if type(reply) is not commands.Refused:
            self._followers[type(command)](command, reply, index, now)

    def depart(self, parcel: questions.Parcel, task: int) -> None:
        """The message has left its queue: a dead letter when ``task`` is 0."""
        queue = self.queues[parcel.queue]
        held = queue.remove((parcel.index, parcel.slot), MOVED)
        departed = Departed(parcel.number, queue.id, held, task)
        self.outbox[parcel.number] = queue.leaving[parcel.number] = departed
        self.last_departed = parcel.number
        queue.moved += 1
        if task:
            queue.tasks[task].taken += 1
            queue.tasks[task].outstanding += 1

    # --- queues as a whole

    def _create(self, command: commands.CreateQueue, reply: Any, index: int, now: int) -> None:
        if command.queue not in self.queues:
            queue = ModelQueue(self.group, command.queue, command.name, command.attributes, command.target)
            self.queues[command.queue] = queue

    def _update(self, command: commands.UpdateQueue, reply: Any, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        queue.attributes = command.attributes
        queue.target = command.target
        queue.suspended_until = 0
        if queue.is_fifo:  # its delay counts for what is delayed already
            for held in queue.messages.values():
                if not held.receipt and held.visible_at > now:
                    held.visible_at = held.sent_at + command.attributes.delay
        queue.expires_from = 0
        queue.expire(now)

    def _delete_queue(self, command: commands.DeleteQueue, reply: Any, index: int, now: int) -> None:
        self.queues.pop(command.queue, None)

    def _purge(self, command: commands.PurgeQueue, reply: Any, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        queue.deleted += len(queue.messages)
        for key in list(queue.messages):
            queue.remove(key, PURGED)
        for departed in queue.leaving.values():
            departed.forgotten = True

    def _retarget(self, command: commands.Retarget, reply: Any, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        redrive = queue.attributes.redrive
        if redrive is not None and redrive.target == command.target.name:
            queue.target, queue.suspended_until = command.target, 0

    # --- messages

    def _send(self, command: commands.Send, reply: commands.Sent, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        duplicates = {slot for slot, _ in reply.duplicates}
        for slot in range(command.count):
            if slot in duplicates:
                continue
            due = command.due[slot] if command.due else 0
            delay = command.delays[slot] if command.delays else queue.attributes.delay
            queue.add(
                Held(
                    (index, slot),
                    now,
                    max(due, now) if due else now + delay,
                    command.groups[slot] if command.groups else "",
                    command.deduplication[slot] if command.deduplication else "",
                    due,
                    command.lifetimes[slot] if command.lifetimes else 0,
                )
            )
        queue.sent += command.count - len(duplicates)
        queue.duplicates += len(duplicates)

    def _receive(self, command: commands.Receive, reply: commands.Deliveries, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        for delivery in reply.deliveries:
            held = queue.messages[delivery.index, delivery.slot]
            held.visible_at = reply.until
            if delivery.receipt == index:  # or an attempt was answered again
                held.receipt = delivery.receipt
                held.receive_count += 1
                held.first_received_at = held.first_received_at or now
                queue.received += 1

    def _delete(self, command: commands.Delete, reply: commands.Results, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        refused = {position for position, _ in reply.refused}
        for position, handle in enumerate(command.handles):
            key = (handle.index, handle.slot)
            if position not in refused and key in queue.messages:
                queue.remove(key, DELETED)
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
                if command.uncounted and not timeout:
                    held.receive_count -= 1
                    held.first_received_at = held.first_received_at if held.receive_count else 0

    def _cancel(self, command: commands.Cancel, reply: commands.Results, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        refused = {position for position, _ in reply.refused}
        for position, key in enumerate(command.messages):
            if position not in refused:
                queue.remove(key, CANCELLED)
                queue.deleted += 1

    def _exchange(self, command: commands.Exchange, reply: commands.Sent, index: int, now: int) -> None:
        self._send(command.send, reply, index, now)
        self._delete(command.delete, commands.Results(), index, now)

    # --- moves

    def _start_move(self, command: commands.StartMove, reply: commands.MoveStarted, index: int, now: int) -> None:
        queue = self.queues[command.queue]
        queue.tasks[reply.task] = Task(reply.task, command.destination, command.rate, now)

    def _cancel_move(self, command: commands.CancelMove, reply: Any, index: int, now: int) -> None:
        self.queues[command.queue].tasks[command.task].cancelled = True

    def _arrive(self, command: commands.Arrive, reply: commands.Arrived, index: int, now: int) -> None:
        self.settled[command.source] = max(command.settled, self.settled.get(command.source, 0))
        refused = dict(reply.refused)
        for slot, arrival in enumerate(command.arrivals):
            identity = (command.source, arrival.number)
            queue = self.queues.get(arrival.queue)
            if identity in self.answers:
                if queue is not None:
                    queue.fates[index, slot] = DOUBLED
                continue
            refusal = self.answers[identity] = refused.get(arrival.number)
            self.highest[command.source] = arrival.number
            if refusal is None and queue is not None:
                visible_at = now + queue.attributes.delay
                queue.add(Held((index, slot), now, visible_at, arrival.group, arrival.deduplication))
                queue.arrived += 1

    def _shipped(self, command: commands.Shipped, reply: Any, index: int, now: int) -> None:
        for number in command.accepted:
            departed, queue = self._answered_for(number)
            if departed is not None and queue is not None and departed.task in queue.tasks:
                queue.tasks[departed.task].moved += 1
                queue.tasks[departed.task].outstanding -= 1
        for number, refusal in command.returned:
            departed, queue = self._answered_for(number)
            if departed is not None and queue is not None:
                queue.come_back(departed, refusal, now + REDRIVE_SUSPENSION, now)

    def _answered_for(self, number: int) -> tuple[Departed | None, ModelQueue | None]:
        departed = self.outbox.pop(number, None)
        if departed is None:
            return None, None
        queue = self.queues.get(departed.queue)
        if queue is not None:
            del queue.leaving[number]
        return departed, queue
