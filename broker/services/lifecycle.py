"""How queues come and go over several groups: the directory, which knows the name, and the data groups that hold it.

No step is atomic over all. So every step is idempotent, a name counts only when the directory says "active", and what
was interrupted is finished later by the controller: a creation that reached the home group is completed, any other one
is undone; a deletion is completed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from broker.base.errors import CallerError, PurgeInProgress, QueueExists, QueueNotFound, Refusal, Unavailable
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.base.limits import DEFAULT_FIFO_STRIPES
from broker.domain.directory.commands import ActivateResource, ForgetResource, Resource, RetireResource
from broker.domain.queues.commands import CreateQueue, DeleteQueue, PurgeQueue, UpdateQueue
from broker.domain.queues.model import PER_MESSAGE_GROUP, QueueAttributes, Target, is_fifo
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services.administering import Administering, DescribeRequest, Description, Nothing, TellRequest
from broker.services.directory import Directory
from broker.services.locating import Locator
from broker.services.together import all_of
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

    async def exists(
        self, name: str, attributes: QueueAttributes, deadline: Millis, stripes: int | None = None, beside: str = ""
    ) -> bool:
        """Raises QueueExists when there is one with other attributes, or elsewhere. ``stripes`` and ``beside`` as in
        ``create``."""
        resource = await self._directory.find(KIND, name, deadline)
        if resource is None or resource.state != "active":
            return False
        if beside:
            await self._must_be_beside(resource, beside, deadline)
        await self._must_equal(resource, attributes, stripes, deadline)
        return True

    async def create(
        self,
        name: str,
        attributes: QueueAttributes,
        target: Target | None,
        deadline: Millis,
        stripes: int | None = None,
        beside: str = "",
    ) -> bool:
        """Whether it is new. ``target``: the dead-letter queue that the attributes name, found. ``stripes``: over how
        many groups, None: as usual, and those of an existing queue will do. ``beside``: in the group of that queue.

        Raises QueueExists when there is one with other attributes, or elsewhere; InvalidArgument for more stripes than
        there are groups; QueueNotFound for ``beside``.
        """
        wanted = self._usual_stripes(name, attributes) if stripes is None else stripes
        placed = await self._directory.place(KIND, name, deadline, wanted, beside)
        resource = placed.resource
        if not placed.created and beside:
            await self._must_be_beside(resource, beside, deadline)
        if resource.state == "active":
            await self._must_equal(resource, attributes, stripes, deadline)
            return False
        if len(resource.groups) != wanted:
            raise Unavailable(
                f"queue {name!r} is being created by another call with {len(resource.groups)} stripes, not {wanted}: "
                "retry in a moment"
            )
        deadline = min(deadline, Millis(self._groups.clock.monotonic() + CREATION_TIME))
        own = msgspec.structs.replace(attributes, stripes=wanted)
        await self.create_in(
            resource.groups, CreateQueue(QueueId(resource.id), name, own, resource.groups, target), deadline
        )
        try:
            await self._directory.tell(ActivateResource(KIND, resource.id), deadline)
        except CallerError:  # undone by the controller meanwhile: leave nothing behind in the data groups
            await self.drop_in(resource.groups, QueueId(resource.id), deadline)
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
        home = await self.described(resource.group, QueueId(resource.id), deadline)
        if resource.state == "creating" and home is not None:
            queue = home.queue
            command = CreateQueue(queue.queue, queue.name, queue.attributes, resource.groups, queue.target)
            await self.create_in(resource.groups, command, deadline)
            await self._directory.tell(ActivateResource(KIND, resource.id), deadline)
        else:
            await self._drop(resource, deadline)

    async def create_in(self, groups: Sequence[GroupId], command: CreateQueue, deadline: Millis) -> None:
        """The home group first: what has reached it, others can complete."""
        await self.tell(groups[0], command, deadline)
        await all_of(self.tell(group, command, deadline) for group in groups[1:])

    async def drop_in(self, groups: Iterable[GroupId], queue: QueueId, deadline: Millis) -> None:
        """Where it is gone already, or has never been, nothing happens."""
        await all_of(self._drop_in_one(group, queue, deadline) for group in groups)

    async def purge(self, resource: Resource, request: RequestId, deadline: Millis) -> None:
        """In all groups of the queue. Raises PurgeInProgress when that is so in all of them: in some it is when an
        earlier call did not reach the others."""
        groups = resource.groups + resource.draining
        command = TellRequest(PurgeQueue(QueueId(resource.id)), request)
        refused = await all_of(self._purge_in_one(resource, group, command, deadline) for group in groups)
        if None not in refused:
            raise next(refusal for refusal in refused if refusal is not None).to_error()

    async def described(self, group: GroupId, queue: QueueId, deadline: Millis) -> Description | None:
        """None where it is not."""
        try:
            return await self._locator.on_leader(group, self.describing, DescribeRequest(queue), deadline)
        except QueueNotFound:
            return None

    async def tell(
        self, group: GroupId, command: CreateQueue | UpdateQueue | DeleteQueue | PurgeQueue, deadline: Millis
    ) -> None:
        await self._locator.on_leader(group, self.telling, TellRequest(command), deadline)

    async def _purge_in_one(
        self, resource: Resource, group: GroupId, command: TellRequest, deadline: Millis
    ) -> Refusal | None:
        try:
            await self._locator.on_leader(group, self.telling, command, deadline)
        except PurgeInProgress as error:
            return Refusal.of(error)
        except QueueNotFound:
            if group not in resource.draining:
                raise
        return None

    async def _drop(self, resource: Resource, deadline: Millis) -> None:
        """The groups are looked up when nobody can change them any more."""
        await self._directory.tell(RetireResource(KIND, resource.id), deadline)
        retired = await self._directory.by_id(KIND, resource.id, deadline)
        if retired is not None:  # otherwise another call was faster
            await self.drop_in(retired.everywhere, QueueId(resource.id), deadline)
            await self._directory.tell(ForgetResource(KIND, resource.id), deadline)

    async def _drop_in_one(self, group: GroupId, queue: QueueId, deadline: Millis) -> None:
        with suppress(QueueNotFound):
            await self.tell(group, DeleteQueue(queue), deadline)

    def _usual_stripes(self, name: str, attributes: QueueAttributes) -> int:
        """A FIFO queue of high throughput is spread from the beginning: its stripes are fixed."""
        if not is_fifo(name) or attributes.throughput_limit != PER_MESSAGE_GROUP:
            return 1
        return max(1, min(DEFAULT_FIFO_STRIPES, len(self._locator.topology.answer.data_groups)))

    async def _must_be_beside(self, resource: Resource, beside: str, deadline: Millis) -> None:
        other = await self._directory.find(KIND, beside, deadline)
        if other is None:
            raise no_such_queue(beside)
        if other.group != resource.group:
            raise QueueExists(
                f"queue {resource.name!r} exists in group {resource.group}, not beside {beside!r} in group "
                f"{other.group}: delete it first, or do not ask for a place"
            )

    async def _must_equal(
        self, resource: Resource, attributes: QueueAttributes, stripes: int | None, deadline: Millis
    ) -> None:
        found = await self.described(resource.group, QueueId(resource.id), deadline)
        if found is None:
            raise Unavailable(f"queue {resource.name!r} is being deleted; retry in a moment")
        there = msgspec.structs.replace(found.queue.attributes, stripes=len(resource.groups))
        wanted = msgspec.structs.replace(
            attributes,
            stripes=there.stripes if stripes is None else stripes,
            tags=there.tags,  # labels do not make a queue another one
            kept=there.kept,
        )
        if there != wanted:
            raise QueueExists(
                f"queue {resource.name!r} exists with other attributes: update it, or create it with the same "
                f"({_differences(there, wanted)})"
            )


def no_such_queue(name: str) -> QueueNotFound:
    return QueueNotFound(f"queue {name!r} does not exist: create it first")


def _differences(there: QueueAttributes, wanted: QueueAttributes) -> str:
    return ", ".join(
        f"{name} is {getattr(there, name)}, not {getattr(wanted, name)}"
        for name in there.__struct_fields__
        if getattr(there, name) != getattr(wanted, name)
    )
