"""Whose data a directory holds, and in which format: checked before anything else is read."""

from __future__ import annotations

import msgspec

from broker.base.errors import InvalidArgument
from broker.storage import layout
from broker.storage.damage import corrupt
from broker.storage.disk import Disk
from broker.storage.segment import checksum

FORMAT = 1
"""Version of everything under the data directory."""

_CRC_BYTES = 4


class Manifest(msgspec.Struct, frozen=True):
    format: int
    cluster: str
    node: str


def claim(disk: Disk, cluster: str, node: str) -> None:
    """Make an empty directory this node's, or check that it is.

    Raises InvalidArgument for another's directory or a newer format, DataCorrupt.
    """
    if layout.MANIFEST in disk.names(""):
        _check(_read(disk), cluster, node)
        return
    if any(layout.segment_number(name) is not None for name in disk.names(layout.WAL)):
        raise corrupt(layout.MANIFEST, 0, f"it is missing, but {layout.WAL} holds segments")
    _write(disk, Manifest(FORMAT, cluster, node))


def _check(found: Manifest, cluster: str, node: str) -> None:
    if found.format != FORMAT:
        raise InvalidArgument(
            f"the data directory has format {found.format}, this version reads format {FORMAT}; run the version that "
            "wrote it"
        )
    if found.cluster != cluster or found.node != node:
        raise InvalidArgument(
            f"the data directory belongs to node {found.node!r} of cluster {found.cluster!r}, this is node {node!r} of "
            f"cluster {cluster!r}; give the node its own directory"
        )


def _read(disk: Disk) -> Manifest:
    file = disk.open(layout.MANIFEST)
    try:
        raw = file.read_at(file.size(), 0)
    finally:
        file.close()
    body = raw[_CRC_BYTES:]
    if len(raw) < _CRC_BYTES or checksum(body).to_bytes(_CRC_BYTES, "little") != raw[:_CRC_BYTES]:
        raise corrupt(layout.MANIFEST, 0, "checksum mismatch")
    return msgspec.msgpack.decode(body, type=Manifest)


def _write(disk: Disk, manifest: Manifest) -> None:
    body = msgspec.msgpack.encode(manifest)
    part = layout.MANIFEST + layout.PART
    file = disk.create(part)
    try:
        file.write_at(checksum(body).to_bytes(_CRC_BYTES, "little") + body, 0)
        file.sync()
    finally:
        file.close()
    disk.rename(part, layout.MANIFEST)
    disk.sync_directory("")
