"""Queues from the pieces of a dump: the way back of ``dump``."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from broker.base.instants import WallMillis
from broker.domain.queues import dump_parts as parts
from broker.domain.queues.deduplication import Attempt
from broker.domain.queues.dump_parts import from_bytes
from broker.domain.queues.fifo import FifoQueue
from broker.domain.queues.message_groups import MessageGroup
from broker.domain.queues.model import is_fifo
from broker.domain.queues.move_task import MoveTask
from broker.domain.queues.moving import Moving, running
from broker.domain.queues.queue import Queue
from broker.domain.queues.runs import RunList
from broker.domain.queues.standard import StandardQueue

_decoder = msgspec.msgpack.Decoder(parts.Part)


def load(pieces: Iterable[bytes], queues: dict[int, Queue], moving: Moving, in_flight_limit: int) -> None:
    """Fill ``queues`` and ``moving``, which are empty.

    Raises ValueError when the pieces are damaged, incomplete, or of a newer version.
    """
    loading = _Loading(queues, moving, in_flight_limit)
    for piece in pieces:
        try:
            part = _decoder.decode(piece)
        except msgspec.MsgspecError as error:
            raise ValueError(f"a piece of {len(piece)} bytes of a dump of queues is damaged: {error}") from error
        loading.take(part)
    loading.end()


class _Loading:
    def __init__(self, queues: dict[int, Queue], moving: Moving, in_flight_limit: int) -> None:
        self._queues = queues
        self._moving = moving
        self._in_flight_limit = in_flight_limit
        self._queue: Queue | None = None
        self._begun = self._ended = False

    def take(self, part: parts.Part) -> None:
        if isinstance(part, parts.Begin):
            if part.version > parts.VERSION:
                raise ValueError(
                    f"the dump of queues has version {part.version}, this node reads up to {parts.VERSION}"
                )
            self._begun = True
        elif not self._begun or self._ended:
            raise ValueError("a dump of queues has pieces before its beginning or after its end")
        elif isinstance(part, parts.QueueHead):
            self._queue = _empty_queue(part, self._in_flight_limit)
            self._queues[part.id] = self._queue
        elif isinstance(part, parts.OutboxItems):
            self._fill_outbox(part)
        elif isinstance(part, parts.ArrivalsSeen):
            self._fill_arrivals(part)
        elif isinstance(part, parts.End):
            self._ended = True
            if part.queues != len(self._queues):
                raise ValueError(f"the dump of queues should hold {part.queues} queues and holds {len(self._queues)}")
        elif self._queue is None:
            raise ValueError("a dump of queues has messages before the first queue")
        else:
            _fill(self._queue, part)

    def end(self) -> None:
        if not self._ended:
            raise ValueError("the dump of queues is truncated: its end is missing")
        for queue in self._queues.values():
            queue.replan()
            if running(queue) is not None:
                self._moving.movers.add(queue.id)

    def _fill_outbox(self, part: parts.OutboxItems) -> None:
        outbox = self._moving.outbox
        outbox.next_number = part.next_number
        for number, departure in part.items:
            outbox.load(number, departure)

    def _fill_arrivals(self, part: parts.ArrivalsSeen) -> None:
        arrivals = self._moving.arrivals
        for source, highest, refused in part.sources:
            arrivals.highest[source] = highest
            if refused:
                arrivals.refused[source] = dict(refused)


def _empty_queue(head: parts.QueueHead, in_flight_limit: int) -> Queue:
    kind = FifoQueue if is_fifo(head.name) else StandardQueue
    queue = kind(head.id, head.name, head.attributes, head.created_at, in_flight_limit)
    queue.groups = head.groups
    queue.target = head.target
    queue.modified_at = head.modified_at
    queue.purged_at, queue.purged_index = head.purged_at, head.purged_index
    queue.suspended_until = head.suspended_until
    queue.sent_total = head.sent_total
    queue.received_total = head.received_total
    queue.deleted_total = head.deleted_total
    queue.expired_total = head.expired_total
    queue.moved_total = head.moved_total
    queue.arrived_total = head.arrived_total
    queue.duplicates_total = head.duplicates_total
    queue.moving = head.moving
    queue.moves = [_move_task(state) for state in head.moves]
    return queue


def _move_task(state: parts.MoveState) -> MoveTask:
    task = MoveTask(state.task, state.destination, state.rate, state.to_move, state.started_at, state.label)
    task.status, task.failure = state.status, state.failure
    task.taken, task.outstanding, task.moved = state.taken, state.outstanding, state.moved
    return task


def _fill(queue: Queue, part: parts.Part) -> None:
    match part:
        case parts.Runs():
            _fill_runs(queue, part)
        case parts.Returned():
            _fill_returned(queue, part)
        case parts.InFlightBatches():
            for held in part.batches:
                rows = [(key, sent, first, held.receipt, count) for key, sent, first, count in held.rows]
                queue.in_flight.load(_group(queue, held.group), held.receipt, held.received_at, held.until, rows)
        case parts.Leavers():
            for name, leaving in part.groups:
                queue.named.open(name).leaving = leaving
        case parts.LifetimeRuns():
            _extend(queue.lifetimes.lanes.lane(part.lifetime), part)
        case parts.LifetimeOwners():
            for key, name in part.groups:
                # Of a group that is gone, the message is gone, too.
                queue.lifetimes.owners[key] = queue.named.by_name.get(name) or MessageGroup(name)
        case _ if isinstance(queue, FifoQueue):
            _fill_fifo(queue, part)
        case parts.ScheduledRows() if isinstance(queue, StandardQueue):
            _fill_scheduled(queue, part)
        case _:
            raise ValueError(f"queue {queue.name} of the dump has a piece that is of another kind of queue")


def _fill_runs(queue: Queue, part: parts.Runs) -> None:
    if part.delay:
        if not isinstance(queue, StandardQueue):
            raise ValueError(f"FIFO queue {queue.name} of the dump has messages with delays of their own")
        _extend(queue.delayed.lane(part.delay), part)
    else:
        _extend(_group(queue, part.group).fresh, part)


def _fill_returned(queue: Queue, part: parts.Returned) -> None:
    group = _group(queue, part.group)
    columns = (
        from_bytes("Q", part.keys).tolist(),
        from_bytes("Q", part.sents).tolist(),
        from_bytes("Q", part.firsts).tolist(),
        from_bytes("Q", part.receipts).tolist(),
        from_bytes("I", part.counts).tolist(),
    )
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"queue {queue.name} of the dump has columns of different lengths")
    group.give_back(columns)
    if group.name:
        queue.named.homes.update(dict.fromkeys(columns[0], group))


def _fill_fifo(queue: FifoQueue, part: parts.Part) -> None:
    match part:
        case parts.Unripe():
            _extend(queue.unripe, part)
        case parts.Remembered():
            for identity, at, key in part.entries:
                queue.deduplication.remember(identity, at, key)
        case parts.RememberedAttempts():
            for name, instant, receipt, until, keys in part.entries:
                queue.attempts.remember(name, Attempt(instant, receipt, until, keys))
        case _:
            raise ValueError(f"FIFO queue {queue.name} of the dump has a piece that is of another kind of queue")


def _fill_scheduled(queue: StandardQueue, part: parts.ScheduledRows) -> None:
    for key, sent, wait, place in zip(
        from_bytes("Q", part.keys),
        from_bytes("Q", part.sents),
        from_bytes("I", part.waits),
        from_bytes("I", part.groups),
        strict=True,
    ):
        queue.schedule(key, WallMillis(sent), sent + wait, _group(queue, part.names[place]))


def _group(queue: Queue, name: str) -> MessageGroup:
    return queue.named.open(name) if name else queue.plain


def _extend(runs: RunList, part: parts.Runs | parts.Unripe | parts.LifetimeRuns) -> None:
    runs.extend(part.era, from_bytes("Q", part.keys), from_bytes("I", part.sents), from_bytes("H", part.counts))
