"""What storage asks of a disk, and the operating system's answer. The only place that knows what "durable" takes.

Everything above goes through ``Disk``: recovery, compaction and snapshots too, so that a simulator can lose, tear and
refuse what a real disk may lose, tear and refuse. Paths are relative to the disk's root, with ``/`` between names. The
rules of a disk: written bytes survive a crash only after ``sync`` of their file, until then any of their sectors
(``sectors``) may be there or not; a created, renamed or deleted name survives only after ``sync_directory``. Here
nothing is known of logs and groups.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from broker.base.errors import BrokerError, DiskFull, InvalidArgument
from broker.storage.damage import corrupt

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_ZEROS = bytes(1024 * 1024)
_F_FULLFSYNC = 51
"""macOS, <sys/fcntl.h>; the fcntl module has the name only there."""


class StorageLocked(BrokerError):
    """Another process has this data directory open."""

    code: ClassVar[str] = "StorageLocked"


class DiskFile(Protocol):
    """An open file. Not shared between threads, but for reads."""

    def write_at(self, data: bytes | bytearray, offset: int) -> None:
        """Raises DiskFull, OSError; an unknown part may then have been written."""

    def read_at(self, size: int, offset: int) -> bytes:
        """Fewer bytes only at the end of the file. Raises DataCorrupt for what the medium cannot read."""

    def preallocate(self, size: int) -> None:
        """Make the file ``size`` bytes of zeros, so that later writes neither allocate nor grow. Raises DiskFull."""

    def sync(self) -> int:
        """Make all written bytes durable; microseconds it took. Raises OSError: then nothing is known of any byte
        written since the last sync, and trying again proves nothing."""

    def size(self) -> int: ...

    def close(self) -> None: ...


class DiskLock(Protocol):
    def release(self) -> None: ...


class Disk(Protocol):
    def make_directory(self, path: str) -> None:
        """With its parents; an existing one is fine."""

    def names(self, directory: str) -> list[str]:
        """Sorted names of the files in a directory; none when it does not exist."""

    def create(self, path: str) -> DiskFile:
        """An empty file; one of that name is emptied."""

    def open(self, path: str) -> DiskFile:
        """For reading and writing. Raises FileNotFoundError."""

    def rename(self, old: str, new: str) -> None:
        """Atomic; replaces ``new``."""

    def delete(self, path: str) -> None: ...

    def sync_directory(self, path: str) -> None: ...

    def lock(self, path: str) -> DiskLock:
        """Raises StorageLocked."""

    def free_bytes(self) -> int: ...

    def total_bytes(self) -> int:
        """Of the file system, used or free."""


class SystemFile:
    """Implements DiskFile."""

    __slots__ = ("_handle", "_path", "_stopwatch")

    def __init__(self, handle: int, path: str, stopwatch: Callable[[], int]) -> None:
        self._handle = handle
        self._path = path
        self._stopwatch = stopwatch

    def write_at(self, data: bytes | bytearray, offset: int) -> None:
        try:
            written = os.pwrite(self._handle, data, offset)
            while written < len(data):
                written += os.pwrite(self._handle, memoryview(data)[written:], offset + written)
        except OSError as error:
            raise _explained(error, self._path) from error

    def read_at(self, size: int, offset: int) -> bytes:
        try:
            data = os.pread(self._handle, size, offset)
            while data and len(data) < size:
                more = os.pread(self._handle, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise corrupt(self._path, offset, f"the disk cannot read it: {error.strerror}") from error
        return data

    def preallocate(self, size: int) -> None:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._handle, 0, size)
            for offset in range(0, size, len(_ZEROS)):
                self.write_at(_ZEROS[: size - offset], offset)
                self.sync()  # little by little: syncs of the log wait behind what is on its way
        except OSError as error:
            raise _explained(error, self._path) from error

    def sync(self) -> int:
        before = self._stopwatch()
        if hasattr(os, "fdatasync"):
            os.fdatasync(self._handle)
        else:  # macOS: only F_FULLFSYNC reaches the medium
            fcntl.fcntl(self._handle, _F_FULLFSYNC)
        return self._stopwatch() - before

    def size(self) -> int:
        return os.fstat(self._handle).st_size

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class SystemLock:
    """Implements DiskLock; the kernel releases it when the process dies."""

    __slots__ = ("_handle",)

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class SystemDisk:
    """Implements Disk in a directory of the file system. ``stopwatch`` counts microseconds; without it syncs take 0.

    Raises InvalidArgument for a directory that cannot be made or written, here and when it is locked.
    """

    def __init__(self, root: str | Path, stopwatch: Callable[[], int] | None = None) -> None:
        self._root = Path(root).absolute()
        try:
            missing = [place for place in (self._root, *self._root.parents) if not place.exists()]
            self._root.mkdir(parents=True, exist_ok=True)
            for place in reversed(missing):
                _sync_directory(place.parent)
        except OSError as error:
            raise self._unusable(error) from error
        self._stopwatch = stopwatch or (lambda: 0)

    def make_directory(self, path: str) -> None:
        (self._root / path).mkdir(parents=True, exist_ok=True)
        self.sync_directory("")

    def names(self, directory: str) -> list[str]:
        place = self._root / directory
        return sorted(os.listdir(place)) if place.is_dir() else []

    def create(self, path: str) -> DiskFile:
        return self._open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def open(self, path: str) -> DiskFile:
        return self._open(path, os.O_RDWR)

    def rename(self, old: str, new: str) -> None:
        os.rename(self._root / old, self._root / new)

    def delete(self, path: str) -> None:
        os.unlink(self._root / path)

    def sync_directory(self, path: str) -> None:
        _sync_directory(self._root / path)

    def lock(self, path: str) -> DiskLock:
        place = self._root / path
        try:
            handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        refusal = (
            f"{place} is locked: another process uses the data directory {self._root}; stop it, or give this node a "
            "directory of its own"
        )
        return _locked(handle, fcntl.LOCK_EX, refusal)

    def _unusable(self, error: OSError) -> InvalidArgument:
        return InvalidArgument(
            f"the data directory {self._root} cannot be used: {error.strerror}; see that it is a directory, mounted, "
            "and that the node may write to it, or set data_dir to another"
        )

    def free_bytes(self) -> int:
        room = os.statvfs(self._root)
        return room.f_bavail * room.f_frsize

    def total_bytes(self) -> int:
        room = os.statvfs(self._root)
        return room.f_blocks * room.f_frsize

    def _open(self, path: str, flags: int) -> DiskFile:
        place = str(self._root / path)
        try:
            return SystemFile(os.open(place, flags | os.O_CLOEXEC, 0o600), place, self._stopwatch)
        except OSError as error:
            raise _explained(error, place) from error


class ReadOnlyDisk(SystemDisk):
    """A directory that is only looked at: whatever would change it raises OSError.

    Raises InvalidArgument where there is no such directory.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root).absolute()
        self._stopwatch = lambda: 0
        if not self._root.is_dir():
            raise InvalidArgument(f"{self._root} is no directory: give the data directory of a node")

    def make_directory(self, path: str) -> None:
        raise self._refusal(path)

    def create(self, path: str) -> DiskFile:
        raise self._refusal(path)

    def open(self, path: str) -> DiskFile:
        if (self._root / path).is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory", path)
        return self._open(path, os.O_RDONLY)

    def rename(self, old: str, new: str) -> None:  # noqa: ARG002
        raise self._refusal(new)

    def delete(self, path: str) -> None:
        raise self._refusal(path)

    def sync_directory(self, path: str) -> None:
        raise self._refusal(path)

    def lock(self, path: str) -> DiskLock:
        """Shared with others who look, not with a node. Raises StorageLocked."""
        place = self._root / path
        try:
            handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return SystemLock(-1)
        return _locked(handle, fcntl.LOCK_SH, f"{place} is locked: a node runs on {self._root}; stop it first")

    def _refusal(self, path: str) -> OSError:
        return OSError(errno.EROFS, "this directory is only looked at", str(self._root / path))


def _locked(handle: int, how: int, refusal: str) -> SystemLock:
    """Raises StorageLocked."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StorageLocked(refusal) from None
    return SystemLock(handle)


def _sync_directory(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explained(error: OSError, path: str) -> OSError | DiskFull:
    if error.errno in _NO_SPACE:
        return DiskFull(f"no space left for {path}: free space on its disk, or give the node a larger one")
    return error
