"""The state of all queues as pieces of bytes; and which log entries that state refers to. ``loading`` is the way back.

``capture`` is fast (references to arrays that change no more) and happens at the call; encoding happens while the
pieces are iterated, perhaps in another thread. The pieces follow from what the queues contain, not from how their
chunks happened to be cut, so that a replica which was itself loaded from a dump makes the same one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

import msgspec

from broker.base.ids import Index
from broker.domain.queues import dump_parts as parts
from broker.domain.queues.dump_parts import to_bytes
from broker.domain.queues.fifo import FifoQueue
from broker.domain.queues.keys import SLOT_BITS
from broker.domain.queues.move_task import MoveTask
from broker.domain.queues.moving import Departure, Moving
from broker.domain.queues.queue import Queue
from broker.domain.queues.returned import CapturedRows
from broker.domain.queues.runs import CapturedRuns
from broker.domain.queues.scheduled import CapturedScheduled
from broker.domain.queues.standard import StandardQueue
from broker.domain.queues.visibility import Batch, live_batches

_RUNS_A_PIECE = 4096
_ROWS_A_PIECE = 1500
_ITEMS_A_PIECE = 500

_encode = msgspec.msgpack.Encoder().encode
_Item = TypeVar("_Item")
_MakeRuns = Callable[[int, bytes, bytes, bytes], parts.Part]
"""of an era and the columns"""


class _CapturedGroup(msgspec.Struct, gc=False):
    name: str
    fresh: list[CapturedRuns]
    returned: list[CapturedRows]


class _CapturedQueue(msgspec.Struct, gc=False):
    head: parts.QueueHead
    groups: list[_CapturedGroup]
    """The one without a name first, then by name."""
    leavers: list[tuple[str, int]]
    delayed: list[tuple[int, list[CapturedRuns]]]
    unripe: list[CapturedRuns]
    scheduled: list[CapturedScheduled]
    names: dict[int, str]
    """Of the message groups of scheduled messages, by number."""
    holders: dict[int, Batch]
    lifetimes: list[tuple[int, list[CapturedRuns]]]
    owners: list[tuple[int, str]]
    remembered: list[tuple[bytes, int, int]]
    attempts: list[tuple[str, int, int, int, tuple[int, ...]]]


class Captured(msgspec.Struct, gc=False):
    queues: list[_CapturedQueue]
    next_number: int
    outbox: list[tuple[int, Departure]]
    arrivals: parts.ArrivalsSeen


def capture(queues: Iterable[Queue], moving: Moving) -> Captured:
    arrivals = moving.arrivals
    return Captured(
        [_capture_queue(queue) for queue in queues],
        moving.outbox.next_number,
        list(moving.outbox),
        parts.ArrivalsSeen(
            [
                (source, highest, sorted(arrivals.refused.get(source, {}).items()))
                for source, highest in sorted(arrivals.highest.items())
            ]
        ),
    )


def encode(captured: Captured) -> Iterator[bytes]:
    yield _encode(parts.Begin(parts.VERSION))
    for queue in captured.queues:
        yield from _encode_queue(queue)
    for items in _portions(captured.outbox):
        yield _encode(parts.OutboxItems(captured.next_number, items))
    if not captured.outbox and captured.next_number > 1:
        yield _encode(parts.OutboxItems(captured.next_number, []))
    if captured.arrivals.sources:
        yield _encode(captured.arrivals)
    yield _encode(parts.End(len(captured.queues)))


def live_entries(captured: Captured) -> Iterator[tuple[Index, Index]]:
    """Inclusive, ascending, disjoint ranges of the log indexes of all messages."""
    ranges: list[tuple[int, int]] = list(_ranges(array("Q", sorted(each.row[0] for _, each in captured.outbox))))
    for queue in captured.queues:
        runs = [group.fresh for group in queue.groups] + [lane for _, lane in queue.delayed]
        for _, keys, _, _, head in (chunk for chunks in runs for chunk in chunks):
            ranges += _ranges(keys[head:])
        for rows in (chunk for group in queue.groups for chunk in group.returned):
            ranges += _ranges(rows[0][rows[-1] :])
        for scheduled in queue.scheduled:
            ranges += _ranges(scheduled[0][scheduled[-1] :])
        ranges += _ranges(array("Q", sorted(queue.holders)))
    ranges.sort()
    if not ranges:
        return
    first, last = ranges[0]
    for start, end in ranges:
        if start > last + 1:
            yield Index(first), Index(last)
            first = start
        last = max(last, end)
    yield Index(first), Index(last)


# --- capturing


def _capture_queue(queue: Queue) -> _CapturedQueue:
    named = [group for _, group in sorted(queue.named.by_name.items())]
    captured = _CapturedQueue(
        head=_head(queue),
        groups=[
            _CapturedGroup(group.name, group.fresh.capture(), group.returned.capture())
            for group in (queue.plain, *named)
        ],
        leavers=[(group.name, group.leaving) for group in named if group.leaving],
        delayed=[],
        unripe=[],
        scheduled=[],
        names={},
        holders=queue.in_flight.holders.copy(),
        lifetimes=[(lifetime, lane.capture()) for lifetime, lane in sorted(queue.lifetimes.lanes.lanes.items())],
        owners=sorted((key, group.name) for key, group in queue.lifetimes.owners.items()),
        remembered=[],
        attempts=[],
    )
    if isinstance(queue, StandardQueue):
        captured.delayed = [(delay, lane.capture()) for delay, lane in sorted(queue.delayed.lanes.items())]
        captured.scheduled = queue.scheduled.capture()
        captured.names = {group.number: group.name for group in named if group.number}
    elif isinstance(queue, FifoQueue):
        captured.unripe = queue.unripe.capture()
        captured.remembered = queue.deduplication.capture()
        captured.attempts = [
            (identity, each.at, each.receipt, each.until, each.keys) for identity, each in queue.attempts.by_id.items()
        ]
    return captured


def _head(queue: Queue) -> parts.QueueHead:
    return parts.QueueHead(
        id=queue.id,
        name=queue.name,
        attributes=queue.attributes,
        created_at=queue.created_at,
        modified_at=queue.modified_at,
        purged_at=queue.purged_at,
        sent_total=queue.sent_total,
        received_total=queue.received_total,
        deleted_total=queue.deleted_total,
        expired_total=queue.expired_total,
        groups=queue.groups,
        target=queue.target,
        suspended_until=queue.suspended_until,
        moved_total=queue.moved_total,
        arrived_total=queue.arrived_total,
        duplicates_total=queue.duplicates_total,
        moving=queue.moving,
        moves=tuple(_move(task) for task in queue.moves),
        purged_index=queue.purged_index,
    )


def _move(task: MoveTask) -> parts.MoveState:
    return parts.MoveState(
        task=task.task,
        destination=task.destination,
        rate=task.rate,
        to_move=task.to_move,
        started_at=task.started_at,
        status=task.status,
        failure=task.failure,
        taken=task.taken,
        outstanding=task.outstanding,
        moved=task.moved,
        label=task.label,
    )


def _ranges(keys: array[int]) -> Iterator[tuple[int, int]]:
    """Of ascending keys, which is quick when they are one message of every entry from the first to the last."""
    if not keys:
        return
    if keys == array("Q", range(keys[0], keys[-1] + 1, 1 << SLOT_BITS)):
        yield keys[0] >> SLOT_BITS, keys[-1] >> SLOT_BITS
        return
    first = last = keys[0] >> SLOT_BITS
    for key in keys:
        index = key >> SLOT_BITS
        if index > last + 1:
            yield first, last
            first = index
        last = index
    yield first, last


# --- encoding


def _encode_queue(queue: _CapturedQueue) -> Iterator[bytes]:
    yield _encode(queue.head)
    for group in queue.groups:
        yield from _encode_runs(partial(_fresh_runs, group.name), group.fresh)
        yield from _encode_returned(group.name, group.returned)
    for delay, runs in queue.delayed:
        yield from _encode_runs(partial(parts.Runs, delay), runs)
    for leavers in _portions(queue.leavers):
        yield _encode(parts.Leavers(leavers))
    yield from _encode_runs(parts.Unripe, queue.unripe)
    yield from _encode_scheduled(queue.scheduled, queue.names)
    yield from _encode_in_flight(queue.holders)
    for lifetime, runs in queue.lifetimes:
        yield from _encode_runs(partial(parts.LifetimeRuns, lifetime), runs)
    for owners in _portions(queue.owners):
        yield _encode(parts.LifetimeOwners(owners))
    for entries in _portions(queue.remembered):
        yield _encode(parts.Remembered(entries))
    for attempts in _portions(queue.attempts):
        yield _encode(parts.RememberedAttempts(attempts))


def _fresh_runs(group: str, era: int, keys: bytes, sents: bytes, counts: bytes) -> parts.Runs:
    return parts.Runs(0, era, keys, sents, counts, group)


def _portions(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    source = iter(items)
    while portion := list(islice(source, _ITEMS_A_PIECE)):
        yield portion


def _encode_runs(make: _MakeRuns, chunks: list[CapturedRuns]) -> Iterator[bytes]:
    keys, sents, counts, era = array("Q"), array("I"), array("H"), 0
    for chunk_era, chunk_keys, chunk_sents, chunk_counts, head in chunks:
        start = head
        while start < len(chunk_keys):
            if keys and (era != chunk_era or len(keys) == _RUNS_A_PIECE):
                yield _encode(make(era, to_bytes(keys), to_bytes(sents), to_bytes(counts)))
                keys, sents, counts = array("Q"), array("I"), array("H")
            era = chunk_era
            end = start + _RUNS_A_PIECE - len(keys)
            keys.extend(chunk_keys[start:end])
            sents.extend(chunk_sents[start:end])
            counts.extend(chunk_counts[start:end])
            start = end
    if keys:
        yield _encode(make(era, to_bytes(keys), to_bytes(sents), to_bytes(counts)))


def _encode_returned(group: str, chunks: list[CapturedRows]) -> Iterator[bytes]:
    for keys, sents, firsts, receipts, counts in _regrouped("QQQQI", chunks):
        columns = to_bytes(keys), to_bytes(sents), to_bytes(firsts), to_bytes(receipts), to_bytes(counts)
        yield _encode(parts.Returned(*columns, group))


def _encode_scheduled(chunks: list[CapturedScheduled], names: dict[int, str]) -> Iterator[bytes]:
    for keys, sents, waits, groups in _regrouped("QQII", chunks):
        places: dict[str, int] = {}
        numbers = array("I", (places.setdefault(names.get(number, ""), len(places)) for number in groups))
        yield _encode(
            parts.ScheduledRows(to_bytes(keys), to_bytes(sents), to_bytes(waits), to_bytes(numbers), list(places))
        )


def _regrouped(
    typecodes: str, chunks: Iterable[CapturedRows] | Iterable[CapturedScheduled]
) -> Iterator[list[array[int]]]:
    """Captured columns (the last element being the first position) cut anew, into pieces of _ROWS_A_PIECE rows."""
    columns = [array(typecode) for typecode in typecodes]
    for *chunk, head in chunks:
        start = head
        while start < len(chunk[0]):
            if len(columns[0]) == _ROWS_A_PIECE:
                yield columns
                columns = [array(typecode) for typecode in typecodes]
            end = start + _ROWS_A_PIECE - len(columns[0])
            for column, values in zip(columns, chunk, strict=True):
                column.extend(values[start:end])
            start = end
    if columns[0]:
        yield columns


def _encode_in_flight(holders: dict[int, Batch]) -> Iterator[bytes]:
    gathered: list[parts.Held] = []
    rows_gathered = 0
    for batch in live_batches(holders):
        rows = [(key, sent, first, count) for key, sent, first, _, count in batch.live(holders)]
        if gathered and rows_gathered + len(rows) > _ROWS_A_PIECE:
            yield _encode(parts.InFlightBatches(gathered))
            gathered, rows_gathered = [], 0
        gathered.append(parts.Held(batch.receipt, batch.received_at, batch.until, rows, batch.group.name))
        rows_gathered += len(rows)
    if gathered:
        yield _encode(parts.InFlightBatches(gathered))
