"""Whose data a directory holds, and in which format: checked before anything else is read."""

from __future__ import annotations

import msgspec

from broker.base.errors import InvalidArgument
from broker.storage import layout, small_files
from broker.storage.damage import FILE, corrupt
from broker.storage.disk import Disk

FORMAT = 2
"""Version of everything under the data directory. In format 1 blocks did not count their zeros, and the files of freed
segments were used again as they were."""


class Manifest(msgspec.Struct, frozen=True):
    format: int
    cluster: str
    node: str


def claim(disk: Disk, cluster: str, node: str) -> None:
    """Make an empty directory this node's, or check that it is; one of an older format is made one of this.

    Raises InvalidArgument for another's directory or a newer format, DataCorrupt.
    """
    found = read(disk)
    if found is not None:
        _check_owner(found, cluster, node)
        if found.format < FORMAT:
            _lift(disk, found)
        return
    if any(layout.segment_number(name) is not None for name in disk.names(layout.WAL)):
        raise corrupt(layout.MANIFEST, 0, f"it is missing, but {layout.WAL} holds segments", kind=FILE)
    small_files.write(disk, layout.MANIFEST, msgspec.msgpack.encode(Manifest(FORMAT, cluster, node)))


def read(disk: Disk) -> Manifest | None:
    """None if there is none. Raises InvalidArgument for a newer format, DataCorrupt."""
    raw = small_files.read(disk, layout.MANIFEST)
    if raw is None:
        return None
    found = msgspec.msgpack.decode(raw, type=Manifest)
    if found.format > FORMAT:
        raise InvalidArgument(
            f"the data directory has format {found.format}, this version reads up to {FORMAT}; run the version that "
            "wrote it"
        )
    return found


def _lift(disk: Disk, found: Manifest) -> None:
    """To this format: of what is there, only the spare segments may not be used as they are."""
    for name in disk.names(layout.WAL):
        if layout.spare_number(name) is not None:
            disk.delete(f"{layout.WAL}/{name}")
    disk.sync_directory(layout.WAL)
    small_files.write(disk, layout.MANIFEST, msgspec.msgpack.encode(msgspec.structs.replace(found, format=FORMAT)))


def _check_owner(found: Manifest, cluster: str, node: str) -> None:
    if found.cluster != cluster or found.node != node:
        raise InvalidArgument(
            f"the data directory belongs to node {found.node!r} of cluster {found.cluster!r}, this is node {node!r} of "
            f"cluster {cluster!r}; give the node its own directory"
        )
