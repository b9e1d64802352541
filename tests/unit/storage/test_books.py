from __future__ import annotations

import pytest

from broker.base.ids import Index, Term
from broker.raft.types import HardState
from broker.storage.books import Books, SegmentBook
from tests.unit.storage.small_store import mark_at


def place(segment: int, offset: int) -> int:
    return (segment << 32) + offset


def books_of(*segments: int) -> Books:
    books = Books()
    for number in segments:
        books.segments[number] = SegmentBook(number, 1_000)
    return books


def live(books: Books) -> dict[int, int]:
    return {number: book.live for number, book in books.segments.items()}


def test_entries_cut_off_make_their_segment_a_shadow() -> None:
    # given entries in two segments, the tail of them replaced in a third
    books = books_of(1, 2, 3)
    books.append(5, 1, [place(1, 1), place(1, 2)], [(1, 1)], books.segments[1])
    books.append(5, 3, [place(2, 1)], [(3, 1)], books.segments[2])
    books.append(5, 2, [place(3, 1)], [(2, 2)], books.segments[3])

    # then only what stands is live, and the third outlives the others
    assert live(books) == {1: 1, 2: 0, 3: 1}
    assert books.segments[3].shadows == {1, 2}
    assert books.shadowed(books.segments[3])
    del books.segments[2]
    assert books.shadowed(books.segments[3])
    del books.segments[1]
    assert not books.shadowed(books.segments[3])


def test_replacing_within_a_segment_casts_no_shadow() -> None:
    books = books_of(1)
    books.append(5, 1, [place(1, 1), place(1, 2)], [(1, 1)], books.segments[1])
    books.append(5, 1, [place(1, 3)], [(1, 2)], books.segments[1])
    assert books.segments[1].shadows == set()
    assert live(books) == {1: 1}


def test_a_reset_voids_the_whole_log() -> None:
    books = books_of(1, 2)
    books.append(5, 1, [place(1, 1), place(1, 2)], [(1, 1)], books.segments[1])
    books.carry(5, 7, place(2, 1))
    books.reset(5, mark_at(9, 3), "name", books.segments[2])
    book = books.group(5)
    assert (book.index.base, book.index.last, book.terms.at(9), book.mark, book.mark_name) == (
        10,
        9,
        3,
        mark_at(9, 3),
        "name",
    )
    assert book.index.find(7) == place(2, 1)
    assert live(books) == {1: 0, 2: 1}
    assert books.segments[2].shadows == {1}


def test_a_copy_found_in_recovery_stands_only_for_the_entry_it_was_made_of() -> None:
    # given a log of entry 2 in term 4
    books = books_of(1, 2)
    books.append(5, 1, [place(1, 1), place(1, 2)], [(1, 4)], books.segments[1])
    books.trim(5, 2)

    # when its copy is read
    books.moved_before(5, 2, 4, place(2, 2))

    # then it counts, and none of another entry does
    assert [books.group(5).index.find(i) for i in (1, 2)] == [place(1, 1), place(2, 2)]
    assert live(books) == {1: 1, 2: 1}
    for index, term in ((1, 4), (2, 3), (3, 4)):
        with pytest.raises(ValueError, match=f"a copy of entry {index} of term {term} does not belong to a log of"):
            books.moved_before(5, index, term, place(2, 3))


def test_a_preamble_carries_the_state_to_books_that_read_nothing_before() -> None:
    # given a group with a vote, a mark and a log in two terms
    books = books_of(1, 2)
    books.append(5, 1, [place(1, i) for i in range(1, 5)], [(1, 1), (3, 2)], books.segments[1])
    book = books.group(5)
    book.hard_state = HardState(Term(2), None)
    book.mark, book.mark_name = mark_at(2), "name"
    books.trim(5, 2)

    # when new books adopt it
    fresh = books_of(2)
    for image in books.preamble().groups:
        fresh.adopt(image)

    # then they know all but the places
    assert fresh.images() == books.images()
    assert fresh.group(5).index.find(3) == 0
    assert [fresh.group(5).terms.at(Index(i)) for i in range(5)] == [None, 1, 1, 2, 2]
