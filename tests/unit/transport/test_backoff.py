"""Waits between attempts to dial double, are spread, and begin again after a success."""

from __future__ import annotations

import random

import pytest

from broker.base.instants import Millis
from broker.transport.backoff import Backoff


class Fixed:
    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(Millis(20), Millis(100), Fixed(1.0))
    assert [backoff.next() for _ in range(5)] == [20, 40, 80, 100, 100]


def test_chance_takes_away_at_most_half() -> None:
    backoff = Backoff(Millis(20), Millis(100), Fixed(0.0))
    assert [backoff.next() for _ in range(4)] == [10, 20, 40, 50]


def test_a_success_begins_again() -> None:
    backoff = Backoff(Millis(20), Millis(100), Fixed(1.0))
    backoff.next(), backoff.next()
    backoff.reset()
    assert backoff.next() == 20


def test_two_nodes_that_lost_the_same_peer_do_not_return_together() -> None:
    one = Backoff(Millis(1000), Millis(1000), random.Random(1))
    two = Backoff(Millis(1000), Millis(1000), random.Random(2))
    assert [one.next() for _ in range(5)] != [two.next() for _ in range(5)]


@pytest.mark.parametrize(("shortest", "longest"), [(0, 10), (20, 10)])
def test_bounds_must_make_sense(shortest: int, longest: int) -> None:
    with pytest.raises(ValueError, match="0 < shortest <= longest"):
        Backoff(Millis(shortest), Millis(longest), Fixed(0.5))
