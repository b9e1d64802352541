"""What storage costs on this machine: ``python -m loadtest.storage [DIRECTORY]``.

Commits run in the calling thread, with the entries of one group; CPU is of this process alone. Recovery reads a log of
entries that has just been written, so mostly from the page cache. Everything written is removed afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from broker.base.ids import GroupId, Index, NodeId, Term
from broker.base.limits import KIB, MIB
from broker.raft.types import Entry, EntryKind, Membership, SnapshotMark
from broker.storage.disk import SystemDisk
from broker.storage.store import Batch, StorageSettings, Store

GROUP = GroupId(1)
MEMBERS = Membership((NodeId("a-0"),))


def open_store(place: Path, settings: StorageSettings) -> Store:
    disk = SystemDisk(place, lambda: time.perf_counter_ns() // 1_000)
    return Store(disk, settings, node=NodeId("a-0"), cluster="loadtest")


def batch_of(first: int, count: int, body: bytes) -> list[Entry]:
    return [Entry(Index(index), Term(1), EntryKind.NORMAL, body) for index in range(first, first + count)]


def commits(place: Path, records: int, size: int, batches: int) -> list[str]:
    """One row: CPU per batch and per record, of which staging; wall time and sync of a batch."""
    store = open_store(place, StorageSettings())
    while store.prepare_spare():
        pass
    body = b"x" * size
    work = [batch_of(number * records + 1, records, body) for number in range(batches)]
    for entries in work[: batches // 10]:
        store.stage_entries(GROUP, entries)
        store.commit(sealed(store))
    walls: list[int] = []
    staging = 0
    store.stats()
    cpu = time.process_time_ns()
    for entries in work[batches // 10 :]:
        start = time.perf_counter_ns()
        store.stage_entries(GROUP, entries)
        batch = sealed(store)
        staged = time.perf_counter_ns()
        store.commit(batch)
        staging += staged - start
        walls.append(time.perf_counter_ns() - start)
    cpu = time.process_time_ns() - cpu
    syncs = store.stats().sync_microseconds
    store.close()
    each = cpu / len(walls) / 1_000
    return [
        f"{records} x {size}",
        f"{each:.0f}",
        f"{each / records:.2f}",
        f"{staging / len(walls) / records / 1_000:.2f}",
        f"{statistics.median(walls) / 1_000:.0f}",
        f"{statistics.median(syncs):.0f}",
    ]


def sealed(store: Store) -> Batch:
    batch = store.seal()
    assert batch is not None
    return batch


def fill(place: Path, entries: int, size: int, per_batch: int) -> None:
    store = open_store(place, StorageSettings())
    for first in range(1, entries + 1, per_batch):
        store.stage_entries(GROUP, batch_of(first, min(per_batch, entries + 1 - first), b"x" * size))
        store.commit(sealed(store))
    store.close()


def recovery(place: Path, entries: int, size: int, per_batch: int) -> list[str]:
    fill(place, entries, size, per_batch)
    start, cpu = time.perf_counter_ns(), time.process_time_ns()
    store = open_store(place, StorageSettings())
    took, cpu = time.perf_counter_ns() - start, time.process_time_ns() - cpu
    store.close()
    return [
        f"{entries} x {size}, {per_batch} a batch",
        f"{entries * size / MIB / (took / 1e9):.0f}",
        f"{entries * size / MIB / (cpu / 1e9):.0f}",
        f"{cpu / entries / 1_000:.2f}",
    ]


def pauses(place: Path, entries: int) -> list[tuple[str, float]]:
    """Longest single calls in the loop, in milliseconds of CPU, with every second entry live behind a snapshot."""
    fill(place, entries, 200, 500)
    store = open_store(place, StorageSettings(segment_bytes=16 * MIB))
    mark = SnapshotMark(Index(entries), Term(1), MEMBERS)
    writer = store.begin_snapshot(GROUP, mark)
    name = writer.finish()
    live = [(Index(index), Index(index)) for index in range(1, entries, 2)]
    found: dict[str, float] = {}

    def timed(what: str, start: int) -> None:
        found[what] = max(found.get(what, 0.0), (time.thread_time_ns() - start) / 1e6)

    start = time.thread_time_ns()
    store.stage_snapshot_mark(GROUP, mark, name)
    store.retain(GROUP, mark.index, live, Index(entries - 5_000))
    timed("retain", start)
    more = True
    while more:
        start = time.thread_time_ns()
        batch = store.seal()
        timed("seal", start)
        if batch is not None:
            store.commit(batch)
        start = time.thread_time_ns()
        more = store.compaction_step(MIB)
        timed("compaction_step", start)
    store.close()
    return sorted(found.items())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.storage", description=__doc__)
    parser.add_argument("directory", nargs="?", help="where to write; a temporary directory by default")
    root = Path(tempfile.mkdtemp(prefix="threefold-storage-", dir=parser.parse_args().directory))
    console = Console()
    try:
        table = Table("records x bytes", "CPU us/batch", "CPU us/record", "stage+seal us/record", "wall us", "sync us")
        for records, size, batches in ((1, KIB, 3_000), (32, KIB, 1_000), (256, KIB, 300), (1, 100 * KIB, 500)):
            table.add_row(*commits(root / f"commit-{records}-{size}", records, size, batches))
        console.print(table)
        table = Table("recovery", "MiB/s of data", "MiB per CPU second", "CPU us/entry")
        for entries, size, per_batch in ((200_000, KIB, 32), (400_000, 100, 256)):
            table.add_row(*recovery(root / f"recovery-{size}", entries, size, per_batch))
        console.print(table)
        table = Table("longest pause", "CPU ms")
        for what, milliseconds in pauses(root / "pauses", 400_000):
            table.add_row(what, f"{milliseconds:.1f}")
        console.print(table)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
