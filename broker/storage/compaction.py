"""Giving room back: segments that little refers to are emptied by copying what is still live to the log's end.

A segment goes through: written -> victim (its live entries are copied, step by step) -> empty once the copies are
durable -> freed by a record of the log -> its file used again once that record is durable. At every moment each live
entry has a durable place that the index knows.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.raft.types import Entry
from broker.storage import layout, segment
from broker.storage.books import Books, SegmentBook, sorted_segments
from broker.storage.damage import corrupt
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
            for kind, entry, location in self._live_of_next_block(victim):
                found = moving.get(kind)
                if found is None:
                    found = moving[kind] = Moving()
                found.entries.append(entry)
                found.locations.append(location)
                gathered += len(entry.data) + _ENTRY_WORK
        return moving

    def _choose(self, durable_sequence: int) -> SegmentBook | None:
        victim = self._victim
        if victim is not None and self._books.segments.get(victim.number) is victim:
            return victim
        worth = [book for book in self._eligible(durable_sequence) if book.live_share < self._below]
        self._victim = min(worth, key=lambda book: book.live_share, default=None)
        self._offset = 0
        return self._victim

    def _eligible(self, durable_sequence: int) -> Iterator[SegmentBook]:
        """All but the one being written, and those that others need or that are not durable yet."""
        books = sorted_segments(self._books.segments.values())
        return (
            book for book in books[:-1] if book.last_sequence <= durable_sequence and not self._books.shadowed(book)
        )

    def _live_of_next_block(self, victim: SegmentBook) -> Iterator[tuple[Kind, Entry, int]]:
        path = layout.segment_path(victim.number)
        file = self._reader.file(victim.number)
        start = self._offset
        head = file.read_at(BLOCK_HEADER_BYTES, start)
        header = segment.decode_block_header(head, 0, self._magic, victim.number)
        if header is None:
            raise corrupt(path, start, "expected a block header")
        raw = file.read_at(header.length, start + BLOCK_HEADER_BYTES)
        start += BLOCK_HEADER_BYTES
        base = (victim.number << OFFSET_BITS) + start
        groups = self._books.groups
        try:
            for record in segment.decode_heads(raw, 0, header):
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
            raise corrupt(path, start + damage.offset, str(damage), damage.group) from None
        self._offset = start + header.length
        self._scanned += header.length + header.count * _RECORD_WORK
