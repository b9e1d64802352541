"""Giving room back: segments that little refers to are emptied by copying what is still live to the log's end.

A segment goes through: written -> victim (its live entries are copied, step by step) -> empty once the copies are
durable -> freed by a record of the log -> its file deleted once that record is durable. At every moment each live
entry has a durable place that the index knows.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.raft.types import Entry
from broker.storage import layout, segment
from broker.storage.books import Books, SegmentBook, sorted_segments
from broker.storage.damage import LOG, Damaged, corrupt
from broker.storage.locations import OFFSET_BITS
from broker.storage.reader import Reader
from broker.storage.segment import BLOCK_HEADER_BYTES, Damage

_SCAN_FACTOR = 2
"""What is looked at in one step, as a multiple of what it may copy."""
_ENTRY_WORK = 512
_RECORD_WORK = 128
"""Copying an entry and looking at a record take as long as so many bytes more: a step over small ones ends sooner."""


Kind = tuple[int, int]
"""Type of the copies' records (MOVED for entries of the log, CARRIED for older ones), group."""


class _BadFraming(Exception):
    """What holds the records of a block together is damaged; the records need not be."""


class Moving:
    """Live entries of one group and where they stand."""

    __slots__ = ("entries", "locations")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.locations: list[int] = []


class Compaction:
    """``below``: segments with a smaller live share are emptied. Called from the loop."""

    def __init__(self, books: Books, reader: Reader, magic: bytes, below: float) -> None:
        self._books = books
        self._reader = reader
        self._magic = magic
        self._below = below
        self._victim: SegmentBook | None = None
        self._offset = 0
        self._scanned = 0
        self._one_by_one: Iterator[tuple[Kind, int, int]] | None = None
        """What is still to be copied of a victim whose blocks cannot be told apart any more: kind, index, location."""
        self.held_upto = 0
        """Segments up to this one stay as they are."""

    def dead(self, durable_sequence: int) -> list[SegmentBook]:
        """Segments that may be freed."""
        return [book for book in self._eligible(durable_sequence) if book.live == 0]

    def copies(self, durable_sequence: int, max_bytes: int) -> dict[Kind, Moving] | None:
        """By kind, live entries that must be written again: about ``max_bytes`` of them. None: nothing to do.

        Raises DataCorrupt.
        """
        victim = self._choose(durable_sequence)
        if victim is None:
            return None
        moving: dict[Kind, Moving] = {}
        gathered = 0
        self._scanned = 0
        while self._offset < victim.end and gathered < max_bytes and self._scanned < max_bytes * _SCAN_FACTOR:
            for kind, entry, location in self._next_live(victim):
                found = moving.get(kind)
                if found is None:
                    found = moving[kind] = Moving()
                found.entries.append(entry)
                found.locations.append(location)
                gathered += len(entry.data) + _ENTRY_WORK
        return moving

    def _choose(self, durable_sequence: int) -> SegmentBook | None:
        victim = self._victim
        if victim is not None and self._books.segments.get(victim.number) is victim and victim.number > self.held_upto:
            return victim
        worth = [book for book in self._eligible(durable_sequence) if book.live_share < self._below]
        self._victim = min(worth, key=lambda book: book.live_share, default=None)
        self._offset = 0
        self._one_by_one = None
        return self._victim

    def _eligible(self, durable_sequence: int) -> Iterator[SegmentBook]:
        """All but the one being written, and those that others need or that are not durable yet."""
        books = sorted_segments(self._books.segments.values())
        return (
            book
            for book in books[:-1]
            if book.number > self.held_upto
            and book.last_sequence <= durable_sequence
            and not self._books.shadowed(book)
        )

    def _next_live(self, victim: SegmentBook) -> Iterator[tuple[Kind, Entry, int]]:
        """Of the next block; of one entry, where blocks are damaged: each is found by its place all the same."""
        if self._one_by_one is None:
            try:
                yield from self._live_of_next_block(victim)
                return
            except _BadFraming:
                self._one_by_one = self._all_live(victim)
        for (record_type, group), index, location in self._one_by_one:
            book = self._books.groups.get(group)
            if book is not None and book.index.find(index) == location:
                self._scanned += _RECORD_WORK
                yield (record_type, group), self._reader.entries([location], group, index)[0], location
                return
        self._offset = victim.end

    def _all_live(self, victim: SegmentBook) -> Iterator[tuple[Kind, int, int]]:
        """From the indexes as they are now; others may be dead when their turn comes."""
        found: list[tuple[Kind, int, int]] = []
        for group, book in self._books.groups.items():
            for index, location in enumerate(book.index.log, book.index.base):
                if location >> OFFSET_BITS == victim.number:
                    found.append(((segment.MOVED, group), index, location))
            old = book.index.old
            if old.segment_counts().get(victim.number):
                places = ((index, old.find(index)) for index in old.indexes())
                for index, location in places:
                    if location >> OFFSET_BITS == victim.number:
                        found.append(((segment.CARRIED, group), index, location))
        return iter(found)

    def _live_of_next_block(self, victim: SegmentBook) -> Iterator[tuple[Kind, Entry, int]]:
        path = layout.segment_path(victim.number)
        start = self._offset
        try:
            file = self._reader.file(victim.number)
            head = file.read_at(BLOCK_HEADER_BYTES, start)
            header = segment.decode_block_header(head, 0, self._magic, victim.number)
            if header is None:
                raise _BadFraming
            raw = file.read_at(header.length, start + BLOCK_HEADER_BYTES)
        except (Damaged, FileNotFoundError):
            raise _BadFraming from None
        start += BLOCK_HEADER_BYTES
        base = (victim.number << OFFSET_BITS) + start
        groups = self._books.groups
        try:
            records = segment.decode_heads(raw, 0, header)
        except Damage:
            raise _BadFraming from None
        try:
            for record in records:
                if record.type in segment.ENTRY_TYPES:
                    location = base + record.offset
                    book = groups.get(record.group)
                    if book is None:
                        continue
                    index = book.index
                    if index.log_refers_to(record.index, location):
                        copied = segment.MOVED
                    elif index.old.find(record.index) == location:
                        copied = segment.CARRIED
                    else:
                        continue
                    entry = segment.decode_entry(raw, record.offset, record.group, record.index)
                    yield (copied, record.group), entry, location
        except Damage as damage:
            raise corrupt(
                path, start + damage.offset, str(damage), damage.group, index=record.index, kind=LOG
            ) from None
        self._offset = start + header.length
        self._scanned += header.length + header.count * _RECORD_WORK
