"""From a backup to the data directory of a founding node of a new cluster.

Every founder is given the same backup, and what a founder makes of it follows from the backup and the founders alone:
so all agree when they meet. Each group goes on behind a gap in its log, so that no index, and so no message id and no
receipt handle, means one thing in the new cluster and another in the old one. Why a backup is one state is told in
docs/decisions/0015.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from broker.base.errors import InvalidArgument
from broker.base.ids import DIRECTORY_GROUP, GroupId, Index, NodeId, Term
from broker.domain.queues.commands import DeleteQueue
from broker.machine import envelope, holding
from broker.machine.envelope import Envelope
from broker.machine.replicated import ReplicatedMachine
from broker.node.backup_states import GroupState, Resources, resources_of, unknown_queues
from broker.node.replicas import founding_topology
from broker.node.settings import NodeSettings
from broker.raft.types import HardState, Membership, SnapshotMark
from broker.storage import layout
from broker.storage.backup_reader import BackupReader
from broker.storage.disk import Disk, SystemDisk
from broker.storage.settings import StorageSettings
from broker.storage.store import Store

INDEX_GAP = 10_000_000_000
"""Log entries that the old cluster may have written after the backup. An index has room for thousands of such gaps."""
_UNFINISHED = "restoring"
"""Where a directory is made; nothing that a node would read before all of it is there."""
_IGNORED = ("lost+found",)
_BATCH_BYTES = 4 * 1024 * 1024


class Restored(msgspec.Struct, frozen=True):
    """``groups``: those of which the node has a replica. ``entries``: live entries of these."""

    cluster: str
    captured_at: str
    groups: tuple[GroupId, ...]
    entries: int


def restore(backup: Path, settings: NodeSettings) -> Restored:
    """Make the data directory of a node that has not started yet.

    Raises InvalidArgument when there is no finished backup of a known format, when the directory is not empty, or when
    the number of groups is another one; DataCorrupt, DiskFull, OSError. No node starts with what then may be there.
    Groups keep their ids, which are in those of messages; they may have gaps.
    """
    reader = BackupReader(backup)
    _must_have_the_same_groups(reader, settings)
    for file in reader.manifest.groups:
        reader.verify(file)
    place = Path(settings.data_dir)
    _must_be_empty(place)
    unfinished = place / _UNFINISHED
    if unfinished.exists():
        shutil.rmtree(unfinished)
    try:
        restored = _make(reader, settings, SystemDisk(unfinished))
        _move_up(SystemDisk(place))
    finally:
        shutil.rmtree(unfinished)
    return restored


def make_ready(group: GroupId, machine: ReplicatedMachine, backup: bytes, resources: Resources, index: Index) -> None:
    """A state that was captured for ``backup`` begins anew with entry ``index``: nothing is held any more, and what the
    directory does not know is left out."""
    _apply(machine, holding.ROOM, holding.Release(backup), index)
    if group != DIRECTORY_GROUP:
        for queue in unknown_queues(group, machine, resources):
            _apply(machine, "queues", DeleteQueue(queue.queue), index)


# --- inside


def _apply(machine: ReplicatedMachine, room: str, command: msgspec.Struct, index: Index) -> None:
    raw = msgspec.Raw(msgspec.msgpack.encode(command))
    machine.apply(envelope.encode(Envelope(machine.now, room, None, raw)), index)


def _make(reader: BackupReader, settings: NodeSettings, disk: Disk) -> Restored:
    me = NodeId(settings.node)
    founding = founding_topology(settings)
    groups = tuple(
        msgspec.structs.replace(group, id=GroupId(file.group))
        for file, group in zip(reader.manifest.groups, founding.groups, strict=True)
    )
    store = Store(disk, StorageSettings(segment_bytes=settings.segment_bytes), node=me, cluster=settings.cluster)
    try:
        mine: list[GroupId] = []
        entries = 0
        backup = bytes.fromhex(reader.manifest.backup)
        resources: Resources = {}
        for file, group in zip(reader.manifest.groups, groups, strict=True):
            if me not in group.replicas and group.id != DIRECTORY_GROUP:
                continue
            state = GroupState(reader, file)
            mark = SnapshotMark(Index(file.index + INDEX_GAP), Term(file.term), Membership(group.replicas))
            if group.id == DIRECTORY_GROUP:
                resources = resources_of(state.machine)
                state.directory.found_anew(founding.nodes, groups)
            make_ready(group.id, state.machine, backup, resources, mark.index)
            if me in group.replicas:
                entries += _put(store, group.id, mark, state)
                mine.append(group.id)
    finally:
        store.close()
    return Restored(settings.cluster, reader.manifest.captured_at, tuple(mine), entries)


def _put(store: Store, group: GroupId, mark: SnapshotMark, state: GroupState) -> int:
    """As if a leader had sent a snapshot; how many entries came with it."""
    count = staged = 0
    for entries in state.entries():
        store.stage_carried(group, entries)
        count += len(entries)
        staged += sum(len(entry.data) for entry in entries)
        if staged >= _BATCH_BYTES:
            _commit(store)
            staged = 0
    writer = store.begin_snapshot(group, mark)
    try:
        for piece in state.machine.dump():
            writer.write(piece)
        name = writer.finish()
    except BaseException:
        writer.abort()
        raise
    store.stage_hard_state(group, HardState(mark.term, None))
    store.stage_reset(group, mark, name)
    _commit(store)
    return count


def _commit(store: Store) -> None:
    batch = store.seal()
    if batch is not None:
        store.commit(batch)


def _must_have_the_same_groups(reader: BackupReader, settings: NodeSettings) -> None:
    data_groups = sum(file.group != DIRECTORY_GROUP for file in reader.manifest.groups)
    if data_groups != settings.groups:
        raise InvalidArgument(
            f"the backup has {data_groups} data groups, and this node is to found a cluster of {settings.groups}: "
            f"set groups = {data_groups} on every founding node; others can be added later"
        )


def _must_be_empty(place: Path) -> None:
    """What an interrupted restore has left does not count."""
    there = [path.name for path in place.iterdir()] if place.is_dir() else []
    names = sorted(name for name in there if name not in (*_IGNORED, _UNFINISHED))
    if names:
        some = ", ".join(names[:3]) + (", ..." if names[3:] else "")
        raise InvalidArgument(
            f"the data directory {place} is not empty ({some}): a backup is restored into an empty one, before a "
            "node's first start"
        )


def _move_up(disk: SystemDisk) -> None:
    """The manifest last: without it a node refuses what is there."""
    names = disk.names(_UNFINISHED)
    for name in sorted(names, key=lambda name: (name == layout.MANIFEST, name)):
        disk.rename(f"{_UNFINISHED}/{name}", name)
        disk.sync_directory("")
