"""How a queue comes to live in more groups or in fewer while it is used; and how all its groups are told the same.

Growing: the directory plans, the new groups get the queue, and then senders may use them. Shrinking: the directory says
which groups drain; nobody sends there any more, consumers go on reading, and when such a group is found empty the queue
is deleted there in the same step. The home group is the authority for attributes, the others get copies. Every step may
be repeated, and what was interrupted is finished by the controller. This room must not know how messages travel.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from broker.base.errors import (
    BrokerError,
    CallerError,
    Conflict,
    FixedAttribute,
    QueueExists,
    QueueNotEmpty,
    QueueNotFound,
)
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis, WallMillis
from broker.domain.directory.commands import EndTelling, Resource, RestripeResource
from broker.domain.queues.commands import CreateQueue, DeleteQueue, UpdateQueue
from broker.domain.queues.model import Described, is_fifo
from broker.replication.groups import Groups
from broker.services.directory import Directory
from broker.services.lifecycle import CREATION_TIME, KIND, Lifecycle, no_such_queue
from broker.services.together import all_of

_logger = logging.getLogger(__name__)


class Restriping:
    def __init__(self, groups: Groups, directory: Directory, lifecycle: Lifecycle) -> None:
        self._groups = groups
        self._directory = directory
        self._lifecycle = lifecycle

    async def restripe(self, name: str, stripes: int, deadline: Millis) -> None:
        """Spread the queue over so many groups; nothing when it is.

        Raises QueueNotFound; FixedAttribute for a FIFO queue; InvalidArgument for more stripes than there are groups;
        Unavailable while too many groups are draining, and when another call changes the stripes, too.
        """
        resource = await self._find(name, deadline)
        if len(resource.groups) == stripes and not resource.joining:
            return
        if is_fifo(name):
            raise FixedAttribute(
                f"FIFO queue {name!r} keeps its {len(resource.groups)} stripes and cannot have {stripes}: in which one "
                "a message group lives depends on their number; create another queue"
            )

        async def change() -> None:
            planned = await self._directory.spread(KIND, resource.id, stripes, deadline)
            if planned.joining:
                await self._join(planned, deadline)

        await self._telling_all(resource, change, deadline)

    async def tell(self, name: str, tell_home: Callable[[], Awaitable[object]], deadline: Millis) -> None:
        """``tell_home`` changes the queue in its home group; afterwards all its other groups have the same attributes.

        Raises QueueNotFound, and what ``tell_home`` raises.
        """
        resource = await self._find(name, deadline)
        if len(resource.everywhere) == 1:
            await tell_home()
        else:
            await self._telling_all(resource, tell_home, deadline)

    async def tend(self, before: WallMillis, deadline: Callable[[], Millis]) -> None:
        """One step with every queue that is on its way to other stripes; for the controller. What nobody has touched
        since ``before`` counts as interrupted."""
        for resource in await self._directory.unsettled(deadline()):
            try:
                await self._tend(resource, before, deadline())
            except BrokerError as error:
                _logger.warning("controller: the stripes of queue %s stay as they are: %s", resource.name, error)

    # --- inside

    async def _find(self, name: str, deadline: Millis) -> Resource:
        resource = await self._directory.find(KIND, name, deadline)
        if resource is None:
            raise no_such_queue(name)
        return resource

    async def _telling_all(self, resource: Resource, change: Callable[[], Awaitable[object]], deadline: Millis) -> None:
        """Unless it comes to its end, the controller levels the groups later."""
        telling = (await self._directory.begin_telling(KIND, resource.id, deadline)).tellings[-1]
        try:
            await change()
        except CallerError:  # which means that it has changed nothing
            await self._directory.tell(EndTelling(KIND, resource.id, telling), deadline)
            raise
        await self._level(resource.id, deadline)
        await self._directory.tell(EndTelling(KIND, resource.id, telling), deadline)
        await self._directory.find(KIND, resource.name, deadline)  # so that this node, at least, knows at once

    async def _level(self, identity: int, deadline: Millis) -> None:
        """Give all groups the attributes of the home group, until they are found unchanged there afterwards: another
        call may have changed them meanwhile, and been levelled before the copies of the old ones arrived."""
        done: tuple[Resource, Described] | None = None
        while True:
            resource = await self._directory.by_id(KIND, identity, deadline)
            if resource is None or resource.state != "active":
                return
            home = await self._lifecycle.described(resource.group, QueueId(identity), deadline)
            if home is None:
                return
            queue = home.queue
            if done is not None and _alike(done, (resource, queue)):
                return
            attributes = msgspec.structs.replace(queue.attributes, stripes=len(resource.groups))
            command = UpdateQueue(queue.queue, attributes, resource.groups, queue.target)
            if (attributes, resource.groups) != (queue.attributes, queue.groups):
                try:
                    exact = msgspec.structs.replace(command, expected=queue.attributes)
                    await self._lifecycle.tell(resource.group, exact, deadline)
                except Conflict:
                    continue
            await all_of(self._lifecycle.tell(group, command, deadline) for group in resource.groups[1:])
            await all_of(self._tell_if_there(group, command, deadline) for group in resource.draining)
            done = resource, msgspec.structs.replace(queue, attributes=attributes, groups=resource.groups)

    async def _tell_if_there(self, group: GroupId, command: UpdateQueue, deadline: Millis) -> None:
        with suppress(QueueNotFound):  # it has been drained
            await self._lifecycle.tell(group, command, deadline)

    async def _join(self, planned: Resource, deadline: Millis) -> None:
        deadline = min(deadline, Millis(self._groups.clock.monotonic() + CREATION_TIME))
        home = await self._lifecycle.described(planned.group, QueueId(planned.id), deadline)
        if home is None:
            raise no_such_queue(planned.name)
        stripes = planned.groups + planned.joining
        attributes = msgspec.structs.replace(home.queue.attributes, stripes=len(stripes))
        command = CreateQueue(home.queue.queue, planned.name, attributes, stripes, home.queue.target)
        await all_of(self._create(group, command, deadline) for group in planned.joining)
        try:
            await self._directory.tell(RestripeResource(KIND, planned.id, joined=planned.joining), deadline)
        except BrokerError:
            await self._leave_nothing(planned)
            raise

    async def _create(self, group: GroupId, command: CreateQueue, deadline: Millis) -> None:
        try:
            await self._lifecycle.tell(group, command, deadline)
        except QueueExists:  # an earlier attempt left it there, and its attributes were changed since
            update = UpdateQueue(command.queue, command.attributes, command.groups, command.target)
            await self._lifecycle.tell(group, update, deadline)

    async def _leave_nothing(self, planned: Resource) -> None:
        """The directory did not want the new groups: those of which it knows nothing more are cleared here, also when
        the caller's time is up."""
        deadline = Millis(self._groups.clock.monotonic() + CREATION_TIME)
        now = await self._directory.by_id(KIND, planned.id, deadline)
        known = () if now is None else now.everywhere
        forgotten = [group for group in planned.joining if group not in known]
        await self._lifecycle.drop_in(forgotten, QueueId(planned.id), deadline)

    async def _tend(self, resource: Resource, before: WallMillis, deadline: Millis) -> None:
        if resource.changed < before:
            if resource.joining:
                abandoned = RestripeResource(KIND, resource.id, abandoned=resource.joining)
                await self._directory.tell(abandoned, deadline)
            if resource.tellings:
                await self._level(resource.id, deadline)
                for telling in resource.tellings:
                    await self._directory.tell(EndTelling(KIND, resource.id, telling), deadline)
        for group in resource.draining:
            if await self._drained(group, QueueId(resource.id), deadline):
                await self._directory.tell(RestripeResource(KIND, resource.id, dropped=(group,)), deadline)
                _logger.info("controller: queue %s has left group %s", resource.name, group)

    async def _drained(self, group: GroupId, queue: QueueId, deadline: Millis) -> bool:
        """Whether the queue was empty in that group, and is gone there."""
        found = await self._lifecycle.described(group, queue, deadline)
        if found is None:
            return True
        counts = found.counts
        if counts.visible or counts.in_flight or counts.delayed or counts.moving:
            return False
        try:
            await self._lifecycle.tell(group, DeleteQueue(queue, only_if_empty=True), deadline)
        except QueueNotFound:  # deleted by an attempt whose answer was lost
            return True
        except QueueNotEmpty:  # somebody who did not know yet has sent something
            return False
        return True


def _alike(told: tuple[Resource, Described], found: tuple[Resource, Described]) -> bool:
    (resource, queue), (resource_now, queue_now) = told, found
    return (resource.groups, resource.draining) == (resource_now.groups, resource_now.draining) and (
        queue.attributes,
        queue.groups,
        queue.target,
    ) == (queue_now.attributes, queue_now.groups, queue_now.target)
