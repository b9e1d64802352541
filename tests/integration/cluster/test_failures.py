"""Three real processes on real disks: processes are killed and stopped under load, and nothing confirmed is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.base.errors import ServiceError, Unavailable
from broker.client.client import Client
from loadtest.cluster import BrokerProcess, LocalCluster, wait_ready
from loadtest.many import scrape, value_in
from tests.integration.cluster.traffic import Traffic, check, drain

RECEIVE_RESUMES_SECONDS = 8.0
"""Two of silence, an election, and a machine that has other things to do. Without asking, it takes the 12 after which a
connection counts as dead."""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(tmp_path / "cluster") as started:
        yield started


@pytest.fixture
async def client(cluster: LocalCluster) -> AsyncIterator[Client]:
    async with Client(cluster.addresses) as connected:
        yield connected


async def leader_of(cluster: LocalCluster, client: Client, queue: str) -> BrokerProcess:
    return cluster.nodes[(await client.describe_queue(queue)).leader]


async def a_follower(cluster: LocalCluster, client: Client, queue: str) -> BrokerProcess:
    leader = await leader_of(cluster, client, queue)
    return next(node for node in cluster.nodes.values() if node is not leader)


async def restart(node: BrokerProcess) -> None:
    await node.ended(10.0)
    node.start()
    await wait_ready(node)


def freeze(node: BrokerProcess) -> None:
    assert node.pid is not None
    os.kill(node.pid, signal.SIGSTOP)


def thaw(node: BrokerProcess) -> None:
    assert node.pid is not None
    os.kill(node.pid, signal.SIGCONT)


@pytest.mark.parametrize("victim_of", [leader_of, a_follower])
async def test_a_node_killed_under_load_loses_nothing(cluster: LocalCluster, client: Client, victim_of: object) -> None:
    async with Traffic(client, "killed") as traffic:
        await traffic.more(500)
        victim = await victim_of(cluster, client, "killed")  # type: ignore[operator]
        victim.kill()
        await traffic.more(500)
        await restart(victim)
        await traffic.more(500)
    assert traffic.failed == {}
    check(traffic, await drain(client, "killed", len(traffic.confirmed)))


@pytest.mark.parametrize("victim_of", [leader_of, a_follower])
async def test_a_node_that_freezes_under_load_loses_nothing(
    cluster: LocalCluster, client: Client, victim_of: object
) -> None:
    async with Traffic(client, "frozen") as traffic:
        await traffic.more(500)
        victim = await victim_of(cluster, client, "frozen")  # type: ignore[operator]
        freeze(victim)
        await traffic.more(500)
        thaw(victim)
        await traffic.more(500)
    assert traffic.failed == {}
    check(traffic, await drain(client, "frozen", len(traffic.confirmed)))


async def test_a_receive_that_waits_at_a_leader_that_freezes_goes_on_at_the_next_one(
    cluster: LocalCluster, client: Client
) -> None:
    # given a receive that waits at the leader
    await client.create_queue("frozen", visibility_timeout=60.0)
    leader = await leader_of(cluster, client, "frozen")
    waiting = asyncio.ensure_future(client.receive("frozen", wait=20.0))
    await polls_wait_at(leader)

    # when the leader freezes, and a message comes to the one that follows it
    freeze(leader)
    frozen_at = asyncio.get_running_loop().time()
    try:
        async with Client(cluster.addresses) as other:
            await other.send("frozen", b"1")
            # then the receive gets it, long before its time is over: by now another node was asked
            [message] = await waiting
            assert asyncio.get_running_loop().time() - frozen_at < RECEIVE_RESUMES_SECONDS
    finally:
        thaw(leader)

    # and it was received once, also for the one that wakes up
    assert message.body == b"1"
    found = (await client.describe_queue("frozen")).counts
    assert (found.visible, found.in_flight, found.received_total) == (0, 1, 1)
    assert await client.delete("frozen", [message.receipt_handle]) == [None]
    assert await client.receive("frozen", wait=0.0) == []


async def polls_wait_at(node: BrokerProcess) -> None:
    async with asyncio.timeout(20):
        while value_in((await scrape(node))[1], 'broker_admission_held{what="polls"}') < 1:
            pass


async def test_a_stopping_node_hands_over_and_no_caller_sees_an_error(cluster: LocalCluster, client: Client) -> None:
    async with Traffic(client, "stopped") as traffic:
        await traffic.more(500)
        victim = await leader_of(cluster, client, "stopped")
        victim.terminate()
        await victim.ended(20.0)
        await traffic.more(500)
    assert traffic.failed == {}
    check(traffic, await drain(client, "stopped", len(traffic.confirmed)))


async def test_without_a_quorum_writes_are_refused_in_time_and_nothing_is_lost(
    cluster: LocalCluster, client: Client
) -> None:
    async with Traffic(client, "minority") as traffic:
        await traffic.more(500)
    first, second, _ = cluster.nodes.values()
    first.kill()
    second.kill()
    async with asyncio.timeout(60):
        async with Client(cluster.addresses, timeout=8.0) as patient:
            with pytest.raises(ServiceError) as refused:
                await patient.send("minority", b"-1")
            with pytest.raises(Unavailable, match="fewer than 2 of its 3 replicas") as told:
                await patient.describe_queue("minority")
    assert refused.value.retryable
    assert told.value.retryable
    await asyncio.gather(restart(first), restart(second))
    received = await drain(client, "minority", len(traffic.confirmed))
    check(traffic, [number for number in received if number >= 0])


async def test_a_cluster_killed_as_a_whole_has_everything_when_it_returns(cluster: LocalCluster) -> None:
    async with Client(cluster.addresses) as client, Traffic(client, "blackout") as traffic:
        await traffic.more(2_000)
    for node in cluster.nodes.values():
        node.kill()
    for node in cluster.nodes.values():
        await node.ended(10.0)
        node.start()
    await asyncio.gather(*(wait_ready(node) for node in cluster.nodes.values()))
    async with Client(cluster.addresses) as client:
        check(traffic, await drain(client, "blackout", len(traffic.confirmed)))
