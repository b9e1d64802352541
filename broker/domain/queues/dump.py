"""The state of all queues as pieces of bytes, and back; and which log entries that state refers to.

``capture`` is fast (references to arrays that change no more) and happens at the call; encoding happens while the
pieces are iterated, perhaps in another thread. The pieces follow from what the queues contain, not from how their
chunks happened to be cut, so that a replica which was itself loaded from a dump makes the same one.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator

import msgspec

from broker.base.ids import Index, QueueId
from broker.base.instants import WallMillis
from broker.domain.queues.model import QueueAttributes
from broker.domain.queues.keys import SLOT_BITS
from broker.domain.queues.returned import CapturedRows, Row
from broker.domain.queues.runs import CapturedRuns
from broker.domain.queues.standard import StandardQueue
from broker.domain.queues.visibility import Batch, live_batches

VERSION = 1
_RUNS_A_PIECE = 4096
_ROWS_A_PIECE = 1500
_BIG_ENDIAN = sys.byteorder == "big"


class _Begin(msgspec.Struct, frozen=True, array_like=True, tag=1):
    version: int


class _Queue(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """What follows belongs to it, up to the next one."""

    id: QueueId
    name: str
    attributes: QueueAttributes
    created_at: WallMillis
    modified_at: WallMillis
    purged_at: WallMillis | None
    sent_total: int
    received_total: int
    deleted_total: int
    expired_total: int


class _Runs(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Little-endian columns. ``delay`` 0: visible, never received."""

    delay: int
    era: int
    keys: bytes
    sents: bytes
    counts: bytes


