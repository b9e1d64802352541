"""The write-ahead log: one row of batches over all groups, written one after the other.

A batch is written only after the batch before it is durable, and only where zeros are. So at most the last one can be
torn by a crash, and it can be seen that it was (``sectors``). After a failed write or sync nobody knows what the disk
holds ("fsyncgate"): the log then refuses all further work, and only recovery, which reads the bytes, may go on.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from broker.base.errors import DiskFull, Unavailable
from broker.storage import layout
from broker.storage.books import SegmentBook
from broker.storage.disk import Disk, DiskFile
from broker.storage.pool import SegmentPool
from broker.storage.sectors import zero_pieces
from broker.storage.segment import BLOCK_HEADER_BYTES, OFFSET_LIMIT, encode_block_header
from broker.storage.snapshots import SnapshotFiles

_SYNC_TIMES = 4096
_NO_HEADER = bytes(BLOCK_HEADER_BYTES)


class Batch(msgspec.Struct):
    """Everything staged between two seals. ``number`` is 1 for the first batch after the store was opened."""

    number: int
    sequence: int
    segment: int
    offset: int
    segment_size: int
    begins_segment: bool
    pieces: list[bytes]
    """Heads and data of all records in turn, without the block's header."""
    size: int
    operations: list[Any]
    sync_microseconds: int = 0
    """What its sync took."""
    freed: list[int] = msgspec.field(default_factory=list)
    """Segments that nothing needs once the batch is durable."""
    stale_snapshots: list[str] = msgspec.field(default_factory=list)


class Place(msgspec.Struct, frozen=True):
    """Where the next batch goes."""

    segment: int
    offset: int
    segment_size: int
    begins_segment: bool


class Wal:
    def __init__(
        self, disk: Disk, pool: SegmentPool, snapshots: SnapshotFiles, magic: bytes, segment_bytes: int
    ) -> None:
        self._disk = disk
        self._pool = pool
        self._snapshots = snapshots
        self._magic = magic
        self._segment_bytes = segment_bytes
        self._file: DiskFile | None = None
        self._opened_for = 0
        """Sequence of the last batch that began a segment: committed again, it finds its file there."""
        self._failure: BaseException | None = None
        self._segment = 0
        self._segment_size = 0
        self._offset = 0
        self._sequence = 0
        self.durable_sequence = 0
        self.sealed = 0
        self.durable = 0
        self.bytes_written = 0
        self.sync_times: deque[int] = deque(maxlen=_SYNC_TIMES)

    def continue_after(self, segment: SegmentBook, offset: int, sequence: int) -> None:
        """Go on where recovery found the end; with ``offset`` at the segment's own end, in the next one."""
        self._segment, self._segment_size, self._offset = segment.number, segment.size, offset
        self._sequence = self.durable_sequence = sequence

    @property
    def segment(self) -> int:
        """Number of the segment being written; 0 before the first."""
        return self._segment

    # --- in the loop

    def fits(self, size: int) -> bool:
        """Whether a batch of ``size`` bytes fits behind the last one."""
        return self._segment > 0 and self._offset + BLOCK_HEADER_BYTES + size <= self._segment_size

    def place(self, size: int) -> Place:
        """Where a batch of ``size`` bytes goes: it is then taken for written there by ``seal``."""
        if self.fits(size):
            return Place(self._segment, self._offset, self._segment_size, False)
        needed = BLOCK_HEADER_BYTES + size
        if needed > OFFSET_LIMIT:
            raise ValueError(f"a batch of {size} bytes is too large for any segment; the limit is {OFFSET_LIMIT}")
        return Place(self._segment + 1, 0, max(self._segment_bytes, needed), True)

    def seal(self, place: Place, pieces: list[bytes], size: int, operations: list[Any]) -> Batch:
        self._segment, self._segment_size = place.segment, place.segment_size
        self._offset = place.offset + BLOCK_HEADER_BYTES + size
        self._sequence += 1
        self.sealed += 1
        return Batch(
            self.sealed,
            self._sequence,
            place.segment,
            place.offset,
            place.segment_size,
            place.begins_segment,
            pieces,
            size,
            operations,
        )

    # --- in the writing thread

    def commit(self, batch: Batch) -> None:
        """Raises DiskFull: the batch does not count, and may be committed again. OSError: for good."""
        if self._failure is not None:
            raise Unavailable(f"the log refuses work after a failed write: {self._failure}; restart the node")
        if batch.number != self.durable + 1:
            raise ValueError(
                f"batch {batch.number} was committed after batch {self.durable}; order is what makes a log"
            )
        raw = bytearray().join([_NO_HEADER, *batch.pieces])
        raw[:BLOCK_HEADER_BYTES] = encode_block_header(
            self._magic, batch.segment, batch.sequence, batch.size, batch.pieces, zero_pieces(raw, batch.offset)
        )
        try:
            file = self._file_of(batch)
            file.write_at(raw, batch.offset)
            batch.sync_microseconds = file.sync()
            self.sync_times.append(batch.sync_microseconds)
            self.durable = batch.number
            self.durable_sequence = batch.sequence
            self.bytes_written += BLOCK_HEADER_BYTES + batch.size
            batch.pieces = []
            self._tidy(batch)
        except DiskFull:
            raise
        except BaseException as error:
            self._failure = error
            raise

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _file_of(self, batch: Batch) -> DiskFile:
        if batch.begins_segment and batch.sequence > self._opened_for:
            self.close()
            self._file = self._pool.activate(batch.segment, batch.segment_size)
            self._opened_for = batch.sequence
        if self._file is None:
            self._file = self._disk.open(layout.segment_path(batch.segment))
        return self._file

    def _tidy(self, batch: Batch) -> None:
        for number in batch.freed:
            self._pool.release(number)
        for name in batch.stale_snapshots:
            self._snapshots.remove(name)
