"""The client's calls about queues as wholes: making, changing, listing, describing, emptying and removing them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Unpack

from broker.base.errors import InvalidArgument
from broker.base.limits import LIST_PAGE
from broker.client.calls import Calling
from broker.client.model import QueueDescription, QueueOptions
from broker.client.wire import described, wire_attributes
from broker.pb.queues.v1 import queues_pb2


class Queues(Calling):
    async def create_queue(self, name: str, *, beside: str | None = None, **options: Unpack[QueueOptions]) -> bool:
        """Whether the queue is new; False: it was there, with equal attributes. ``options``: see QueueOptions.
        ``beside``: a queue in whose group this one is to live, so that ``exchange`` works between the two.

        Raises InvalidName, InvalidArgument, QueueExists (it is there with other attributes), NotForStandard (an option
        of FIFO queues), RedriveTargetInvalid, RedriveNotAllowed.
        """
        with self._sessions.request_id() as request_id:
            request = queues_pb2.CreateQueueRequest(
                name=name, attributes=wire_attributes(options), request_id=request_id, beside=beside or ""
            )
            return (await self._caller.call(lambda node: node.queues.CreateQueue, request)).created

    async def update_queue(self, name: str, *, remove_redrive: bool = False, **options: Unpack[QueueOptions]) -> None:
        """Changes only what is given. ``remove_redrive``: no dead-letter queue any more.

        Raises QueueNotFound, FixedAttribute (it cannot be changed after creation), and what ``create_queue`` raises.
        """
        if remove_redrive and options.get("redrive") is not None:
            raise InvalidArgument("remove_redrive and redrive were given: give one of the two")
        with self._sessions.request_id() as request_id:
            request = queues_pb2.UpdateQueueRequest(
                name=name, attributes=wire_attributes(options), request_id=request_id, remove_redrive=remove_redrive
            )
            await self._caller.call(lambda node: node.queues.UpdateQueue, request, queue=name)

    async def delete_queue(self, name: str) -> None:
        """With all its messages. Raises QueueNotFound."""
        with self._sessions.request_id() as request_id:
            request = queues_pb2.DeleteQueueRequest(name=name, request_id=request_id)
            await self._caller.call(lambda node: node.queues.DeleteQueue, request)

    async def list_queues(self, prefix: str = "") -> AsyncIterator[str]:
        """Names in ascending order.

        >>> async def example(client: Client) -> None:
        ...     async for name in client.list_queues("order"):
        ...         print(name)
        """
        token = ""
        while True:
            request = queues_pb2.ListQueuesRequest(prefix=prefix, page_size=LIST_PAGE, page_token=token)
            response = await self._caller.call(lambda node: node.queues.ListQueues, request)
            for name in response.names:
                yield name
            token = response.next_page_token
            if not token:
                return

    async def describe_queue(self, name: str) -> QueueDescription:
        """Attributes and exact counts. Raises QueueNotFound."""
        request = queues_pb2.DescribeQueueRequest(name=name)
        return described((await self._caller.call(lambda node: node.queues.DescribeQueue, request, queue=name)).queue)

    async def purge(self, queue: str) -> None:
        """Drops every message. Raises QueueNotFound; PurgeInProgress within 60 s of the last purge."""
        with self._sessions.request_id() as request_id:
            request = queues_pb2.PurgeQueueRequest(name=queue, request_id=request_id)
            await self._caller.call(lambda node: node.queues.PurgeQueue, request, queue=queue)
