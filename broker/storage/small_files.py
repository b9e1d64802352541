"""Small files that are replaced as a whole, each with a checksum: after a crash there is the old one or the new one.

For what a node must know before its log is read. This module does not know what they say.
"""

from __future__ import annotations

from broker.storage import layout
from broker.storage.damage import corrupt
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
        raise corrupt(name, 0, "checksum mismatch")
    return body


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
