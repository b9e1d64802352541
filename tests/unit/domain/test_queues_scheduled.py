"""What messages that wait for an instant of their own cost, and what a damaged dump of them is told."""

from __future__ import annotations

import gc
import tracemalloc
from array import array
from random import Random

import pytest

from broker.base.instants import DAY
from broker.domain.queues.scheduled import Scheduled

START = 1_700_000_000_000


def random_schedule(messages: int) -> Scheduled:
    """Sent a millisecond apart, due at any moment within fourteen days."""
    chance = Random(3)
    scheduled = Scheduled()
    for each in range(messages):
        scheduled.add(each << 16, START + each, START + each + chance.randrange(14 * DAY), each % 7)
    return scheduled


def test_a_scheduled_message_costs_at_most_48_bytes() -> None:
    gc.collect()
    tracemalloc.start()
    try:
        scheduled = random_schedule(20_000)
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert scheduled.messages == 20_000
    assert allocated / 20_000 <= 48


def test_what_becomes_due_together_leaves_in_steps_by_key() -> None:
    scheduled = Scheduled()
    for each in range(5_000):
        scheduled.add(each, START, START + DAY, 0)
    assert scheduled.ripen(START + DAY - 1, 10_000) == []
    first = scheduled.ripen(START + DAY, 3_000)
    assert scheduled.next_due() == START + DAY
    second = scheduled.ripen(START + DAY, 3_000)
    assert [key for key, _, _ in first + second] == list(range(5_000))
    assert scheduled.next_due() is None


def test_the_longest_wait_is_kept_exactly() -> None:
    scheduled = Scheduled()
    scheduled.add(1, START, START + 14 * DAY, 4)
    assert scheduled.find(1) == START + 14 * DAY
    assert scheduled.remove(1) == (1, START, START + 14 * DAY, 4)
    assert scheduled.find(1) is None


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 keys, 1 times"):
        Scheduled().extend(array("Q", [1, 2]), array("Q", [1]), array("I", [1]), array("I", [1]))


def test_columns_whose_keys_do_not_ascend_are_refused() -> None:
    scheduled = Scheduled()
    scheduled.add(5, START, START, 0)
    with pytest.raises(ValueError, match="message 5 follows message 5"):
        scheduled.extend(array("Q", [5]), array("Q", [START]), array("I", [0]), array("I", [0]))
