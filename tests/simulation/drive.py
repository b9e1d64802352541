"""A node's disk and the store on it: how long a sync takes, and what a crash leaves behind.

A crash may come between any two things that a process does to its disk: inside a batch, inside a snapshot, inside
recovery itself. ``cut_after`` arms one; the disk then refuses everything with Cut, and the process must be ended.
"""

from __future__ import annotations

from tests.simulation.fake_disk import FakeDisk

from broker.base.ids import NodeId
from broker.storage.disk import Disk, DiskFile, DiskLock
from broker.storage.store import Batch, StorageSettings, Store
from tests.simulation.faults import Rates
from tests.simulation.world import World

CLUSTER = "simulated"


class Cut(BaseException):
    """The process ends inside a call to its disk. Not an Exception: nothing that the process does can catch it."""


class Drive:
    """``sync_time`` in microseconds."""

    def __init__(self, name: str, world: World, rates: Rates, settings: StorageSettings) -> None:
        self.sync_time = rates.sync_time
        self.power_lost = False
        """What the armed or finished cut is: a loss of power, or the end of the process alone."""
        self._name = name
        self._world = world
        self._settings = settings
        self._chance = world.chance(f"drive {name}")
        self._disk = FakeDisk(world.chance(f"disk {name}"))
        self._left: int | None = None
        self._store: Store | None = None
        self._torn: tuple[int, int] | None = None
        self._recycled: set[str] = set()

    @property
    def store(self) -> Store:
        if self._store is None:
            raise RuntimeError(f"{self._name} has no open store")
        return self._store

    def open(self) -> Store:
        """Recovery. Raises Cut if one is armed and comes due."""
        self._store = Store(WatchedDisk(self, self._disk), self._settings, node=NodeId(self._name), cluster=CLUSTER)
        return self._store

    def sync_delay(self) -> int:
        """How long the next sync takes, in microseconds."""
        return self.sync_time // 2 + int(self._chance.expovariate(1.0) * self.sync_time / 2) + 1

    def cut_after(self, steps: int, power_lost: bool) -> None:
        """Crash when the process has done so many more things to its disk."""
        self._left = steps
        self.power_lost = power_lost

    def disarm(self) -> None:
        self._left = None

    def crash(self, writing: Batch | None, power_lost: bool) -> None:
        """The process ends now. A batch that was being written has come to anything between nothing and everything."""
        if writing is not None and self._store is not None and self._left != 0:
            self._left = self._chance.randrange(0, 4)
            try:
                self._store.commit(writing)
            except Cut:
                self._world.counts["crash inside a batch"] += 1
        self._left = None
        self._store = None
        self._disk.crash(power_lost)

    # --- what the watched disk tells

    def step(self) -> None:
        """Something is about to be done to the disk."""
        if self._left is not None:
            if self._left == 0:
                raise Cut
            self._left -= 1

    def renamed(self, old: str, new: str) -> None:
        if new.endswith(".spare") and old.endswith(".seg"):
            self._recycled.add(new)
        elif old in self._recycled:
            self._recycled.discard(old)
            self._world.counts["segment recycling"] += 1


class WatchedDisk:
    """Implements Disk on another one."""

    def __init__(self, drive: Drive, disk: Disk) -> None:
        self._drive = drive
        self._disk = disk
        self.make_directory = disk.make_directory
        self.names = disk.names
        self.free_bytes = disk.free_bytes

    def create(self, path: str) -> DiskFile:
        self._drive.step()
        return WatchedFile(self._drive, self._disk.create(path))

    def open(self, path: str) -> DiskFile:
        return WatchedFile(self._drive, self._disk.open(path))

    def rename(self, old: str, new: str) -> None:
        self._drive.step()
        self._disk.rename(old, new)
        self._drive.renamed(old, new)

    def delete(self, path: str) -> None:
        self._drive.step()
        self._disk.delete(path)

    def sync_directory(self, path: str) -> None:
        self._drive.step()
        self._disk.sync_directory(path)

    def lock(self, path: str) -> DiskLock:
        return self._disk.lock(path)


class WatchedFile:
    """Implements DiskFile on another one."""

    __slots__ = ("_drive", "_file", "close", "read_at", "size")

    def __init__(self, drive: Drive, file: DiskFile) -> None:
        self._drive = drive
        self._file = file
        self.read_at = file.read_at
        self.size = file.size
        self.close = file.close

    def write_at(self, data: bytes, offset: int) -> None:
        self._drive.step()
        self._file.write_at(data, offset)

    def preallocate(self, size: int) -> None:
        self._drive.step()
        self._file.preallocate(size)

    def sync(self) -> int:
        self._drive.step()
        return self._file.sync()
