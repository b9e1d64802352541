"""The way of a call to a queue: admitted to this node, the queue found by its name, carried out where it lives.

A queue lives in its home group, or is spread over several, its stripes. This room must not know what a call does there,
nor how a leader is found.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from broker.base.errors import BrokerError, QueueNotFound, Unavailable
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.domain.directory.commands import Resource
from broker.domain.queues.validation import check_queue_name
from broker.machine.envelope import RequestId
from broker.services.admission import Admission
from broker.services.directory import Directory
from broker.services.lifecycle import KIND, no_such_queue
from broker.services.locating import Locator
from broker.services.replies import Failures
from broker.services.request_ids import RequestIds
from broker.services.striping import stripes_to_read
from broker.services.together import all_of
from broker.services.use_cases import Answer, Request, UseCase

Result = TypeVar("Result")

MAX_LOOKUPS = 8
"""Of one queue in one call."""


class Outdated(Exception):
    """What this node remembers of a queue's place is not true any more: look it up."""


class Routing:
    def __init__(self, locator: Locator, directory: Directory, request_ids: RequestIds, admission: Admission) -> None:
        self.locator = locator
        self._directory = directory
        self._request_ids = request_ids
        self._admission = admission

    async def admitted(self, size: int, call: Coroutine[Any, Any, Result]) -> Result:
        """``call``, counted with ``size`` bytes of content while it runs. Raises Overloaded, and then has not begun."""
        try:
            self._admission.enter(size)
        except BrokerError:
            call.close()
            raise
        try:
            return await call
        finally:
            self._admission.leave(size)

    async def under(
        self, request: RequestId | None, call: Callable[[RequestId], Coroutine[Any, Any, Result]]
    ) -> Result:
        """``call`` under ``request`` or an id of our own."""
        if request is not None:
            return await call(request)
        own = self._request_ids.take()
        try:
            return await call(own)
        finally:
            self._request_ids.give_back(own)

    async def found(
        self,
        name: str,
        call: Callable[[Resource, bool], Coroutine[Any, Any, Result]],
        deadline: Millis,
        anew: bool = False,
    ) -> Result:
        """``call`` with the queue's place and whether it was looked up for it. When that raises Outdated, or
        QueueNotFound with what was remembered, the queue is looked up, and ``call`` gets its place as it is then.

        ``anew``: what was remembered will not do, because a group that is not known yet must not be missed.
        Raises InvalidName, QueueNotFound, what ``call`` raises, and Unavailable when the place changes all the time.
        """
        known = None if anew else self._directory.known(KIND, name)
        if known is None:
            check_queue_name(name)
        else:
            try:
                return await call(known, False)
            except (QueueNotFound, Outdated):
                self._directory.forget(KIND, name)
        for _ in range(MAX_LOOKUPS):
            resource = await self._directory.find(KIND, name, deadline)
            if resource is None:
                raise no_such_queue(name)
            try:
                return await call(resource, True)
            except QueueNotFound:
                self._directory.forget(KIND, name)
                raise no_such_queue(name) from None
            except Outdated:
                continue
        raise Unavailable(f"the groups of queue {name!r} have changed {MAX_LOOKUPS} times during one call: retry")

    # --- in the home group

    async def once(
        self,
        name: str,
        case: UseCase[Request, Answer],
        make: Callable[[QueueId, RequestId], Request],
        deadline: Millis,
        request: RequestId | None,
    ) -> Answer:
        """On the leader of the queue's home group, under ``request`` or an id of our own: retries do not repeat it.

        Raises InvalidName, QueueNotFound, and what the use case raises.
        """

        async def call(own: RequestId) -> Answer:
            return await self.on_queue(name, case, lambda queue: make(queue, own), deadline)

        return await self.under(request, call)

    async def on_queue(
        self, name: str, case: UseCase[Request, Answer], make: Callable[[QueueId], Request], deadline: Millis
    ) -> Answer:
        """On the leader of the queue's home group; a queue that is not where it was is looked up once more.

        Raises InvalidName, QueueNotFound, and what the use case raises.
        """

        async def call(resource: Resource, _: bool) -> Answer:
            return await self.locator.on_leader(resource.group, case, make(QueueId(resource.id)), deadline)

        return await self.found(name, call, deadline)

    # --- in all groups that may hold messages

    async def on_all(
        self, resource: Resource, case: UseCase[Request, Answer], request: Request, deadline: Millis
    ) -> list[tuple[GroupId, Answer]]:
        """On the leaders of all of them at once, the home group first; one that has been drained does not answer."""
        stripes = stripes_to_read(resource)
        if len(stripes) == 1:
            return [(stripes[0], await self.locator.on_leader(stripes[0], case, request, deadline))]

        async def of_one(group: GroupId) -> Answer | None:
            return await self.if_there(resource, group, case, request, deadline)

        answers = await all_of(of_one(group) for group in stripes)
        return [(group, answer) for group, answer in zip(stripes, answers, strict=True) if answer is not None]

    async def divided(
        self,
        name: str,
        named: Sequence[GroupId | None],
        call: Callable[[QueueId, GroupId, Sequence[int]], Coroutine[Any, Any, Failures]],
        gone: Callable[[QueueId, GroupId, Sequence[int]], Failures],
        deadline: Millis,
    ) -> Failures:
        """A batch whose entries name groups, None: the home group. ``call`` takes the positions of those of one group
        to it, and ``gone`` says what becomes of those of a group that holds nothing of the queue any more; both say
        which positions failed.

        Raises InvalidName, QueueNotFound, and what ``call`` raises.
        """

        async def parted(resource: Resource, fresh: bool) -> Failures:
            queue, home = QueueId(resource.id), resource.group
            if all(group is None or group == home for group in named):
                return await call(queue, home, range(len(named)))
            places: dict[GroupId, list[int]] = {}
            for place, group in enumerate(named):
                places.setdefault(home if group is None else group, []).append(place)
            there = stripes_to_read(resource)
            lost = [group for group in places if group not in there]
            if lost and not fresh:
                raise Outdated
            failures = [failure for group in lost for failure in gone(queue, group, places[group])]

            async def of_one(group: GroupId) -> Failures:
                try:
                    return await call(queue, group, places[group])
                except QueueNotFound:
                    if group not in resource.draining:
                        raise
                    return gone(queue, group, places[group])

            for found in await all_of(of_one(group) for group in places if group in there):
                failures += found
            return tuple(sorted(failures))

        return await self.found(name, parted, deadline)

    async def if_there(
        self, resource: Resource, group: GroupId, case: UseCase[Request, Answer], request: Request, deadline: Millis
    ) -> Answer | None:
        """On the leader of one of them; None when it has been drained."""
        try:
            answer: Answer = await self.locator.on_leader(group, case, request, deadline)
        except QueueNotFound:
            if group not in resource.draining:
                raise
            return None
        return answer
