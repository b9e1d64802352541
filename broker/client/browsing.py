"""The client's calls that look into a queue without receiving: its messages one after the other, and a census."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from broker.client.calls import Calling
from broker.client.model import BrowsedMessage, Census, Instant, State
from broker.client.units import to_epoch_millis
from broker.client.wire import browsed, census_of, wire_state
from broker.pb.queues.v1 import queues_pb2

_PAGE = 500


class Browsing(Calling):
    async def browse(
        self,
        queue: str,
        *,
        states: Collection[State] = (),
        since: Instant | None = None,
        until: Instant | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[BrowsedMessage]:
        """The messages of the queue in the order in which they were sent, page by page, without receiving them.

        ``states``: only those; none: all. ``since``, ``until``: sent at the one instant or later, and before the other.
        ``limit``: at most so many. Raises QueueNotFound, InvalidArgument.

        >>> async def example(client: Client) -> None:
        ...     async for message in client.browse("orders", states=["delayed"]):
        ...         print(message.id, message.until, message.body)
        """
        request = queues_pb2.BrowseRequest(
            queue=queue,
            states=[wire_state(state) for state in states],
            since=0 if since is None else to_epoch_millis(since, "since"),
            until=None if until is None else to_epoch_millis(until, "until"),
        )
        left = limit
        while left is None or left > 0:
            request.page_size = _PAGE if left is None else min(left, _PAGE)
            response = await self._caller.call(lambda node: node.queues.Browse, request, queue=queue)
            for message in response.messages:
                yield browsed(message)
            if left is not None:
                left -= len(response.messages)
            request.page_token = response.next_page_token
            if not request.page_token:
                return

    async def census(self, queue: str) -> Census:
        """How old the queue's messages are, and which message groups have most of them. Raises QueueNotFound."""
        request = queues_pb2.CensusRequest(queue=queue)
        return census_of(await self._caller.call(lambda node: node.queues.Census, request, queue=queue))
