"""The unary calls: everything about queues, and sending, receiving and settling without a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from broker.base.errors import BrokerError
from broker.base.limits import LIST_PAGE, MAX_RECEIVE_WAIT
from broker.client.calls import Caller, Sessions
from broker.client.errors import of_info
from broker.client.model import QueueDescription, ReceivedMessage, described, received, to_millis
from broker.pb.queues.v1 import queues_pb2


def wire_attributes(
    visibility_timeout: float | None,
    delay: float | None,
    retention: float | None,
    message_size_limit: int | None,
    receive_wait: float | None,
) -> queues_pb2.QueueAttributes:
    """Seconds to milliseconds; what is None stays unset."""

    def millis(seconds: float | None, what: str) -> int | None:
        return None if seconds is None else to_millis(seconds, what)

    return queues_pb2.QueueAttributes(
        visibility_timeout_ms=millis(visibility_timeout, "visibility_timeout"),
        delay_ms=millis(delay, "delay"),
        retention_ms=millis(retention, "retention"),
        message_size_limit=message_size_limit,
        receive_wait_ms=millis(receive_wait, "receive_wait"),
    )


class Queues:
    """The calls; ``Client`` documents them to callers."""

    def __init__(self, caller: Caller, sessions: Sessions) -> None:
        self._caller = caller
        self._sessions = sessions

    async def create(self, name: str, attributes: queues_pb2.QueueAttributes) -> bool:
        with self._sessions.request_id() as request_id:
            request = queues_pb2.CreateQueueRequest(name=name, attributes=attributes, request_id=request_id)
            return (await self._caller.call(lambda node: node.queues.CreateQueue, request)).created

    async def update(self, name: str, attributes: queues_pb2.QueueAttributes) -> None:
        with self._sessions.request_id() as request_id:
            request = queues_pb2.UpdateQueueRequest(name=name, attributes=attributes, request_id=request_id)
            await self._caller.call(lambda node: node.queues.UpdateQueue, request, queue=name)

    async def delete(self, name: str) -> None:
        with self._sessions.request_id() as request_id:
            request = queues_pb2.DeleteQueueRequest(name=name, request_id=request_id)
            await self._caller.call(lambda node: node.queues.DeleteQueue, request)

    async def names(self, prefix: str) -> AsyncIterator[str]:
        token = ""
        while True:
            request = queues_pb2.ListQueuesRequest(prefix=prefix, page_size=LIST_PAGE, page_token=token)
            response = await self._caller.call(lambda node: node.queues.ListQueues, request)
            for name in response.names:
                yield name
            token = response.next_page_token
            if not token:
                return

    async def describe(self, name: str) -> QueueDescription:
        request = queues_pb2.DescribeQueueRequest(name=name)
        return described((await self._caller.call(lambda node: node.queues.DescribeQueue, request, queue=name)).queue)

    async def purge(self, name: str) -> None:
        with self._sessions.request_id() as request_id:
            request = queues_pb2.PurgeQueueRequest(name=name, request_id=request_id)
            await self._caller.call(lambda node: node.queues.PurgeQueue, request, queue=name)

    async def receive(
        self, queue: str, max_messages: int, wait: float | None, visibility_timeout: float | None
    ) -> list[ReceivedMessage]:
        # Without a wait of our own the queue's applies, which may be as long as any.
        longest = MAX_RECEIVE_WAIT / 1000 if wait is None else wait
        with self._sessions.request_id() as request_id:
            request = queues_pb2.ReceiveRequest(
                queue=queue,
                max_messages=max_messages,
                wait_ms=None if wait is None else to_millis(wait, "wait"),
                visibility_timeout_ms=(
                    None if visibility_timeout is None else to_millis(visibility_timeout, "visibility_timeout")
                ),
                request_id=request_id,
            )
            response = await self._caller.call(lambda node: node.queues.Receive, request, queue=queue, extra=longest)
        return [received(message) for message in response.messages]

    async def delete_messages(self, queue: str, handles: Sequence[bytes]) -> list[BrokerError | None]:
        with self._sessions.request_id() as request_id:
            request = queues_pb2.DeleteRequest(queue=queue, receipt_handles=handles, request_id=request_id)
            response = await self._caller.call(lambda node: node.queues.Delete, request, queue=queue)
        return _outcomes(len(handles), response.failed)

    async def change_visibility(
        self, queue: str, handles: Sequence[bytes], visibility_timeout: float
    ) -> list[BrokerError | None]:
        timeout_ms = to_millis(visibility_timeout, "visibility_timeout")
        with self._sessions.request_id() as request_id:
            request = queues_pb2.ChangeVisibilityRequest(
                queue=queue,
                changes=[
                    queues_pb2.VisibilityChange(receipt_handle=handle, visibility_timeout_ms=timeout_ms)
                    for handle in handles
                ],
                request_id=request_id,
            )
            response = await self._caller.call(lambda node: node.queues.ChangeVisibility, request, queue=queue)
        return _outcomes(len(handles), response.failed)


def _outcomes(count: int, failed: Iterable[queues_pb2.EntryError]) -> list[BrokerError | None]:
    outcomes: list[BrokerError | None] = [None] * count
    for refused in failed:
        outcomes[refused.entry] = of_info(refused.error)
    return outcomes
