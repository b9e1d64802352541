"""The groups' states that a backup holds, loaded one by one; and whether directory and groups know one another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from broker.base.ids import DIRECTORY_GROUP, GroupId, Index, QueueId
from broker.base.instants import WallMillis
from broker.domain.directory.commands import ListResources, Resource, Unfinished
from broker.domain.directory.machine import DirectoryMachine
from broker.domain.queues.model import Described
from broker.domain.queues.questions import AllQueues
from broker.machine.replicated import ReplicatedMachine
from broker.node.replicas import directory_group, machine_of
from broker.raft.types import Entry
from broker.replication.transfer import DUMP, ENTRIES, decode_entries
from broker.storage.backup_files import GroupFile
from broker.storage.backup_reader import BackupReader

Resources = dict[int, Resource]
"""Queues by id, as the directory knows them."""
_KIND = "queue"


class GroupState:
    """One group of a backup, read to its end and found whole: its machine, and then its live entries."""

    def __init__(self, reader: BackupReader, file: GroupFile) -> None:
        """Raises DataCorrupt."""
        self.directory = DirectoryMachine()
        if file.group == DIRECTORY_GROUP:
            self.machine = directory_group(self.directory)
        else:
            self.machine = machine_of(GroupId(file.group))
        self._reader = reader
        self._file = file
        self._pieces = reader.pieces(file)
        try:
            self.machine.load(self._dump())
        except ValueError as error:
            raise reader.damaged(file, str(error)) from None
        self._expected = _indexes(self.machine.live_entries())

    def entries(self) -> Iterator[list[Entry]]:
        """Those that the state as it was captured refers to, and no others; once. Raises DataCorrupt."""
        expected = self._expected
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


def resources_of(directory: ReplicatedMachine) -> Resources:
    """In whatever state they are."""
    at = directory.now
    found = list(directory.query("directory", Unfinished(WallMillis(at + 1)), at))
    after, more = "", True
    while more:
        page = directory.query("directory", ListResources(_KIND, after=after), at)
        found += page.resources
        after, more = (page.resources[-1].name if page.resources else ""), page.more
    return {resource.id: resource for resource in found}


def unknown_queues(group: GroupId, machine: ReplicatedMachine, resources: Resources) -> list[Described]:
    """What is in a group, and the directory does not know (any more) to be there: a creation that was given up has
    left it."""
    return [
        queue
        for queue in _queues(machine)
        if queue.queue not in resources or group not in resources[queue.queue].everywhere
    ]


def missing_queues(group: GroupId, machine: ReplicatedMachine, resources: Resources) -> list[Resource]:
    """What should be in a group, as the directory says, and is not."""
    there = {queue.queue for queue in _queues(machine)}
    return [
        resource
        for resource in resources.values()
        if resource.state == "active" and group in resource.groups and QueueId(resource.id) not in there
    ]


def _queues(machine: ReplicatedMachine) -> list[Described]:
    return [queue for queue, _ in machine.query("queues", AllQueues(), machine.now)]


def _indexes(ranges: Iterable[tuple[Index, Index]]) -> Iterator[Index]:
    for first, last in ranges:
        for index in range(first, last + 1):
            yield Index(index)
