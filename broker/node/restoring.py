"""From a backup to the data directory of a founding node of a new cluster.

Every founder is given the same backup, and what a founder makes of it follows from the backup and the founders alone:
so all agree when they meet. Each group goes on behind a gap in its log, so that no index, and so no message id and no
receipt handle, means one thing in the new cluster and another in the old one. Why a backup is one state is told in
docs/decisions/0015.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from broker.base.errors import InvalidArgument
from broker.base.ids import DIRECTORY_GROUP, GroupId, Index, NodeId, Term
from broker.domain.directory.machine import DirectoryMachine
from broker.machine import envelope, holding
from broker.machine.envelope import Envelope
from broker.machine.replicated import ReplicatedMachine
from broker.node.replicas import founding_topology, machine_of
from broker.node.settings import NodeSettings
from broker.raft.types import Entry, HardState, Membership, SnapshotMark
from broker.replication.transfer import DUMP, ENTRIES, decode_entries
from broker.storage import layout
from broker.storage.backup_files import GroupFile
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


class GroupState:
    """One group of a backup, read to its end and found whole: its machine, and then its live entries."""

    def __init__(self, reader: BackupReader, file: GroupFile) -> None:
        """Raises DataCorrupt."""
        self.directory = DirectoryMachine()
        if file.group == DIRECTORY_GROUP:
            self.machine = ReplicatedMachine({"directory": self.directory})
        else:
            self.machine = machine_of(GroupId(file.group))
        self._reader = reader
        self._file = file
        self._pieces = reader.pieces(file)
        try:
            self.machine.load(self._dump())
        except ValueError as error:
            raise reader.damaged(file, str(error)) from None

    def entries(self) -> Iterator[list[Entry]]:
        """Those that the state refers to, and no others. Raises DataCorrupt."""
        expected = _indexes(self.machine.live_entries())
        for piece in self._pieces:
            if piece[0] != ENTRIES:
                raise self._reader.damaged(self._file, f"it has a piece of kind {piece[0]} among its entries")
            try:
                entries = decode_entries(piece)
            except msgspec.MsgspecError as error:
                raise self._reader.damaged(self._file, f"its entries cannot be read: {error}") from None
            for entry in entries:
                wanted = next(expected, None)
                if wanted != entry.index:
                    raise self._reader.damaged(self._file, f"it has entry {entry.index} where {wanted} should be")
            yield entries
        missing = next(expected, None)
        if missing is not None:
            raise self._reader.damaged(self._file, f"entry {missing}, to which its state refers, is missing")

    def _dump(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if piece[0] != DUMP:
                raise ValueError("the dump is truncated: entries follow before its last piece")
            yield piece[1:]


def restore(backup: Path, settings: NodeSettings) -> Restored:
    """Make the data directory of a node that has not started yet.

    Raises InvalidArgument when there is no finished backup of a known format, when the directory is not empty, or when
    the number of groups is another one; DataCorrupt, DiskFull, OSError. No node starts with what then may be there.
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


# --- inside


def _make(reader: BackupReader, settings: NodeSettings, disk: Disk) -> Restored:
    me = NodeId(settings.node)
    founding = founding_topology(settings)
    store = Store(disk, StorageSettings(segment_bytes=settings.segment_bytes), node=me, cluster=settings.cluster)
    try:
        mine: list[GroupId] = []
        entries = 0
        for file, group in zip(reader.manifest.groups, founding.groups, strict=True):
            if me not in group.replicas:
                continue
            state = GroupState(reader, file)
            if group.id == DIRECTORY_GROUP:
                state.directory.found_anew(founding.nodes, founding.groups)
            mark = SnapshotMark(Index(file.index + INDEX_GAP), Term(file.term), Membership(group.replicas))
            _release(state.machine, bytes.fromhex(reader.manifest.backup), mark.index)
            entries += _put(store, group.id, mark, state)
            mine.append(group.id)
    finally:
        store.close()
    return Restored(settings.cluster, reader.manifest.captured_at, tuple(mine), entries)


def _release(machine: ReplicatedMachine, backup: bytes, index: Index) -> None:
    """It was captured while it was held; the new cluster has nothing to wait for."""
    release = msgspec.Raw(msgspec.msgpack.encode(holding.Release(backup)))
    machine.apply(envelope.encode(Envelope(machine.now, holding.ROOM, None, release)), index)


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
    groups = [file.group for file in reader.manifest.groups]
    if groups != list(range(settings.groups + 1)):
        raise InvalidArgument(
            f"the backup has {len(groups) - 1} data groups, and this node is to found a cluster of {settings.groups}: "
            f"set groups = {len(groups) - 1} on every founding node; others can be added later"
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


def _indexes(ranges: Iterable[tuple[Index, Index]]) -> Iterator[Index]:
    for first, last in ranges:
        for index in range(first, last + 1):
            yield Index(index)
