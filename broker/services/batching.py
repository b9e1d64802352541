"""Calls about the same thing that come while one of them is on its way travel together in the next.

What comes in one turn of the event loop goes at its end, and what comes until the answer is there goes next: a call
that is alone waits for nobody, and under load a batch is as large as the load. Callers who have just been answered ask
again at once, as a rule; so after a batch of several the next one waits a moment for as many.
A caller who gives up does not take the batch down with it. This room must not know what is asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.errors import Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

MOMENT_SECONDS = 0.002
"""How long a batch waits, at most, for those whom the one before has answered."""
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

    __slots__ = ("_enough", "_wanted", "count", "runners", "size", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Call[Item, Result]] = deque()
        self.count = self.size = self.runners = 0
        self._wanted = 0
        self._enough: asyncio.Future[None] | None = None

    def add(self, call: Call[Item, Result]) -> None:
        self.waiting.append(call)
        self.count += call.count
        self.size += call.size
        if self._enough is not None and len(self.waiting) >= self._wanted:
            self._go_on()

    async def gather(self, wanted: int) -> None:
        """Until so many calls wait, or a moment is over."""
        if len(self.waiting) >= wanted or self._enough is not None:
            return
        loop = asyncio.get_running_loop()
        self._wanted, self._enough = wanted, loop.create_future()
        timer = loop.call_later(MOMENT_SECONDS, self._go_on)
        try:
            await self._enough
        finally:
            timer.cancel()
            self._enough = None

    def _go_on(self) -> None:
        if self._enough is not None and not self._enough.done():
            self._enough.set_result(None)

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
    """``carry(key, calls)`` answers every call; what it raises is the answer of those it has not answered."""

    def __init__(
        self,
        name: str,
        carry: Callable[[Hashable, list[Call[Item, Result]]], Awaitable[None]],
        limits: BatchLimits,
        scope: TaskScope,
        unwanted: Callable[[Hashable, Result], None] | None = None,
    ) -> None:
        """``unwanted``: told of an answer whose caller gave up before it saw it."""
        self.name = name
        self.calls = self.batches = 0
        """Carried so far."""
        self._carry = carry
        self._limits = limits
        self._scope = scope
        self._unwanted = unwanted
        self._lanes: dict[Hashable, _Lane[Item, Result]] = {}

    async def ask(self, key: Hashable, item: Item, count: int, size: int) -> Result:
        """Raises what ``carry`` raised."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        lane.add(Call(item, count, size, answer))
        full = lane.count > self._limits.count or lane.size > self._limits.size
        if not lane.runners or (full and lane.runners < AT_ONCE):
            lane.runners += 1
            try:
                self._scope.start(self._run(key, lane), name=self.name)
            except RuntimeError:
                lane.runners -= 1
                raise Unavailable("this node is stopping: ask another one") from None
        try:
            return await answer
        except asyncio.CancelledError:
            if self._unwanted is not None and answer.done() and not answer.cancelled() and answer.exception() is None:
                self._unwanted(key, answer.result())
            raise

    async def _run(self, key: Hashable, lane: _Lane[Item, Result]) -> None:
        """Until nothing waits. Begins in the event loop's next turn."""
        calls: list[Call[Item, Result]] = []
        try:
            while calls := lane.take(self._limits):
                self.batches += 1
                self.calls += len(calls)
                try:
                    await self._carry(key, calls)
                except Exception as error:  # is the callers' answer
                    _fail(calls, error)
                if len(calls) > 1:
                    await lane.gather(len(calls) + len(lane.waiting))
        finally:  # also when the scope closes
            _fail([*calls, *(lane.waiting if lane.runners == 1 else ())], Unavailable("this node is stopping: retry"))
            lane.runners -= 1
            if not lane.runners:
                self._lanes.pop(key, None)


def _fail(calls: list[Call[Item, Result]], error: Exception) -> None:
    for call in calls:
        call.fail(error)
