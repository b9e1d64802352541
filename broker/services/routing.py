"""The way of a call to a queue: admitted to this node, the queue found by its name, carried out where it lives.

This room must not know what a call does there, nor how a leader is found.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from broker.base.errors import BrokerError, QueueNotFound
from broker.base.ids import QueueId
from broker.base.instants import Millis
from broker.domain.queues.validation import check_queue_name
from broker.machine.envelope import RequestId
from broker.services.admission import Admission
from broker.services.directory import Directory
from broker.services.lifecycle import KIND, no_such_queue
from broker.services.locating import Locator
from broker.services.request_ids import RequestIds
from broker.services.use_cases import Answer, Request, UseCase

Result = TypeVar("Result")


class Routing:
    def __init__(self, locator: Locator, directory: Directory, request_ids: RequestIds, admission: Admission) -> None:
        self._locator = locator
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

    async def once(
        self,
        name: str,
        case: UseCase[Request, Answer],
        make: Callable[[QueueId, RequestId], Request],
        deadline: Millis,
        request: RequestId | None,
    ) -> Answer:
        """On the leader of the queue's group, under ``request`` or an id of our own: retries do not repeat it.

        Raises InvalidName, QueueNotFound, and what the use case raises.
        """
        if request is not None:
            return await self.on_queue(name, case, lambda queue: make(queue, request), deadline)
        own = self._request_ids.take()
        try:
            return await self.on_queue(name, case, lambda queue: make(queue, own), deadline)
        finally:
            self._request_ids.give_back(own)

    async def on_queue(
        self, name: str, case: UseCase[Request, Answer], make: Callable[[QueueId], Request], deadline: Millis
    ) -> Answer:
        """On the leader of the queue's group; a queue that is not where it was is looked up once more.

        Raises InvalidName, QueueNotFound, and what the use case raises.
        """
        known = self._directory.known(KIND, name)
        if known is None:
            check_queue_name(name)
        else:
            try:
                return await self._locator.on_leader(known.group, case, make(QueueId(known.id)), deadline)
            except QueueNotFound:
                self._directory.forget(KIND, name)
        found = await self._directory.find(KIND, name, deadline)
        if found is None:
            raise no_such_queue(name)
        try:
            return await self._locator.on_leader(found.group, case, make(QueueId(found.id)), deadline)
        except QueueNotFound:
            self._directory.forget(KIND, name)
            raise no_such_queue(name) from None
