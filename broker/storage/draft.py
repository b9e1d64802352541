"""What was staged since the last seal: records already encoded, and the operations they stand for."""

from __future__ import annotations

from collections.abc import Iterable

from broker.base.ids import GroupId
from broker.raft.types import Entry
from broker.storage import segment
from broker.storage.old_entries import Ranges
from broker.storage.operations import Append, Carry, Drop, Free, Move, Note, Operation


class Draft:
    __slots__ = (
        "entry_bytes",
        "freed",
        "marked",
        "operations",
        "pieces",
        "reset",
        "retained",
        "size",
        "stale_snapshots",
    )

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        """Head and data of each record in turn."""
        self.size = 0
        self.entry_bytes = 0
        """Of the size, what is entries."""
        self.operations: list[Operation] = []
        self.retained: list[tuple[int, Ranges, int]] = []
        """Group, live ranges, up to which index."""
        self.freed: list[int] = []
        """Segments."""
        self.marked: dict[GroupId, str] = {}
        """The snapshot that counts from this batch on."""
        self.reset: list[GroupId] = []
        """Groups whose log was dropped, as often as it was."""
        self.stale_snapshots: list[str] = []
        """Files that nothing needs once this is durable."""

    def encode(self, record_type: int, group: int, entries: list[Entry]) -> list[int]:
        """Add a record for each entry; their offsets from the draft's beginning."""
        before = self.size
        offsets, self.size = segment.encode_entries(record_type, group, entries, self.pieces, self.size)
        self.entry_bytes += self.size - before
        return offsets

    def note(self, note: Note) -> None:
        head, data = note.record()
        self.pieces += (head, data)
        self.size += len(head) + len(data)
        self.operations.append(note)

    def drop(self, group: GroupId) -> None:
        """What was staged of the group so far happens, and then goes."""
        void_all(self.operations, group)
        self.marked.pop(group, None)
        self.reset = [each for each in self.reset if each != group]
        self.retained = [each for each in self.retained if each[0] != group]
        self.note(Drop(group))

    def free(self, number: int) -> None:
        self.freed.append(number)
        self.note(Free(number))


def void_all(operations: Iterable[Operation], group: GroupId) -> None:
    """The group was dropped: what becomes durable of it has no effect any more."""
    for operation in operations:
        if isinstance(operation, Append | Carry | Move) and operation.group == group:
            operation.void = True
