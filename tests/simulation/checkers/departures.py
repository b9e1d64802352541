"""What may leave a queue for another one: dead letters, at a receive, and what a move task takes."""

from __future__ import annotations

from typing import Any

from broker.domain.queues import commands, questions
from tests.simulation.checkers.model_queue import Held, Key, ModelQueue, Task
from tests.simulation.checkers.queue_model import QueueModel
from tests.simulation.checkers.violation import Violation


class Departures:
    """Judged before the picture follows, message by message. Of a FIFO message group only the oldest leaves."""

    name = "only dead letters, and what a move task takes, leave a queue"
    in_order = "messages of a group leave in order"

    def could_leave(self, model: QueueModel, parcel: questions.Parcel, command: Any, now: int) -> bool:
        """Whether its message waits, and nothing that waits or is in flight keeps it back."""
        queue = model.queues[parcel.queue]
        held = queue.messages.get((parcel.index, parcel.slot))
        if held is None or held.visible_at > now:
            return False
        if queue.is_fifo or _is_dead_letter(queue, held, command, now):
            return not queue.is_fifo or not _older(queue, held)
        return not _visible_before(queue, held, now)

    def left(self, model: QueueModel, parcel: questions.Parcel, command: Any, now: int) -> int:
        """The task that took it, 0 for none: then it is a dead letter."""
        queue = model.queues[parcel.queue]
        key = (parcel.index, parcel.slot)
        held = queue.messages.get(key)
        story = f"message {key} of {queue.name} left as parcel {parcel.number} at {now}"
        if held is None:
            raise Violation("a message is in one place", f"{story}, but its fate was {queue.fates.get(key)} before")
        if parcel.number <= model.last_departed:
            raise Violation(self.name, f"{story}, after number {model.last_departed}")
        facts = (parcel.name, parcel.sent_at, parcel.receive_count, parcel.group)
        expected = (queue.name, held.sent_at, held.receive_count, held.group)
        if facts != expected:
            raise Violation("what is told of a parcel is true", f"{story}: told was {facts}, true is {expected}")
        if held.visible_at > now:
            raise Violation(self.name, f"{story}, but it is {held.state(now)} until {held.visible_at}")
        self._in_order(queue, held, story)
        if _is_dead_letter(queue, held, command, now):
            if parcel.destination != queue.target:
                raise Violation(self.name, f"{story} to {parcel.destination}, its dead-letter queue is {queue.target}")
            if queue.is_fifo and held.group in queue.blocked(now):
                raise Violation(self.in_order, f"{story}, although its group {held.group} is blocked")
            return 0
        task = next((task for task in reversed(queue.tasks.values()) if task.running), None)
        if task is None:
            raise Violation(
                self.name,
                f"{story} at a {type(command).__name__}, received {held.receive_count} times; its policy is "
                f"{queue.attributes.redrive} (not before {queue.suspended_until}), no move task runs",
            )
        if not queue.is_fifo and (older := _visible_before(queue, held, now)):
            raise Violation("a move task takes the oldest first", f"{story}, but {older} wait, too")
        self._taken(queue, task, parcel, story, now)
        return task.id

    def remaining(self, queue: ModelQueue, command: commands.Receive, reply: commands.Deliveries, now: int) -> None:
        """After the dead letters of a receive have left."""
        for delivery in reply.deliveries:
            held = queue.messages.get((delivery.index, delivery.slot))
            if held is not None and queue.is_dead(held, now):
                raise Violation(
                    "a dead letter is not delivered",
                    f"message {held.key} of {queue.name} was delivered at {now}, after {held.receive_count} receives; "
                    f"its policy is {queue.attributes.redrive}",
                )
        doomed = queue.doomed(now)
        if doomed and len(reply.deliveries) < command.max_messages:
            raise Violation(
                "a dead letter leaves when it would be received",
                f"{queue.name} had less than {command.max_messages} messages to hand out at {now} and kept dead "
                f"letters: {[held.key for held in doomed]}",
            )

    def _in_order(self, queue: ModelQueue, held: Held, story: str) -> None:
        if not queue.is_fifo:
            return
        if older := _older(queue, held):
            raise Violation(self.in_order, f"{story}, but older ones of its group {held.group} are there: {older}")

    def _taken(self, queue: ModelQueue, task: Task, parcel: questions.Parcel, story: str, now: int) -> None:
        if parcel.destination != task.destination:
            raise Violation(self.name, f"{story} to {parcel.destination}; move task {task.id} is to {task.destination}")
        allowed = task.rate * (now - task.started_at) // 1000 + 1
        if task.rate and task.taken >= allowed:
            raise Violation(
                "a move task keeps its rate",
                f"{story}, the {task.taken + 1}th of task {task.id}; {allowed} are allowed, {task.rate} a second since "
                f"{task.started_at}",
            )


def _is_dead_letter(queue: ModelQueue, held: Held, command: Any, now: int) -> bool:
    """Whether the command is a receive that finds it dead."""
    return type(command) is commands.Receive and command.queue == queue.id and queue.is_dead(held, now)


def _visible_before(queue: ModelQueue, held: Held, now: int) -> list[Key]:
    return [each.key for each in queue.messages.values() if each.visible_at <= now and each.key < held.key]


def _older(queue: ModelQueue, held: Held) -> list[Key]:
    """What is there of its group and was there before."""
    return [each.key for each in queue.messages.values() if each.group == held.group and each.key < held.key]
