"""How messages are shown: merged by key, cut to pages, counted by age, by message group."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from broker.domain.queues import census
from broker.domain.queues.keys import message_key
from broker.domain.queues.model import DELAYED, IN_FLIGHT, VISIBLE
from broker.domain.queues.questions import Browsed


def key(index: int, slot: int = 0) -> int:
    return message_key(index, slot)


def sent(*indexes: int) -> Iterator[Browsed]:
    """Visible messages, each sent at a hundred times its index."""
    return census.fresh([(key(index), index * 100) for index in indexes], "")


def indexes(messages: tuple[Browsed, ...]) -> list[int]:
    return [message.index for message in messages]


def shown(messages: Iterator[Browsed]) -> list[tuple[object, ...]]:
    return [msgspec.structs.astuple(message) for message in messages]


def test_a_message_of_each_place_shows_what_it_waits_for() -> None:
    assert shown(census.fresh([(key(3, 1), 100)], "tenant")) == [(3, 1, VISIBLE, 100, 0, 0, 0, "tenant")]
    assert shown(census.returned([(key(3), 100, 200, 9, 4)], "")) == [(3, 0, VISIBLE, 100, 0, 4, 200, "")]
    assert shown(census.delayed([(key(3), 100)], 5_000, "")) == [(3, 0, DELAYED, 100, 5_100, 0, 0, "")]
    assert shown(census.scheduled([(key(3), 100, 700, 2)], ["", "one", "two"].__getitem__)) == [
        (3, 0, DELAYED, 100, 700, 0, 0, "two")
    ]
    assert shown(census.in_flight([((key(3), 100, 200, 9, 4), 30_200, "tenant")])) == [
        (3, 0, IN_FLIGHT, 100, 30_200, 4, 200, "tenant")
    ]


def test_a_page_merges_all_places_by_key() -> None:
    page = census.page([sent(1, 4, 5), sent(2, 6), sent(3)], 4, 0, None)
    assert indexes(page.messages) == [1, 2, 3, 4]
    assert page.more


def test_a_page_that_ends_with_the_last_message_is_the_last() -> None:
    page = census.page([sent(1, 3), sent(2)], 3, 0, None)
    assert indexes(page.messages) == [1, 2, 3]
    assert not page.more
    assert not census.page([], 3, 0, None).more


def test_a_page_keeps_to_the_times_asked_for() -> None:
    page = census.page([sent(1, 3, 5), sent(2, 4)], 10, 200, 400)
    assert indexes(page.messages) == [2, 3]
    assert not page.more


def test_more_means_more_within_the_times_asked_for() -> None:
    assert not census.page([sent(1, 2, 3)], 2, 0, 300).more
    assert census.page([sent(1, 2, 3)], 2, 0, 301).more


def test_a_page_takes_no_more_rows_than_it_needs() -> None:
    taken = []

    def endless() -> Iterator[Browsed]:
        for index in range(1, 1_000_000):
            taken.append(index)
            yield from sent(index)

    assert indexes(census.page([endless()], 3, 0, None).messages) == [1, 2, 3]
    assert len(taken) <= 5
    taken.clear()
    assert indexes(census.page([endless()], 100, 0, 300).messages) == [1, 2]
    assert len(taken) <= 4


def test_ages_lie_between_the_bounds() -> None:
    times = [10, 20, 20, 30, 90]

    def sent_before(instant: int) -> int:
        return sum(time < instant for time in times)

    assert census.ages(sent_before, len(times), (20, 31, 90)) == (1, 3, 0, 1)
    assert census.ages(sent_before, len(times), ()) == (5,)


def test_the_largest_message_groups_come_first_and_equal_ones_by_name() -> None:
    groups = [("b", 1, 1), ("a", 2, 0), ("c", 0, 9), ("d", 1, 0)]
    assert census.largest(groups, 3) == (("c", 0, 9), ("a", 2, 0), ("b", 1, 1))
    assert census.largest(groups, 0) == ()
