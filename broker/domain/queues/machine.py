"""The room "queues" of a group: all its queues, their commands and questions. Implements machine.contract.Machine.

It decodes, lets time pass, finds the queue and says who is to be woken; what a command means to a queue is in
``queue``, ``standard`` and ``fifo``, and what goes from queue to queue in ``moving``. Its state follows from the
commands alone: what is due fires before every command, on every replica.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from broker.base.errors import (
    BrokerError,
    Conflict,
    InvalidArgument,
    NotForFifo,
    NotScheduled,
    QueueExists,
    QueueNotEmpty,
    QueueNotFound,
    ReceiptHandleExpired,
    Refusal,
)
from broker.base.ids import Index, QueueId
from broker.base.instants import SECOND, WallMillis
from broker.base.limits import MAX_IN_FLIGHT
from broker.domain.queues import commands, dump, loading, looking, questions, validation
from broker.domain.queues.agenda import Agenda, earlier
from broker.domain.queues.fifo import FifoQueue
from broker.domain.queues.keys import SLOT_BITS
from broker.domain.queues.model import Handle, is_fifo
from broker.domain.queues.moving import Moving, running
from broker.domain.queues.queue import Queue
from broker.domain.queues.sending import check_send
from broker.domain.queues.standard import StandardQueue
from broker.machine.contract import Applied, Effect, Place, Wake
from broker.machine.outbox import WAKE_KEY

ROOM = "queues"
_EVERYONE = 1 << 30

_commands = msgspec.msgpack.Decoder(commands.Command)
_replies = msgspec.msgpack.Decoder(commands.Reply)


class QueueMachine:
    """``in_flight_limit``: per queue; the same on every replica."""

    def __init__(self, in_flight_limit: int = MAX_IN_FLIGHT) -> None:
        self._in_flight_limit = in_flight_limit
        self._queues: dict[int, Queue] = {}
        self._moving = Moving(self._queues, self._wake, self._plan)
        self._surfacing = Agenda(self._surfacing_of)
        self._expiring = Agenda(self._expiry_of)
        self._woken: dict[int, int] = {}
        """How many messages became visible, by queue; empty between calls."""
        self._deadline: WallMillis | None = None
        self._deadline_is_known = False
        """It is asked for more often than it changes."""
        self._carry_out: dict[type, Callable[[Any, Place], Any]] = {
            commands.Send: self._send,
            commands.Receive: self._receive,
            commands.Delete: self._delete,
            commands.ChangeVisibility: self._change_visibility,
            commands.Cancel: self._cancel,
            commands.Exchange: self._exchange,
            commands.CreateQueue: self._create,
            commands.UpdateQueue: self._update,
            commands.DeleteQueue: self._drop,
            commands.PurgeQueue: self._purge,
            commands.Retarget: self._retarget,
            commands.StartMove: lambda command, place: self._moving.start(self._find(command.queue), command, place),
            commands.CancelMove: lambda command, _: self._moving.cancel(self._find(command.queue), command),
            commands.Arrive: lambda command, place: self._moving.arrive(command, place.index, place.at),
            commands.Shipped: lambda command, place: self._moving.shipped(command, place.at),
        }

    # --- the contract

    def apply(self, command: bytes | memoryview, place: Place) -> Applied:
        """Replies Refused for what cannot be done. Raises msgspec.ValidationError for a command it does not know:
        a replica that skipped what another one can do would silently differ from it."""
        shipped = self._moving.outbox.next_number
        self._let_pass(place.at)
        self._deadline_is_known = False
        decoded = _commands.decode(command)
        try:
            reply = self._carry_out[type(decoded)](decoded, place)
        except BrokerError as error:
            reply = commands.Refused(Refusal.of(error))
        if self._moving.movers:
            self._moving.advance_all(place.at)
        return Applied(reply, self._effects(shipped))

    def waits(self, command: bytes | memoryview) -> bool:
        return isinstance(_commands.decode(command), commands.Arrive | commands.Shipped)

    def advance(self, at: WallMillis) -> tuple[Effect, ...]:
        shipped = self._moving.outbox.next_number
        self._let_pass(at)
        if self._moving.movers:
            self._moving.advance_all(at)
        return self._effects(shipped)

    def query(self, question: Any, at: WallMillis) -> Any:
        """What the question says; of an unknown queue: Refused."""
        match question:
            case questions.AllQueues():
                return [(looking.described(each), looking.counts(each)) for _, each in sorted(self._queues.items())]
            case questions.Leaving():
                return self._moving.leaving(question)
            case questions.SourcesOf():
                return looking.sources(self._queues.values(), question.target)
        queue = self._queues.get(question.queue)
        if queue is None:
            return commands.Refused(Refusal.of(_unknown(question.queue)))
        return looking.ANSWERS[type(question)](queue, question, at)

    def next_deadline(self) -> WallMillis | None:
        """Retention is told in whole seconds, rounded up: expired messages are never delivered, being counted for a
        second longer harms nobody, and a tick a message would."""
        if not self._deadline_is_known:
            surfacing, expiring = self._surfacing.first(), self._expiring.first()
            if expiring is not None:
                expiring = -(-expiring // SECOND) * SECOND
            first = earlier(surfacing, expiring)
            self._deadline = None if first is None else WallMillis(first)
            self._deadline_is_known = True
        return self._deadline

    def dump(self) -> Iterator[bytes]:
        return dump.encode(dump.capture(self._queues.values(), self._moving))

    def load(self, pieces: Iterable[bytes]) -> None:
        self._queues.clear()
        self._moving = Moving(self._queues, self._wake, self._plan)
        loading.load(pieces, self._queues, self._moving, self._in_flight_limit)
        self._deadline_is_known = False
        self._surfacing = Agenda(self._surfacing_of)
        self._expiring = Agenda(self._expiry_of)
        for queue in self._queues.values():
            self._plan(queue)

    def live_entries(self) -> Iterator[tuple[Index, Index]]:
        return dump.live_entries(dump.capture(self._queues.values(), self._moving))

    def decode_reply(self, data: bytes | memoryview) -> Any:
        return _replies.decode(data)

    # --- effects

    def _wake(self, queue: int, messages: int) -> None:
        if messages:
            self._woken[queue] = self._woken.get(queue, 0) + messages

    def _effects(self, shipped: int) -> tuple[Effect, ...]:
        """``shipped``: the outbox's next number before."""
        parcels = self._moving.outbox.next_number - shipped
        if not self._woken and not parcels:
            return ()
        effects = tuple(Wake(("queue", queue), count) for queue, count in self._woken.items())
        self._woken.clear()
        return (*effects, Wake(WAKE_KEY, _EVERYONE)) if parcels else effects

    # --- time

    def _let_pass(self, at: WallMillis) -> None:
        """Fire all that is due. Expiry goes first: what is both never becomes visible."""
        expiring, surfacing = self._expiring.due(at), self._surfacing.due(at)
        if expiring or surfacing:
            self._deadline_is_known = False
        for identity in expiring:
            queue = self._queues.get(identity)
            if queue is not None:
                self._wake(identity, queue.expire(at))
                self._expiring.plan(identity, queue.next_expiry())
        for identity in surfacing:
            queue = self._queues.get(identity)
            if queue is not None:
                self._wake(identity, queue.surface(at))
                self._surfacing.plan(identity, _next_surfacing(queue))

    def _surfacing_of(self, queue: int) -> int | None:
        found = self._queues.get(queue)
        return None if found is None else _next_surfacing(found)

    def _expiry_of(self, queue: int) -> int | None:
        found = self._queues.get(queue)
        return None if found is None else found.next_expiry()

    def _plan(self, queue: Queue) -> None:
        self._surfacing.plan(queue.id, _next_surfacing(queue))
        self._expiring.plan(queue.id, queue.next_expiry())

    # --- commands about messages

    def _find(self, queue: QueueId) -> Queue:
        found = self._queues.get(queue)
        if found is None:
            raise _unknown(queue)
        return found

    def _send(self, command: commands.Send, place: Place) -> commands.Sent:
        queue = self._find(command.queue)
        check_send(queue, command, place.at)
        sent, visible = queue.send(command, place.index, place.at)
        self._wake(queue.id, visible)
        self._expiring.plan(queue.id, place.at + queue.attributes.retention)
        if command.lifetimes is not None:
            self._expiring.plan(queue.id, queue.next_expiry())
        if visible < command.count:
            self._surfacing.plan(queue.id, queue.next_ripening())
        return sent

    def _receive(self, command: commands.Receive, place: Place) -> commands.Deliveries:
        queue = self._find(command.queue)
        timeout = command.visibility_timeout
        if timeout is None:
            timeout = queue.attributes.visibility_timeout
        validation.check_max_messages(command.max_messages)
        validation.check_visibility_timeout(timeout)
        received, picking, visible = queue.receive(command, timeout, place.index, place.at)
        self._wake(queue.id, visible)
        if picking.dead:
            self._moving.bury(queue, picking.dead)
        if received.deliveries and timeout:
            self._surfacing.plan(queue.id, received.until)
        return received

    def _delete(self, command: commands.Delete, place: Place) -> commands.Results:
        validation.check_batch(len(command.handles))
        results, visible = self._find(command.queue).delete(command.handles, place.index)
        self._wake(command.queue, visible)
        return results

    def _change_visibility(self, command: commands.ChangeVisibility, place: Place) -> commands.Results:
        queue = self._find(command.queue)
        validation.check_batch(len(command.handles))
        if len(command.handles) != len(command.timeouts):
            raise InvalidArgument(
                f"{len(command.handles)} receipt handles came with {len(command.timeouts)} timeouts: give one for each"
            )
        results, visible = queue.change_visibility(command, place.at)
        self._wake(queue.id, visible)
        self._surfacing.plan(queue.id, queue.next_surfacing())
        return results

    def _cancel(self, command: commands.Cancel, _: Place) -> commands.Results:
        queue = self._find(command.queue)
        validation.check_batch(len(command.messages))
        if not isinstance(queue, StandardQueue):
            raise NotForFifo(
                f"queue {queue.name} is a FIFO queue: its messages have no schedule that could be cancelled"
            )
        refused = [
            (
                position,
                Refusal(
                    NotScheduled.code,
                    f"message {index}/{slot} is not scheduled: it is due already, was cancelled or deleted, or never "
                    "was scheduled; receive it to delete it",
                ),
            )
            for position, (index, slot) in enumerate(command.messages)
            if not queue.cancel(index << SLOT_BITS | slot)
        ]
        return commands.Results(tuple(refused))

    def _exchange(self, command: commands.Exchange, place: Place) -> commands.Sent:
        source = self._find(command.delete.queue)
        validation.check_batch(len(command.delete.handles))
        seen: set[Handle] = set()
        for position, handle in enumerate(command.delete.handles):
            if handle in seen or not source.holds(handle):
                raise ReceiptHandleExpired(
                    f"receipt handle {position} does not hold a message of queue {source.name} (any more), so nothing "
                    "was sent and nothing deleted: receive the message again"
                )
            seen.add(handle)
        sent = self._send(command.send, place)
        self._delete(command.delete, place)
        return sent

    # --- commands about queues as a whole

    def _create(self, command: commands.CreateQueue, place: Place) -> commands.Done:
        validation.check_queue_name(command.name)
        validation.check_queue_attributes(command.attributes)
        validation.check_attributes_fit(command.name, command.attributes)
        existing = self._queues.get(command.queue)
        if existing is None:
            kind = FifoQueue if is_fifo(command.name) else StandardQueue
            queue = kind(command.queue, command.name, command.attributes, place.at, self._in_flight_limit)
            queue.groups, queue.target = command.groups, command.target
            self._queues[command.queue] = queue
        elif (existing.name, existing.attributes) != (command.name, command.attributes):
            raise QueueExists(
                f"queue {existing.name} exists with other attributes: update it, or create one of another name"
            )
        return commands.Done()

    def _update(self, command: commands.UpdateQueue, place: Place) -> commands.Done:
        queue = self._find(command.queue)
        validation.check_queue_attributes(command.attributes)
        validation.check_attributes_fit(queue.name, command.attributes)
        if command.expected is not None and command.expected != queue.attributes:
            raise Conflict(
                f"the attributes of queue {queue.name} were changed by another call meanwhile: look again, and retry"
            )
        queue.attributes = command.attributes
        queue.groups = command.groups or queue.groups
        queue.target = command.target
        queue.suspended_until = None
        queue.modified_at = place.at
        self._wake(queue.id, queue.expire(place.at))
        self._wake(queue.id, queue.surface(place.at))  # a FIFO queue's delay counts for what is delayed already
        self._plan(queue)
        return commands.Done()

    def _drop(self, command: commands.DeleteQueue, _: Place) -> commands.Done:
        """Wakes all who wait for messages, so that they learn of it."""
        queue = self._find(command.queue)
        if command.only_if_empty and (queue.messages or queue.moving or running(queue) is not None):
            raise QueueNotEmpty(
                f"queue {queue.name} holds {queue.messages} messages, and {queue.moving} are on their way out of it"
            )
        del self._queues[queue.id]
        self._woken.pop(queue.id, None)
        self._wake(queue.id, _EVERYONE)
        return commands.Done()

    def _purge(self, command: commands.PurgeQueue, place: Place) -> commands.Done:
        self._find(command.queue).purge(place.index, place.at)
        return commands.Done()

    def _retarget(self, command: commands.Retarget, _: Place) -> commands.Done:
        queue = self._find(command.queue)
        redrive = queue.attributes.redrive
        if redrive is not None and redrive.target == command.target.name:
            queue.target, queue.suspended_until = command.target, None
        return commands.Done()


def _next_surfacing(queue: Queue) -> int | None:
    task = running(queue)
    if task is None or not queue.has_free:
        return queue.next_surfacing()
    return earlier(queue.next_surfacing(), task.next_due())


def _unknown(queue: QueueId) -> QueueNotFound:
    return QueueNotFound(f"no queue with id {queue} in this group: it was deleted, or never created")
