"""A small store on a fake disk, and short words for what the storage tests do with it."""

from __future__ import annotations

from random import Random

from broker.base.ids import GroupId, Index, NodeId, Term
from broker.raft.types import Entry, EntryKind, Membership, SnapshotMark
from broker.storage import layout
from broker.storage.disk import Disk
from broker.storage.sectors import SECTOR
from broker.storage.segment import BLOCK_HEADER_BYTES, decode_block_header, node_magic
from broker.storage.store import StorageSettings, Store
from tests.simulation.fake_disk import FakeDisk

GROUP = GroupId(1)
OTHER = GroupId(2)
MAGIC = node_magic("test", "a-0")
MEMBERS = Membership((NodeId("a-0"), NodeId("b-0"), NodeId("c-0")))
UNCACHED = StorageSettings(segment_bytes=4_096, cache_bytes=0, spare_segments=1)


def new_disk(seed: int = 1) -> FakeDisk:
    return FakeDisk(Random(seed))


def open_store(disk: Disk, settings: StorageSettings = UNCACHED, node: str = "a-0", cluster: str = "test") -> Store:
    return Store(disk, settings, node=NodeId(node), cluster=cluster)


def restart(disk: FakeDisk, settings: StorageSettings = UNCACHED) -> Store:
    disk.end_process()
    return open_store(disk, settings)


def entry(index: int, term: int = 1, size: int = 100, kind: EntryKind = EntryKind.NORMAL) -> Entry:
    return Entry(Index(index), Term(term), kind, b"%d/%d:" % (index, term) + b"x" * size)


def entries(first: int, last: int, term: int = 1, size: int = 100) -> list[Entry]:
    return [entry(index, term, size) for index in range(first, last + 1)]


def mark_at(index: int, term: int = 1) -> SnapshotMark:
    return SnapshotMark(Index(index), Term(term), MEMBERS)


def commit(store: Store) -> None:
    batch = store.seal()
    assert batch is not None
    store.commit(batch)


def append(store: Store, first: int, last: int, term: int = 1, group: GroupId = GROUP, size: int = 100) -> None:
    """Each entry a batch of its own."""
    for one in entries(first, last, term, size):
        store.stage_entries(group, [one])
        commit(store)


def log_of(store: Store, group: GroupId = GROUP) -> list[Entry]:
    first, last = store.bounds(group)
    return store.read(group, first, last, 1 << 30)


def take_snapshot(
    store: Store, index: int, live: list[tuple[int, int]], keep_from: int, pieces: tuple[bytes, ...] = (b"state",)
) -> str:
    writer = store.begin_snapshot(GROUP, mark_at(index))
    for piece in pieces:
        writer.write(piece)
    name = writer.finish()
    store.stage_snapshot_mark(GROUP, mark_at(index), name)
    store.retain(GROUP, Index(index), [(Index(first), Index(last)) for first, last in live], Index(keep_from))
    commit(store)
    return name


def compact(store: Store) -> None:
    while store.compaction_step(1_000):
        batch = store.seal()
        if batch is not None:
            store.commit(batch)
    batch = store.seal()
    if batch is not None:
        store.commit(batch)


def blocks(disk: FakeDisk, number: int) -> list[tuple[int, int]]:
    """Offset and end of each block of a segment."""
    raw = disk.content(layout.segment_path(number))
    found: list[tuple[int, int]] = []
    offset = 0
    while (header := decode_block_header(raw, offset, MAGIC, number)) is not None:
        found.append((offset, offset + BLOCK_HEADER_BYTES + header.length))
        offset = found[-1][1]
    return found


def lose_a_sector(disk: FakeDisk, number: int) -> None:
    """Of the last block of a segment: the first one that is the block's alone holds zeros, as before it was written."""
    start, end = blocks(disk, number)[-1]
    start += -start % SECTOR
    assert start + SECTOR <= end
    disk.put(layout.segment_path(number), start, bytes(SECTOR))
