"""Snapshot files: a state machine's dump in checksummed pieces, complete or not there.

::

    head     magic 8 | length 4 | crc 4 | group and mark
    piece    length 4 | crc 4 | data                                  any number of them
    trailer  0xffffffff | crc 4 | count of pieces 8 | crc over the pieces' crcs 4

A file gets its name only when it is whole and synced. Which of a group's snapshots counts is the log's to say. This
module does not know what a dump means.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from struct import Struct

import msgspec

from broker.base.ids import GroupId
from broker.raft.types import SnapshotMark
from broker.storage import layout
from broker.storage.damage import SNAPSHOT, Damaged, Finding, corrupt
from broker.storage.disk import Disk, DiskFile
from broker.storage.segment import checksum

_MAGIC = b"3FSNAP01"
_HEAD = Struct("<8sII")
_PIECE = Struct("<II")
_TRAILER_BODY = Struct("<QI")
_CRC = Struct("<I")
_END = 0xFFFF_FFFF
_WRITE_BYTES = 1024 * 1024
_READ_BYTES = 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode


class _Head(msgspec.Struct, frozen=True, array_like=True):
    group: int
    mark: SnapshotMark


_decode_head = msgspec.msgpack.Decoder(_Head).decode


class SnapshotFiles:
    """The snapshots of all groups. Safe to use from several threads."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._lock = threading.Lock()
        self._counter = 0
        self._whole: dict[int, set[str]] = {}

    def take_stock(self, current: dict[int, str], damaged: Collection[int]) -> dict[int, Finding]:
        """Remove every file but the one that counts for each group, and all of a damaged one. What is wrong, by group,
        where the file is missing."""
        names = self._disk.names(layout.SNAPSHOTS)
        missing: dict[int, Finding] = {}
        for group, name in current.items():
            if name in names:
                self._whole.setdefault(group, set()).add(name)
            elif group not in damaged:
                what = "the snapshot that counts is missing"
                missing[group] = Finding(SNAPSHOT, layout.snapshot_path(name), 0, what, group)
        for name in names:
            place = layout.snapshot_place(name)
            if place is not None and (place[0] in damaged or place[0] in missing):
                self._whole.setdefault(place[0], set()).add(name)
            elif place is None or name not in self._whole.get(place[0], ()):
                self._disk.delete(layout.snapshot_path(name))
        return missing

    def begin(self, group: GroupId, mark: SnapshotMark) -> SnapshotWriter:
        with self._lock:
            self._counter += 1
            part = f"{layout.snapshot_path(layout.snapshot_name(group, mark))}.{self._counter}{layout.PART}"
        return SnapshotWriter(self, self._disk, part, group, mark)

    def publish(self, part: str, group: GroupId, name: str) -> None:
        """A synced file gets its name."""
        with self._lock:
            self._disk.rename(part, layout.snapshot_path(name))
            self._whole.setdefault(group, set()).add(name)
        self._disk.sync_directory(layout.SNAPSHOTS)

    def disown(self, group: GroupId, name: str | None = None) -> list[str]:
        """The names, of the whole snapshots of a group or of one of them, that nothing needs any more."""
        with self._lock:
            whole = self._whole.get(group, set())
            stale = sorted(whole if name is None else whole & {name})
            whole.difference_update(stale)
        return stale

    def remove(self, name: str) -> None:
        """Unless a snapshot of that name was written again since it was disowned or superseded."""
        place = layout.snapshot_place(name)
        with self._lock:
            if place is not None and name in self._whole.get(place[0], ()):
                return
            # One mark may be written twice, by this replica and by a leader's transfer; both ask for its removal.
            with suppress(FileNotFoundError):
                self._disk.delete(layout.snapshot_path(name))

    def superseded(self, group: GroupId, name: str) -> list[str]:
        """Whole snapshots of the group that are not newer than ``name``: needless when ``name`` counts for good."""
        newest = layout.snapshot_place(name) or (group, 0)
        with self._lock:
            whole = self._whole.setdefault(group, set())
            stale = sorted(each for each in whole if each != name and (layout.snapshot_place(each) or newest) <= newest)
            whole.difference_update(stale)
            whole.add(name)
        return stale

    def read(self, group: GroupId, name: str) -> Iterator[bytes]:
        """Pieces in order, each verified; the end of the file too. Raises DataCorrupt."""
        path = layout.snapshot_path(name)
        try:
            file = self._disk.open(path)
        except FileNotFoundError:
            raise _damage(path, 0, "the file is missing", group) from None
        return _pieces(file, path, group, layout.snapshot_place(name))


