from __future__ import annotations

from broker.storage.books import Books, SegmentBook
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
    assert list(index.old_indexes) == [3, 8, 9, 10, 11, 12, *range(31, 41)]
    assert {number: book.live for number, book in books.segments.items()} == {1: 4, 2: 2, 3: 0, 4: 10, 5: 0}


def test_many_ranges_are_worked_off_in_slices() -> None:
    books = books_with(100)
    retention = Retention(books, slice_ranges=7)
    retention.start(5, [(index, index) for index in range(2, 101, 2)], upto=100)
    assert finish(retention) == 8
    assert list(books.group(5).index.old_indexes) == list(range(2, 101, 2))
    assert sum(book.live for book in books.segments.values()) == 50


def test_a_change_between_two_slices_is_not_lost() -> None:
    # given a job half done
    books = books_with(40)
    retention = Retention(books, slice_ranges=1)
    retention.start(5, [(1, 1), (5, 5), (9, 9)], upto=40)
    retention.slice()

    # when an entry that it had passed moves, and others arrive
    books.move(5, 1, (1 << 32) + 1, (5 << 32) + 77)
    books.carry(5, 50, (5 << 32) + 88)
    books.carry(5, 9, (5 << 32) + 99)
    finish(retention)

    # then it is found at its new place
    index = books.group(5).index
    assert list(index.old_indexes) == [1, 5, 9, 50]
    assert [index.find(i) for i in (1, 9, 50)] == [(5 << 32) + 77, (5 << 32) + 99, (5 << 32) + 88]
    assert {number: book.live for number, book in books.segments.items()} == {1: 1, 2: 0, 3: 0, 4: 0, 5: 3}


def test_an_entry_that_arrives_where_the_job_has_passed_is_kept_if_live() -> None:
    # given a job half done, in whose first range an entry is missing
    books = books_with(40)
    retention = Retention(books, slice_ranges=1)
    retention.start(5, [(1, 3), (9, 9)], upto=40)
    while retention.pending:
        retention.slice()
    retention.start(5, [(1, 5), (9, 9)], upto=40)
    retention.slice()

    # when it arrives
    books.carry(5, 4, (5 << 32) + 44)
    finish(retention)

    # then it is there
    assert list(books.group(5).index.old_indexes) == [1, 2, 3, 4, 9]


def test_nothing_live_forgets_everything() -> None:
    books = books_with(20)
    retention = Retention(books)
    retention.start(5, [], upto=20)
    finish(retention)
    assert not books.group(5).index.old_indexes
    assert not books.live_counts()
