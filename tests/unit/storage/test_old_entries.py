from __future__ import annotations

from array import array
from random import Random

from broker.storage.old_entries import BLOCK_INDEXES, OldEntries


def old_entries(*indexes: int) -> OldEntries:
    """Entry i stands at i + 1."""
    old = OldEntries()
    for index in indexes:
        old.put(index, index + 1)
    return old


def retain(old: OldEntries, live: list[tuple[int, int]], upto: int) -> list[int]:
    """The locations of all that was forgotten."""
    forgotten: list[int] = []
    place = 0
    for number in old.blocks_upto(upto):
        found, place = old.retain(number, live, place, upto)
        forgotten += found
    return forgotten


def test_what_was_put_is_found_and_nothing_else() -> None:
    old = old_entries(5, 3, BLOCK_INDEXES, 9)
    assert [old.find(index) for index in (3, 4, 5, 9, BLOCK_INDEXES, BLOCK_INDEXES + 3)] == [
        4, 0, 6, 10, BLOCK_INDEXES + 1, 0,
    ]  # fmt: skip
    assert list(old.indexes()) == [3, 5, 9, BLOCK_INDEXES]
    assert len(old) == 4


def test_putting_an_entry_again_tells_where_it_stood() -> None:
    old = old_entries(5)
    assert old.put(5, 77) == 6
    assert old.find(5) == 77
    assert len(old) == 1


def test_consecutive_entries_go_into_as_many_blocks_as_they_need() -> None:
    # given entries around the end of a block, of which one is unknown
    old = OldEntries()
    first = BLOCK_INDEXES - 2
    assert not old.add(first, array("Q", [11, 12, 13, 0, 15]))
    # then all but that one are found
    assert [old.find(first + place) for place in range(5)] == [11, 12, 13, 0, 15]
    assert old.blocks_upto(first + 5) == [0, 1]
    assert len(old) == 4


def test_consecutive_entries_replace_what_was_known_of_them() -> None:
    old = old_entries(7, 20)
    assert list(old.add(5, array("Q", [50, 60, 70, 80]))) == [8]
    assert [old.find(index) for index in (5, 6, 7, 8, 20)] == [50, 60, 70, 80, 21]


def test_only_unknown_entries_leave_no_block_behind() -> None:
    old = OldEntries()
    assert not old.add(5, array("Q", [0, 0, 0]))
    assert not old
    assert old.blocks_upto(100) == []


def test_an_entry_moves_only_from_where_it_stands() -> None:
    old = old_entries(5)
    assert not old.move(5, 99, 50)
    assert not old.move(6, 7, 50)
    assert not old.move(BLOCK_INDEXES, 7, 50)
    assert old.move(5, 6, 50)
    assert old.find(5) == 50


def test_a_range_over_several_blocks_keeps_all_of_them() -> None:
    old = old_entries(1, BLOCK_INDEXES, 2 * BLOCK_INDEXES + 5, 2 * BLOCK_INDEXES + 8)
    forgotten = retain(old, [(BLOCK_INDEXES - 9, 2 * BLOCK_INDEXES + 5)], 3 * BLOCK_INDEXES)
    assert forgotten == [2, 2 * BLOCK_INDEXES + 9]
    assert list(old.indexes()) == [BLOCK_INDEXES, 2 * BLOCK_INDEXES + 5]


def test_what_is_beyond_the_mark_stays() -> None:
    old = old_entries(1, 2, 3, BLOCK_INDEXES)
    assert retain(old, [], 2) == [2, 3]
    assert list(old.indexes()) == [3, BLOCK_INDEXES]


def test_forgetting_all_by_location() -> None:
    old = old_entries(1, 2, BLOCK_INDEXES)
    old.keep(lambda location: location == 3)
    assert list(old.indexes()) == [2]
    assert old.blocks_upto(BLOCK_INDEXES) == [0]


def test_any_ranges_keep_what_a_set_would_keep() -> None:
    chance = Random(7)
    span = 3 * BLOCK_INDEXES
    for _ in range(40):
        # given some entries, ranges and a mark
        indexes = set(chance.sample(range(span), 200))
        edges = sorted(chance.sample(range(span), 2 * chance.randrange(60)))
        live = [(edges[place], edges[place + 1]) for place in range(0, len(edges), 2)]
        upto = chance.randrange(span)
        old = old_entries(*indexes)
        # when what is not live up to the mark is forgotten
        forgotten = retain(old, live, upto)
        # then that, and only that, is gone
        kept = {index for index in indexes if index > upto or any(first <= index <= last for first, last in live)}
        assert list(old.indexes()) == sorted(kept)
        assert sorted(forgotten) == [index + 1 for index in sorted(indexes - kept)]
        assert len(old) == len(kept)


def test_an_entry_costs_ten_bytes() -> None:
    old = OldEntries()
    old.add(0, array("Q", range(1, 100_001)))
    assert old.bytes <= 100_000 * 10.8
