"""Schedules: rates are kept over all producers together, and nothing depends on the run."""

from __future__ import annotations

import random

import pytest

from loadtest.schedule import NANOSECONDS, arrivals, measured_interval
from loadtest.workload import Phase, Workload


def _merged(workload: Workload) -> list[tuple[int, int]]:
    each = [arrivals(workload, producer, random.Random(producer)) for producer in range(workload.producers)]
    return sorted((arrival.due_ns, arrival.phase) for producer in each for arrival in producer)


@pytest.mark.parametrize("producers", [1, 3, 4])
def test_even_arrivals_of_all_producers_are_one_even_sequence(producers: int) -> None:
    # given 1,000 messages a second for two seconds
    workload = Workload("q", (Phase("only", 2, 1000),), producers=producers)

    # when all producers' schedules are laid over one another
    due = [at for at, _ in _merged(workload)]

    # then one message is due each millisecond
    assert due == [number * NANOSECONDS // 1000 for number in range(2000)]


def test_phases_follow_one_another_at_their_own_rates() -> None:
    workload = Workload("q", (Phase("slow", 1, 10), Phase("fast", 1, 100)), producers=2)
    due = _merged(workload)
    assert [sum(1 for _, phase in due if phase == number) for number in (0, 1)] == [10, 100]
    assert all((at >= NANOSECONDS) == (phase == 1) for at, phase in due)


def test_random_arrivals_keep_the_rate_on_average_and_their_order() -> None:
    workload = Workload("q", (Phase("only", 20, 500),), producers=4, arrivals="poisson")
    for producer in range(4):
        due = [arrival.due_ns for arrival in arrivals(workload, producer, random.Random(producer))]
        assert due == sorted(due)
        assert due[-1] < 20 * NANOSECONDS
    # 10,000 expected, with a standard deviation of 100
    assert 9_400 < len(_merged(workload)) < 10_600


def test_equal_chance_gives_equal_schedules() -> None:
    workload = Workload("q", (Phase("only", 1, 500),), arrivals="poisson")
    assert list(arrivals(workload, 0, random.Random(7))) == list(arrivals(workload, 0, random.Random(7)))


def test_measuring_spans_from_the_first_to_the_last_measured_phase() -> None:
    phases = (
        Phase("warm", 5, 1, measured=False),
        Phase("a", 10, 1),
        Phase("pause", 1, 1, measured=False),
        Phase("b", 4, 1),
        Phase("cool", 3, 1, measured=False),
    )
    assert measured_interval(Workload("q", phases)) == (5, 20)
