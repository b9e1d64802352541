"""What can be staged: each operation knows its record and what it changes in the books.

``sealed`` is called in staging order when the batch's place is known, ``settled`` when the batch is durable. ``base``
is the location that the offsets of the records count from.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from broker.raft.types import HardState, SnapshotMark
from broker.storage import segment
from broker.storage.books import Books, SegmentBook
from broker.storage.term_runs import Run

_encode = msgspec.msgpack.Encoder().encode


class MarkNote(msgspec.Struct, frozen=True, array_like=True):
    """Data of a MARK and of a RESET record."""

    mark: SnapshotMark
    name: str


class Append(msgspec.Struct):
    """Entries of one group's log. ``last`` shrinks when later ones replace them."""

    group: int
    first: int
    last: int
    offsets: list[int]
    runs: list[Run]
    void: bool = False
    """The group was dropped meanwhile."""

    @property
    def indexes(self) -> range:
        return range(self.first, self.first + len(self.offsets))

    def sealed(self, books: Books, base: int, written: SegmentBook) -> None:
        written.records += len(self.offsets)
        books.append(self.group, self.first, [base + offset for offset in self.offsets], self.runs, written)

    def settled(self, _books: Books) -> None:
        """Readable since it was sealed."""


class Carry(msgspec.Struct):
    """Committed entries that came with a snapshot. Found in the log's file once they are durable."""

    group: int
    indexes: list[int]
    offsets: list[int]
    base: int = 0
    void: bool = False

    def sealed(self, books: Books, base: int, written: SegmentBook) -> None:
        """Nothing refers to them before they are durable, but the group is known."""
        books.group(self.group)
        self.base = base
        written.records += len(self.offsets)

    def settled(self, books: Books) -> None:
        if self.void:
            return
        for index, offset in zip(self.indexes, self.offsets, strict=True):
            books.carry(self.group, index, self.base + offset)


class Move(msgspec.Struct):
    """Copies of entries; the first copy is referred to until this one is durable."""

    group: int
    indexes: list[int]
    olds: Sequence[int]
    offsets: list[int]
    base: int = 0
    void: bool = False

    def sealed(self, _books: Books, base: int, written: SegmentBook) -> None:
        """The old copy still counts."""
        self.base = base
        written.records += len(self.offsets)

    def settled(self, books: Books) -> None:
        if self.void:
            return
        for index, old, offset in zip(self.indexes, self.olds, self.offsets, strict=True):
            books.move(self.group, index, old, self.base + offset)


class SetHardState(msgspec.Struct):
    group: int
    state: HardState

    def record(self) -> tuple[bytes, bytes]:
        return segment.encode_record(segment.HARD_STATE, self.group, _encode(self.state))

    def sealed(self, books: Books, _base: int, _written: SegmentBook) -> None:
        books.group(self.group).hard_state = self.state

    def settled(self, _books: Books) -> None:
        """Nothing waits for it here."""


class SetMark(msgspec.Struct):
    group: int
    mark: SnapshotMark
    name: str

    def record(self) -> tuple[bytes, bytes]:
        return segment.encode_record(segment.MARK, self.group, _encode(MarkNote(self.mark, self.name)))

    def sealed(self, books: Books, _base: int, _written: SegmentBook) -> None:
        book = books.group(self.group)
        book.mark, book.mark_name = self.mark, self.name

    def settled(self, _books: Books) -> None:
        """The older snapshot went with the batch."""


class SetFloor(msgspec.Struct):
    """The log begins at ``first``; what lies before is found only as long as it is live."""

    group: int
    first: int

    def record(self) -> tuple[bytes, bytes]:
        return segment.encode_record(segment.FLOOR, self.group, _encode(self.first))

    def sealed(self, books: Books, _base: int, _written: SegmentBook) -> None:
        books.trim(self.group, self.first)

    def settled(self, _books: Books) -> None:
        """Nothing waits for it here."""


class Reset(msgspec.Struct):
    """The log is dropped and continues after the mark."""

    group: int
    mark: SnapshotMark
    name: str

    def record(self) -> tuple[bytes, bytes]:
        return segment.encode_record(segment.RESET, self.group, _encode(MarkNote(self.mark, self.name)))

    def sealed(self, books: Books, _base: int, written: SegmentBook) -> None:
        books.reset(self.group, self.mark, self.name, written)

    def settled(self, _books: Books) -> None:
        """Nothing waits for it here."""


class Drop(msgspec.Struct):
    """All that there is of the group is forgotten."""

    group: int

    def record(self) -> tuple[bytes, bytes]:
        return segment.encode_record(segment.DROPPED, self.group, b"")

    def sealed(self, books: Books, _base: int, written: SegmentBook) -> None:
        books.drop(self.group, written)

    def settled(self, _books: Books) -> None:
        """Its snapshots went with the batch."""


class Prove(msgspec.Struct):
    """Nothing but another batch behind the last one."""

    group: int = 0

    def record(self) -> tuple[bytes, bytes]:
        return segment.encode_record(segment.PROOF, self.group, b"")

    def sealed(self, _books: Books, _base: int, _written: SegmentBook) -> None:
        """It changes nothing."""

    def settled(self, _books: Books) -> None:
        """Nor now."""


class Free(msgspec.Struct):
    """Nothing refers to a segment: its file may go once this is durable."""

    number: int

    def record(self) -> tuple[bytes, bytes]:
        return segment.encode_record(segment.FREED, 0, _encode(self.number))

    def sealed(self, books: Books, _base: int, _written: SegmentBook) -> None:
        del books.segments[self.number]

    def settled(self, _books: Books) -> None:
        """The file went with the batch."""


Operation = Append | Carry | Move | SetHardState | SetMark | SetFloor | Reset | Drop | Prove | Free
Note = SetHardState | SetMark | SetFloor | Reset | Drop | Prove | Free
"""Operations that are one record."""
