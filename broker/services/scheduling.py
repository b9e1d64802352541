"""Withdrawing scheduled messages before their instant, by the ids that sending them gave.

This room must not know how a message is scheduled: that is part of sending it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from broker.base.errors import InvalidArgument, NotForFifo, NotScheduled, Refusal
from broker.base.ids import GroupId, MessageId, QueueId
from broker.base.instants import Millis
from broker.domain.queues.commands import Cancel, Results
from broker.domain.queues.model import is_fifo
from broker.domain.queues.validation import check_batch
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services.locating import Locator
from broker.services.replies import Failures, accepted_as
from broker.services.routing import Routing
from broker.services.sending import ROOM, describe
from broker.services.use_cases import UseCase


class CancelRequest(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId
    messages: tuple[MessageId, ...]
    request: RequestId


class Scheduling:
    def __init__(self, groups: Groups, locator: Locator, routing: Routing) -> None:
        self._groups = groups
        self._routing = routing
        self._cancelling = UseCase("queues.cancel", CancelRequest, Results, self._cancel_here)
        locator.serve(self._cancelling)

    async def cancel(
        self, name: str, message_ids: Sequence[bytes], deadline: Millis, request: RequestId | None
    ) -> Failures:
        check_batch(len(message_ids))
        batch = _Batch(message_ids)

        async def under(own: RequestId) -> Failures:
            async def of_one(queue: QueueId, group: GroupId, places: Sequence[int]) -> Failures:
                wanted = CancelRequest(queue, tuple(batch.messages[place] for place in places), own)
                results = await self._routing.locator.on_leader(group, self._cancelling, wanted, deadline)
                return tuple((places[position], refusal) for position, refusal in results.refused)

            named = [GroupId(message.group) for message in batch.messages]
            return await self._routing.divided(name, named, of_one, gone, deadline)

        def gone(_: QueueId, __: GroupId, places: Sequence[int]) -> Failures:
            if is_fifo(name):
                raise _not_for_fifo(name)
            return tuple((place, _not_in(name, batch.messages[place])) for place in places)

        return batch.failures(await self._routing.under(request, under))

    async def _cancel_here(self, group: GroupId, wanted: CancelRequest, deadline: Millis) -> Results:
        """Raises QueueNotFound, NotForFifo, and what proposing raises."""
        described = describe(self._groups, group, wanted.queue)  # a refusal would be remembered under the id
        if is_fifo(described.name):
            raise _not_for_fifo(described.name)
        if not wanted.messages:
            return Results()
        command = Cancel(wanted.queue, tuple((message.index, message.slot) for message in wanted.messages))
        remaining = Millis(deadline - self._groups.clock.monotonic())
        reply = await self._groups.propose(group, ROOM, command, remaining, wanted.request)
        return accepted_as(Results, reply)


def _not_for_fifo(name: str) -> NotForFifo:
    return NotForFifo(f"FIFO queue {name!r} schedules no messages, so there is nothing to cancel")


def _not_in(name: str, message: MessageId) -> Refusal:
    return Refusal(NotScheduled.code, f"message {message} is not in queue {name!r}")


class _Batch:
    """A caller's message ids: those that can be read, and where in the batch they stood."""

    def __init__(self, message_ids: Sequence[bytes]) -> None:
        self.messages: list[MessageId] = []
        self._places: list[int] = []
        self._refused: list[tuple[int, Refusal]] = []
        for place, raw in enumerate(message_ids):
            try:
                self.messages.append(MessageId.from_bytes(raw))
            except ValueError as error:
                self._refused.append((place, Refusal(InvalidArgument.code, f"{error}: use it as sending gave it")))
            else:
                self._places.append(place)

    def failures(self, refused: Failures) -> Failures:
        far = [(self._places[position], refusal) for position, refusal in refused]
        return tuple(sorted(self._refused + far))