class SnapshotWriter:
    """Spools one snapshot; used by one thread at a time. Ends with ``finish`` or ``abort``."""

    def __init__(self, files: SnapshotFiles, disk: Disk, part: str, group: GroupId, mark: SnapshotMark) -> None:
        self._files = files
        self._disk = disk
        self._part = part
        self._group = group
        self._name = layout.snapshot_name(group, mark)
        self._file: DiskFile | None = disk.create(part)
        self._offset = 0
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._count = 0
        self._crcs = bytearray()
        head = _encode(_Head(group, mark))
        self._put(_HEAD.pack(_MAGIC, len(head), checksum(head)), head)

    def write(self, piece: bytes) -> None:
        """Raises DiskFull, OSError."""
        crc = checksum(piece)
        self._count += 1
        self._crcs += _CRC.pack(crc)
        self._put(_PIECE.pack(len(piece), crc), piece)
        if self._buffered >= _WRITE_BYTES:
            self._flush()

    def finish(self) -> str:
        """Make it durable; its name. Raises DiskFull, OSError. Blocking."""
        body = _TRAILER_BODY.pack(self._count, checksum(bytes(self._crcs)))
        self._put(_PIECE.pack(_END, checksum(body)), body)
        file = self._flush()
        file.sync()
        file.close()
        self._file = None
        self._files.publish(self._part, self._group, self._name)
        return self._name

    def abort(self) -> None:
        """Remove what was written. Does nothing after ``finish`` or a second time."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._disk.delete(self._part)

    def _put(self, head: bytes, data: bytes) -> None:
        self._buffer += (head, data)
        self._buffered += len(head) + len(data)

    def _flush(self) -> DiskFile:
        if self._file is None:
            raise ValueError(f"snapshot {self._name} is finished or aborted")
        data = b"".join(self._buffer)
        self._file.write_at(data, self._offset)
        self._offset += len(data)
        self._buffer.clear()
        self._buffered = 0
        return self._file


def _pieces(file: DiskFile, path: str, group: int, place: tuple[int, int] | None) -> Iterator[bytes]:
    try:
        read = _Sequential(file, path, group)
        magic, length, crc = _HEAD.unpack(read.take(_HEAD.size))
        head = read.take(min(length, _READ_BYTES))
        if magic != _MAGIC or checksum(head) != crc:
            raise _damage(path, 0, "checksum mismatch in the head", group)
        found = _decode_head(head)
        if (found.group, found.mark.index) != place or found.group != group:
            raise _damage(path, 0, f"it is a snapshot of group {found.group} at index {found.mark.index}", group)
        count = 0
        crcs = bytearray()
        while True:
            start = read.offset
            length, crc = _PIECE.unpack(read.take(_PIECE.size))
            if length == _END:
                break
            piece = read.take(length)
            if checksum(piece) != crc:
                raise _damage(path, start, f"checksum mismatch in piece {count + 1}", group)
            count += 1
            crcs += _CRC.pack(crc)
            yield piece
        body = read.take(_TRAILER_BODY.size)
        if checksum(body) != crc or _TRAILER_BODY.unpack(body) != (count, checksum(bytes(crcs))):
            raise _damage(path, start, f"the trailer does not match the {count} pieces before it", group)
        if read.more():
            raise _damage(path, read.offset, "bytes follow the trailer", group)
    finally:
        file.close()


class _Sequential:
    """Reads a file from its beginning in large steps."""

    def __init__(self, file: DiskFile, path: str, group: int) -> None:
        self._file = file
        self._path = path
        self._group = group
        self._size = file.size()
        self._window = b""
        self._at = 0
        self.offset = 0

    def take(self, size: int) -> bytes:
        if self.offset + size > self._size:
            what = f"expected {size} more bytes, the file ends at {self._size}"
            raise _damage(self._path, self.offset, what, self._group)
        if self._at + size > len(self._window):
            self._window = self._file.read_at(max(size, _READ_BYTES), self.offset)
            self._at = 0
        data = self._window[self._at : self._at + size]
        self._at += size
        self.offset += size
        return data

    def more(self) -> bool:
        return self.offset < self._size


def _damage(path: str, offset: int, what: str, group: int) -> Damaged:
    return corrupt(path, offset, what, group, kind=SNAPSHOT)
