"""What queues do, as plainly as it can be said: commands, time, and what goes from queue to queue.

The yardstick for the real machine. A running move task takes all that it may, after every command and at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broker.base.errors import Refusal
from broker.base.ids import QueueId
from broker.domain.queues import commands, questions
from broker.domain.queues.commands import Done
from broker.domain.queues.model import VISIBLE, Target
from tests.properties.queues.naive_fifo import NaiveFifo
from tests.properties.queues.naive_queue import SLOTS, NaiveMessage, NaiveQueue, NaiveTask, Refusing, Rules

MINUTE = 60_000


@dataclass
class NaiveDeparture:
    """``task`` None: a dead letter."""

    number: int
    queue: NaiveQueue
    message: NaiveMessage
    destination: Target | None
    task: NaiveTask | None


class NaiveQueues:
    """``apply`` gives the reply, or the code of the refusal; of batches, the codes by position."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.queues: dict[int, NaiveQueue] = {}
        self.outbox: list[NaiveDeparture] = []
        self.departed = 0
        self.highest: dict[int, int] = {}
        self.refused: dict[int, dict[int, str]] = {}

    # --- time

    def tick(self, at: int) -> None:
        self._let_pass(at)
        self._move_on(at)

    def _let_pass(self, at: int) -> None:
        for queue in self.queues.values():
            queue.woken = 0
            if isinstance(queue, NaiveFifo):
                queue.ever_ready = False
            queue.note_what_is_ready()
            queue.expire(at)
            queue.surface(at)
            queue.note_what_is_ready()

    def next_change(self) -> int | None:
        """When time alone next changes anything."""
        changes = [queue.next_change() for queue in self.queues.values()]
        changes += [self._next_move(queue) for queue in self.queues.values()]
        return min((change for change in changes if change is not None), default=None)

    def _next_move(self, queue: NaiveQueue) -> int | None:
        task = queue.tasks[-1] if queue.tasks else None
        if task is None or task.status != "running" or not task.rate or not queue.may_leave():
            return None
        return (
            None if task.outstanding >= self.rules.max_moving else task.started_at + -(-task.taken * 1000 // task.rate)
        )

    def _move_on(self, at: int) -> None:
        for queue in self.queues.values():
            queue.note_what_is_ready()
        for _, queue in sorted(self.queues.items()):
            task = queue.tasks[-1] if queue.tasks else None
            if task is None or task.status != "running":
                continue
            room = self.rules.max_moving - task.outstanding
            if task.rate:
                room = min(room, task.rate * (at - task.started_at) // 1000 + 1 - task.taken)
            for message in queue.may_leave()[: max(0, room)]:
                queue.leave(message)
                self._depart(queue, message, task.destination, task)
                task.taken += 1
                task.outstanding += 1
            if not task.outstanding and not queue.at_place(VISIBLE):
                task.status = "completed"
            queue.note_what_is_ready()

    # --- commands

    def apply(self, command: commands.Command, index: int, at: int) -> object:
        self._let_pass(at)
        carry_out: Callable[[Any, int, int], object] = getattr(self, "_" + type(command).__name__.lower())
        try:
            reply = carry_out(command, index, at)
        except Refusing as refusal:
            reply = str(refusal)
        self._move_on(at)
        return reply

    def find(self, queue: int) -> NaiveQueue:
        found = self.queues.get(queue)
        if found is None:
            raise Refusing("QueueNotFound")
        return found

    def _createqueue(self, command: commands.CreateQueue, index: int, at: int) -> object:
        known = self.queues.get(command.queue)
        if known is not None and (known.name, known.attributes) != (command.name, command.attributes):
            raise Refusing("QueueExists")
        if known is None:
            kind = NaiveFifo if command.name.endswith(".fifo") else NaiveQueue
            queue = kind(command.queue, command.name, command.attributes, command.target, self.rules)
            self.queues[command.queue] = queue
        return Done()

    def _updatequeue(self, command: commands.UpdateQueue, index: int, at: int) -> object:
        queue = self.find(command.queue)
        if command.expected is not None and command.expected != queue.attributes:
            raise Refusing("Conflict")
        queue.attributes, queue.target, queue.suspended_until = command.attributes, command.target, 0
        queue.expire(at)
        queue.surface(at)
        return Done()

    def _deletequeue(self, command: commands.DeleteQueue, index: int, at: int) -> object:
        queue = self.find(command.queue)
        running = bool(queue.tasks) and queue.tasks[-1].status == "running"
        if command.only_if_empty and (queue.messages or queue.moving or running):
            raise Refusing("QueueNotEmpty")
        del self.queues[command.queue]
        return Done()

    def _purgequeue(self, command: commands.PurgeQueue, index: int, at: int) -> object:
        self.find(command.queue).purge(index, at)
        return Done()

    def _send(self, command: commands.Send, index: int, at: int) -> object:
        queue = self.find(command.queue)
        if command.largest > queue.attributes.message_size_limit:
            raise Refusing("MessageTooLong")
        if command.due is not None and max(command.due) - at >= queue.attributes.retention:
            raise Refusing("InvalidArgument")
        if command.lifetimes is not None and max(command.lifetimes) > queue.attributes.retention:
            raise Refusing("InvalidArgument")
        return queue.send(command, index, at)

    def _receive(self, command: commands.Receive, index: int, at: int) -> object:
        queue = self.find(command.queue)
        deliveries, dead = queue.receive(command, index, at)
        for message in dead:
            self._depart(queue, message, queue.target, None)
        return deliveries

    def _delete(self, command: commands.Delete, index: int, at: int) -> object:
        return self.find(command.queue).delete(command.handles, index)

    def _changevisibility(self, command: commands.ChangeVisibility, index: int, at: int) -> object:
        return self.find(command.queue).change_visibility(command, at)

    def _cancel(self, command: commands.Cancel, index: int, at: int) -> object:
        queue = self.find(command.queue)
        if isinstance(queue, NaiveFifo):
            raise Refusing("NotForFifo")
        return queue.cancel(index * SLOTS + slot for index, slot in command.messages)

    def _exchange(self, command: commands.Exchange, index: int, at: int) -> object:
        source = self.find(command.delete.queue)
        handles = command.delete.handles
        if len(set(handles)) < len(handles) or not all(map(source.holds, handles)):
            raise Refusing("ReceiptHandleExpired")
        reply = self._send(command.send, index, at)
        source.delete(handles, index)
        return reply

    # --- what goes from queue to queue

    def _depart(self, queue: NaiveQueue, message: NaiveMessage, to: Target | None, task: NaiveTask | None) -> None:
        self.departed += 1
        self.outbox.append(NaiveDeparture(self.departed, queue, message, to, task))

    def _startmove(self, command: commands.StartMove, index: int, at: int) -> object:
        queue = self.find(command.queue)
        if queue.tasks and queue.tasks[-1].status == "running":
            raise Refusing("MoveTaskRunning")
        to_move = len(queue.at_place(VISIBLE))
        queue.tasks.append(NaiveTask(index, command.destination, command.rate, to_move, at, command.label))
        queue.tasks = queue.tasks[-10:]
        return commands.MoveStarted(index)

    def _cancelmove(self, command: commands.CancelMove, index: int, at: int) -> object:
        task = next((task for task in self.find(command.queue).tasks if task.task == command.task), None)
        if task is None:
            raise Refusing("MoveTaskNotFound")
        if task.status != "running":
            raise Refusing("MoveTaskNotRunning")
        task.status = "cancelled"
        return commands.MoveCancelled(task.moved)

    def _shipped(self, command: commands.Shipped, index: int, at: int) -> object:
        for number in command.accepted:
            departure = self._answered(number)
            if departure is not None:
                departure.queue.is_there(departure.message)
                if departure.task is not None:
                    departure.task.outstanding -= 1
                    departure.task.moved += 1
        for number, refusal in command.returned:
            departure = self._answered(number)
            if departure is not None:
                departure.queue.come_back(departure.message, at)
                self._note_refusal(departure, refusal, at)
        return Done()

    def _answered(self, number: int) -> NaiveDeparture | None:
        departure = next((departure for departure in self.outbox if departure.number == number), None)
        if departure is not None:
            self.outbox.remove(departure)
        return departure

    def _note_refusal(self, departure: NaiveDeparture, refusal: Refusal, at: int) -> None:
        task = departure.task
        if task is None:
            departure.queue.suspended_until = at + MINUTE
        else:
            task.outstanding -= 1
            if task.status == "running":
                task.status, task.failure = "failed", refusal.message

    def _arrive(self, command: commands.Arrive, index: int, at: int) -> object:
        refused = self.refused.setdefault(command.source, {})
        for number in [number for number in refused if number < command.settled]:
            del refused[number]
        for slot, arrival in enumerate(command.arrivals):
            if arrival.number > self.highest.get(command.source, 0):
                self.highest[command.source] = arrival.number
                try:
                    queue = self.find(arrival.queue)
                    if arrival.size > queue.attributes.message_size_limit:
                        raise Refusing("MessageTooLong")
                    queue.arrive(arrival, index, slot, at)
                except Refusing as refusal:
                    refused[arrival.number] = str(refusal)
        return {each.number: refused[each.number] for each in command.arrivals if each.number in refused}

    def _retarget(self, command: commands.Retarget, index: int, at: int) -> object:
        queue = self.find(command.queue)
        if queue.attributes.redrive is not None and queue.attributes.redrive.target == command.target.name:
            queue.target, queue.suspended_until = command.target, 0
        return Done()

    # --- looking

    def parcels(self) -> tuple[questions.Parcel, ...]:
        return tuple(
            questions.Parcel(
                departure.number,
                QueueId(departure.queue.id),
                departure.queue.name,
                departure.message.index,
                departure.message.slot,
                departure.message.sent,
                departure.message.count,
                departure.message.group,
                departure.destination,
            )
            for departure in self.outbox
        )

    def moves_of(self, queue: int) -> tuple[questions.Move, ...]:
        return tuple(
            questions.Move(
                task.task,
                task.status,
                "" if task.destination is None else task.destination.name,
                task.rate,
                task.moved,
                task.to_move,
                task.started_at,
                task.failure,
                task.label,
            )
            for task in reversed(self.queues[queue].tasks)
        )

    def live_indexes(self) -> set[int]:
        here = {message.index for queue in self.queues.values() for message in queue.messages}
        return here | {departure.message.index for departure in self.outbox}
