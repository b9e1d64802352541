"""Reading a segment block by block: what is whole, what was written and is damaged, and where the written part ends.

A block that is damaged may be the last one, torn by a crash: then the segment ends before it. When none of its sectors
is as it was before (``sectors``), or a block follows it, it had been whole: it is handed out all the same, if its
records' heads are intact, so that it is known whose records they were and which of them are lost. Knows nothing of what
records mean.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from broker.storage import layout, sectors, segment
from broker.storage.books import SegmentBook
from broker.storage.disk import Disk, DiskFile
from broker.storage.segment import BLOCK_HEADER_BYTES, BlockHeader, Damage, Record

_WINDOW = 4 * 1024 * 1024
"""Bytes read at once."""


class Block(msgspec.Struct, frozen=True):
    offset: int
    header: BlockHeader
    base: int
    """Where in the file ``window`` begins."""
    window: bytes
    records: list[Record]
    bad: frozenset[int] = frozenset()
    """Places of those records whose data is not what was written."""

    def data(self, record: Record) -> bytes:
        start = record.offset + segment.RECORD_HEAD_BYTES
        return self.window[start : start + record.length]


class BlockReader:
    def __init__(self, disk: Disk, magic: bytes) -> None:
        self._disk = disk
        self._magic = magic

    def blocks(self, file: DiskFile, book: SegmentBook, sequence: int) -> Iterator[Block]:
        """Consecutive blocks from the beginning, which come after ``sequence``; moves ``book.end`` behind each."""
        base, window = 0, file.read_at(_WINDOW, 0)
        while True:
            at = book.end - base
            if at + BLOCK_HEADER_BYTES > len(window):
                base, window, at = book.end, file.read_at(_WINDOW, book.end), 0
            header = segment.decode_block_header(window, at, self._magic, book.number)
            if header is None or header.sequence <= sequence:
                return
            if book.end and header.sequence != sequence + 1:
                return
            size = BLOCK_HEADER_BYTES + header.length
            if at + size > len(window):
                base, window, at = book.end, file.read_at(max(_WINDOW, size), book.end), 0
            start = at + BLOCK_HEADER_BYTES
            bad: frozenset[int] = frozenset()
            try:
                records = segment.decode_block(window, start, header)
            except Damage:
                if not self._was_whole(file, book.number, book.end, window[at : at + size], header):
                    return
                try:
                    records, bad = segment.decode_damaged(window, start, header)
                except Damage:
                    return
            offset = book.end
            book.end += size
            sequence = header.sequence
            yield Block(offset, header, base, window, records, bad)

    def later(self, number: int, offset: int, size: int, sequence: int) -> tuple[int, int] | None:
        """Offset and sequence of a header, from ``offset`` on, that was written after the block behind ``sequence``."""
        file = self._disk.open(layout.segment_path(number))
        try:
            while offset < size:
                window = file.read_at(_WINDOW + BLOCK_HEADER_BYTES, offset)
                at = window.find(self._magic)
                while at >= 0:
                    header = segment.decode_block_header(window, at, self._magic, number)
                    if header is not None and header.sequence > sequence + 1:
                        return offset + at, header.sequence
                    at = window.find(self._magic, at + 1)
                offset += _WINDOW
        finally:
            file.close()
        return None

    def is_blank(self, number: int, offset: int, size: int) -> bool:
        """Whether there is nothing but zeros from ``offset`` on."""
        file = self._disk.open(layout.segment_path(number))
        try:
            while offset < size:
                window = file.read_at(_WINDOW, offset)
                if window != bytes(len(window)):
                    return False
                offset += _WINDOW
        finally:
            file.close()
        return True

    def is_rotten(self, number: int, offset: int, sequence: int) -> bool:
        """Whether the block behind ``sequence`` was there, where none can be read any more; for a place where zeros had
        been."""
        file = self._disk.open(layout.segment_path(number))
        try:
            found = file.read_at(BLOCK_HEADER_BYTES + sectors.SECTOR, offset)
            header = segment.decode_block_header(found, 0, self._magic, number)
            if header is None:
                return len(found) >= BLOCK_HEADER_BYTES and sectors.is_begun(found, offset, BLOCK_HEADER_BYTES)
            raw = file.read_at(BLOCK_HEADER_BYTES + header.length, offset)
            return header.sequence == sequence + 1 and self._was_whole(file, number, offset, raw, header)
        finally:
            file.close()

    def what_is_at(self, number: int, offset: int) -> str:
        """What can be said of a block there that should be whole."""
        file = self._disk.open(layout.segment_path(number))
        try:
            header = segment.decode_block_header(file.read_at(BLOCK_HEADER_BYTES, offset), 0, self._magic, number)
            if header is None:
                return "no block header is there"
            raw = file.read_at(BLOCK_HEADER_BYTES + header.length, offset)
        finally:
            file.close()
        try:
            segment.decode_block(raw, BLOCK_HEADER_BYTES, header)
        except Damage as damage:
            return f"{damage} at offset {offset + damage.offset}"
        return f"block {header.sequence} is there"

    def _was_whole(self, file: DiskFile, number: int, offset: int, raw: bytes, header: BlockHeader) -> bool:
        """Of a block that is damaged: whether it had been written to its end."""
        if header.zeros is not None and sectors.zero_pieces(raw, offset) <= header.zeros:
            return True
        return self._is_followed(file, number, offset + len(raw), header)

    def _is_followed(self, file: DiskFile, number: int, end: int, header: BlockHeader) -> bool:
        """By a header, behind it or at the beginning of the next segment, that was written after it was durable."""
        if self._begins(file, number, end, header.sequence + 1):
            return True
        try:
            following = self._disk.open(layout.segment_path(number + 1))
        except FileNotFoundError:
            return False
        try:
            return self._begins(following, number + 1, 0, header.sequence + 1)
        finally:
            following.close()

    def _begins(self, file: DiskFile, number: int, offset: int, sequence: int) -> bool:
        raw = file.read_at(BLOCK_HEADER_BYTES, offset)
        header = segment.decode_block_header(raw, 0, self._magic, number)
        return header is not None and header.sequence == sequence
