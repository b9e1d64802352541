"""The client: connects to a cluster, follows its leaders, and offers everything a queue can do.

>>> async def example() -> None:
...     async with Client("127.0.0.1:4001,127.0.0.1:4002,127.0.0.1:4003") as client:
...         await client.create_queue("orders", visibility_timeout=30.0)
...         sent = await client.send("orders", b"one book", attributes={"country": "NZ"}, delay=0)
...         async with client.consume("orders", prefetch=500) as messages:
...             async for message in messages:
...                 print(message.id, message.body)
...                 message.ack()

Durations are seconds, instants seconds since the Unix epoch, sizes bytes. Errors are those of ``broker.base.errors``,
with the broker's own words.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable
from types import TracebackType
from typing import Self, Unpack

import grpc

from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, NodeNotFound
from broker.client.access_keys import KeyCalls
from broker.client.backup import Capturing
from broker.client.browsing import Browsing
from broker.client.calls import Caller, Sessions
from broker.client.channels import Channels, OpenChannel, open_channel, parse_addresses
from broker.client.consumer import Consumer, ConsumerSettings
from broker.client.errors import of_call
from broker.client.handling import Handler, Handling
from broker.client.locating import Locator
from broker.client.membership import Membership
from broker.client.messages import Messages
from broker.client.model import MessageOptions, OutgoingMessage, SentMessage
from broker.client.producer import Producer, ProducerSettings
from broker.client.queues import Queues
from broker.client.redriving import Redriving
from broker.client.retrying import Chance
from broker.client.status import ClusterStatus, HandedOver, status_of
from broker.pb.cluster.v1 import cluster_pb2

_HURRIED_CLOSE = 2.0
"""Seconds: who cancels the work, as Ctrl-C does, wants it to end soon, with or without the cluster."""


class Client(Queues, Messages, Browsing, Redriving, Capturing, Membership, KeyCalls):
    """To be used as an asynchronous context manager, in one event loop, by any number of its tasks.

    ``cluster``: client addresses of some nodes, ``"host:port,host:port"`` or a list; the others are learned.
    ``timeout``: seconds that a call may take with all its attempts. ``patience``: seconds after which a client that no
    node has ever answered gives up. ``credentials``: TLS; None: plain text. Raises InvalidArgument for a bad address.
    """

    def __init__(
        self,
        cluster: str | Iterable[str] = "127.0.0.1:4001,127.0.0.1:4002,127.0.0.1:4003",
        *,
        timeout: float = 30.0,
        patience: float = 2.0,
        credentials: grpc.ChannelCredentials | None = None,
        producer_settings: ProducerSettings | None = None,
        consumer_settings: ConsumerSettings | None = None,
        chance: Chance | None = None,
        opener: OpenChannel | None = None,
    ) -> None:
        self._addresses = parse_addresses(cluster)
        self._opener = opener or open_channel(credentials)
        self._timeout = timeout
        self._patience = patience
        self._producer_settings = producer_settings or ProducerSettings(timeout=timeout)
        self._consumer_settings = consumer_settings or ConsumerSettings()
        self._chance = chance or random.SystemRandom()
        self._producers: dict[str, Producer] = {}
        self._own: list[Producer | Consumer] = []

    async def __aenter__(self) -> Self:
        # A task that fails has told whoever waits for it; the scope logs it, and there is no process to end.
        self._scope = TaskScope("client", lambda _name, _error: None)
        self._channels = Channels(self._addresses, self._opener)
        self._locator = Locator(self._channels, self._chance, patience=self._patience)
        self._caller = Caller(self._channels, self._locator, self._chance, self._timeout, self._patience)
        self._sessions = Sessions(self._chance)
        self._scope.start(self._learn_nodes(), name="learn nodes")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(_HURRIED_CLOSE if isinstance(error, asyncio.CancelledError) else None)

    async def close(self, within: float | None = None) -> None:
        """Waits for what was sent and settled to be confirmed, gives prefetched messages back, ends all connections.

        ``within``: seconds this may take; None: as long as messages may wait for their acknowledgement.
        """
        try:
            with contextlib.suppress(TimeoutError):  # whoever waits for the rest is told that it is not confirmed
                async with asyncio.timeout(within):
                    for stream in [*self._own, *self._producers.values()]:
                        await stream.close()
        finally:
            await self._scope.close()
            await self._channels.close()

    # --- sending

    async def send(self, queue: str, body: bytes, **options: Unpack[MessageOptions]) -> SentMessage:
        """Returns when a quorum has the message on disk; sends that run at once share frames. As ``Producer.send``."""
        return await self._shared_producer(queue).send(body, **options)

    async def send_many(self, queue: str, messages: Iterable[bytes | OutgoingMessage]) -> list[SentMessage]:
        """As ``Producer.send_many``."""
        return await self._shared_producer(queue).send_many(messages)

    def producer(self, queue: str, settings: ProducerSettings | None = None) -> Producer:
        """A stream of its own. It ends with the client, or with its ``close``."""
        producer = Producer(
            queue,
            self._channels,
            self._locator,
            self._scope,
            self._chance,
            settings or self._producer_settings,
        )
        self._own.append(producer)
        return producer

    # --- consuming

    def consume(
        self,
        queue: str,
        *,
        prefetch: int = 500,
        visibility_timeout: float | None = None,
        settings: ConsumerSettings | None = None,
    ) -> Consumer:
        """An asynchronous iterator of messages. ``prefetch``: how many may wait here to be taken.

        Close it (``async with``, or ``close``) to give back at once what nobody took; the client's end does so too.
        """
        consumer = Consumer(
            queue,
            prefetch,
            visibility_timeout,
            self,
            self._channels,
            self._locator,
            self._scope,
            self._chance,
            settings or self._consumer_settings,
        )
        self._own.append(consumer)
        return consumer

    async def run_consumer(
        self,
        queue: str,
        handler: Handler,
        *,
        concurrency: int = 10,
        visibility_timeout: float | None = None,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Calls ``handler`` for every message, up to ``concurrency`` at a time, until ``stop`` is set or the task is
        cancelled. Acks when the handler returns, nacks when it raises, and extends visibility while it works.

        >>> async def example(client: Client) -> None:
        ...     async def handle(message: Message) -> None:
        ...         print(message.body)
        ...     await client.run_consumer("orders", handle, concurrency=20)
        """
        prefetch = max(1, min(1_000, concurrency * 2))
        consumer = self.consume(queue, prefetch=prefetch, visibility_timeout=visibility_timeout)
        async with consumer:
            await Handling(consumer, handler, concurrency, self._scope).run(stop)
        self._own.remove(consumer)

    # --- the cluster

    async def status(self) -> ClusterStatus:
        """Nodes, groups, leaders and lag, as the first node that answers knows them. Raises Unavailable.

        The client is connected to all of them from then on.
        """
        response = await self._caller.call(lambda node: node.cluster.GetStatus, cluster_pb2.GetStatusRequest())
        for node in response.nodes:
            if node.client_address:
                self._channels.at(node.client_address)
        return status_of(response)

    async def hand_over(self, node: str, timeout: float = 5.0) -> HandedOver:
        """Has the node of that id give its leaderships to others. Raises NodeNotFound, Unavailable."""
        nodes = {found.id: found for found in (await self.status()).nodes}
        if node not in nodes:
            raise NodeNotFound(f"there is no node {node!r}; the cluster has {', '.join(sorted(nodes))}")
        endpoint = self._channels.at(nodes[node].client_address)
        request = cluster_pb2.HandOverRequest(timeout_ms=round(timeout * 1000))
        try:
            response = await endpoint.cluster.HandOver(request, timeout=timeout + 2.0)
        except grpc.aio.AioRpcError as error:
            raise of_call(error, endpoint.address) from None
        return HandedOver(response.handed_over, response.kept)

    def _shared_producer(self, queue: str) -> Producer:
        producer = self._producers.get(queue)
        if producer is None:
            producer = self._producers[queue] = Producer(
                queue, self._channels, self._locator, self._scope, self._chance, self._producer_settings
            )
        return producer

    async def _learn_nodes(self) -> None:
        """Connects to the nodes that the caller did not name, so that they are at hand when a leader is lost."""
        try:
            await self.status()
        except BrokerError:
            return  # whoever makes a call meets the same error
