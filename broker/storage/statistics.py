"""What a store has and has done, in numbers."""

from __future__ import annotations

import msgspec

from broker.storage.books import Books
from broker.storage.disk import Disk
from broker.storage.pool import SegmentPool
from broker.storage.tail import Cache
from broker.storage.wal import Wal


class StoreStats(msgspec.Struct, frozen=True):
    """Counters since the store was opened; sizes in bytes."""

    segments: int
    spare_segments: int
    total_bytes: int
    live_bytes: int
    free_disk_bytes: int
    cached_bytes: int
    index_entries: int
    batches: int
    bytes_written: int
    sync_microseconds: tuple[int, ...]
    """Of the syncs since the last look."""


def look(books: Books, disk: Disk, pool: SegmentPool, wal: Wal, cache: Cache) -> StoreStats:
    segments = books.segments.values()
    syncs = wal.sync_times
    indexes = [book.index for book in books.groups.values()]
    return StoreStats(
        segments=len(segments),
        spare_segments=pool.spares,
        total_bytes=sum(book.size for book in segments),
        live_bytes=sum(book.live_bytes for book in segments),
        free_disk_bytes=disk.free_bytes(),
        cached_bytes=cache.bytes,
        index_entries=sum(len(index.log) + len(index.old) for index in indexes),
        batches=wal.durable,
        bytes_written=wal.bytes_written,
        sync_microseconds=tuple(syncs.popleft() for _ in range(len(syncs))),
    )
