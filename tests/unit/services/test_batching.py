"""Calls that travel together: who waits for whom, what becomes of those who give up, and of failures."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import pytest

from broker.aio.companions import Companions
from broker.aio.system_clock import SystemClock
from broker.aio.tasks import TaskScope
from broker.base.errors import QueueNotFound, Unavailable
from broker.services.batching import AT_ONCE, Batching, BatchLimits, Call


class Carrier:
    """Answers each call with its item in capitals, once it is let go; notes the batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self._begun = asyncio.Event()
        self.go = asyncio.Event()
        self.trouble: Exception | None = None
        self.unwanted: list[str] = []
        self.scope = TaskScope("test", _fail)

    async def carry(self, _: Hashable, calls: list[Call[str, str]]) -> None:
        self.batches.append([call.item for call in calls])
        self._begun.set()
        await self.go.wait()
        if self.trouble is not None:
            raise self.trouble
        for call in calls:
            call.answer(call.item.upper())

    async def until(self, batches: int) -> None:
        while len(self.batches) < batches:
            self._begun.clear()
            await self._begun.wait()

    def batching(self, count: int = 10, size: int = 1_000) -> Batching[str, str]:
        limits = BatchLimits(count, size)
        companions = Companions(SystemClock().monotonic)
        return Batching(
            "calls", self.carry, limits, self.scope, companions, lambda _, found: self.unwanted.append(found)
        )


def _fail(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name} failed") from error


def asked(batching: Batching[str, str], *items: str, key: str = "k", size: int = 1) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(batching.ask(key, item, 1, size)) for item in items]


async def test_calls_of_one_turn_go_together_and_those_that_come_later_go_next() -> None:
    carrier = Carrier()
    batching = carrier.batching()
    first = asked(batching, "a", "b", "c")
    await carrier.until(1)

    later = asked(batching, "d", "e")
    await asyncio.sleep(0)
    carrier.go.set()

    assert await asyncio.gather(*first, *later) == ["A", "B", "C", "D", "E"]
    assert carrier.batches == [["a", "b", "c"], ["d", "e"]]


async def test_calls_about_different_things_do_not_meet() -> None:
    carrier = Carrier()
    batching = carrier.batching()
    carrier.go.set()

    await asyncio.gather(*asked(batching, "a", "b", key="one"), *asked(batching, "c", key="other"))

    assert carrier.batches == [["a", "b"], ["c"]]


async def test_after_a_batch_of_several_the_next_waits_for_as_many() -> None:
    carrier = Carrier()
    batching = carrier.batching()
    carrier.go.set()

    async def one_after_the_other(name: str) -> None:
        for turn in range(3):
            await batching.ask("k", f"{name}{turn}", 1, 1)
            for _ in range(ord(name) - ord("a")):  # some are slower to ask again
                await asyncio.sleep(0)

    await asyncio.gather(*(one_after_the_other(name) for name in "abc"))

    assert [sorted(batch) for batch in carrier.batches] == [
        ["a0", "b0", "c0"],
        ["a1", "b1", "c1"],
        ["a2", "b2", "c2"],
    ]


async def test_calls_about_different_things_that_were_answered_together_set_out_together() -> None:
    carrier = Carrier()
    batching = carrier.batching()
    carrier.go.set()
    await asyncio.gather(*asked(batching, "a", key="one"), *asked(batching, "b", key="other"))

    early = asked(batching, "c", key="one")
    for _ in range(10):
        await asyncio.sleep(0)
    assert carrier.batches == [["a"], ["b"]], "it waits for the one that was answered with it"
    await asyncio.gather(*early, *asked(batching, "d", key="other"))

    assert sorted(carrier.batches) == [["a"], ["b"], ["c"], ["d"]]


async def test_a_batch_keeps_its_limits_and_what_is_too_much_for_one_goes_in_several_at_once() -> None:
    carrier = Carrier()
    batching = carrier.batching(count=2)
    calls = asked(batching, *"abcdefghijkl")
    await carrier.until(AT_ONCE)
    for _ in range(10):
        await asyncio.sleep(0)

    assert carrier.batches == [["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"]]
    carrier.go.set()
    assert await asyncio.gather(*calls) == list("ABCDEFGHIJKL")
    assert all(len(batch) <= 2 for batch in carrier.batches)


async def test_one_call_that_is_larger_than_a_batch_should_be_goes_alone() -> None:
    carrier = Carrier()
    batching = carrier.batching(size=10)
    carrier.go.set()

    await asyncio.gather(*asked(batching, "large", size=50), *asked(batching, "a", "b", size=1))

    assert carrier.batches == [["large"], ["a", "b"]]


async def test_who_gives_up_while_waiting_is_not_carried_and_harms_nobody() -> None:
    carrier = Carrier()
    batching = carrier.batching()
    first = asked(batching, "a")
    await carrier.until(1)
    leaving, staying = asked(batching, "b", "c")
    await asyncio.sleep(0)

    leaving.cancel()
    carrier.go.set()

    assert await asyncio.gather(*first, staying) == ["A", "C"]
    assert carrier.batches == [["a"], ["c"]]


async def test_who_gives_up_on_the_way_does_not_take_the_others_along() -> None:
    carrier = Carrier()
    leaving, staying = asked(carrier.batching(), "a", "b")
    await carrier.until(1)

    leaving.cancel()
    carrier.go.set()

    assert await staying == "B"
    assert leaving.cancelled()


async def test_an_answer_that_came_too_late_to_be_seen_is_told() -> None:
    carrier = Carrier()
    batching = carrier.batching()
    (leaving,) = asked(batching, "a")
    await carrier.until(1)

    async def answered_then_cancelled() -> None:
        carrier.go.set()
        await asyncio.sleep(0)  # the carrier answers in this turn, the caller goes on in the next
        leaving.cancel()

    await answered_then_cancelled()

    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert carrier.unwanted == ["A"]


async def test_what_goes_wrong_is_everybodys_answer_and_the_next_batch_goes_on() -> None:
    carrier = Carrier()
    batching = carrier.batching()
    carrier.trouble = QueueNotFound("gone")
    carrier.go.set()
    found = await asyncio.gather(*asked(batching, "a", "b"), return_exceptions=True)
    carrier.trouble = None

    assert [type(error) for error in found] == [QueueNotFound, QueueNotFound]
    assert await batching.ask("k", "c", 1, 1) == "C"


async def test_when_the_node_stops_nobody_waits_for_ever() -> None:
    carrier = Carrier()
    batching = carrier.batching()
    calls = asked(batching, "a")
    await carrier.until(1)
    calls += asked(batching, "b")
    await asyncio.sleep(0)

    await carrier.scope.close()
    calls += asked(batching, "c")

    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in found] == [Unavailable] * 3
