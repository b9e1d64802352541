"""Medians of measurements, and work done some at a time."""

from __future__ import annotations

import asyncio

from loadtest.filling import Costs, middle, some_at_once


def test_the_median_is_taken_of_each_cost_by_itself() -> None:
    assert middle([Costs(1.0, 9.0, 5.0), Costs(2.0, 8.0, 50.0), Costs(9.0, 1.0, 6.0)]) == Costs(2.0, 8.0, 6.0)


async def test_all_work_is_done_and_never_more_at_once_than_the_limit() -> None:
    running = 0
    most = 0
    done: list[int] = []

    async def work(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done.append(number)

    await some_at_once((work(number) for number in range(20)), 3)
    assert sorted(done) == list(range(20))
    assert most == 3