class _Returned(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Little-endian columns."""

    keys: bytes
    sents: bytes
    firsts: bytes
    receipts: bytes
    counts: bytes


class _Held(msgspec.Struct, frozen=True, array_like=True):
    """Messages in flight together: (key, sent at, first received at, number of deliveries)."""

    receipt: int
    received_at: int
    until: int
    rows: list[tuple[int, int, int, int]]


class _InFlight(msgspec.Struct, frozen=True, array_like=True, tag=5):
    batches: list[_Held]


class _End(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """``queues`` tells a whole dump from a truncated one."""

    queues: int


_Part = _Begin | _Queue | _Runs | _Returned | _InFlight | _End
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Part)


class _Captured(msgspec.Struct, gc=False):
    header: _Queue
    fresh: list[CapturedRuns]
    delayed: list[tuple[int, list[CapturedRuns]]]
    returned: list[CapturedRows]
    holders: dict[int, Batch]


def capture(queues: Iterable[StandardQueue]) -> list[_Captured]:
    return [
        _Captured(
            _Queue(
                queue.id,
                queue.name,
                queue.attributes,
                queue.created_at,
                queue.modified_at,
                queue.purged_at,
                queue.sent_total,
                queue.received_total,
                queue.deleted_total,
                queue.expired_total,
            ),
            queue.fresh.capture(),
            [(delay, queue.delayed.lanes[delay].capture()) for delay in sorted(queue.delayed.lanes)],
            queue.returned.capture(),
            queue.in_flight.holders.copy(),
        )
        for queue in queues
    ]


def encode(captured: list[_Captured]) -> Iterator[bytes]:
    yield _encode(_Begin(VERSION))
    for queue in captured:
        yield _encode(queue.header)
        yield from _encode_runs(0, queue.fresh)
        for delay, runs in queue.delayed:
            yield from _encode_runs(delay, runs)
        yield from _encode_returned(queue.returned)
        yield from _encode_in_flight(queue.holders)
    yield _encode(_End(len(captured)))


def decode(pieces: Iterable[bytes], in_flight_limit: int) -> dict[int, StandardQueue]:
    """Raises ValueError when the pieces are damaged, incomplete, or of a newer version."""
    queues: dict[int, StandardQueue] = {}
    queue: StandardQueue | None = None
    begun = ended = False
    for piece in pieces:
        try:
            part = _decoder.decode(piece)
        except msgspec.MsgspecError as error:
            raise ValueError(f"a piece of {len(piece)} bytes of a dump of queues is damaged: {error}") from error
        if isinstance(part, _Begin):
            if part.version > VERSION:
                raise ValueError(f"the dump of queues has version {part.version}, this node reads up to {VERSION}")
            begun = True
        elif not begun or ended:
            raise ValueError("a dump of queues has pieces before its beginning or after its end")
        elif isinstance(part, _Queue):
            queue = _empty_queue(part, in_flight_limit)
            queues[part.id] = queue
        elif isinstance(part, _End):
            ended = True
            if part.queues != len(queues):
                raise ValueError(f"the dump of queues should hold {part.queues} queues and holds {len(queues)}")
        elif queue is None:
            raise ValueError("a dump of queues has messages before the first queue")
        else:
            _fill(queue, part)
    if not ended:
        raise ValueError("the dump of queues is truncated: its end is missing")
    for queue in queues.values():
        queue.delayed.replan()
    return queues


def live_entries(captured: list[_Captured]) -> Iterator[tuple[Index, Index]]:
    """Inclusive, ascending, disjoint ranges of the log indexes of all messages."""
    ranges: list[tuple[int, int]] = []
    for queue in captured:
        for _, keys, _, _, head in queue.fresh:
            ranges += _ranges(keys[head:])
        for _, runs in queue.delayed:
            for _, keys, _, _, head in runs:
                ranges += _ranges(keys[head:])
        for rows in queue.returned:
            ranges += _ranges(rows[0][rows[-1] :])
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


def _to_bytes(column: array[int]) -> bytes:
    if _BIG_ENDIAN:
        column = column[:]
        column.byteswap()
    return column.tobytes()


def _from_bytes(typecode: str, data: bytes) -> array[int]:
    column = array(typecode)
    column.frombytes(data)
    if _BIG_ENDIAN:
        column.byteswap()
    return column


def _encode_runs(delay: int, chunks: list[CapturedRuns]) -> Iterator[bytes]:
    keys, sents, counts, era = array("Q"), array("I"), array("H"), 0
    for chunk_era, chunk_keys, chunk_sents, chunk_counts, head in chunks:
        start = head
        while start < len(chunk_keys):
            if keys and (era != chunk_era or len(keys) == _RUNS_A_PIECE):
                yield _encode(_Runs(delay, era, _to_bytes(keys), _to_bytes(sents), _to_bytes(counts)))
                keys, sents, counts = array("Q"), array("I"), array("H")
            era = chunk_era
            end = start + _RUNS_A_PIECE - len(keys)
            keys.extend(chunk_keys[start:end])
            sents.extend(chunk_sents[start:end])
            counts.extend(chunk_counts[start:end])
            start = end
    if keys:
        yield _encode(_Runs(delay, era, _to_bytes(keys), _to_bytes(sents), _to_bytes(counts)))


def _encode_returned(chunks: list[CapturedRows]) -> Iterator[bytes]:
    columns = [array(typecode) for typecode in "QQQQI"]
    for *chunk, head in chunks:
        start = head
        while start < len(chunk[0]):
            if len(columns[0]) == _ROWS_A_PIECE:
                yield _encode(_Returned(*map(_to_bytes, columns)))
                columns = [array(typecode) for typecode in "QQQQI"]
            end = start + _ROWS_A_PIECE - len(columns[0])
            for column, values in zip(columns, chunk, strict=True):
                column.extend(values[start:end])
            start = end
    if columns[0]:
        yield _encode(_Returned(*map(_to_bytes, columns)))


def _encode_in_flight(holders: dict[int, Batch]) -> Iterator[bytes]:
    gathered: list[_Held] = []
    rows_gathered = 0
    for batch in live_batches(holders):
        rows = [(key, sent, first, count) for key, sent, first, _, count in batch.live(holders)]
        if gathered and rows_gathered + len(rows) > _ROWS_A_PIECE:
            yield _encode(_InFlight(gathered))
            gathered, rows_gathered = [], 0
        gathered.append(_Held(batch.receipt, batch.received_at, batch.until, rows))
        rows_gathered += len(rows)
    if gathered:
        yield _encode(_InFlight(gathered))


# --- decoding


def _empty_queue(header: _Queue, in_flight_limit: int) -> StandardQueue:
    queue = StandardQueue(header.id, header.name, header.attributes, header.created_at, in_flight_limit)
    queue.modified_at = header.modified_at
    queue.purged_at = header.purged_at
    queue.sent_total = header.sent_total
    queue.received_total = header.received_total
    queue.deleted_total = header.deleted_total
    queue.expired_total = header.expired_total
    return queue


def _fill(queue: StandardQueue, part: _Runs | _Returned | _InFlight) -> None:
    if isinstance(part, _Runs):
        runs = queue.delayed.lane(part.delay) if part.delay else queue.fresh
        before = runs.messages
        keys, sents = _from_bytes("Q", part.keys), _from_bytes("I", part.sents)
        runs.extend(part.era, keys, sents, _from_bytes("H", part.counts))
        if part.delay:
            queue.delayed.messages += runs.messages - before
    elif isinstance(part, _Returned):
        queue.returned.add(_rows(part))
    else:
        for held in part.batches:
            rows = [(key, sent, first, held.receipt, count) for key, sent, first, count in held.rows]
            queue.in_flight.load(held.receipt, held.received_at, held.until, rows)


def _rows(part: _Returned) -> Iterator[Row]:
    return zip(
        _from_bytes("Q", part.keys),
        _from_bytes("Q", part.sents),
        _from_bytes("Q", part.firsts),
        _from_bytes("Q", part.receipts),
        _from_bytes("I", part.counts),
        strict=True,
    )
