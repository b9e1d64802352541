"""Receiving from a queue that may be spread over several groups: look into one stripe after the other, wait for all.

Each look is a receive of its own that does not wait. When all stripes are empty, all are waited for at once, in slices:
whoever is woken twice takes once, and so a wake may pass by someone who could have used it.
A number of a session is used in one stripe: another one is asked under it only when the one before has not used it.
Should a stripe have taken messages and its answer be lost, they come back when their visibility timeout ends. This room
must not know what is done with the messages.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, OverLimit, QueueNotFound, ServiceError
from broker.base.ids import GroupId, QueueId
from broker.base.instants import SECOND, Clock, Millis
from broker.domain.directory.commands import Resource
from broker.domain.queues.questions import KnowsAttempt
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services.receiving import (
    ReceiveAnswer,
    ReceiveRequest,
    Receiving,
    ReplayAnswer,
    ReplayRequest,
    WaitAnswer,
    WaitRequest,
)
from broker.services.replies import accepted
from broker.services.routing import Routing
from broker.services.sending import ROOM, describe
from broker.services.striping import Turns, stripes_to_read
from broker.services.together import all_of
from broker.services.use_cases import UseCase

SLICE = Millis(2 * SECOND)
"""How long all stripes are waited for before they are looked at again."""
RESERVE = Millis(500)
"""Of the time until the deadline, what is left for a look after a wait."""
MAX_SESSIONS = 100_000
"""Sessions that are known to have been opened here."""
MANY = 32
"""Messages in one look after which this node keeps to the stripes that it leads: going elsewhere costs the more, the
more there is, and others are at work there."""
BUSY_TIME = Millis(100)
"""How long it does so after such a look, unless the stripes here are found empty for NEAR_WAIT."""
NEAR_WAIT = Millis(20)


class RecallRequest(msgspec.Struct, frozen=True, array_like=True):
    """Has this been answered before? By the number of the request, or by the receive-attempt id, unless that is ""."""

    queue: QueueId
    request: RequestId
    attempt: str


class OwnWaitRequest(msgspec.Struct, frozen=True, array_like=True):
    """How long does a receive wait that does not say how long? In milliseconds."""

    queue: QueueId


MAX_BUSY = 10_000


class Busy:
    """Of which queues this node finds many messages in the stripes that it leads itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[QueueId, Millis] = {}

    def found_many(self, queue: QueueId) -> None:
        if len(self._until) >= MAX_BUSY:
            self._until.clear()
        self._until[queue] = Millis(self._clock.monotonic() + BUSY_TIME)

    def is_busy(self, queue: QueueId) -> bool:
        until = self._until.get(queue)
        if until is None:
            return False
        if until > self._clock.monotonic():
            return True
        self.rest(queue)
        return False

    def rest(self, queue: QueueId) -> None:
        self._until.pop(queue, None)


