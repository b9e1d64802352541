"""Three real processes: leaders are killed and frozen while one client sends to a FIFO queue and two handle it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

import pytest

from broker.client.client import Client
from broker.client.message import Message
from broker.client.model import QueueOptions
from loadtest.cluster import LocalCluster
from tests.integration.cluster.test_failures import freeze, leader_of, restart, thaw

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]

QUEUE = "payments.fifo"
GROUPS = 8
MESSAGES = 4_000
WHOLE: QueueOptions = {}
SPREAD: QueueOptions = {
    "deduplication_scope": "message_group",
    "throughput_limit": "message_group",
    "stripes": 3,
}


class Sender:
    """Sends numbered messages to the groups in turn, each under its number, and counts those confirmed."""

    def __init__(self, client: Client) -> None:
        self._producer = client.producer(QUEUE)
        self._confirmed = 0

    async def send_all(self) -> None:
        for number in range(MESSAGES):
            sent = await self._producer.enqueue(
                b"%d" % number, message_group=f"group-{number % GROUPS}", deduplication_id=f"{number}"
            )
            sent.add_done_callback(self._count)
            await asyncio.sleep(0.001)
        await self._producer.flush()

    async def confirmed(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self._confirmed < count:  # noqa: ASYNC110  # what another task counts has no event
                await asyncio.sleep(0.01)

    def _count(self, sent: asyncio.Future[object]) -> None:
        self._confirmed += sent.exception() is None


class Handled:
    """What the handlers have seen, by message group."""

    def __init__(self) -> None:
        self.by_group: dict[str, list[int]] = defaultdict(list)
        self.stop = asyncio.Event()
        self._seen: set[int] = set()

    async def handle(self, message: Message) -> None:
        number = int(message.body)
        self.by_group[message.message_group or ""].append(number)
        self._seen.add(number)
        if len(self._seen) == MESSAGES:
            self.stop.set()


@pytest.mark.parametrize("options", [WHOLE, SPREAD], ids=["whole", "spread"])
async def test_each_group_arrives_in_the_order_of_sending(tmp_path: Path, options: QueueOptions) -> None:
    async with LocalCluster(tmp_path / "cluster") as cluster, Client(cluster.addresses) as client:
        # given a client that sends as fast as it can, and two handlers
        await client.create_queue(QUEUE, visibility_timeout=5.0, **options)
        sender, handled = Sender(client), Handled()
        handling = [
            asyncio.ensure_future(client.run_consumer(QUEUE, handled.handle, concurrency=4, stop=handled.stop))
            for _ in range(2)
        ]
        sending = asyncio.ensure_future(sender.send_all())

        # when one leader is killed and the next one freezes
        await sender.confirmed(MESSAGES // 4)
        killed = await leader_of(cluster, client, QUEUE)
        killed.kill()
        await sender.confirmed(MESSAGES // 2)
        await restart(killed)
        frozen = await leader_of(cluster, client, QUEUE)
        freeze(frozen)
        await sender.confirmed(MESSAGES * 3 // 4)
        thaw(frozen)
        await sending
        async with asyncio.timeout(90):
            await asyncio.gather(*handling)

        # then each message is stored once, and first handled in the order of its group
        assert (await client.describe_queue(QUEUE)).counts.sent_total == MESSAGES
        for group in range(GROUPS):
            first_seen = list(dict.fromkeys(handled.by_group[f"group-{group}"]))
            assert first_seen == list(range(group, MESSAGES, GROUPS))
