"""Sends, receives and deletes of callers who gave no request id of their own, in one another's company.

Many clients that send one message each cost the cluster what one client that sends them as a batch costs. Whoever gave
a request id goes alone, since the answer is remembered under it. This room must not know how a batch is carried out,
nor who asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, cast

from broker.aio.companions import Companions
from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError
from broker.base.instants import SECOND, Millis
from broker.base.limits import MIB
from broker.domain.queues.validation import check_batch
from broker.services.batching import Batching, BatchLimits, Call
from broker.services.outgoing import Outgoing, Packed, joined
from broker.services.receiving import Received
from broker.services.replies import Failures
from broker.services.sent import Part
from broker.telemetry.metrics import Reading, Registry

_LIMITS = BatchLimits(count=500, size=MIB)
_GIVE_BACK_TIME = Millis(5 * SECOND)

SendTogether = Callable[[str, Outgoing, Millis], Awaitable[tuple[Part, ...]]]
ReceiveTogether = Callable[[str, int, Millis, Millis | None], Awaitable[list[Received]]]
"""Of a standard queue, without waiting: name, how many, deadline, visibility timeout."""
DeleteTogether = Callable[[str, Sequence[bytes], Millis], Awaitable[Failures]]
GiveBack = Callable[[str, Sequence[bytes], Millis], Awaitable[Failures]]


class _Sends(NamedTuple):
    packed: Packed
    deadline: Millis


class SharedSends:
    def __init__(self, send: SendTogether, scope: TaskScope, companions: Companions) -> None:
        self._send = send
        self.batching: Batching[_Sends, tuple[Part, ...]] = Batching("sends", self._carry, _LIMITS, scope, companions)

    async def send(self, name: str, outgoing: Outgoing, deadline: Millis) -> tuple[Part, ...]:
        """Raises what sending raises."""
        packed = outgoing.packed
        key = (name, packed.ordinary)  # those that ask for nothing special are judged as a whole
        parts = await self.batching.ask(key, _Sends(packed, deadline), len(packed.sizes), len(packed.messages))
        return parts if outgoing.places is None else tuple(part.within(outgoing.places) for part in parts)

    async def _carry(self, key: Hashable, calls: list[Call[_Sends, tuple[Part, ...]]]) -> None:
        name, _ = cast("tuple[str, bool]", key)
        whole = Outgoing(joined([call.item.packed for call in calls]))
        parts = await self._send(name, whole, max(call.item.deadline for call in calls))
        if len(calls) == 1:
            calls[0].answer(parts)
            return
        start = 0
        for call in calls:
            end = start + call.count
            call.answer(tuple(own for part in parts if (own := part.between(start, end)) is not None))
            start = end


class SharedReceives:
    """Those of standard queues: in a FIFO queue all messages of a group that are in flight are one consumer's."""

    def __init__(
        self,
        receive: ReceiveTogether,
        give_back: GiveBack,
        monotonic: Callable[[], Millis],
        scope: TaskScope,
        companions: Companions,
    ) -> None:
        self._receive = receive
        self._give_back = give_back
        self._monotonic = monotonic
        self._scope = scope
        self.batching: Batching[Millis, list[Received]] = Batching(
            "receives", self._carry, _LIMITS, scope, companions, self._unwanted
        )

    async def receive(
        self, name: str, maximum: int, deadline: Millis, visibility_timeout: Millis | None
    ) -> list[Received]:
        """What is visible now. What is taken for somebody who is cancelled becomes visible again at once.

        Raises what receiving raises.
        """
        return await self.batching.ask((name, visibility_timeout), deadline, maximum, 0)

    async def _carry(self, key: Hashable, calls: list[Call[Millis, list[Received]]]) -> None:
        name, timeout = cast("tuple[str, Millis | None]", key)
        waiting = deque(calls)
        while waiting:
            wanted = sum(call.count for call in waiting)
            found = await self._receive(name, wanted, max(call.item for call in waiting), timeout)
            rest = self._hand_out(found, waiting)
            if rest:
                await self._return(name, rest)
            if not found:
                break
        for call in waiting:
            call.answer([])

    def _hand_out(self, found: list[Received], waiting: deque[Call[Millis, list[Received]]]) -> list[Received]:
        """First come, first served; what nobody is there for."""
        start = 0
        while waiting and start < len(found):
            call = waiting.popleft()
            if call.open:
                call.answer(found[start : start + call.count])
                start += call.count
        return found[start:]

    def _unwanted(self, key: Hashable, found: list[Received]) -> None:
        if found:
            name, _ = cast("tuple[str, Millis | None]", key)
            with suppress(RuntimeError):  # the node stops: the visibility timeout sees to it
                self._scope.start(self._return(name, found), name="return")

    async def _return(self, name: str, messages: Sequence[Received]) -> None:
        with suppress(BrokerError):  # the visibility timeout sees to it
            soon = Millis(self._monotonic() + _GIVE_BACK_TIME)
            await self._give_back(name, [message.handle for message in messages], soon)


class _Deletes(NamedTuple):
    handles: Sequence[bytes]
    deadline: Millis


class SharedDeletes:
    def __init__(self, delete: DeleteTogether, scope: TaskScope, companions: Companions) -> None:
        self._delete = delete
        self.batching: Batching[_Deletes, Failures] = Batching("deletes", self._carry, _LIMITS, scope, companions)

    async def delete(self, name: str, handles: Sequence[bytes], deadline: Millis) -> Failures:
        """Raises BatchEmpty, BatchTooLarge, and what deleting raises."""
        check_batch(len(handles))
        return await self.batching.ask(name, _Deletes(handles, deadline), len(handles), 0)

    async def _carry(self, key: Hashable, calls: list[Call[_Deletes, Failures]]) -> None:
        every = [handle for call in calls for handle in call.item.handles]
        failures = await self._delete(cast("str", key), every, max(call.item.deadline for call in calls))
        start = 0
        for call in calls:
            end = start + call.count
            call.answer(tuple((place - start, refusal) for place, refusal in failures if start <= place < end))
            start = end


class SharedCalls:
    """All that travels together; whatever it is, its callers wait for one another."""

    def __init__(
        self,
        send: SendTogether,
        receive: ReceiveTogether,
        delete: DeleteTogether,
        give_back: GiveBack,
        monotonic: Callable[[], Millis],
        scope: TaskScope,
    ) -> None:
        companions = Companions(monotonic)
        self.sends = SharedSends(send, scope, companions)
        self.receives = SharedReceives(receive, give_back, monotonic, scope, companions)
        self.deletes = SharedDeletes(delete, scope, companions)

    @property
    def batchings(self) -> list[Batching[Any, Any]]:
        return [self.sends.batching, self.receives.batching, self.deletes.batching]


def tell(registry: Registry, batchings: Sequence[Batching[Any, Any]]) -> None:
    """How many calls travelled, and in how many batches."""

    def calls() -> Reading:
        return [((each.name,), each.calls) for each in batchings]

    def batches() -> Reading:
        return [((each.name,), each.batches) for each in batchings]

    registry.counters("broker_shared_calls", "Calls that travelled in batches.", ("kind",), calls)
    registry.counters("broker_shared_batches", "Batches of calls about one queue.", ("kind",), batches)
