"""Who waits for whom, and for how long at most."""

from __future__ import annotations

import asyncio

from broker.aio.companions import CROWD, MOMENT, Companions
from broker.base.instants import Millis


class Counted:
    """Companions who note how often all went."""

    def __init__(self) -> None:
        self.went = 0
        self.gone = asyncio.Event()
        self.now = Millis(1_000)
        self.companions = Companions(lambda: self.now)
        self.companions.join(self._go)

    def _go(self) -> None:
        self.went += 1
        self.gone.set()

    def round(self, count: int) -> None:
        self.companions.left(count)
        self.companions.answered(count)


async def test_who_is_alone_waits_for_nobody() -> None:
    counted = Counted()
    for turn in range(3):
        counted.companions.asked()
        assert counted.went == turn + 1
        counted.round(1)


async def test_those_who_were_answered_together_go_together() -> None:
    counted = Counted()
    counted.round(3)
    counted.companions.asked()
    counted.companions.asked()
    assert counted.went == 0

    counted.companions.asked()
    assert counted.went == 1


async def test_who_does_not_come_back_is_waited_for_only_a_moment() -> None:
    counted = Counted()
    counted.round(3)
    counted.companions.asked()
    assert counted.went == 0

    await counted.gone.wait()
    counted.companions.asked()
    assert counted.went == 2, "nobody is expected any more"


async def test_nobody_is_expected_when_the_moment_is_over() -> None:
    counted = Counted()
    counted.round(3)
    counted.now = Millis(counted.now + MOMENT)
    counted.companions.asked()
    assert counted.went == 1


async def test_a_crowd_on_its_way_is_waited_for() -> None:
    counted = Counted()
    counted.companions.left(CROWD)
    counted.companions.asked()
    assert counted.went == 0

    counted.companions.answered(CROWD)
    for _ in range(CROWD - 1):
        counted.companions.asked()
    assert counted.went == 0
    counted.companions.asked()
    assert counted.went == 1


async def test_fewer_on_their_way_are_not_waited_for() -> None:
    counted = Counted()
    counted.companions.left(CROWD - 1)
    counted.companions.asked()
    assert counted.went == 1


async def test_a_crowd_that_does_not_return_is_waited_for_only_a_moment() -> None:
    counted = Counted()
    counted.companions.left(CROWD)
    counted.companions.asked()
    await counted.gone.wait()
    assert counted.went == 1


async def test_one_who_waited_before_goes_with_the_others() -> None:
    counted = Counted()
    counted.round(2)
    counted.companions.wait()
    assert counted.went == 0
    counted.companions.asked()
    counted.companions.asked()
    assert counted.went == 1
