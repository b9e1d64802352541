"""Three real processes: a standard queue grows and shrinks, and a leader is killed, while clients send and consume."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

import pytest

from broker.base.errors import BrokerError
from broker.client.client import Client
from broker.client.consumer import Consumer
from loadtest.cluster import LocalCluster
from tests.integration.cluster.test_failures import leader_of, restart

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]

QUEUE = "clicks"
SENDERS = 4
STRIPES = (4, 2, 5, 1, 3)


class Senders:
    """Each sends numbered messages over a stream of its own until it is stopped."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stopping = False
        self.confirmed: set[bytes] = set()

    async def run(self) -> None:
        await asyncio.gather(*(self._send(sender) for sender in range(SENDERS)))

    def stop(self) -> None:
        self._stopping = True

    async def _send(self, sender: int) -> None:
        producer = self._client.producer(QUEUE)
        number = 0
        while not self._stopping:
            bodies = [b"%d.%d" % (sender, number + each) for each in range(20)]
            await producer.send_many(bodies)
            self.confirmed.update(bodies)
            number += 20
            await asyncio.sleep(0.01)
        await producer.close()


class Consumers:
    """``ids``: under which ids each body came."""

    def __init__(self, client: Client) -> None:
        self._consumers = [client.consume(QUEUE, prefetch=200) for _ in range(2)]
        self.ids: dict[bytes, set[str]] = defaultdict(set)

    async def run(self) -> None:
        await asyncio.gather(*(self._consume(consumer) for consumer in self._consumers))

    def stop(self) -> None:
        for consumer in self._consumers:
            consumer.stop()

    async def _consume(self, consumer: Consumer) -> None:
        async with consumer:
            async for message in consumer:
                self.ids[message.body].add(message.id)
                message.ack()


async def restripe(client: Client, stripes: int) -> None:
    """As soon as the groups that the queue has left before are empty."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client.update_queue(QUEUE, stripes=stripes)
                return
            except BrokerError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(0.5)


async def empty(client: Client) -> None:
    async with asyncio.timeout(60):
        while True:
            counts = (await client.describe_queue(QUEUE)).counts
            if counts.visible + counts.in_flight == 0:
                return
            await asyncio.sleep(0.2)


async def test_what_is_confirmed_is_received_and_stored_once(tmp_path: Path) -> None:
    async with LocalCluster(tmp_path) as cluster, Client(cluster.addresses) as client:
        # given a queue in one group, and clients that send and consume
        await client.create_queue(QUEUE, visibility_timeout=10)
        senders, consumers = Senders(client), Consumers(client)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(consumers.run())
            sending = tasks.create_task(senders.run())

            # when it is spread over more groups and fewer, and a leader is killed in between
            for stripes in STRIPES:
                await asyncio.sleep(1)
                await restripe(client, stripes)
                if stripes == max(STRIPES):
                    killed = await leader_of(cluster, client, QUEUE)
                    killed.kill()
                    await asyncio.sleep(1)
                    await restart(killed)
            senders.stop()
            await sending
            await empty(client)
            consumers.stop()
        described = await client.describe_queue(QUEUE)

    # then everything confirmed was received, each message under one id only
    assert described.attributes.stripes == STRIPES[-1]
    assert set(consumers.ids) == senders.confirmed
    assert {body: ids for body, ids in consumers.ids.items() if len(ids) > 1} == {}
    assert len(senders.confirmed) > 1_000
