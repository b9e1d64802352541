from __future__ import annotations

from array import array

import pytest

from broker.storage.index import GroupIndex
from broker.storage.locations import segment_counts


def in_segment(number: int, *offsets: int) -> list[int]:
    return [(number << 32) + offset for offset in offsets]


def index_of(*locations: int) -> GroupIndex:
    index = GroupIndex()
    index.replace_tail(1, locations)
    return index


def test_replacing_the_tail_tells_what_was_cut_off() -> None:
    index = index_of(11, 12, 13, 14)
    assert list(index.replace_tail(3, [23])) == [13, 14]
    assert [index.find(i) for i in range(5)] == [0, 11, 12, 23, 0]
    with pytest.raises(ValueError, match="entry 5 does not continue a log of entries 1 to 3"):
        index.replace_tail(5, [25])


def test_what_is_trimmed_stays_findable() -> None:
    index = index_of(11, 12, 13, 14)
    assert not index.trim(3)
    assert (index.base, index.last) == (3, 4)
    assert [index.find(i) for i in range(1, 5)] == [11, 12, 13, 14]
    assert [index.old.find(i) for i in range(1, 5)] == [11, 12, 0, 0]


def test_trimming_over_a_carried_copy_gives_the_copy_back() -> None:
    # given entry 2 carried and in the log, and entry 9 carried beyond it
    index = index_of(11, 12, 13)
    index.old.put(2, 92)
    index.old.put(9, 99)

    # when the log is trimmed past it
    needless = index.trim(4)

    # then the log's copy counts
    assert list(needless) == [92]
    assert [index.find(i) for i in (1, 2, 3, 9)] == [11, 12, 13, 99]


def test_a_move_counts_only_while_the_old_place_does() -> None:
    index = index_of(11, 12)
    index.trim(2)
    assert not index.move(2, 99, 59)
    assert index.move(1, 11, 51)
    assert index.move(2, 12, 52)
    assert not index.move(1, 11, 61)
    assert not index.move(3, 13, 53)
    assert [index.find(1), index.find(2)] == [51, 52]
    assert index.log_refers_to(2, 52)
    assert not index.log_refers_to(2, 12)
    assert not index.log_refers_to(1, 51)


def test_adopting_bounds_cuts_extends_and_trims() -> None:
    # given a log of 1 to 4
    index = index_of(11, 12, 13, 14)

    # when it is known to span 3 to 6, and later 9 to 10
    index.adopt(3, 6)
    assert (index.base, index.last) == (3, 6)
    assert [index.find(i) for i in range(1, 7)] == [11, 12, 13, 14, 0, 0]
    index.adopt(9, 10)

    # then what was known before is old, and what is not known is 0
    assert (index.base, index.last) == (9, 10)
    assert [index.find(i) for i in range(1, 11)] == [11, 12, 13, 14, 0, 0, 0, 0, 0, 0]
    assert list(index.old.indexes()) == [1, 2, 3, 4]
    index.adopt(9, 8)
    assert (index.base, index.last) == (9, 8)


@pytest.mark.parametrize("repeat", [1, 20])
def test_locations_are_counted_by_segment(repeat: int) -> None:
    locations = array("Q", (in_segment(1, 0, 4, 8) + in_segment(2, 0xFFFF_FFFF) + in_segment(70_000, 5)) * repeat)
    assert segment_counts(locations) == {1: 3 * repeat, 2: repeat, 70_000: repeat}


def test_bounds_that_go_back_are_those_of_another_life() -> None:
    # given a log that began behind a snapshot, and an old entry
    index = index_of(11, 12, 13)
    index.trim(3)
    index.drop_log(31)

    # when it is known to begin before that
    index.adopt(14, 16)

    # then nothing of the former life is left, and the places of this one are to come
    assert (index.base, index.last) == (14, 16)
    assert [index.find(i) for i in (1, 2, 14, 15, 16)] == [0] * 5
