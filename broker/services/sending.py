"""Sending on the queue's leader: judge the batch, one command, one log entry.

This room must not know names of queues or where leaders are: the service above has found both.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import InvalidArgument
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis, WallMillis
from broker.domain.queues.commands import Send, Sent
from broker.domain.queues.model import Described
from broker.domain.queues.questions import AttributesOf
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services.judging import judge
from broker.services.outgoing import Packed
from broker.services.replies import Failures, accepted, accepted_as

ROOM = "queues"


class SendRequest(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId
    packed: Packed
    request: RequestId | None


class SendAnswer(msgspec.Struct, frozen=True, array_like=True):
    """Those not in ``refused`` (positions in the packed batch) have the ids (group, ``index``, 0 ...), except of
    ``duplicates``: (slot, key of the message sent first)."""

    group: GroupId
    index: int
    count: int
    at: WallMillis
    refused: Failures = ()
    duplicates: tuple[tuple[int, int], ...] = ()


class Sending:
    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    async def send(self, group: GroupId, wanted: SendRequest, deadline: Millis) -> SendAnswer:
        """Raises QueueNotFound, DiskFull and what proposing raises."""
        groups = self._groups
        described = describe(groups, group, wanted.queue)
        command, refused = judge(wanted.packed, described, groups.clock.wall())
        if command is None:
            return SendAnswer(group, 0, 0, WallMillis(0), refused)
        groups.expect_room(group)
        remaining = Millis(deadline - groups.clock.monotonic())
        reply = accepted_as(Sent, await groups.propose(group, ROOM, command, remaining, wanted.request))
        must_answer(reply, command)
        return SendAnswer(group, reply.index, reply.count, reply.at, refused, reply.duplicates)


def must_answer(reply: Sent, command: Send) -> None:
    """Raises InvalidArgument when what is remembered under the request id answered another batch."""
    if reply.count != command.count:
        raise InvalidArgument(
            f"the request id was used before, for a batch of {reply.count} messages, not {command.count}: use a new one"
        )


def describe(groups: Groups, group: GroupId, queue: QueueId) -> Described:
    """The queue as this leader knows it now. Raises QueueNotFound, NotLeader."""
    described: Described = accepted(groups.peek(group, ROOM, AttributesOf(queue)))
    return described
