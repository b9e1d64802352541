"""How queues come and go over two groups: the directory, which knows the name, and the data group that holds it.

No step is atomic over both. So every step is idempotent, a name counts only when the directory says "active", and what
was interrupted is finished later by the controller: a creation that reached the data group is completed, any other one
is undone; a deletion is completed.
"""

from __future__ import annotations

from contextlib import suppress

from broker.base.errors import CallerError, QueueExists, QueueNotFound, Unavailable
from broker.base.ids import QueueId
from broker.base.instants import Millis
from broker.domain.directory.commands import ActivateResource, ForgetResource, Resource, RetireResource
from broker.domain.queues.commands import CreateQueue, DeleteQueue
from broker.domain.queues.model import QueueAttributes, Target
from broker.replication.groups import Groups
from broker.services.administering import Administering, DescribeRequest, Description, Nothing, TellRequest
from broker.services.directory import Directory
from broker.services.locating import Locator
from broker.services.use_cases import UseCase

KIND = "queue"
CREATION_TIME = Millis(5_000)
"""After this a creation gives up, well before the controller begins to undo it."""


class Lifecycle:
    def __init__(self, groups: Groups, locator: Locator, directory: Directory, administering: Administering) -> None:
        self._groups = groups
        self._locator = locator
        self._directory = directory
        self.telling: UseCase[TellRequest, Nothing] = UseCase("queues.tell", TellRequest, Nothing, administering.tell)
        self.describing: UseCase[DescribeRequest, Description] = UseCase(
            "queues.describe", DescribeRequest, Description, administering.describe
        )
        locator.serve(self.telling)
        locator.serve(self.describing)

    async def exists(self, name: str, attributes: QueueAttributes, deadline: Millis) -> bool:
        """Raises QueueExists when there is one with other attributes."""
        resource = await self._directory.find(KIND, name, deadline)
        if resource is None or resource.state != "active":
            return False
        await self._must_equal(resource, attributes, deadline)
        return True

    async def create(self, name: str, attributes: QueueAttributes, target: Target | None, deadline: Millis) -> bool:
        """Whether it is new. ``target``: the dead-letter queue that the attributes name, found.

        Raises QueueExists when there is one with other attributes.
        """
        placed = await self._directory.place(KIND, name, deadline)
        resource = placed.resource
        if resource.state == "active":
            await self._must_equal(resource, attributes, deadline)
            return False
        deadline = min(deadline, Millis(self._groups.clock.monotonic() + CREATION_TIME))
        await self._tell(resource, CreateQueue(QueueId(resource.id), name, attributes, target=target), deadline)
        try:
            await self._directory.tell(ActivateResource(KIND, resource.id), deadline)
        except CallerError:  # undone by the controller meanwhile: leave nothing behind in the data group
            await self._tell(resource, DeleteQueue(QueueId(resource.id)), deadline)
            raise Unavailable(f"queue {name!r} was deleted while it was created; retry") from None
        return placed.created

    async def delete(self, name: str, deadline: Millis) -> None:
        """Raises QueueNotFound."""
        resource = await self._directory.find(KIND, name, deadline)
        if resource is None:
            raise no_such_queue(name)
        self._directory.forget(KIND, name)
        await self._drop(resource, deadline)

    async def finish(self, resource: Resource, deadline: Millis) -> None:
        """Bring what was interrupted to its end."""
        if resource.state == "creating" and await self._described(resource, deadline) is not None:
            await self._directory.tell(ActivateResource(KIND, resource.id), deadline)
        else:
            await self._drop(resource, deadline)

    async def _drop(self, resource: Resource, deadline: Millis) -> None:
        await self._directory.tell(RetireResource(KIND, resource.id), deadline)
        with suppress(QueueNotFound):  # an earlier attempt came this far
            await self._tell(resource, DeleteQueue(QueueId(resource.id)), deadline)
        await self._directory.tell(ForgetResource(KIND, resource.id), deadline)

    async def _must_equal(self, resource: Resource, attributes: QueueAttributes, deadline: Millis) -> None:
        found = await self._described(resource, deadline)
        if found is None:
            raise Unavailable(f"queue {resource.name!r} is being deleted; retry in a moment")
        if found.queue.attributes != attributes:
            raise QueueExists(
                f"queue {resource.name!r} exists with other attributes: update it, or create it with the same "
                f"({_differences(found.queue.attributes, attributes)})"
            )

    async def _described(self, resource: Resource, deadline: Millis) -> Description | None:
        question = DescribeRequest(QueueId(resource.id))
        try:
            return await self._locator.on_leader(resource.group, self.describing, question, deadline)
        except QueueNotFound:
            return None

    async def _tell(self, resource: Resource, command: CreateQueue | DeleteQueue, deadline: Millis) -> None:
        await self._locator.on_leader(resource.group, self.telling, TellRequest(command), deadline)


def no_such_queue(name: str) -> QueueNotFound:
    return QueueNotFound(f"queue {name!r} does not exist: create it first")


def _differences(there: QueueAttributes, wanted: QueueAttributes) -> str:
    return ", ".join(
        f"{name} is {getattr(there, name)}, not {getattr(wanted, name)}"
        for name in there.__struct_fields__
        if getattr(there, name) != getattr(wanted, name)
    )
