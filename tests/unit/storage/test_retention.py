from __future__ import annotations

from broker.storage.books import Books, SegmentBook
from broker.storage.old_entries import BLOCK_INDEXES
from broker.storage.retention import Retention


def books_with(count: int) -> Books:
    """One group whose old entries 1 to ``count`` stand in segments of ten."""
    books = Books()
    for number in range(1, count // 10 + 2):
        books.segments[number] = SegmentBook(number, 1_000)
    for first in range(1, count + 1, 10):
        number = first // 10 + 1
        places = [(number << 32) + place for place in range(1, 11)]
        books.append(5, first, places, [(first, 1)], books.segments[number])
    books.trim(5, count + 1)
    return books


def finish(retention: Retention) -> int:
    slices = 0
    while retention.pending:
        retention.slice()
        slices += 1
    return slices


def test_only_live_ranges_and_what_lies_beyond_the_mark_stay() -> None:
    # given forty old entries
    books = books_with(40)
    retention = Retention(books)

    # when 3, 8 to 12 and 40 are live up to 30
    retention.start(5, [(3, 3), (8, 12)], upto=30)
    finish(retention)

    # then the rest up to 30 is gone, from the counts too
    index = books.group(5).index
    assert list(index.old.indexes()) == [3, 8, 9, 10, 11, 12, *range(31, 41)]
    assert {number: book.live for number, book in books.segments.items()} == {1: 4, 2: 2, 3: 0, 4: 10, 5: 0}


def test_many_blocks_are_worked_off_in_slices() -> None:
    # given two old entries in each of eight blocks
    books = Books()
    books.segments[1] = SegmentBook(1, 1_000)
    for block in range(8):
        for index in (0, 9):
            books.carry(5, block * BLOCK_INDEXES + index, (1 << 32) + 100 * block + index + 1)

    # when one of each is live, and a slice ends after one block
    live = [(block * BLOCK_INDEXES + 9, block * BLOCK_INDEXES + 9) for block in range(8)]
    retention = Retention(books, slice_ranges=1)
    retention.start(5, live, upto=8 * BLOCK_INDEXES)

    # then the others are forgotten in as many slices
    assert finish(retention) == 8
    assert list(books.group(5).index.old.indexes()) == [index for index, _ in live]
    assert books.segments[1].live == 8


def test_a_change_between_two_slices_is_not_lost() -> None:
    # given a job that has worked off the first of two blocks
    books = books_with(40)
    far = BLOCK_INDEXES + 5
    books.carry(5, far, (5 << 32) + 55)
    retention = Retention(books, slice_ranges=1)
    retention.start(5, [(1, 1), (5, 5), (9, 9), (far, far)], upto=2 * BLOCK_INDEXES)
    retention.slice()
    assert retention.pending

    # when an entry that it had passed moves, one that it dropped comes again, and others arrive
    books.move(5, 1, (1 << 32) + 1, (5 << 32) + 77)
    books.carry(5, 6, (5 << 32) + 66)
    books.carry(5, far + 1, (5 << 32) + 88)
    books.carry(5, 3 * BLOCK_INDEXES, (5 << 32) + 99)
    finish(retention)

    # then what it had passed stays, what is dead ahead of it goes, and what lies beyond the mark stays
    index = books.group(5).index
    assert list(index.old.indexes()) == [1, 5, 6, 9, far, 3 * BLOCK_INDEXES]
    assert [index.find(i) for i in (1, 6, 3 * BLOCK_INDEXES)] == [(5 << 32) + 77, (5 << 32) + 66, (5 << 32) + 99]
    assert {number: book.live for number, book in books.segments.items()} == {1: 2, 2: 0, 3: 0, 4: 0, 5: 4}


def test_nothing_live_forgets_everything() -> None:
    books = books_with(20)
    retention = Retention(books)
    retention.start(5, [], upto=20)
    finish(retention)
    assert not books.group(5).index.old
    assert not books.live_counts()
