"""What the log says, record by record: each group's durable state, where its entries stand, what a segment is worth.

The same methods are called when a batch is sealed and when recovery reads it back, so that both come to the same
state. That state is written at the beginning of every segment (the preamble), and so no earlier segment is needed for
a vote, a mark or the bounds of a log; only entries that are still referred to keep a segment alive.

*Shadows.* When entries are cut off, or a group is dropped, their records remain in older segments, and only the record
that cut them off tells that they are void. So the segment of that record outlives those: it lists them as its shadows.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import msgspec

from broker.raft.types import HardState, SnapshotMark
from broker.storage.index import GroupIndex
from broker.storage.locations import OFFSET_BITS, segment_counts
from broker.storage.term_runs import Run, TermRuns


class GroupImage(msgspec.Struct, frozen=True, array_like=True):
    """A group's state but for the places of its entries."""

    group: int
    hard_state: HardState
    mark: SnapshotMark | None
    mark_name: str
    first: int
    last: int
    runs: list[Run]


class SegmentImage(msgspec.Struct, frozen=True, array_like=True):
    number: int
    last_sequence: int


class Preamble(msgspec.Struct, frozen=True, array_like=True):
    """The state before the first batch of a segment, and the segments that then existed."""

    groups: list[GroupImage]
    segments: list[SegmentImage]


class SegmentBook(msgspec.Struct):
    number: int
    size: int
    end: int = 0
    """Where the next block begins."""
    last_sequence: int = 0
    records: int = 0
    record_bytes: int = 0
    live: int = 0
    """Entry records that an index refers to."""
    shadows: set[int] = msgspec.field(default_factory=set)

    @property
    def live_bytes(self) -> int:
        return self.record_bytes * self.live // self.records if self.records else 0

    @property
    def live_share(self) -> float:
        return self.live_bytes / self.size


class GroupBook:
    __slots__ = ("hard_state", "index", "mark", "mark_name", "terms")

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.mark: SnapshotMark | None = None
        self.mark_name = ""
        self.index = GroupIndex()
        self.terms = TermRuns()

    def image(self, group: int) -> GroupImage:
        index = self.index
        return GroupImage(group, self.hard_state, self.mark, self.mark_name, index.base, index.last, self.terms.all())


class Books:
    def __init__(self) -> None:
        self.groups: dict[int, GroupBook] = {}
        self.segments: dict[int, SegmentBook] = {}

    def group(self, group: int) -> GroupBook:
        book = self.groups.get(group)
        if book is None:
            book = self.groups[group] = GroupBook()
        return book

    def preamble(self) -> Preamble:
        return Preamble(
            [book.image(group) for group, book in sorted(self.groups.items())],
            [SegmentImage(book.number, book.last_sequence) for book in sorted_segments(self.segments.values())],
        )

    def images(self) -> list[GroupImage]:
        return [book.image(group) for group, book in sorted(self.groups.items())]

    # --- records

    def append(self, group: int, first: int, locations: Sequence[int], runs: list[Run], written: SegmentBook) -> None:
        """Entries of the log; they replace what it held from ``first`` on. Raises ValueError if they leave a gap."""
        book = self.group(group)
        void = book.index.replace_tail(first, locations)
        if void:
            self._void(segment_counts(void), written)
        book.terms.replace(runs)
        written.live += len(locations)

    def carry(self, group: int, index: int, location: int) -> None:
        """A committed entry from elsewhere, not part of the log here."""
        before = self.group(group).index.old.put(index, location)
        if before:
            self._count(before, -1)
        self._count(location, 1)

    def move(self, group: int, index: int, old: int, new: int) -> None:
        book = self.groups.get(group)
        if book is not None and book.index.move(index, old, new):
            self._count(old, -1)
            self._count(new, 1)

    def moved_before(self, group: int, index: int, term: int, location: int) -> None:
        """Recovery: this record stands for an entry of the log whose first record may be gone.

        Raises ValueError if it is none of the log's."""
        book = self.group(group)
        place = index - book.index.base
        if not 0 <= place < len(book.index.log) or book.terms.at(index) != term:
            raise ValueError(
                f"a copy of entry {index} of term {term} does not belong to a log of entries {book.index.base} to "
                f"{book.index.last}, with term {book.terms.at(index)} there"
            )
        before = book.index.log[place]
        book.index.log[place] = location
        if before:
            self._count(before, -1)
        self._count(location, 1)

    def trim(self, group: int, first: int) -> None:
        book = self.group(group)
        self.forget(book.index.trim(first))
        book.terms.trim(first)

    def reset(self, group: int, mark: SnapshotMark, name: str, written: SegmentBook) -> None:
        book = self.group(group)
        book.mark, book.mark_name = mark, name
        self._void(segment_counts(book.index.drop_log(mark.index + 1)), written)
        book.terms.reset(mark.index, mark.term)

    def drop(self, group: int, written: SegmentBook) -> None:
        book = self.groups.pop(group, None)
        if book is not None:
            self._void(segment_counts(book.index.log), written)
            self._void(book.index.old.segment_counts(), written)

    def adopt(self, image: GroupImage) -> None:
        """Recovery, after a freed segment: this is the group's state, whatever was read so far."""
        book = self.group(image.group)
        book.hard_state, book.mark, book.mark_name = image.hard_state, image.mark, image.mark_name
        book.index.adopt(image.first, image.last)
        book.terms = TermRuns(image.runs)

    # --- counting

    def forget(self, locations: array[int]) -> None:
        """No index refers to these any more."""
        for number, count in segment_counts(locations).items():
            segment = self.segments.get(number)
            if segment is not None:
                segment.live -= count

    def recount(self) -> None:
        """Live records of every segment, from the indexes."""
        for segment in self.segments.values():
            segment.live = 0
        for number, count in self.live_counts().items():
            if number in self.segments:
                self.segments[number].live = count

    def live_counts(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for book in self.groups.values():
            for found in (segment_counts(book.index.log), book.index.old.segment_counts()):
                for number, count in found.items():
                    counts[number] = counts.get(number, 0) + count
        counts.pop(0, None)
        return counts

    def shadowed(self, segment: SegmentBook) -> bool:
        """Whether it must outlive older segments that still exist."""
        return any(number in self.segments for number in segment.shadows)

    def _void(self, counts: dict[int, int], written: SegmentBook) -> None:
        for number, count in counts.items():
            segment = self.segments.get(number)
            if segment is not None:
                segment.live -= count
                if number != written.number:
                    written.shadows.add(number)

    def _count(self, location: int, change: int) -> None:
        segment = self.segments.get(location >> OFFSET_BITS)
        if segment is not None:
            segment.live += change


def sorted_segments(segments: Iterable[SegmentBook]) -> list[SegmentBook]:
    return sorted(segments, key=lambda segment: segment.number)
