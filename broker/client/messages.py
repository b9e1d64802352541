"""The client's calls about messages without a stream: receiving and answering them, withdrawing, exchanging."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from broker.base.errors import BrokerError
from broker.base.ids import MessageId
from broker.base.limits import MAX_RECEIVE_WAIT
from broker.client.calls import Calling
from broker.client.errors import of_info
from broker.client.model import OutgoingMessage, ReceivedMessage, SentMessage
from broker.client.outgoing import add, entry_of
from broker.client.units import to_count, to_millis
from broker.client.wire import received
from broker.pb.queues.v1 import queues_pb2


class Messages(Calling):
    async def receive(
        self,
        queue: str,
        max_messages: int = 1,
        *,
        wait: float | None = None,
        visibility_timeout: float | None = None,
        attempt: str | None = None,
    ) -> list[ReceivedMessage]:
        """Up to ``max_messages``; waits up to ``wait`` seconds for the first. None: the queue's own. ``attempt``: of
        FIFO queues, a name for this attempt: the same within 5 minutes gives the same messages, unless one was settled.

        Raises QueueNotFound, InvalidArgument, NotForStandard, OverLimit.
        """
        # Without a wait of our own the queue's applies, which may be as long as any.
        longest = MAX_RECEIVE_WAIT / 1000 if wait is None else wait
        with self._sessions.request_id() as request_id:
            request = queues_pb2.ReceiveRequest(
                queue=queue,
                max_messages=to_count(max_messages, "max_messages"),
                wait_ms=None if wait is None else to_millis(wait, "wait"),
                visibility_timeout_ms=(
                    None if visibility_timeout is None else to_millis(visibility_timeout, "visibility_timeout")
                ),
                request_id=request_id,
                receive_attempt_id=attempt or "",
            )
            response = await self._caller.call(lambda node: node.queues.Receive, request, queue=queue, extra=longest)
        return [received(message) for message in response.messages]

    async def delete(self, queue: str, receipt_handles: Sequence[bytes]) -> list[BrokerError | None]:
        """Per handle: None when the message is gone for good, else why not (ReceiptHandleExpired, -Invalid)."""
        with self._sessions.request_id() as request_id:
            request = queues_pb2.DeleteRequest(queue=queue, receipt_handles=receipt_handles, request_id=request_id)
            response = await self._caller.call(lambda node: node.queues.Delete, request, queue=queue)
        return _outcomes(len(receipt_handles), response.failed)

    async def change_visibility(
        self, queue: str, receipt_handles: Sequence[bytes], visibility_timeout: float
    ) -> list[BrokerError | None]:
        """So many seconds from now; 0: visible at once. Per handle: None, or why not."""
        timeout_ms = to_millis(visibility_timeout, "visibility_timeout")
        changes = [
            queues_pb2.VisibilityChange(receipt_handle=handle, visibility_timeout_ms=timeout_ms)
            for handle in receipt_handles
        ]
        with self._sessions.request_id() as request_id:
            request = queues_pb2.ChangeVisibilityRequest(queue=queue, changes=changes, request_id=request_id)
            response = await self._caller.call(lambda node: node.queues.ChangeVisibility, request, queue=queue)
        return _outcomes(len(receipt_handles), response.failed)

    async def give_back(self, queue: str, receipt_handles: Sequence[bytes]) -> list[BrokerError | None]:
        """Visible again at once, as if they had not been received: for messages that nobody has looked at. Per handle:
        None, or why not."""
        request = queues_pb2.GiveBackRequest(queue=queue, receipt_handles=receipt_handles)
        response = await self._caller.call(lambda node: node.queues.GiveBack, request, queue=queue)
        return _outcomes(len(receipt_handles), response.failed)

    async def cancel_scheduled(self, queue: str, ids: Sequence[MessageId]) -> list[BrokerError | None]:
        """Withdraws messages that wait for their ``deliver_at``. Per id: None when the message is gone for good, else
        why not (NotScheduled: it is due already, or gone). Raises QueueNotFound, NotForFifo."""
        with self._sessions.request_id() as request_id:
            request = queues_pb2.CancelRequest(
                queue=queue, message_ids=[each.to_bytes() for each in ids], request_id=request_id
            )
            response = await self._caller.call(lambda node: node.queues.Cancel, request, queue=queue)
        return _outcomes(len(ids), response.failed)

    async def exchange(
        self,
        queue: str,
        messages: Iterable[bytes | OutgoingMessage],
        *,
        delete_from: str,
        receipt_handles: Sequence[bytes],
    ) -> list[SentMessage]:
        """Sends ``messages`` to ``queue`` and deletes received messages of ``delete_from``, as one step: all of it or
        nothing. Both queues must live in one group: create one ``beside`` the other.

        Raises DifferentGroups, ReceiptHandleExpired (one of the messages is not held any more), and what ``send``
        raises.

        >>> async def example(client: Client) -> None:
        ...     [order] = await client.receive("orders", wait=10)
        ...     await client.exchange("invoices", [order.body], delete_from="orders",
        ...                           receipt_handles=[order.receipt_handle])
        """
        with self._sessions.request_id() as request_id:
            request = queues_pb2.ExchangeRequest(
                queue=queue, delete_from=delete_from, receipt_handles=receipt_handles, request_id=request_id
            )
            add([entry_of(message) for message in messages], request)
            response = await self._caller.call(lambda node: node.queues.Exchange, request, queue=queue)
        numbers = response.sequence_numbers or [None] * len(response.message_ids)
        return [
            SentMessage(MessageId.from_bytes(raw), number)
            for raw, number in zip(response.message_ids, numbers, strict=True)
        ]


def _outcomes(count: int, failed: Iterable[queues_pb2.EntryError]) -> list[BrokerError | None]:
    outcomes: list[BrokerError | None] = [None] * count
    for refused in failed:
        outcomes[refused.entry] = of_info(refused.error)
    return outcomes
