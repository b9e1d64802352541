"""What is done to a queue as a whole, on the leader of its group: create, update, purge, drop, describe.

This room must not know names' places or where leaders are: the service above has found both.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from broker.base.errors import Conflict, InvalidArgument
from broker.base.ids import GroupId, NodeId, QueueId
from broker.base.instants import Millis, WallMillis
from broker.domain.queues.commands import CreateQueue, DeleteQueue, Done, PurgeQueue, UpdateQueue
from broker.domain.queues.model import Counts, Described, QueueAttributes, RedriveAllowPolicy, RedrivePolicy, Target
from broker.domain.queues.questions import CountsOf
from broker.domain.queues.validation import check_attributes_fit, check_queue_attributes
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services.replies import accepted, accepted_as
from broker.services.request_ids import further
from broker.services.sending import ROOM, describe

MAX_DEFEATS = 100
"""Races with other updates of the same queue that one may lose."""


class TellRequest(msgspec.Struct, frozen=True, array_like=True):
    command: CreateQueue | UpdateQueue | DeleteQueue | PurgeQueue
    request: RequestId | None = None


class AttributeChanges(msgspec.Struct, frozen=True, array_like=True):
    """None: as it is, or the default of a new queue. Times in milliseconds, sizes in bytes. ``no_redrive`` takes the
    redrive policy away. Of ``tags`` and ``kept`` those named change, and None takes one away. ``kept_before``: what of
    ``kept`` must be so still, for who changes what it has read."""

    visibility_timeout: Millis | None = None
    delay: Millis | None = None
    retention: Millis | None = None
    message_size_limit: int | None = None
    receive_wait: Millis | None = None
    content_deduplication: bool | None = None
    deduplication_scope: str | None = None
    throughput_limit: str | None = None
    redrive: RedrivePolicy | None = None
    no_redrive: bool = False
    redrive_allow: RedriveAllowPolicy | None = None
    stripes: int | None = None
    tags: tuple[tuple[str, str | None], ...] | None = None
    kept: tuple[tuple[str, str | None], ...] | None = None
    kept_before: tuple[tuple[str, str | None], ...] | None = None

    def applied_to(self, attributes: QueueAttributes) -> QueueAttributes:
        """Raises InvalidArgument when the changes contradict one another, Conflict when ``kept_before`` is not so."""
        changes = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        for name, value in changes.pop("kept_before", ()):
            if dict(attributes.kept).get(name) != value:
                raise Conflict(f"{name} of the queue was changed by another call meanwhile: look again, and retry")
        if changes.pop("no_redrive"):
            if self.redrive is not None:
                raise InvalidArgument("a redrive policy is to be set and to be taken away: do one of both")
            changes["redrive"] = None
        if self.tags is not None:
            changes["tags"] = _merged(attributes.tags, self.tags)
        if self.kept is not None:
            changes["kept"] = _merged(attributes.kept, self.kept)
        return msgspec.structs.replace(attributes, **changes)


def _merged(there: Iterable[tuple[str, str]], changes: Iterable[tuple[str, str | None]]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str | None] = dict(there)
    found.update(changes)
    return tuple(sorted((name, value) for name, value in found.items() if value is not None))


class UpdateRequest(msgspec.Struct, frozen=True, array_like=True):
    """``target``: the queue that a redrive policy in ``changes`` names, found."""

    queue: QueueId
    changes: AttributeChanges
    request: RequestId
    target: Target | None = None


class DescribeRequest(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId


class Description(msgspec.Struct, frozen=True, array_like=True):
    """``at``: the answering leader's clock, for ages."""

    queue: Described
    counts: Counts
    group: GroupId
    leader: NodeId
    at: WallMillis


class Nothing(msgspec.Struct, frozen=True, array_like=True):
    """Done, and there is nothing to say."""


class Administering:
    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    async def tell(self, group: GroupId, wanted: TellRequest, deadline: Millis) -> Nothing:
        """Raises what the machine refuses with, and what proposing raises."""
        if wanted.request is not None:
            describe(self._groups, group, wanted.command.queue)  # a refusal would be remembered under the id
        await self._propose(group, wanted.command, deadline, wanted.request)
        return Nothing()

    async def update(self, group: GroupId, wanted: UpdateRequest, deadline: Millis) -> Nothing:
        """Updates at the same time never undo each other's: one that lost a race begins again.

        Raises QueueNotFound, what the attributes together are refused with, what proposing raises, and Conflict when
        ``kept_before`` is not so any more, or when it has lost MAX_DEFEATS races.
        """
        request = wanted.request
        for defeats in range(1, MAX_DEFEATS + 1):
            command = self._update(group, wanted)
            try:
                await self._propose(group, command, deadline, request)
                break
            except Conflict:
                if defeats == MAX_DEFEATS:
                    raise
                request = further(wanted.request, defeats)
        return Nothing()

    def _update(self, group: GroupId, wanted: UpdateRequest) -> UpdateQueue:
        described = describe(self._groups, group, wanted.queue)
        attributes = wanted.changes.applied_to(described.attributes)
        check_queue_attributes(attributes)
        check_attributes_fit(described.name, attributes)
        target = wanted.target if wanted.changes.redrive is not None else described.target
        if attributes.redrive is None:
            target = None
        return UpdateQueue(wanted.queue, attributes, (), target, described.attributes)

    async def describe(self, group: GroupId, wanted: DescribeRequest, deadline: Millis) -> Description:
        """Attributes and exact counts, confirmed with a quorum. Raises QueueNotFound."""
        groups = self._groups
        counts: Counts = accepted(await groups.query(group, ROOM, CountsOf(wanted.queue), self._remaining(deadline)))
        described = describe(groups, group, wanted.queue)  # as new as the counts, or newer
        return Description(described, counts, group, groups.me, groups.clock.wall())

    async def _propose(
        self, group: GroupId, command: msgspec.Struct, deadline: Millis, request: RequestId | None
    ) -> None:
        reply = await self._groups.propose(group, ROOM, command, self._remaining(deadline), request)
        accepted_as(Done, reply)

    def _remaining(self, deadline: Millis) -> Millis:
        return Millis(deadline - self._groups.clock.monotonic())
