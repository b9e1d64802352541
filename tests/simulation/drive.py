"""A node's disk and the store on it: how long a sync takes, and what a crash leaves behind.

A crash may come between any two things that a process does to its disk, or inside one: inside a batch, a snapshot, or
recovery itself. ``cut_after`` arms one; the disk then refuses everything with PowerLoss, and the process must be ended.
"""

from __future__ import annotations

from broker.base.errors import DiskFull
from broker.base.ids import NodeId
from broker.storage import layout
from broker.storage.segment import BLOCK_HEADER_BYTES
from broker.storage.store import Batch, StorageSettings, Store
from tests.simulation.checkers.violation import Violation
from tests.simulation.fake_disk import SECTOR, FakeDisk, PowerLoss
from tests.simulation.rates import Rates
from tests.simulation.world import World

CLUSTER = "simulated"
_LATE = 1_000
"""Bytes at the end of the log."""


class Drive:
    """``sync_time`` in microseconds."""

    def __init__(self, name: str, world: World, rates: Rates, settings: StorageSettings) -> None:
        self.sync_time = rates.sync_time
        self.power_lost = False
        """What the armed cut is: a loss of power, or the end of the process alone."""
        self._name = name
        self._world = world
        self._rot_late = rates.rot_late
        self._settings = settings
        self._chance = world.chance(f"drive {name}")
        self._disk = FakeDisk(world.chance(f"disk {name}"))
        self._store: Store | None = None
        self._replaced = 0
        self._last: Batch | None = None
        self._unsure: Batch | None = None
        """The batch of which some bytes, at least, were on the disk after the last crash."""
        self._rotten = False

    @property
    def store(self) -> Store:
        if self._store is None:
            raise RuntimeError(f"{self._name} has no open store")
        return self._store

    def open(self) -> Store:
        """Recovery. Raises PowerLoss if a cut is armed and comes due."""
        self._store = Store(self._disk, self._settings, node=NodeId(self._name), cluster=CLUSTER, keep_damaged=True)
        if not self._rotten and (self._store.damaged or self._store.set_aside):
            found = self._store.damaged or self._store.set_aside
            raise Violation("nothing is damage on a disk that does not rot", f"{self._name} found {found}")
        self._world.counts["directory set aside"] += len(self._store.set_aside)
        for group, findings in self._store.damaged.items():
            self._world.counts["damage found"] += 1
            self._world.note(self._name, "has damage in group", group, findings[0])
        return self._store

    def sealed(self, batch: Batch) -> None:
        """A batch will be written. If it takes the place of one whose bytes were partly there, a tail was cut."""
        self._last = batch
        if self._unsure is not None:
            unsure, self._unsure = self._unsure, None
            if batch.sequence <= unsure.sequence:
                self._world.counts["torn tail cut"] += 1

    def sync_delay(self) -> int:
        """How long the next sync takes, in microseconds."""
        return self.sync_time // 2 + int(self._chance.expovariate(1.0) * self.sync_time / 2) + 1

    def cut_after(self, operations: int, power_lost: bool) -> None:
        """Crash when the process has done so many more things to its disk."""
        self._disk.power_fails_at = self._disk.operations + 1 + operations
        self.power_lost = power_lost

    def disarm(self) -> None:
        self._disk.power_fails_at = None

    def replace(self) -> None:
        """By an empty one; no process may use it now."""
        self._replaced += 1
        self._disk = FakeDisk(self._world.chance(f"disk {self._name} {self._replaced}"))
        self._unsure = self._last = None
        self._rotten = False

    def rot(self) -> None:
        """A byte of some file is not what was written any more. It is not zero either: of a sector that became zeros
        nobody can tell that it was written."""
        where = [path for path in self._disk.paths() if not path.endswith((".spare", ".part")) and path != layout.LOCK]
        where = [path for path in where if not path.startswith(layout.DAMAGED) and self._end_of(path)]
        log = [path for path in where if path.startswith(layout.WAL)]
        late = bool(log) and self._rot_late > 0 and self._chance.random() < self._rot_late
        if where:
            path = log[-1] if late else self._chance.choice(where)
            end = self._end_of(path)
            offset = self._chance.randrange(max(end - _LATE, 0) if late else 0, end)
            byte = self._disk.content(path)[offset]
            self._disk.put(path, offset, bytes([1 + (byte + self._chance.randrange(254)) % 255]))
            self._rotten = True
            self._world.hit("rot")
            if self._is_of_the_last_batch(path, offset):
                self._world.counts["last batch rotted"] += 1
            self._world.note(self._name, "rots:", path, "at", offset)

    def _end_of(self, path: str) -> int:
        """Up to where bytes mean something."""
        content = self._disk.content(path)
        return len(content.rstrip(b"\0")) if path.startswith(f"{layout.WAL}/") else len(content)

    def _is_of_the_last_batch(self, path: str, offset: int) -> bool:
        """Of one that is durable, and behind which nothing is written."""
        last = self._last
        if last is None or last.pieces:
            return False
        return path == layout.segment_path(last.segment) and offset >= last.offset

    def fill(self, left: int) -> None:
        """The disk has room for so many more bytes."""
        self._disk.fill(left)

    def make_room(self) -> None:
        self._disk.capacity = None

    def crash(self, writing: Batch | None, power_lost: bool) -> None:
        """The process ends now. A batch that was being written has come to anything between nothing and everything."""
        if writing is not None and self._store is not None and self._disk.power_fails_at is None:
            self.cut_after(self._chance.randrange(0, 4), power_lost)
            try:
                self._store.commit(writing)
            except PowerLoss:
                self._world.counts["crash inside a batch"] += 1
            except DiskFull:
                self._world.counts["crash while the disk is full"] += 1
        self._store = None
        if power_lost:
            self._disk.lose_power()
        else:
            self._disk.end_process()
        if writing is not None and self._is_partly_there(writing):
            self._unsure = writing

    def _is_partly_there(self, batch: Batch) -> bool:
        path = layout.segment_path(batch.segment)
        if path.rpartition("/")[2] not in self._disk.names(layout.WAL):
            return False
        wanted = b"".join(batch.pieces)
        found = self._disk.content(path)[batch.offset + BLOCK_HEADER_BYTES :][: len(wanted)]
        return any(
            found[at : at + SECTOR] == wanted[at : at + SECTOR]
            for at in range(0, len(found), SECTOR)
            if any(wanted[at:])
        )
