"""A disk that is slow, full or forgetful when told to. Implements Disk and DiskFile of ``broker.storage.disk``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from broker.base.errors import DiskFull
from broker.storage.disk import DiskFile, SystemDisk
from loadtest.faults.orders import Standing

_MICROSECONDS = 1_000_000


class Unsynced:
    """The writes to one file, through whatever handle, that its medium has not got yet."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.writes: list[tuple[int, bytes]] = []

    def size(self, written: int) -> int:
        """Of the file as it reads, given how long the medium's is."""
        return max([written, *(offset + len(data) for offset, data in self.writes)])

    def over(self, data: bytes, size: int, offset: int, end: int) -> bytes:
        """What reading ``size`` bytes at ``offset`` gives, where the medium has ``data`` and the file ends at
        ``end``."""
        found = bytearray(max(0, min(size, end - offset)))
        found[: len(data)] = data
        for at, written in self.writes:
            first, last = max(at, offset), min(at + len(written), offset + len(found))
            if first < last:
                found[first - offset : last - offset] = written[first - at : last - at]
        return bytes(found)


class FaultyFile:
    """``unsynced`` None: what is written goes to the operating system at once."""

    def __init__(self, file: DiskFile, path: str, standing: Standing, unsynced: Unsynced | None) -> None:
        self._file = file
        self._path = path
        self._standing = standing
        self._unsynced = unsynced

    def write_at(self, data: bytes | bytearray, offset: int) -> None:
        if self._standing.now.full and offset + len(data) > self._file.size():
            self._refuse()
        if self._unsynced is None:
            self._file.write_at(data, offset)
            return
        with self._unsynced.lock:
            self._unsynced.writes.append((offset, bytes(data)))

    def read_at(self, size: int, offset: int) -> bytes:
        if self._unsynced is None or not self._unsynced.writes:
            return self._file.read_at(size, offset)
        with self._unsynced.lock:
            end = self._unsynced.size(self._file.size())
            return self._unsynced.over(self._file.read_at(size, offset), size, offset, end)

    def preallocate(self, size: int) -> None:
        if self._standing.now.full:
            self._refuse()
        self._file.preallocate(size)

    def sync(self) -> int:
        delay = self._standing.now.sync_delay
        if delay:
            time.sleep(delay / 1_000)
        if self._unsynced is not None and not self._standing.now.lying:
            with self._unsynced.lock:
                for offset, data in self._unsynced.writes:
                    self._file.write_at(data, offset)
                self._unsynced.writes.clear()
        return self._file.sync() + round(delay / 1_000 * _MICROSECONDS)

    def size(self) -> int:
        if self._unsynced is None:
            return self._file.size()
        with self._unsynced.lock:
            return self._unsynced.size(self._file.size())

    def close(self) -> None:
        self._file.close()

    def _refuse(self) -> None:
        raise DiskFull(f"no space left for {self._path}: free space on its disk, or give the node a larger one")


class FaultyDisk(SystemDisk):
    """``standing``: set before any is made, by the program that runs the node."""

    standing: Standing

    def __init__(self, root: str | Path, stopwatch: Callable[[], int] | None = None) -> None:
        super().__init__(root, stopwatch)
        self._forgetful = self.standing.now.volatile
        self._unsynced: dict[str, Unsynced] = {}

    def create(self, path: str) -> DiskFile:
        self._unsynced.pop(path, None)
        return self._faulty(super().create(path), path)

    def open(self, path: str) -> DiskFile:
        return self._faulty(super().open(path), path)

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        self._unsynced.pop(new, None)
        if old in self._unsynced:
            self._unsynced[new] = self._unsynced.pop(old)

    def delete(self, path: str) -> None:
        super().delete(path)
        self._unsynced.pop(path, None)

    def free_bytes(self) -> int:
        told = self.standing.now.free_bytes
        if self.standing.now.full:
            return 0
        return super().free_bytes() if told is None else told

    def _faulty(self, file: DiskFile, path: str) -> DiskFile:
        unsynced = self._unsynced.setdefault(path, Unsynced()) if self._forgetful else None
        return FaultyFile(file, path, self.standing, unsynced)
