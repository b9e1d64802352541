"""What leaves the queues of a group for others, and what comes to them from there: dead letters and move tasks.

A message that leaves is out of its queue and in the outbox until the far side has answered for it; one that is refused
there comes back. One that comes is taken in once, however often it is brought. Who carries them is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from broker.base.errors import (
    BrokerError,
    MessageTooLong,
    MoveTaskNotFound,
    MoveTaskNotRunning,
    MoveTaskRunning,
    QueueNotFound,
    Refusal,
)
from broker.base.ids import Index, QueueId
from broker.base.instants import WallMillis
from broker.base.limits import MOVES_KEPT, REDRIVE_SUSPENSION
from broker.domain.queues import commands, questions
from broker.domain.queues.keys import SLOT_BITS, SLOT_MASK
from broker.domain.queues.message_groups import MessageGroup
from broker.domain.queues.model import Target
from broker.domain.queues.move_task import MoveTask
from broker.domain.queues.queue import Queue
from broker.domain.queues.returned import Row
from broker.machine.arrivals import Arrivals
from broker.machine.contract import Place
from broker.machine.outbox import Outbox


class Departure(msgspec.Struct, frozen=True, array_like=True):
    """A message in the outbox: whose it was, as it stood there. ``task`` 0: a dead letter."""

    queue: QueueId
    name: str
    row: Row
    group: str
    destination: Target | None
    task: int
    lives_until: int = 0
    """When its lifetime ends, if it has one of its own."""


class Moving:
    """``queues`` are those of the group, shared with the machine; ``woken(queue, messages)`` is told what became
    visible, and ``changed(queue)`` that deadlines may be earlier."""

    def __init__(
        self,
        queues: dict[int, Queue],
        woken: Callable[[int, int], None],
        changed: Callable[[Queue], None],
    ) -> None:
        self.outbox: Outbox[Departure] = Outbox()
        self.movers: set[int] = set()
        """Queues with a running move task; others may be among them."""
        self.arrivals = Arrivals()
        self._queues = queues
        self._woken = woken
        self._changed = changed

    # --- leaving

    def bury(self, queue: Queue, dead: Iterable[tuple[MessageGroup, Row]]) -> None:
        """Dead letters that a receive has found and taken out."""
        for group, row in dead:
            self._depart(queue, group, row, queue.target, 0)

    def start(self, queue: Queue, command: commands.StartMove, place: Place) -> commands.MoveStarted:
        """Raises MoveTaskRunning."""
        if running(queue) is not None:
            raise MoveTaskRunning(f"a move task of queue {queue.name} is running: wait for its end, or cancel it")
        task = MoveTask(place.index, command.destination, command.rate, queue.visible, place.at, command.label)
        queue.moves = [*queue.moves, task][-MOVES_KEPT:]
        self.movers.add(queue.id)
        return commands.MoveStarted(task.task)

    def cancel(self, queue: Queue, command: commands.CancelMove) -> commands.MoveCancelled:
        """Raises MoveTaskNotFound, MoveTaskNotRunning."""
        task = _find(queue, command.task)
        if task is None:
            raise MoveTaskNotFound(
                f"queue {queue.name} has no move task {command.task}: the last {MOVES_KEPT} are remembered"
            )
        if not task.running:
            raise MoveTaskNotRunning(f"move task {command.task} of queue {queue.name} is {task.status} already")
        task.cancel()
        return commands.MoveCancelled(task.moved)

    def advance(self, queue: Queue, at: WallMillis) -> None:
        """Let the queue's move task, if one is running, take what it may."""
        task = running(queue)
        if task is None:
            return
        room = task.may_take(at)
        if room:
            taken = queue.withdraw_for_move(room)
            task.took(len(taken))
            for group, row in taken:
                queue.depart(group)
                self._depart(queue, group, row, task.destination, task.task)
        if not queue.visible:
            task.found_nothing()
        self._changed(queue)

    def advance_all(self, at: WallMillis) -> None:
        """Let every running move task take what it may. To be done whenever anything may have changed, so that what a
        task has taken follows from the state of its queue alone."""
        for identity in sorted(self.movers):
            queue = self._queues.get(identity)
            if queue is None or running(queue) is None:
                self.movers.discard(identity)
            else:
                self.advance(queue, at)

    def shipped(self, command: commands.Shipped, at: WallMillis) -> commands.Done:
        for number in command.accepted:
            departure = self.outbox.pop(number)
            queue = None if departure is None else self._queues.get(departure.queue)
            if departure is None or queue is None:
                continue
            self._woken(queue.id, queue.arrived(departure.group, departure.row[0]))
            task = _find(queue, departure.task)
            if task is not None:
                task.arrived()
        for number, refusal in command.returned:
            departure = self.outbox.pop(number)
            queue = None if departure is None else self._queues.get(departure.queue)
            if departure is None or queue is None:
                continue
            visible = queue.come_back(departure.group, departure.row, departure.lives_until, at)
            self._woken(queue.id, visible)
            task = _find(queue, departure.task)
            if task is not None:
                task.refused(refusal.message)
            elif not departure.task:
                queue.suspended_until = WallMillis(at + REDRIVE_SUSPENSION)
            self._changed(queue)
        return commands.Done()

    def _depart(self, queue: Queue, group: MessageGroup, row: Row, destination: Target | None, task: int) -> None:
        lives_until = queue.lifetimes.end_of(row[0])
        self.outbox.add(Departure(queue.id, queue.name, row, group.name, destination, task, lives_until))

    def leaving(self, question: questions.Leaving) -> tuple[questions.Parcel, ...]:
        return tuple(
            questions.Parcel(
                number=number,
                queue=departure.queue,
                name=departure.name,
                index=departure.row[0] >> SLOT_BITS,
                slot=departure.row[0] & SLOT_MASK,
                sent_at=WallMillis(departure.row[1]),
                receive_count=departure.row[4],
                group=departure.group,
                destination=departure.destination,
            )
            for number, departure in self.outbox.after(question.after, question.limit)
        )

    # --- coming

    def arrive(self, command: commands.Arrive, index: Index, at: WallMillis) -> commands.Arrived:
        arrivals, source = self.arrivals, command.source
        arrivals.settle(source, command.settled)
        refused: list[tuple[int, Refusal]] = []
        for slot, arrival in enumerate(command.arrivals):
            if arrivals.seen(source, arrival.number):
                refusal = arrivals.refusal_of(source, arrival.number)
            else:
                refusal = self._take_in(arrival, index << SLOT_BITS | slot, at)
                arrivals.note(source, arrival.number, refusal)
            if refusal is not None:
                refused.append((arrival.number, refusal))
        return commands.Arrived(tuple(refused))

    def _take_in(self, arrival: commands.Arrival, key: int, at: WallMillis) -> Refusal | None:
        queue = self._queues.get(arrival.queue)
        if queue is None:
            return Refusal(QueueNotFound.code, f"no queue with id {arrival.queue} is here (any more)")
        if arrival.size > queue.attributes.message_size_limit:
            return Refusal(
                MessageTooLong.code,
                f"a message has {arrival.size} bytes, queue {queue.name} takes {queue.attributes.message_size_limit}: "
                "raise its message size limit",
            )
        try:
            visible = queue.arrive(arrival, key, at)
        except BrokerError as error:
            return Refusal.of(error)
        self._woken(queue.id, visible)
        self._changed(queue)
        return None


def running(queue: Queue) -> MoveTask | None:
    """The queue's move task that has not ended."""
    return queue.moves[-1] if queue.moves and queue.moves[-1].running else None


def _find(queue: Queue, task: int) -> MoveTask | None:
    return next((each for each in queue.moves if each.task == task), None) if task else None
