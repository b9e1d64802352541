"""Settling deliveries on the queue's leader: delete, and change how long they stay invisible.

This room must not know names of queues or where leaders are: the service above has found both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from broker.base.errors import BrokerError, Refusal
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.domain.queues.commands import ChangeVisibility, Delete, Results
from broker.domain.queues.model import Handle
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services import handles
from broker.services.replies import Failures, accepted_as
from broker.services.sending import ROOM, describe


class DeleteRequest(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId
    handles: tuple[Handle, ...]
    request: RequestId | None


class ChangeRequest(msgspec.Struct, frozen=True, array_like=True):
    """``timeouts`` in milliseconds, one per handle. ``uncounted``: what becomes visible was not seen by anybody."""

    queue: QueueId
    handles: tuple[Handle, ...]
    timeouts: tuple[Millis, ...]
    request: RequestId | None
    uncounted: bool = False


class Settling:
    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    async def delete(self, group: GroupId, wanted: DeleteRequest, deadline: Millis) -> Results:
        return await self._settle(group, Delete(wanted.queue, wanted.handles), deadline, wanted.request)

    async def change_visibility(self, group: GroupId, wanted: ChangeRequest, deadline: Millis) -> Results:
        command = ChangeVisibility(wanted.queue, wanted.handles, wanted.timeouts, wanted.uncounted)
        return await self._settle(group, command, deadline, wanted.request)

    async def _settle(
        self, group: GroupId, command: Delete | ChangeVisibility, deadline: Millis, request: RequestId | None
    ) -> Results:
        """Raises QueueNotFound and what proposing raises."""
        describe(self._groups, group, command.queue)  # a refusal would be remembered under ``request``
        if not command.handles:
            return Results()
        remaining = Millis(deadline - self._groups.clock.monotonic())
        return accepted_as(Results, await self._groups.propose(group, ROOM, command, remaining, request))


class Batch:
    """A caller's batch of handles: those that can be read, and where in the batch they stood."""

    def __init__(
        self,
        receipt_handles: Sequence[bytes],
        queue: QueueId,
        check: Callable[[int], None] | None = None,
    ) -> None:
        """``check(position)`` raises a BrokerError for an entry that is wrong in another way."""
        self.handles: list[Handle] = []
        self.places: list[int] = []
        self._refused: list[tuple[int, Refusal]] = []
        for place, receipt_handle in enumerate(receipt_handles):
            try:
                if check is not None:
                    check(place)
                handle = handles.decode(receipt_handle, queue)
            except BrokerError as error:
                self._refused.append((place, Refusal.of(error)))
            else:
                self.handles.append(handle)
                self.places.append(place)

    def failures(self, results: Results) -> Failures:
        """All failures of the batch, by position in it."""
        if not results.refused and not self._refused:
            return ()
        far = [(self.places[position], refusal) for position, refusal in results.refused]
        return tuple(sorted(self._refused + far))
