"""Dead letters and their way back between groups of three real processes, whose leaders are killed meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.client.client import Client
from broker.client.model import OutgoingMessage, QueueCounts, RedrivePolicy
from loadtest.cluster import LocalCluster
from tests.integration.cluster.test_failures import leader_of, restart

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]

ORDERS, DEAD = "orders.fifo", "dead.fifo"
MESSAGES, CUSTOMERS = 2_000, 50
RATE = 500
"""Messages a second that move back: enough for leaders to die meanwhile."""


async def test_leaders_die_while_messages_are_moved_and_none_is_lost_doubled_or_out_of_order(tmp_path: Path) -> None:
    async with LocalCluster(tmp_path / "cluster") as cluster, Client(cluster.addresses) as client:
        await make_queues(client)

        burying = asyncio.ensure_future(bury(client))
        await until(client, ORDERS, lambda counts: counts.moved_total >= MESSAGES // 5)
        await kill_leader(cluster, client, ORDERS)
        await until(client, ORDERS, lambda counts: counts.moved_total >= MESSAGES // 2)
        await kill_leader(cluster, client, DEAD)
        await burying
        assert [(await counts_of(client, name)).visible for name in (ORDERS, DEAD)] == [0, MESSAGES]

        task = await client.start_move(DEAD, rate=RATE)
        await until(client, DEAD, lambda counts: counts.moved_total >= MESSAGES // 5)
        await kill_leader(cluster, client, DEAD)
        await until(client, DEAD, lambda counts: counts.moved_total >= MESSAGES // 2)
        await kill_leader(cluster, client, ORDERS)
        await until(client, DEAD, lambda counts: counts.visible + counts.moving == 0)
        (move,) = await client.list_moves(DEAD)
        assert (move.task, move.status, move.moved) == (task, "completed", MESSAGES)

        check(await drain(client))


async def make_queues(client: Client) -> None:
    await client.create_queue(DEAD)
    await client.create_queue(ORDERS, redrive=RedrivePolicy(DEAD, 1))
    assert (await client.describe_queue(DEAD)).group != (await client.describe_queue(ORDERS)).group
    await client.send_many(
        ORDERS,
        [
            OutgoingMessage(
                b"%d" % number, message_group=f"customer-{number % CUSTOMERS}", deduplication_id=str(number)
            )
            for number in range(MESSAGES)
        ],
    )


async def bury(client: Client) -> None:
    """Receive everything once more than the queue allows, a little at a time, until the dead-letter queue has it."""
    while True:
        await client.receive(ORDERS, max_messages=20, visibility_timeout=0.0)
        counts = await counts_of(client, ORDERS)
        if counts.moved_total == MESSAGES and not counts.moving:
            return


async def kill_leader(cluster: LocalCluster, client: Client, queue: str) -> None:
    node = await leader_of(cluster, client, queue)
    node.kill()
    await restart(node)


async def counts_of(client: Client, queue: str) -> QueueCounts:
    return (await client.describe_queue(queue)).counts


async def until(client: Client, queue: str, holds: Callable[[QueueCounts], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if holds(await counts_of(client, queue)):
                return
            await asyncio.sleep(0.02)


async def drain(client: Client) -> list[tuple[str, int]]:
    """Everything in the order in which it is received: whose it is, and its number."""
    received: list[tuple[str, int]] = []
    while len(received) < MESSAGES or (await counts_of(client, ORDERS)).visible:
        messages = await client.receive(ORDERS, max_messages=1_000, wait=1.0)
        received += [(message.message_group or "", int(message.body)) for message in messages]
        assert {message.origin for message in messages} == {None}
        await client.delete(ORDERS, [message.receipt_handle for message in messages])
    return received


def check(received: list[tuple[str, int]]) -> None:
    by_customer: dict[str, list[int]] = defaultdict(list)
    for customer, number in received:
        by_customer[customer].append(number)
    assert sorted(number for _, number in received) == list(range(MESSAGES)), "messages are lost or doubled"
    for numbers in by_customer.values():
        assert numbers == sorted(numbers), "messages of one customer are out of order"
