"""Reading the log back after a stop or a crash: what is certain is taken, what is torn cut, what is damaged named.

A batch is written only after the one before it is durable, so a crash can tear only the last one. Recovery takes
consecutive blocks; where they end, it looks for proof that more was written: a block of which every sector was written
(``sectors``), a block header with a later sequence number in the rest of the segment or in a later one, or a later
preamble that lists a longer segment. With proof, bytes that had been confirmed are gone. Without, the last batch was
never confirmed to anybody, and is cut. As a batch may be written only where zeros are, the log then goes on in the next
segment.

Where the heads of a damaged block's records are intact, it is known which records of which groups are lost, and
recovery goes on: these groups are damaged (``extent``), the others are not. Otherwise it raises DataCorrupt: any group
may have lost anything, a vote for one.

One case cannot be told apart: the very last batch that was confirmed, with nothing written after it, of which a whole
sector is zeros again, looks like a batch that was torn. So a node that comes to rest writes a batch that says nothing
behind it (``Store.prove``).

Before anything is said of what was read, the last block is written again and synced: the process that wrote it may have
died between its write and its sync, or after a sync that failed, and what was read may have come from memory only.
"""

from __future__ import annotations

import msgspec

from broker.raft.types import EntryKind, HardState, Membership
from broker.storage import layout, segment
from broker.storage.blocks import Block, BlockReader
from broker.storage.books import Books, GroupBook, Preamble, SegmentBook, sorted_segments
from broker.storage.damage import FRAMING, LOG, Damaged, Finding, corrupt
from broker.storage.disk import Disk
from broker.storage.extent import Extent
from broker.storage.locations import OFFSET_BITS, segment_counts
from broker.storage.operations import MarkNote
from broker.storage.segment import Record
from broker.storage.term_runs import runs_of

_decode_preamble = msgspec.msgpack.Decoder(Preamble).decode
_decode_hard_state = msgspec.msgpack.Decoder(HardState).decode
_decode_mark = msgspec.msgpack.Decoder(MarkNote).decode
_decode_number = msgspec.msgpack.Decoder(int).decode
_decode_membership = msgspec.msgpack.Decoder(Membership).decode


