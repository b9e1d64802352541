"""A backup as files in a directory: one for each group, and ``backup.json``, which is written last and lists them.

::

    head     magic 8 | length 4 | crc 4 | which backup, which group, up to which entry
    piece    length 4 | crc 4 | data                                                   any number of them

``backup.json`` has the size and the checksum of each file, and one of itself. Without it the backup is unfinished. This
module writes; ``backup_reader`` reads. Neither knows what the pieces mean.
"""

from __future__ import annotations

from datetime import UTC, datetime
from struct import Struct

import msgspec
from google_crc32c import extend

from broker.base.errors import InvalidArgument
from broker.storage.disk import Disk, DiskFile
from broker.storage.layout import PART
from broker.storage.segment import checksum

FORMAT = 1
MANIFEST = "backup.json"
SUFFIX = ".backup"
MAGIC = b"3FBACK01"
HEAD = Struct("<8sII")
PIECE = Struct("<II")
_WRITE_BYTES = 1024 * 1024


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The file holds the state of ``group`` after the log entry ``index``, which is of ``term``."""

    backup: bytes
    group: int
    index: int
    term: int


class GroupFile(msgspec.Struct, frozen=True):
    """``checksum``: CRC-32C of the whole file, in hexadecimal. ``source``: the node that it was read from."""

    group: int
    index: int
    term: int
    file: str
    bytes: int
    checksum: str
    source: str


class Manifest(msgspec.Struct, frozen=True):
    """``captured_at``: ISO 8601, UTC. ``checksum``: CRC-32C of this without its checksum."""

    format: int
    version: str
    cluster: str
    backup: str
    captured_at: str
    groups: tuple[GroupFile, ...]
    checksum: str = ""

    @property
    def size(self) -> int:
        return sum(group.bytes for group in self.groups)


class GroupWriter:
    """Writes one group's file; it gets its name when it is whole and synced. Ends with ``finish`` or ``abort``."""

    def __init__(self, disk: Disk, head: Head, source: str) -> None:
        """Raises DiskFull, OSError."""
        self._disk = disk
        self._head = head
        self._source = source
        self._name = file_name(head.group)
        self._file: DiskFile | None = disk.create(self._name + PART)
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._crc = 0
        self.size = 0
        encoded = msgspec.msgpack.encode(head)
        self._put(HEAD.pack(MAGIC, len(encoded), checksum(encoded)), encoded)

    def write(self, piece: bytes) -> None:
        """Raises DiskFull, OSError."""
        self._put(PIECE.pack(len(piece), checksum(piece)), piece)
        if self._buffered >= _WRITE_BYTES:
            self._flush()

    def finish(self) -> GroupFile:
        """Make it durable. Raises DiskFull, OSError. Blocking."""
        file = self._flush()
        file.sync()
        file.close()
        self._file = None
        self._disk.rename(self._name + PART, self._name)
        self._disk.sync_directory("")
        head = self._head
        return GroupFile(head.group, head.index, head.term, self._name, self.size, f"{self._crc:08x}", self._source)

    def abort(self) -> None:
        """Remove what was written. Does nothing after ``finish`` or a second time."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._disk.delete(self._name + PART)

    def _put(self, head: bytes, data: bytes) -> None:
        self._buffer += (head, data)
        self._buffered += len(head) + len(data)

    def _flush(self) -> DiskFile:
        if self._file is None:
            raise ValueError(f"{self._name} is finished or aborted")
        data = b"".join(self._buffer)
        self._file.write_at(data, self.size)
        self._crc = extend(self._crc, data)
        self.size += len(data)
        self._buffer.clear()
        self._buffered = 0
        return self._file


def file_name(group: int) -> str:
    return f"group-{group:04}{SUFFIX}"


def must_be_empty(disk: Disk, where: str) -> None:
    """Raises InvalidArgument."""
    names = disk.names("")
    if MANIFEST in names:
        raise InvalidArgument(f"{where} holds a backup already: give each backup a directory of its own")
    if names:
        some = ", ".join(names[:3]) + (", ..." if names[3:] else "")
        raise InvalidArgument(f"{where} is not empty ({some}): a backup needs a directory of its own")


def write_manifest(disk: Disk, manifest: Manifest) -> Manifest:
    """The backup is finished with it. Raises DiskFull, OSError."""
    signed = msgspec.structs.replace(manifest, checksum=checksum_of(manifest))
    file = disk.create(MANIFEST + PART)
    try:
        file.write_at(msgspec.json.format(msgspec.json.encode(signed), indent=2) + b"\n", 0)
        file.sync()
    finally:
        file.close()
    disk.rename(MANIFEST + PART, MANIFEST)
    disk.sync_directory("")
    return signed


def checksum_of(manifest: Manifest) -> str:
    plain = msgspec.structs.replace(manifest, checksum="")
    return f"{checksum(msgspec.json.encode(plain)):08x}"


def instant(seconds: float) -> str:
    """ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
