"""Small files that are replaced as a whole, each with a checksum: after a crash there is the old one or the new one.

For what a node must know before its log is read. This module does not know what they say.
"""

from __future__ import annotations

from broker.storage import layout
from broker.storage.damage import FILE, corrupt
from broker.storage.disk import Disk
from broker.storage.segment import checksum

_CRC_BYTES = 4


def read(disk: Disk, name: str) -> bytes | None:
    """What was written last; None if there is no such file. Raises DataCorrupt."""
    if name not in disk.names(""):
        return None
    file = disk.open(name)
    try:
        raw = file.read_at(file.size(), 0)
    finally:
        file.close()
    body = raw[_CRC_BYTES:]
    if len(raw) < _CRC_BYTES or checksum(body).to_bytes(_CRC_BYTES, "little") != raw[:_CRC_BYTES]:
        raise corrupt(name, 0, "checksum mismatch", kind=FILE)
    return body


def check(disk: Disk) -> None:
    """Raises DataCorrupt if any of them is damaged."""
    for name in disk.names(""):
        if belongs_here(disk, name):
            read(disk, name)


def belongs_here(disk: Disk, name: str) -> bool:
    """Whether it is one, whole, and the node's own: no note of damage, for one."""
    if name == layout.LOCK or name.endswith(layout.PART) or layout.damage_number(name) is not None:
        return False
    try:
        disk.open(name).close()
    except IsADirectoryError:
        return False
    return True


def write(disk: Disk, name: str, body: bytes) -> None:
    """Durable when it returns. Raises DiskFull, OSError; then the file is as it was."""
    part = name + layout.PART
    file = disk.create(part)
    try:
        file.write_at(checksum(body).to_bytes(_CRC_BYTES, "little") + body, 0)
        file.sync()
    finally:
        file.close()
    disk.rename(part, name)
    disk.sync_directory("")
