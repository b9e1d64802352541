"""A disk in memory that forgets what a real one may forget.

Written bytes are readable at once and durable only after a sync: at a power loss every sector (512 bytes) of every
unsynced write is there or not, as chance has it. A process that dies within a write has written some sectors, from the
first on. Names are durable only after their directory was synced: of the
changes since, the first few survive, in order. A failed sync loses its bytes although they stay readable; a later sync
does not bring them back, only writing them again does. Deterministic for an injected Random. Time is not modelled: a
caller who wants slow syncs waits by itself.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

from broker.base.errors import DiskFull
from broker.storage.disk import DiskFile, DiskLock, StorageLocked
from broker.storage.sectors import SECTOR

SURVIVE = (0.0, 0.1, 0.5, 0.9, 1.0)
"""Shares of the unsynced sectors."""


class PowerLoss(Exception):
    """The machine died within a disk operation. Call ``lose_power`` and open everything anew."""


class _Inode:
    __slots__ = ("bytes", "lost", "unsynced")

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.unsynced: list[tuple[int, bytes]] = []
        """Offset and former content of each write since the last sync."""
        self.lost: list[tuple[int, bytes]] = []
        """The same of writes whose sync failed."""


_Change = tuple[str, _Inode | None]
"""A path, and what it names from now on."""


class FakeDisk:
    """Implements broker.storage.disk.Disk. ``capacity`` in bytes bounds the sizes of all files together."""

    def __init__(self, random: Random, capacity: int | None = None) -> None:
        self.random = random
        self.capacity = capacity
        self.operations = 0
        """Writes, syncs and changes of names so far."""
        self.power_fails_at: int | None = None
        """The operation of this number raises PowerLoss; a write may then be done in part."""
        self.fail_next_write = False
        self.fail_next_sync = False
        self.boots = 0
        """Handles of an earlier boot are dead."""
        self._files: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        self._changes: dict[str, list[list[_Change]]] = {}
        self._locked: set[str] = set()

    # --- faults

    def lose_power(self) -> None:
        """Keep what is durable and what chance lets survive; close all handles, release all locks."""
        for directory in sorted(self._changes):
            changes = self._changes[directory]
            self._make_durable(changes[: self.random.randint(0, len(changes))])
        for path in sorted(self._durable):
            self._tear(self._durable[path])
        self._files = dict(self._durable)
        self._changes.clear()
        self.end_process()

    def end_process(self) -> None:
        """The process died and the machine lives: written bytes stay, handles and locks do not."""
        self.boots += 1
        self._locked.clear()
        self.power_fails_at = None

    def flip(self, path: str, offset: int, mask: int = 0xFF) -> None:
        """Damage one byte, as a failing medium does."""
        self._files[path].bytes[offset] ^= mask

    def put(self, path: str, offset: int, content: bytes) -> None:
        """Have there, durable, what nobody wrote."""
        self._files[path].bytes[offset : offset + len(content)] = content

    def paths(self) -> list[str]:
        return sorted(self._files)

    def fill(self, left: int) -> None:
        self.capacity = self._used() + left

    def content(self, path: str) -> bytes:
        return bytes(self._files[path].bytes)

    # --- Disk

    def make_directory(self, path: str) -> None:
        """Directories need no making here."""

    def names(self, directory: str) -> list[str]:
        prefix = f"{directory}/" if directory else ""
        rest = (path[len(prefix) :] for path in self._files if path.startswith(prefix))
        return sorted(name for name in rest if "/" not in name)

    def create(self, path: str) -> DiskFile:
        self.begin_operation()
        inode = _Inode()
        self._change([(path, inode)])
        return FakeFile(self, inode, path)

    def open(self, path: str) -> DiskFile:
        inode = self._files.get(path)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return FakeFile(self, inode, path)

    def rename(self, old: str, new: str) -> None:
        self.begin_operation()
        self._change([(new, self._files[old]), (old, None)])

    def delete(self, path: str) -> None:
        self.begin_operation()
        if path not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        self._change([(path, None)])

    def sync_directory(self, path: str) -> None:
        self.begin_operation()
        self._make_durable(self._changes.pop(path, []))

    def lock(self, path: str) -> DiskLock:
        if path in self._locked:
            raise StorageLocked(f"{path} is locked by another process")
        self._locked.add(path)
        boot = self.boots
        return FakeLock(lambda: self._locked.discard(path) if boot == self.boots else None)

    def free_bytes(self) -> int:
        return 1 << 40 if self.capacity is None else max(self.capacity - self._used(), 0)

    def total_bytes(self) -> int:
        return 1 << 41 if self.capacity is None else self.capacity

    # --- for files

    def begin_operation(self) -> None:
        self.operations += 1
        if self.power_fails_at is not None and self.operations >= self.power_fails_at:
            raise PowerLoss(f"at operation {self.operations}")

    def expect_room(self, inode: _Inode, size: int, path: str) -> None:
        growth = size - len(inode.bytes)
        if self.capacity is not None and growth > 0 and self._used() + growth > self.capacity:
            raise DiskFull(f"no space left for {path}")

    # --- inside

    def _used(self) -> int:
        return sum(len(inode.bytes) for inode in self._files.values())

    def _change(self, change: list[_Change]) -> None:
        directory = change[0][0].rpartition("/")[0]
        self._changes.setdefault(directory, []).append(change)
        self._apply(self._files, change)

    def _make_durable(self, changes: list[list[_Change]]) -> None:
        for change in changes:
            self._apply(self._durable, change)

    @staticmethod
    def _apply(files: dict[str, _Inode], change: list[_Change]) -> None:
        for path, inode in change:
            if inode is None:
                files.pop(path, None)
            else:
                files[path] = inode

    def _tear(self, inode: _Inode) -> None:
        share = self.random.choice(SURVIVE)
        for survives, writes in ((share, inode.unsynced), (0.0, inode.lost)):
            for offset, former in reversed(writes):
                self._undo(inode, offset, former, survives)
            writes.clear()

    def _undo(self, inode: _Inode, offset: int, former: bytes, survives: float) -> None:
        start, end = offset, offset + len(former)
        while start < end:
            stop = min(end, (start // SECTOR + 1) * SECTOR)
            if self.random.random() >= survives:
                inode.bytes[start:stop] = former[start - offset : stop - offset]
            start = stop


class FakeFile:
    """Implements broker.storage.disk.DiskFile."""

    def __init__(self, disk: FakeDisk, inode: _Inode, path: str) -> None:
        self._disk = disk
        self._inode = inode
        self._path = path
        self._boot = disk.boots
        self._open = True

    def write_at(self, data: bytes | bytearray, offset: int) -> None:
        self._expect_open()
        disk = self._disk
        disk.expect_room(self._inode, offset + len(data), self._path)
        try:
            disk.begin_operation()
        except PowerLoss:
            self._write_some(data, offset)
            raise
        if disk.fail_next_write:
            disk.fail_next_write = False
            self._write_some(data, offset)
            raise OSError(errno.EIO, "input/output error", self._path)
        self._write(data, offset)

    def read_at(self, size: int, offset: int) -> bytes:
        self._expect_open()
        return bytes(self._inode.bytes[offset : offset + size])

    def preallocate(self, size: int) -> None:
        self._disk.expect_room(self._inode, size, self._path)
        self.write_at(bytes(size), 0)

    def sync(self) -> int:
        self._expect_open()
        disk = self._disk
        disk.begin_operation()
        if disk.fail_next_sync:
            disk.fail_next_sync = False
            self._inode.lost += self._inode.unsynced
            self._inode.unsynced.clear()
            raise OSError(errno.EIO, "input/output error", self._path)
        for offset, written in self._inode.unsynced:
            self._inode.lost = _outside(self._inode.lost, offset, offset + len(written))
        self._inode.unsynced.clear()
        return 0

    def size(self) -> int:
        self._expect_open()
        return len(self._inode.bytes)

    def close(self) -> None:
        self._open = False

    def _write_some(self, data: bytes | bytearray, offset: int) -> None:
        stop = offset + self._disk.random.randint(0, len(data))
        self._write(data[: max(stop - stop % SECTOR - offset, 0)], offset)

    def _write(self, data: bytes | bytearray, offset: int) -> None:
        content = self._inode.bytes
        if offset + len(data) > len(content):
            content.extend(bytes(offset + len(data) - len(content)))
        self._inode.unsynced.append((offset, bytes(content[offset : offset + len(data)])))
        content[offset : offset + len(data)] = data

    def _expect_open(self) -> None:
        if not self._open:
            raise ValueError(f"{self._path} is closed")
        if self._boot != self._disk.boots:
            raise ValueError(f"{self._path} was opened before the process ended")


class FakeLock:
    """Implements broker.storage.disk.DiskLock."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release

    def release(self) -> None:
        self._release()


def _outside(writes: list[tuple[int, bytes]], start: int, stop: int) -> list[tuple[int, bytes]]:
    """What remains of the writes when the bytes from ``start`` to ``stop`` are taken away."""
    rest: list[tuple[int, bytes]] = []
    for offset, former in writes:
        if offset < start:
            rest.append((offset, former[: start - offset]))
        if offset + len(former) > stop:
            rest.append((max(offset, stop), former[max(stop - offset, 0) :]))
    return rest
