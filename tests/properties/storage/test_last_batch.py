"""The last batch, torn or rotten: torn in any way it costs nothing but itself, rotten in any byte it is never cut."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given, settings

from broker.base.errors import DataCorrupt
from broker.raft.types import Entry
from broker.storage import layout
from broker.storage.sectors import SECTOR
from broker.storage.store import Store
from tests.simulation.fake_disk import FakeDisk
from tests.unit.storage.small_store import (
    GROUP,
    append,
    blocks,
    commit,
    entries,
    entry,
    log_of,
    new_disk,
    open_store,
    restart,
)

SPARE_ROOM = 72
"""The smallest batch: a header and the head of a record."""

zeros = st.integers(0, 2_000).map(bytes)
texts = st.integers(0, 1_200).map(lambda size: b"x" * size)
bodies = st.lists(zeros | texts | st.binary(max_size=40), max_size=4).map(b"".join)
batches = st.lists(bodies, min_size=1, max_size=3)
aheads = st.integers(0, 4_000)
"""Bytes of the entry before, which decide where in its sector the batch begins, and whether in a segment of its own."""


class Written:
    """A first batch, and a last one of entries with these bodies; the process has ended."""

    def __init__(self, ahead: int, bodies: list[bytes]) -> None:
        self.disk: FakeDisk = new_disk()
        store = open_store(self.disk)
        append(store, 1, 1, size=ahead)
        self.kept = entries(1, 1, size=ahead)
        self.last = [
            Entry(entry(2 + place).index, entry(1).term, entry(1).kind, body) for place, body in enumerate(bodies)
        ]
        store.stage_entries(GROUP, self.last)
        commit(store)
        number = 2 if blocks_of(self.disk, 2) else 1
        self.path = layout.segment_path(number)
        self.start, self.end = blocks(self.disk, number)[-1]
        self.disk.end_process()

    def pieces(self) -> list[tuple[int, int]]:
        """Of each sector, what the batch has of it."""
        edges = [self.start, *range(self.start - self.start % SECTOR + SECTOR, self.end, SECTOR), self.end]
        return list(pairwise(edges))

    def tear(self, lost: list[bool]) -> None:
        for (start, end), gone in zip(self.pieces(), lost, strict=True):
            if gone:
                self.disk.put(self.path, start, bytes(end - start))


def blocks_of(disk: FakeDisk, number: int) -> list[tuple[int, int]]:
    return blocks(disk, number) if layout.segment_path(number) in disk.paths() else []


def is_found(written: Written) -> bool:
    """Whether opening says that the batch is damaged, or its group."""
    try:
        return list(open_store(written.disk).damaged) == [GROUP]
    except DataCorrupt as error:
        return str(error).startswith(f"{written.path} at offset {written.start}: ")


def goes_on(store: Store, disk: FakeDisk, log: list[Entry]) -> None:
    """What is written next is there, and so is what was there before."""
    more = entries(len(log) + 1, len(log) + 2, term=2)
    append(store, more[0].index, more[-1].index, term=2)
    assert log_of(restart(disk)) == [*log, *more]


@settings(max_examples=400)
@given(ahead=aheads, bodies=batches, data=st.data())
def test_a_torn_batch_is_cut_or_whole(ahead: int, bodies: list[bytes], data: st.DataObject) -> None:
    # given a last batch of which any sectors were never written
    written = Written(ahead, bodies)
    count = len(written.pieces())
    written.tear(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))

    # then it is not there, or nothing of what is not there was anything but zeros; and nothing is damaged
    store = open_store(written.disk)
    assert not store.damaged
    log = log_of(store)
    assert log in (written.kept, written.kept + written.last)
    goes_on(store, written.disk, log)


@settings(max_examples=400)
@given(ahead=aheads, bodies=batches, data=st.data())
def test_a_rotten_batch_is_not_cut(ahead: int, bodies: list[bytes], data: st.DataObject) -> None:
    # given a last batch that was written, and any byte of it that is now another, but not zero
    written = Written(ahead, bodies)
    place = data.draw(st.integers(written.start, written.end - 1))
    found = written.disk.content(written.path)[place]
    written.disk.put(written.path, place, bytes([data.draw(st.integers(1, 255).filter(lambda byte: byte != found))]))

    # then it is found
    assert is_found(written)


def test_a_header_may_lie_in_two_sectors() -> None:
    # given a last batch that begins at each of the places where its header, or the head of its first record, is parted
    begin = Written(0, [b""]).start
    for behind in range(1, SPARE_ROOM + 1):
        ahead = (SECTOR - behind - begin) % SECTOR
        pieces = Written(ahead, [bytes(600)]).pieces()
        assert pieces[0][1] - pieces[0][0] == behind

        # then torn it is cut, whichever of its sectors are there
        for some in range(1, 1 << len(pieces)):
            written = Written(ahead, [bytes(600)])
            lost = [bool(some >> place & 1) for place in range(len(pieces))]
            written.tear(lost)
            store = open_store(written.disk)
            assert not store.damaged
            assert log_of(store) in (written.kept, written.kept + written.last)

        # and rotten it is not
        for place in range(SPARE_ROOM):
            written = Written(ahead, [bytes(600)])
            byte = written.disk.content(written.path)[written.start + place]
            written.disk.put(written.path, written.start + place, bytes([byte % 255 + 1]))
            assert is_found(written)