class Gathering:
    def __init__(self, groups: Groups, routing: Routing, turns: Turns, receiving: Receiving) -> None:
        self._groups = groups
        self._routing = routing
        self._locator = routing.locator
        self._turns = turns
        self._opened: OrderedDict[bytes, None] = OrderedDict()
        """Sessions whose numbers, this node knows, have not been used before."""
        self._busy = Busy(groups.clock)
        self._receiving = UseCase("queues.receive", ReceiveRequest, ReceiveAnswer, receiving.receive)
        self._waiting = UseCase("queues.wait", WaitRequest, WaitAnswer, receiving.wait)
        self._replaying = UseCase("queues.replay", ReplayRequest, ReplayAnswer, receiving.replay)
        self._recalling = UseCase("queues.recall", RecallRequest, bool, self._recall_here)
        self._asking = UseCase("queues.own_wait", OwnWaitRequest, Millis, self._own_wait_here)
        self._locator.serve(self._receiving)
        self._locator.serve(self._waiting)
        self._locator.serve(self._replaying)
        self._locator.serve(self._recalling)
        self._locator.serve(self._asking)

    async def receive(
        self,
        name: str,
        make: Callable[[QueueId, RequestId], ReceiveRequest],
        deadline: Millis,
        request: RequestId | None,
    ) -> ReceiveAnswer:
        """Raises InvalidName, QueueNotFound, and what receiving raises."""

        async def call(own: RequestId) -> ReceiveAnswer:
            async def gather(resource: Resource, _: bool) -> ReceiveAnswer:
                wanted = make(QueueId(resource.id), own)
                if not resource.stripes and not resource.draining:
                    return await self._locator.on_leader(resource.group, self._receiving, wanted, deadline)
                stream = own.session in self._opened
                retried = request is not None and not stream
                return await self._from_stripes(resource, wanted, stream, retried, deadline)

            return await self._routing.found(name, gather, deadline)

        return await self._routing.under(request, call)

    async def own_wait(self, name: str, deadline: Millis) -> Millis:
        """How long a receive waits that does not say how long. Raises InvalidName, QueueNotFound."""
        return await self._routing.on_queue(name, self._asking, OwnWaitRequest, deadline)

    async def wait(self, name: str, wait: Millis, deadline: Millis) -> bool:
        """Whether something became visible within ``wait`` ms. Takes nothing, and so may be cancelled.

        Raises InvalidName, QueueNotFound.
        """
        until = Millis(self._groups.clock.monotonic() + wait)

        async def watch(resource: Resource, _: bool) -> bool:
            if not resource.stripes and not resource.draining:
                request = WaitRequest(QueueId(resource.id), self._left(until))
                return (await self._locator.on_leader(resource.group, self._waiting, request, deadline)).visible
            queue, stripes = QueueId(resource.id), stripes_to_read(resource)
            here = self._turns.led_here(stripes)
            if here and self._busy.is_busy(queue):
                if await self._visible(resource, here, min(wait, NEAR_WAIT), deadline):
                    return True
                self._busy.rest(queue)
            while True:
                left = self._left(until)
                if await self._visible(resource, stripes, min(left, SLICE), deadline):
                    return True
                if left <= SLICE:
                    return False

        return await self._routing.found(name, watch, deadline)

    async def replay(
        self, name: str, session: bytes, after: int, visibility_timeout: Millis | None, deadline: Millis
    ) -> ReplayAnswer:
        """As of all stripes together. Raises InvalidName, QueueNotFound, and what replaying raises."""

        async def gather(resource: Resource, _: bool) -> ReplayAnswer:
            wanted = ReplayRequest(QueueId(resource.id), session, after, visibility_timeout)
            if not resource.stripes and not resource.draining:
                return await self._locator.on_leader(resource.group, self._replaying, wanted, deadline)
            return await self._replay(resource, wanted, deadline)

        answer = await self._routing.found(name, gather, deadline)
        if len(self._opened) >= MAX_SESSIONS:
            self._opened.popitem(last=False)
        self._opened[session] = None
        return answer

    # --- one look after the other

    async def _from_stripes(
        self, resource: Resource, wanted: ReceiveRequest, stream: bool, retried: bool, deadline: Millis
    ) -> ReceiveAnswer:
        """``stream``: one that has been opened here, and comes again when it finds nothing. ``retried``: it may be, so
        that some stripe has answered it."""
        queue, stripes = wanted.queue, stripes_to_read(resource)
        at_once = msgspec.structs.replace(wanted, wait=Millis(0))
        if retried or wanted.attempt:
            question = RecallRequest(queue, wanted.request, wanted.attempt)
            for group, knows in await self._routing.on_all(resource, self._recalling, question, deadline):
                if knows:
                    return await self._locator.on_leader(group, self._receiving, at_once, deadline)
        wait = wanted.wait
        if wait is None:
            wait = await self._locator.on_leader(resource.group, self._asking, OwnWaitRequest(queue), deadline)
        until = min(Millis(self._groups.clock.monotonic() + wait), Millis(deadline - RESERVE))
        near = stream and self._busy.is_busy(queue)
        order = self._turns.to_receive(queue, stripes, near)
        if wanted.attempt:  # such a receive is carried out also where nothing is visible, and uses the number up
            order = await self._visible(resource, order, Millis(0), deadline)
        while True:
            answer = await self._look(resource, order, at_once, deadline)
            if answer is not None:
                return answer
            left = self._left(until)
            if left <= 0:
                return ReceiveAnswer([], False)
            order = await self._visible(resource, stripes, min(left, SLICE), deadline)

    async def _look(
        self, resource: Resource, order: Sequence[GroupId], wanted: ReceiveRequest, deadline: Millis
    ) -> ReceiveAnswer | None:
        """What the first stripe gives that has something. None: all are empty, or cannot be asked now. Raises OverLimit
        when nothing else was found; what a stripe that cannot be asked raised, when none could."""
        over: OverLimit | None = None
        trouble: ServiceError | None = None
        empty = not order
        for group in order:
            try:
                answer = await self._locator.on_leader(group, self._receiving, wanted, deadline)
            except QueueNotFound:
                if group not in resource.draining:
                    raise
                empty = True
                continue
            except OverLimit as error:
                over = error
                continue
            except ServiceError as error:
                trouble = error
                continue
            if answer.used:
                if len(answer.messages) >= MANY and self._groups.leads(group):
                    self._busy.found_many(wanted.queue)
                return answer
            empty = True
        if over is not None:
            raise over
        if trouble is not None and not empty:
            raise trouble
        return None

    # --- all at once

    async def _visible(
        self, resource: Resource, stripes: Sequence[GroupId], wait: Millis, deadline: Millis
    ) -> list[GroupId]:
        """Stripes in which something is visible; empty when nothing became so in ``wait`` ms.

        Raises QueueNotFound; what the stripes raised when none could be asked.
        """
        request = WaitRequest(QueueId(resource.id), wait)
        found: list[GroupId] = []
        troubles: list[BrokerError] = []
        gone: list[QueueNotFound] = []
        left = len(stripes)
        news = asyncio.Event()

        async def ask(group: GroupId) -> None:
            nonlocal left
            try:
                answer = await self._locator.on_leader(group, self._waiting, request, deadline)
                if answer.visible:
                    found.append(group)
            except QueueNotFound as error:
                if group not in resource.draining:
                    gone.append(error)
            except BrokerError as error:
                troubles.append(error)
            finally:
                left -= 1
                if found or gone or not left:
                    news.set()

        async with TaskScope("wait", lambda *_: news.set()) as scope:
            for group in stripes:
                scope.start(ask(group), name=f"group {group}")
            await news.wait()
        if gone:
            raise gone[0]
        if len(troubles) == len(stripes):
            raise troubles[0]
        return found

    async def _replay(self, resource: Resource, wanted: ReplayRequest, deadline: Millis) -> ReplayAnswer:
        """Every stripe uses up the session's numbers up to the same one, which no stripe gives anything for: so a
        predecessor can use none of them, nor a later one, in any stripe."""
        found = await self._routing.on_all(resource, self._replaying, wanted, deadline)
        last = {group: answer.last for group, answer in found}
        deliveries = [delivery for _, answer in found for delivery in answer.deliveries]
        while behind := [group for group in last if last[group] < max(last.values())]:
            again = await all_of(self._further(group, wanted, last[group], deadline) for group in behind)
            for group, answer in zip(behind, again, strict=True):
                last[group] = max(last.values()) if answer is None else answer.last
                deliveries += [] if answer is None else answer.deliveries
        deliveries.sort(key=lambda delivery: delivery[0])
        return ReplayAnswer(deliveries, max(last.values()))

    async def _further(
        self, group: GroupId, wanted: ReplayRequest, after: int, deadline: Millis
    ) -> ReplayAnswer | None:
        """None where the queue has been drained meanwhile, so that nothing can be taken there any more."""
        try:
            further = msgspec.structs.replace(wanted, after=after)
            return await self._locator.on_leader(group, self._replaying, further, deadline)
        except QueueNotFound:
            return None

    def _left(self, until: Millis) -> Millis:
        return Millis(max(0, until - self._groups.clock.monotonic()))

    # --- on the leader

    async def _recall_here(self, group: GroupId, wanted: RecallRequest, _: Millis) -> bool:
        request = wanted.request
        remembered = self._groups.replay(group, request.session, request.number - 1)
        if remembered and remembered[0][0] == request.number:
            return True
        if not wanted.attempt:
            return False
        knows: bool = accepted(self._groups.peek(group, ROOM, KnowsAttempt(wanted.queue, wanted.attempt)))
        return knows

    async def _own_wait_here(self, group: GroupId, wanted: OwnWaitRequest, _: Millis) -> Millis:
        return describe(self._groups, group, wanted.queue).attributes.receive_wait
