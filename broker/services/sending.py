"""Sending on the queue's leader: check the batch against the queue's own limit, one command, one log entry.

This room must not know names of queues or where leaders are: the service above has found both.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import MessageTooLong, Refusal
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis, WallMillis
from broker.domain.queues.commands import Send, Sent
from broker.domain.queues.model import Described
from broker.domain.queues.questions import AttributesOf
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services.outgoing import Packed
from broker.services.replies import accepted, accepted_as

ROOM = "queues"

_encoder = msgspec.msgpack.Encoder()
_raw_array = msgspec.msgpack.Decoder(list[msgspec.Raw])


class SendRequest(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId
    packed: Packed
    request: RequestId | None


class SendAnswer(msgspec.Struct, frozen=True, array_like=True):
    """Those not in ``refused`` (positions in the packed batch, ascending) have the ids (group, ``index``, 0 ...)."""

    group: GroupId
    index: int
    count: int
    at: WallMillis
    refused: tuple[tuple[int, Refusal], ...] = ()


class Sending:
    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    async def send(self, group: GroupId, wanted: SendRequest, deadline: Millis) -> SendAnswer:
        """Raises QueueNotFound and what proposing raises."""
        described = describe(self._groups, group, wanted.queue)
        limit = described.attributes.message_size_limit
        packed = wanted.packed
        refused: tuple[tuple[int, Refusal], ...] = ()
        largest = max(packed.sizes, default=0)
        if largest > limit:
            packed, refused = _without_too_long(packed, limit)
            largest = max(packed.sizes, default=0)
        if not packed.sizes:
            return SendAnswer(group, 0, 0, WallMillis(0), refused)
        delays = None
        if packed.delays is not None:
            own = described.attributes.delay
            delays = tuple(own if delay is None else delay for delay in packed.delays)
        command = Send(wanted.queue, len(packed.sizes), largest, delays, packed.messages)
        remaining = Millis(deadline - self._groups.clock.monotonic())
        reply = accepted_as(Sent, await self._groups.propose(group, ROOM, command, remaining, wanted.request))
        return SendAnswer(group, reply.index, reply.count, reply.at, refused)


def describe(groups: Groups, group: GroupId, queue: QueueId) -> Described:
    """The queue as this leader knows it now. Raises QueueNotFound, NotLeader."""
    described: Described = accepted(groups.peek(group, ROOM, AttributesOf(queue)))
    return described


def _without_too_long(packed: Packed, limit: int) -> tuple[Packed, tuple[tuple[int, Refusal], ...]]:
    refused = tuple(
        (place, Refusal(MessageTooLong.code, f"the message has {size} bytes, the queue takes at most {limit}"))
        for place, size in enumerate(packed.sizes)
        if size > limit
    )
    messages = _raw_array.decode(packed.messages)
    kept = [place for place, size in enumerate(packed.sizes) if size <= limit]
    delays = None if packed.delays is None else [packed.delays[place] for place in kept]
    encoded = msgspec.Raw(_encoder.encode([messages[place] for place in kept]))
    return Packed([packed.sizes[place] for place in kept], delays, encoded), refused