class Recovery:
    """One pass over the log; fills ``books``. Afterwards ``last`` is the segment to go on in, None for an empty log."""

    def __init__(self, disk: Disk, magic: bytes) -> None:
        self._disk = disk
        self._reader = BlockReader(disk, magic)
        self.books = Books()
        self.last: SegmentBook | None = None
        self.sequence = 0
        self.resume_at = 0
        """Where in ``last`` the next block goes; its size if that is in the next one."""
        self.torn = False
        """Whether something was cut."""
        self.unused: list[tuple[int, int]] = []
        """Segment files (number, size) in which nothing counts."""
        self.extent = Extent()
        self.seen: dict[int, int] = {}
        """By group, the last segment with a record of it."""
        self._listed: dict[int, int] = {}
        self._last_block: tuple[int, int] | None = None
        self._after_zeros = True
        """What comes behind the last block was written where zeros were: format 1 did not see to it."""
        self._memberships: dict[int, dict[int, tuple[int, bytes]]] = {}

    def run(self) -> None:
        """Raises DataCorrupt for damage of which nobody can say what it took. ``extent`` has what is known of other."""
        self.read()
        self._confirm_tail()

    def read(self) -> None:
        """As ``run``, but changes nothing on the disk: what was read may come from memory only. Raises DataCorrupt."""
        names = self._disk.names(layout.WAL)
        for number in sorted(found for found in map(layout.segment_number, names) if found is not None):
            self._read_segment(number)
        self._expect_listed_segments()
        self._expect_nothing_more()
        self._expect_whole_logs()

    def memberships(self, group: int) -> list[tuple[int, Membership]]:
        """Of the MEMBERSHIP entries behind the group's mark, ascending."""
        book = self.books.groups[group]
        after = book.mark.index if book.mark is not None else 0
        return [
            (index, _decode_membership(data))
            for index, (term, data) in sorted(self._memberships.get(group, {}).items())
            if after < index <= book.index.last and book.index.base <= index and book.terms.at(index) == term
        ]

    # --- segments and blocks

    def _read_segment(self, number: int) -> None:
        file = self._disk.open(layout.segment_path(number))
        try:
            book = SegmentBook(number, file.size())
            for block in self._reader.blocks(file, book, self.sequence):
                if not book.last_sequence:
                    self._begin_segment(book, block)
                self._apply_block(book, block)
                book.last_sequence = self.sequence = block.header.sequence
                self._after_zeros = block.header.zeros is not None
                self._last_block = (block.offset, book.end - block.offset)
        finally:
            file.close()
        if book.last_sequence:
            self.last = book
        else:
            self.unused.append((number, book.size))

    def _begin_segment(self, book: SegmentBook, block: Block) -> None:
        first = block.records[0]
        if 0 in block.bad:
            raise self._corrupt(book.number, block.offset, "checksum mismatch in the first record of the segment")
        if first.type != segment.PREAMBLE:
            raise self._corrupt(book.number, block.offset, "the segment does not begin with a preamble")
        preamble = _decode_preamble(block.data(first))
        previous = self.books.segments.get(book.number - 1)
        if previous is not None:
            if block.header.sequence != self.sequence + 1:
                raise self._lost(previous, f"segment {book.number} begins with block {block.header.sequence}")
            self._compare(book, block, preamble)
        else:
            known = {image.group for image in preamble.groups}
            for group in self.books.groups.keys() - known:
                self._drop(group, book)
            for image in preamble.groups:
                self.books.adopt(image)
        self.books.segments[book.number] = book
        self._listed = {image.number: image.last_sequence for image in preamble.segments}

    def _compare(self, book: SegmentBook, block: Block, preamble: Preamble) -> None:
        """With what the segment before left. Of a group with damaged records the preamble knows better."""
        known = {image.group: image for image in self.books.images()}
        told = {image.group: image for image in preamble.groups}
        for group in known.keys() | told.keys():
            if known.get(group) == told.get(group):
                continue
            if not self.extent.reaches(group):
                what = f"the preamble does not agree with what segment {book.number - 1} left of group {group}"
                raise self._corrupt(book.number, block.offset, what)
            if group in told:
                self.books.adopt(told[group])
            else:
                self._drop(group, book)

    # --- records

    def _apply_block(self, book: SegmentBook, block: Block) -> None:
        records = block.records
        place = 0
        while place < len(records):
            record = records[place]
            self.seen[record.group] = book.number
            if not segment.is_known(record):
                what = f"record of unknown type {record.type}, kind {record.kind}"
                raise self._corrupt(book.number, block.base + record.offset, what, record.group)
            if record.type == segment.ENTRY:
                place = self._apply_entries(book, block, place)
                continue
            if record.type in segment.ENTRY_TYPES:
                self._apply_copy(book, block, place)
            elif place in block.bad:
                self._miss_note(book, block, record)
            elif record.type not in (segment.PREAMBLE, segment.PROOF):
                self._apply_note(book, block, record)
            place += 1

    def _apply_entries(self, book: SegmentBook, block: Block, place: int) -> int:
        """All consecutive entries of one group at once; returns the place behind them."""
        records = block.records
        first = records[place]
        group, index = first.group, first.index
        base = (book.number << OFFSET_BITS) + block.base
        locations: list[int] = []
        terms: list[tuple[int, int]] = []
        written = 0
        while place < len(records):
            record = records[place]
            if record.type != segment.ENTRY or record.group != group or record.index != index:
                break
            if place in block.bad:
                self.extent.entry(group, base + record.offset, self._mismatch(book, block, record))
            elif record.kind == EntryKind.MEMBERSHIP:
                self._note_membership(block, record)
            place += 1
            locations.append(base + record.offset)
            if not terms or terms[-1][1] != record.term:
                terms.append((index, record.term))
            written += record.length
            index += 1
        try:
            self.books.append(group, first.index, locations, runs_of(terms), book)
        except ValueError as error:
            self._contradiction(book, block, first, error)
        self._count(book, len(locations), written)
        return place

    def _apply_copy(self, book: SegmentBook, block: Block, place: int) -> None:
        record = block.records[place]
        location = (book.number << OFFSET_BITS) + block.base + record.offset
        if place in block.bad:
            self.extent.entry(record.group, location, self._mismatch(book, block, record))
        if record.type == segment.CARRIED:
            self.books.carry(record.group, record.index, location)
        else:
            try:
                self.books.moved_before(record.group, record.index, record.term, location)
            except ValueError as error:
                self._contradiction(book, block, record, error)
            if record.kind == EntryKind.MEMBERSHIP and place not in block.bad:
                self._note_membership(block, record)
        self._count(book, 1, record.length)

    def _apply_note(self, book: SegmentBook, block: Block, record: Record) -> None:
        if record.type == segment.DROPPED:
            self._drop(record.group, book)
            return
        data = block.data(record)
        group = self.books.group(record.group) if record.type != segment.FREED else GroupBook()
        if record.type == segment.HARD_STATE:
            group.hard_state = _decode_hard_state(data)
        elif record.type == segment.MARK:
            note = _decode_mark(data)
            group.mark, group.mark_name = note.mark, note.name
        elif record.type == segment.FLOOR:
            self.books.trim(record.group, _decode_number(data))
        elif record.type == segment.RESET:
            note = _decode_mark(data)
            self.books.reset(record.group, note.mark, note.name, book)
        else:
            number = _decode_number(data)
            self._listed.pop(number, None)
            freed = self.books.segments.pop(number, None)
            if freed is not None:
                self.unused.append((number, freed.size))

    def _drop(self, group: int, book: SegmentBook) -> None:
        self.books.drop(group, book)
        self._memberships.pop(group, None)
        self.extent.forget(group)

    def _miss_note(self, book: SegmentBook, block: Block, record: Record) -> None:
        if record.type not in segment.OF_A_GROUP:
            raise Damaged(self._mismatch(book, block, record))
        self.extent.note(record.group, self._mismatch(book, block, record))

    def _contradiction(self, book: SegmentBook, block: Block, record: Record, error: ValueError) -> None:
        """A record that does not fit is damage of its own, unless records before it are known to be missing."""
        found = self._corrupt(book.number, block.base + record.offset, str(error), record.group)
        if not self.extent.reaches(record.group):
            raise found from None
        self.extent.note(record.group, found.finding)

    def _mismatch(self, book: SegmentBook, block: Block, record: Record) -> Finding:
        is_entry = record.type in segment.ENTRY_TYPES
        what = "checksum mismatch in the record" + ("" if is_entry else f" of type {record.type}")
        path, offset = layout.segment_path(book.number), block.base + record.offset
        index = record.index if is_entry else None
        if record.type not in segment.OF_A_GROUP:
            return Finding(FRAMING, path, offset, what)
        return Finding(LOG, path, offset, what, record.group, index)

    def _note_membership(self, block: Block, record: Record) -> None:
        self._memberships.setdefault(record.group, {})[record.index] = (record.term, block.data(record))

    def _count(self, book: SegmentBook, records: int, data_bytes: int) -> None:
        book.records += records
        book.record_bytes += data_bytes + records * segment.RECORD_HEAD_BYTES

    # --- what must hold at the end

    def _expect_listed_segments(self) -> None:
        for number, last_sequence in self._listed.items():
            book = self.books.segments.get(number)
            if book is None:
                raise self._corrupt(
                    number, 0, f"segment with blocks up to {last_sequence} is missing or damaged at its beginning"
                )
            if book.last_sequence != last_sequence:
                raise self._lost(book, f"a later preamble lists block {last_sequence} there")
        if self.last is not None:
            for book in sorted_segments(self.books.segments.values()):
                if book.number not in self._listed and book is not self.last:
                    del self.books.segments[book.number]
                    self.unused.append((book.number, book.size))

    def _expect_nothing_more(self) -> None:
        """Proof of a whole block, or of a later one, means that what is missing had been confirmed."""
        places = [(self.last.number, self.last.end, self.last.size)] if self.last is not None else []
        after = self.last.number if self.last is not None else 0
        places += [(number, 0, size) for number, size in self.unused if number > after]
        for number, offset, size in places:
            blank = self._reader.is_blank(number, offset, size)
            if number == after:
                self.resume_at = offset if blank else size
            if blank:
                continue
            later = self._reader.later(number, offset, size, self.sequence)
            if later is not None:
                what = f"block {later[1]} follows at offset {later[0]} of segment {number}"
                if self.last is None:
                    raise self._corrupt(number, 0, f"expected block 1; {what}")
                raise self._lost(self.last, what)
            if self._after_zeros:
                if self._reader.is_rotten(number, offset, self.sequence):
                    what = f"block {self.sequence + 1} had been written to its end"
                    raise self._corrupt(number, offset, f"{what}; {self._reader.what_is_at(number, offset)}")
                self.torn = True

    def _expect_whole_logs(self) -> None:
        for group, book in self.books.groups.items():
            if self.extent.reaches(group):
                continue
            index = book.index
            missing = segment_counts(index.log).keys() - self.books.segments.keys()
            if missing:
                place = next(i for i, location in enumerate(index.log) if location >> OFFSET_BITS in missing)
                what = f"entry {index.base + place} of a log from {index.base} to {index.last} is in no segment"
                raise corrupt(layout.WAL, 0, what, group)
            if index.old.segment_counts().keys() - self.books.segments.keys():
                index.old.keep(lambda location: location >> OFFSET_BITS in self.books.segments)
        self.books.recount()

    def _confirm_tail(self) -> None:
        if self.last is None or self._last_block is None:
            return
        offset, size = self._last_block
        file = self._disk.open(layout.segment_path(self.last.number))
        try:
            file.write_at(file.read_at(size, offset), offset)
            file.sync()
        finally:
            file.close()
        self._disk.sync_directory(layout.WAL)

    def _lost(self, book: SegmentBook, proof: str) -> Damaged:
        what = f"expected block {book.last_sequence + 1}, which had been written: {proof}"
        return self._corrupt(book.number, book.end, f"{what}; {self._reader.what_is_at(book.number, book.end)}")

    def _corrupt(self, number: int, offset: int, what: str, group: int | None = None) -> Damaged:
        return corrupt(layout.segment_path(number), offset, what, group)
