"""The room "queues" of a group: all its queues, their commands and questions. Implements machine.contract.Machine.

It decodes, lets time pass, finds the queue and says who is to be woken; what a command means to a queue is in
``standard``. Its state follows from the commands alone: what is due fires before every command, on every replica.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from broker.base.errors import (
    BrokerError,
    InvalidArgument,
    MessageTooLong,
    QueueExists,
    QueueNotFound,
    Refusal,
)
from broker.base.ids import Index, QueueId
from broker.base.instants import SECOND, WallMillis
from broker.base.limits import MAX_IN_FLIGHT
from broker.domain.queues import commands, dump, questions, validation
from broker.domain.queues.agenda import Agenda
from broker.domain.queues.standard import StandardQueue
from broker.machine.contract import Applied, Effect, Place, Wake

ROOM = "queues"
_EVERYONE = 1 << 30

_commands = msgspec.msgpack.Decoder(commands.Command)
_replies = msgspec.msgpack.Decoder(commands.Reply)
_Outcome = tuple[Any, int]
"""the reply, and how many messages became visible"""


class QueueMachine:
    """``in_flight_limit``: per queue; the same on every replica."""

    def __init__(self, in_flight_limit: int = MAX_IN_FLIGHT) -> None:
        self._in_flight_limit = in_flight_limit
        self._queues: dict[int, StandardQueue] = {}
        self._surfacing = Agenda(self._surfacing_of)
        self._expiring = Agenda(self._expiry_of)
        self._deadline: WallMillis | None = None
        self._deadline_is_known = False
        """It is asked for more often than it changes."""
        self._carry_out: dict[type, Callable[[Any, Place], _Outcome]] = {
            commands.Send: self._send,
            commands.Receive: self._receive,
            commands.Delete: self._delete,
            commands.ChangeVisibility: self._change_visibility,
            commands.CreateQueue: self._create,
            commands.UpdateQueue: self._update,
            commands.DeleteQueue: self._drop,
            commands.PurgeQueue: self._purge,
        }
        self._answer: dict[type, Callable[[StandardQueue, WallMillis], Any]] = {
            questions.HasVisible: lambda queue, at: queue.has_visible(at),
            questions.CountsOf: lambda queue, _: queue.counts(),
            questions.AttributesOf: lambda queue, _: queue.described(),
        }

    # --- the contract

    def apply(self, command: bytes | memoryview, place: Place) -> Applied:
        """Replies Refused for what cannot be done. Raises msgspec.ValidationError for a command it does not know:
        a replica that skipped what another one can do would silently differ from it."""
        woken = self._let_pass(place.at)
        self._deadline_is_known = False
        decoded = _commands.decode(command)
        try:
            reply, visible = self._carry_out[type(decoded)](decoded, place)
        except BrokerError as error:
            reply, visible = commands.Refused(Refusal.of(error)), 0
        if visible:
            woken[decoded.queue] = woken.get(decoded.queue, 0) + visible
        return Applied(reply, _wakes(woken)) if woken else Applied(reply)

    def advance(self, at: WallMillis) -> tuple[Effect, ...]:
        return _wakes(self._let_pass(at))

    def query(self, question: Any, at: WallMillis) -> Any:
        """CountsOf: Counts; AttributesOf: Described; HasVisible: bool; of an unknown queue: Refused. AllQueues: a
        list of (Described, Counts), by id."""
        if type(question) is questions.AllQueues:
            return [(queue.described(), queue.counts()) for _, queue in sorted(self._queues.items())]
        queue = self._queues.get(question.queue)
        if queue is None:
            return commands.Refused(Refusal.of(_unknown(question.queue)))
        return self._answer[type(question)](queue, at)

    def next_deadline(self) -> WallMillis | None:
        """Retention is told in whole seconds, rounded up: expired messages are never delivered, being counted for a
        second longer harms nobody, and a tick a message would."""
        if not self._deadline_is_known:
            surfacing, expiring = self._surfacing.first(), self._expiring.first()
            if expiring is not None:
                expiring = -(-expiring // SECOND) * SECOND
            if surfacing is None or (expiring is not None and expiring < surfacing):
                surfacing = expiring
            self._deadline = None if surfacing is None else WallMillis(surfacing)
            self._deadline_is_known = True
        return self._deadline

    def dump(self) -> Iterator[bytes]:
        return dump.encode(dump.capture(self._queues.values()))

    def load(self, pieces: Iterable[bytes]) -> None:
        self._queues = dump.decode(pieces, self._in_flight_limit)
        self._deadline_is_known = False
        self._surfacing = Agenda(self._surfacing_of)
        self._expiring = Agenda(self._expiry_of)
        for queue in self._queues.values():
            self._surfacing.plan(queue.id, queue.next_surfacing())
            self._expiring.plan(queue.id, queue.next_expiry())

    def live_entries(self) -> Iterator[tuple[Index, Index]]:
        return dump.live_entries(dump.capture(self._queues.values()))

    def decode_reply(self, data: bytes | memoryview) -> Any:
        return _replies.decode(data)

    # --- time

    def _let_pass(self, at: int) -> dict[int, int]:
        """Fire all that is due: how many messages became visible, by queue. Expiry goes first: what is both never
        becomes visible."""
        woken: dict[int, int] = {}
        expiring, surfacing = self._expiring.due(at), self._surfacing.due(at)
        if expiring or surfacing:
            self._deadline_is_known = False
        for identity in expiring:
            queue = self._queues.get(identity)
            if queue is not None:
                queue.expire(at)
                self._expiring.plan(identity, queue.next_expiry())
        for identity in surfacing:
            queue = self._queues.get(identity)
            if queue is not None:
                visible = queue.surface(at)
                if visible:
                    woken[identity] = visible
                self._surfacing.plan(identity, queue.next_surfacing())
        return woken

    def _surfacing_of(self, queue: int) -> int | None:
        found = self._queues.get(queue)
        return None if found is None else found.next_surfacing()

    def _expiry_of(self, queue: int) -> int | None:
        found = self._queues.get(queue)
        return None if found is None else found.next_expiry()

    # --- commands

    def _find(self, queue: QueueId) -> StandardQueue:
        found = self._queues.get(queue)
        if found is None:
            raise _unknown(queue)
        return found

    def _send(self, command: commands.Send, place: Place) -> _Outcome:
        queue = self._find(command.queue)
        count, delays = command.count, command.delays
        validation.check_batch(count)
        if command.largest > queue.attributes.message_size_limit:
            raise MessageTooLong(
                f"a message has {command.largest} bytes with its attributes, queue {queue.name} takes "
                f"{queue.attributes.message_size_limit}: send less, or raise the queue's message size limit"
            )
        if delays is not None:
            if len(delays) != count:
                raise InvalidArgument(f"{count} messages came with {len(delays)} delays: give one for each")
            validation.check_delay(min(delays))
            validation.check_delay(max(delays))
        visible = queue.send(place.index, count, delays, place.at)
        self._expiring.plan(queue.id, place.at + queue.attributes.retention)
        if visible < count:
            self._surfacing.plan(queue.id, queue.delayed.next_due())
        return commands.Sent(place.index, count, place.at), visible

    def _receive(self, command: commands.Receive, place: Place) -> _Outcome:
        queue = self._find(command.queue)
        timeout = command.visibility_timeout
        if timeout is None:
            timeout = queue.attributes.visibility_timeout
        validation.check_max_messages(command.max_messages)
        validation.check_visibility_timeout(timeout)
        received = queue.receive(place.index, command.max_messages, timeout, place.at)
        if not received.deliveries:
            return received, 0
        if timeout:
            self._surfacing.plan(queue.id, received.until)
            return received, 0
        return received, len(received.deliveries)

    def _delete(self, command: commands.Delete, place: Place) -> _Outcome:
        validation.check_batch(len(command.handles))
        return self._find(command.queue).delete(command.handles, place.index), 0

    def _change_visibility(self, command: commands.ChangeVisibility, place: Place) -> _Outcome:
        queue = self._find(command.queue)
        validation.check_batch(len(command.handles))
        if len(command.handles) != len(command.timeouts):
            raise InvalidArgument(
                f"{len(command.handles)} receipt handles came with {len(command.timeouts)} timeouts: give one for each"
            )
        results, visible = queue.change_visibility(command.handles, command.timeouts, place.at)
        self._surfacing.plan(queue.id, queue.next_surfacing())
        return results, visible

    def _create(self, command: commands.CreateQueue, place: Place) -> _Outcome:
        validation.check_queue_name(command.name)
        validation.check_queue_attributes(command.attributes)
        existing = self._queues.get(command.queue)
        if existing is None:
            self._queues[command.queue] = StandardQueue(
                command.queue, command.name, command.attributes, place.at, self._in_flight_limit
            )
        elif (existing.name, existing.attributes) != (command.name, command.attributes):
            raise QueueExists(
                f"queue {existing.name} exists with other attributes: update it, or create one of another name"
            )
        return commands.Done(), 0

    def _update(self, command: commands.UpdateQueue, place: Place) -> _Outcome:
        queue = self._find(command.queue)
        validation.check_queue_attributes(command.attributes)
        queue.attributes = command.attributes
        queue.modified_at = place.at
        queue.expire(place.at)
        self._expiring.plan(queue.id, queue.next_expiry())
        return commands.Done(), 0

    def _drop(self, command: commands.DeleteQueue, _: Place) -> _Outcome:
        """Wakes all who wait for messages, so that they learn of it."""
        del self._queues[self._find(command.queue).id]
        return commands.Done(), _EVERYONE

    def _purge(self, command: commands.PurgeQueue, place: Place) -> _Outcome:
        self._find(command.queue).purge(place.at)
        return commands.Done(), 0


def _unknown(queue: QueueId) -> QueueNotFound:
    return QueueNotFound(f"no queue with id {queue} in this group: it was deleted, or never created")


def _wakes(woken: dict[int, int]) -> tuple[Wake, ...]:
    return tuple(Wake(("queue", queue), count) for queue, count in woken.items())
