"""Answers to deliveries, by the handles that consumers hold: delete, hold longer, let go.

A batch goes to the groups that its handles name. This room must not know how a delivery is settled there.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.base.errors import BrokerError, ReceiptHandleExpired, Refusal
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.domain.queues.commands import Results
from broker.domain.queues.validation import check_batch, check_visibility_timeout
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services import handles
from broker.services.replies import Failures
from broker.services.routing import Routing
from broker.services.settling import Batch, ChangeRequest, DeleteRequest, Settling
from broker.services.use_cases import UseCase


class Settlements:
    def __init__(self, groups: Groups, routing: Routing) -> None:
        self._routing = routing
        self._locator = routing.locator
        settling = Settling(groups)
        self._deleting = UseCase("queues.delete", DeleteRequest, Results, settling.delete)
        self._changing = UseCase("queues.change_visibility", ChangeRequest, Results, settling.change_visibility)
        self._locator.serve(self._deleting)
        self._locator.serve(self._changing)

    async def delete(
        self, name: str, receipt_handles: Sequence[bytes], deadline: Millis, request: RequestId | None
    ) -> Failures:
        check_batch(len(receipt_handles))

        async def of_one(queue: QueueId, group: GroupId, places: Sequence[int]) -> Failures:
            batch = Batch([receipt_handles[place] for place in places], queue)
            wanted = DeleteRequest(queue, tuple(batch.handles), request)
            results = await self._locator.on_leader(group, self._deleting, wanted, deadline)
            return _placed(batch.failures(results), places)

        def gone(queue: QueueId, _: GroupId, places: Sequence[int]) -> Failures:
            """With all its messages, which is what was wanted."""
            return _unreadable(receipt_handles, queue, places)

        named = [handles.group_of(handle) for handle in receipt_handles]
        return await self._routing.divided(name, named, of_one, gone, deadline)

    async def change_visibility(
        self,
        name: str,
        receipt_handles: Sequence[bytes],
        timeouts: Sequence[Millis],
        deadline: Millis,
        request: RequestId | None,
        uncounted: bool = False,
    ) -> Failures:
        """``uncounted``: as if they had not been received, visible at once."""
        check_batch(len(receipt_handles))

        async def under(own: RequestId) -> Failures:
            async def of_one(queue: QueueId, group: GroupId, places: Sequence[int]) -> Failures:
                def check(position: int) -> None:
                    check_visibility_timeout(timeouts[places[position]])

                batch = Batch([receipt_handles[place] for place in places], queue, check)
                chosen = tuple(timeouts[places[position]] for position in batch.places)
                wanted = ChangeRequest(queue, tuple(batch.handles), chosen, own, uncounted)
                results = await self._locator.on_leader(group, self._changing, wanted, deadline)
                return _placed(batch.failures(results), places)

            return await self._routing.divided(name, named, of_one, gone, deadline)

        def gone(queue: QueueId, group: GroupId, places: Sequence[int]) -> Failures:
            unreadable = dict(_unreadable(receipt_handles, queue, places))
            expired = Refusal(
                ReceiptHandleExpired.code,
                f"the message was in group {group}, which holds nothing of the queue any more",
            )
            return tuple((place, unreadable.get(place, expired)) for place in places)

        named = [handles.group_of(handle) for handle in receipt_handles]
        return await self._routing.under(request, under)


def _placed(failures: Failures, places: Sequence[int]) -> Failures:
    """From positions in a part of the batch to those in the batch."""
    return tuple((places[position], refusal) for position, refusal in failures)


def _unreadable(receipt_handles: Sequence[bytes], queue: QueueId, places: Sequence[int]) -> Failures:
    failures: list[tuple[int, Refusal]] = []
    for place in places:
        try:
            handles.decode(receipt_handles[place], queue)
        except BrokerError as error:
            failures.append((place, Refusal.of(error)))
    return tuple(failures)
