"""Whether a backup is whole, and one state: every file, every group's state, and whether the groups know one another.

Reads as a restore would, and makes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from broker.base.ids import DIRECTORY_GROUP, GroupId
from broker.base.instants import WallMillis
from broker.domain.directory.commands import ListResources, Resource, Unfinished
from broker.domain.queues.questions import AllQueues
from broker.machine.replicated import ReplicatedMachine
from broker.node.restoring import GroupState
from broker.storage.backup_files import GroupFile, Manifest
from broker.storage.backup_reader import BackupReader

KIND = "queue"


class Checked(msgspec.Struct, frozen=True):
    """``remarks``: what is odd and does no harm."""

    manifest: Manifest
    remarks: tuple[str, ...]


def check(backup: Path) -> Checked:
    """Raises InvalidArgument when there is no finished backup of a known format; DataCorrupt, naming the file."""
    reader = BackupReader(backup)
    resources: dict[int, Resource] = {}
    remarks: list[str] = []
    for file in reader.manifest.groups:
        reader.verify(file)
        state = GroupState(reader, file)
        for _ in state.entries():
            pass
        if file.group == DIRECTORY_GROUP:
            resources = {resource.id: resource for resource in _resources(state.machine)}
        else:
            remarks += _compare(reader, file, resources, state.machine)
    return Checked(reader.manifest, tuple(remarks))


def _resources(directory: ReplicatedMachine) -> Iterator[Resource]:
    at = directory.now
    yield from directory.query("directory", Unfinished(WallMillis(at + 1)), at)
    after, more = "", True
    while more:
        page = directory.query("directory", ListResources(KIND, after=after), at)
        yield from page.resources
        after, more = (page.resources[-1].name if page.resources else ""), page.more


def _compare(
    reader: BackupReader, file: GroupFile, resources: dict[int, Resource], machine: ReplicatedMachine
) -> Iterator[str]:
    group = GroupId(file.group)
    there = {queue.queue: queue.name for queue, _ in machine.query("queues", AllQueues(), machine.now)}
    for identity, name in there.items():
        resource = resources.get(identity)
        if resource is None or group not in resource.everywhere:
            yield f"{file.file} holds queue {name!r}, of which the directory does not know (any more)"
    for identity, resource in resources.items():
        if resource.state == "active" and group in resource.groups and identity not in there:
            raise reader.damaged(file, f"queue {resource.name!r} should be in it, as the directory says, and is not")
