"""Calls about the same thing that come while one of them is on its way travel together in the next.

What comes in one turn of the event loop goes at its end, and what comes until the answer is there goes next: a call
that is alone waits for nobody, and under load a batch is as large as the load. Calls about different things set out at
the same time, as far as that costs no more than a moment (see ``companions``): on their way they share more than they
do here. A caller who gives up does not take the batch down with it. This room must not know what is asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

import msgspec

from broker.aio.companions import Companions
from broker.aio.tasks import TaskScope
from broker.base.errors import Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 4
"""Batches of one key on their way, when there is more waiting than one may carry."""


class BatchLimits(msgspec.Struct, frozen=True):
    """A batch ends before it would exceed either, but has one call at least. ``count`` and ``size`` are what the
    callers say: messages, bytes."""

    count: int
    size: int


class Call(Generic[Item, Result]):
    """One caller's part of a batch; it is to be answered, or to fail, once."""

    __slots__ = ("_answer", "count", "item", "size")

    def __init__(self, item: Item, count: int, size: int, answer: asyncio.Future[Result]) -> None:
        self.item = item
        self.count = count
        self.size = size
        self._answer = answer

    @property
    def open(self) -> bool:
        """Neither answered nor given up by its caller."""
        return not self._answer.done()

    def answer(self, result: Result) -> None:
        if not self._answer.done():
            self._answer.set_result(result)

    def fail(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)


class _Lane(Generic[Item, Result]):
    """What waits for one key."""

    __slots__ = ("count", "runners", "size", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Call[Item, Result]] = deque()
        self.count = self.size = self.runners = 0

    def add(self, call: Call[Item, Result]) -> None:
        self.waiting.append(call)
        self.count += call.count
        self.size += call.size

    def take(self, limits: BatchLimits) -> list[Call[Item, Result]]:
        taken: list[Call[Item, Result]] = []
        count = size = 0
        while self.waiting:
            call = self.waiting[0]
            if taken and (count + call.count > limits.count or size + call.size > limits.size):
                break
            self.waiting.popleft()
            count += call.count
            size += call.size
            if call.open:
                taken.append(call)
        self.count -= count
        self.size -= size
        return taken


class Batching(Generic[Item, Result]):
    """``carry(key, calls)`` answers every call; what it raises is the answer of those it has not answered.
    ``companions``: of all who may wait for one another, whatever they ask."""

    def __init__(
        self,
        name: str,
        carry: Callable[[Hashable, list[Call[Item, Result]]], Awaitable[None]],
        limits: BatchLimits,
        scope: TaskScope,
        companions: Companions,
        unwanted: Callable[[Hashable, Result], None] | None = None,
    ) -> None:
        """``unwanted``: told of an answer whose caller gave up before it saw it."""
        self.name = name
        self.calls = self.batches = 0
        """Carried so far."""
        self._carry = carry
        self._limits = limits
        self._scope = scope
        self._companions = companions
        self._unwanted = unwanted
        self._lanes: dict[Hashable, _Lane[Item, Result]] = {}
        self._resting: dict[Hashable, _Lane[Item, Result]] = {}
        """Lanes in which calls wait and none is on its way."""
        companions.join(self._go)

    async def ask(self, key: Hashable, item: Item, count: int, size: int) -> Result:
        """Raises what ``carry`` raised."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        lane.add(Call(item, count, size, answer))
        self._go_on(key, lane)
        self._companions.asked()
        try:
            return await answer
        except asyncio.CancelledError:
            if self._unwanted is not None and answer.done() and not answer.cancelled() and answer.exception() is None:
                self._unwanted(key, answer.result())
            raise

    def _go(self) -> None:
        """All that wait for companions."""
        while self._resting:
            key, lane = self._resting.popitem()
            self._start(key, lane)

    def _go_on(self, key: Hashable, lane: _Lane[Item, Result]) -> None:
        """What is more than a batch may carry waits for nobody; what waits while a batch is on its way goes next."""
        if lane.count > self._limits.count or lane.size > self._limits.size:
            if lane.runners < AT_ONCE:
                self._resting.pop(key, None)
                self._start(key, lane)
        elif not lane.runners:
            self._resting[key] = lane

    def _start(self, key: Hashable, lane: _Lane[Item, Result]) -> None:
        try:
            batch = self._scope.start(self._run(key, lane), name=self.name)
        except RuntimeError:
            self._stop(key, lane)
        else:
            lane.runners += 1
            batch.add_done_callback(lambda ended: self._stop(key, lane) if ended.cancelled() else None)

    def _stop(self, key: Hashable, lane: _Lane[Item, Result]) -> None:
        self._lanes.pop(key, None)
        _fail(lane.waiting, Unavailable("this node is stopping: ask another one"))

    async def _run(self, key: Hashable, lane: _Lane[Item, Result]) -> None:
        """One batch. Begins in the event loop's next turn."""
        calls = lane.take(self._limits)
        self.batches += 1
        self.calls += len(calls)
        self._companions.left(len(calls))
        try:
            if calls:
                await self._carry(key, calls)
        except Exception as error:  # is the callers' answer
            _fail(calls, error)
        except asyncio.CancelledError:  # the scope closes
            _fail(calls, Unavailable("this node is stopping: retry"))
            raise
        lane.runners -= 1
        self._companions.answered(len(calls))
        if lane.waiting:
            self._go_on(key, lane)
            self._companions.wait()
        elif not lane.runners:
            self._lanes.pop(key, None)


def _fail(calls: Iterable[Call[Item, Result]], error: Exception) -> None:
    for call in calls:
        call.fail(error)
