"""What was staged since the last seal: records already encoded, and the operations they stand for."""

from __future__ import annotations

from broker.base.ids import GroupId
from broker.raft.types import Entry
from broker.storage import segment
from broker.storage.old_entries import Ranges
from broker.storage.operations import Free, Note, Operation


class Draft:
    __slots__ = ("entry_bytes", "freed", "marked", "operations", "pieces", "reset", "retained", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        """Head and data of each record in turn."""
        self.size = 0
        self.entry_bytes = 0
        """Of the size, what is entries."""
        self.operations: list[Operation] = []
        self.retained: list[tuple[int, Ranges, int]] = []
        """Group, live ranges, up to which index."""
        self.freed: dict[int, int] = {}
        """Sizes of freed segments by number."""
        self.marked: dict[GroupId, str] = {}
        """The snapshot that counts from this batch on."""
        self.reset: list[GroupId] = []
        """Groups whose log was dropped, as often as it was."""

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

    def free(self, number: int, size: int) -> None:
        self.freed[number] = size
        self.note(Free(number))
