"""The client's unary calls: what reaches the broker, what comes back, and retries that change nothing twice."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from broker.base.errors import (
    InvalidArgument,
    InvalidName,
    NodeNotFound,
    OverLimit,
    QueueNotFound,
    ReceiptHandleExpired,
    Unavailable,
)
from broker.client import calls
from broker.client.client import Client
from broker.client.model import QueueAttributes
from broker.pb.queues.v1 import queues_pb2
from tests.unit.client.fake_broker import FakeCluster, running, until


def client_of(cluster: FakeCluster, timeout: float = 5.0, patience: float = 0.3) -> Client:
    return Client(cluster.addresses, timeout=timeout, patience=patience, chance=Random(1))


async def test_a_queue_is_made_described_changed_and_removed() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a queue made with two attributes
        assert await client.create_queue("orders", visibility_timeout=2.5, receive_wait=1)
        assert not await client.create_queue("orders", visibility_timeout=2.5, receive_wait=1)

        # when it is described
        description = await client.describe_queue("orders")

        # then those are set, in seconds, and the others have their defaults
        assert description.attributes == QueueAttributes(visibility_timeout=2.5, receive_wait=1.0)
        assert description.created_at == 1_700_000_000.0
        assert description.counts.oldest_age is None

        # when it is changed, only that changes
        await client.update_queue("orders", delay=5)
        assert (await client.describe_queue("orders")).attributes == QueueAttributes(2.5, delay=5.0, receive_wait=1.0)

        # when it is removed, it is unknown
        await client.delete_queue("orders")
        with pytest.raises(QueueNotFound, match="'orders'"):
            await client.describe_queue("orders")


async def test_listing_follows_every_page() -> None:
    async with running() as cluster, client_of(cluster) as client:
        for name in ("order-1", "order-2", "order-3", "order-4", "order-5", "mail"):
            cluster.create(name)
        assert [name async for name in client.list_queues("order")] == [f"order-{number}" for number in range(1, 6)]
        assert len([name async for name in client.list_queues()]) == 6


async def test_receive_delete_and_visibility_without_a_stream() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given three messages received
        cluster.create("orders")
        await client.send_many("orders", [b"a", b"b", b"c"])
        first, second, third = await client.receive("orders", 10, wait=0)
        assert (first.body, first.receive_count, first.sent_at) == (b"a", 1, 1_700_000_000.0)

        # when one is deleted, one extended, one given back
        assert await client.delete("orders", [first.receipt_handle]) == [None]
        assert await client.change_visibility("orders", [second.receipt_handle], 60) == [None]
        assert await client.change_visibility("orders", [third.receipt_handle], 0) == [None]

        # then
        queue = cluster.queue("orders")
        assert queue.deleted == [b"a"]
        assert queue.extensions == [(b"b", 60_000)]
        assert [found.body for found in queue.visible] == [b"c"]
        # and the used handle has no power
        refused, done = await client.delete("orders", [first.receipt_handle, second.receipt_handle])
        assert isinstance(refused, ReceiptHandleExpired)
        assert done is None


async def test_purge_empties() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("orders")
        await client.send("orders", b"a")
        await client.purge("orders")
        assert not cluster.queue("orders").visible


async def test_the_brokers_words_reach_the_caller_as_the_exact_error() -> None:
    async with running() as cluster, client_of(cluster) as client:
        with pytest.raises(InvalidName, match="queue name 'a b' has a character that is not allowed"):
            await client.create_queue("a b")
        with pytest.raises(InvalidArgument, match="visibility_timeout is -1"):
            await client.create_queue("orders", visibility_timeout=-1)


async def test_a_call_refused_for_now_is_tried_again() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.refuse_calls = [Unavailable("no quorum"), Unavailable("no quorum")]
        assert await client.create_queue("orders")
        assert cluster.calls.count("CreateQueue") == 3


async def test_what_the_caller_must_change_is_not_tried_again() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("orders")
        cluster.refuse_calls = [OverLimit("120,000 messages are in flight; delete some first")]
        with pytest.raises(OverLimit, match="delete some first"):
            await client.receive("orders")
        assert cluster.calls.count("Receive") == 1


async def test_a_dead_node_is_passed_over() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        cluster.leader = cluster.nodes[2].address
        await cluster.nodes[0].kill()
        assert await client.create_queue("orders")
        await client.describe_queue("orders")


async def test_a_receive_that_waits_at_a_node_that_falls_silent_goes_on_at_the_next_leader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "SILENCE", 0.1)
    async with running(2) as cluster, client_of(cluster) as client:
        first, second = cluster.nodes
        queue = cluster.create("orders")
        first.delivers.clear()
        second.delivers.clear()

        # given two receives that wait at the leader
        waiting = [asyncio.ensure_future(client.receive("orders", wait=20)) for _ in range(2)]
        await until(lambda: len(first.receives) == 2)

        # when it falls silent without a word, and another one leads
        first.speaks.clear()
        cluster.leader = second.address

        # then they wait there, long before their time is over, under the same request ids
        async with asyncio.timeout(10):
            await until(lambda: len(second.receives) == 2)
        assert sorted(map(str, second.receives)) == sorted(map(str, first.receives))
        queue.send(queues_pb2.OutgoingMessage(body=b"a"))
        queue.send(queues_pb2.OutgoingMessage(body=b"b"))
        second.delivers.set()
        assert sorted([[each.body for each in found] for found in await asyncio.gather(*waiting)]) == [[b"a"], [b"b"]]


async def test_a_receive_that_waits_at_a_node_that_is_there_is_left_alone_and_one_asks_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "SILENCE", 0.1)
    async with running(2) as cluster, client_of(cluster) as client:
        leader, other = cluster.nodes
        cluster.create("orders")
        leader.delivers.clear()
        waiting = [asyncio.ensure_future(client.receive("orders", wait=20)) for _ in range(20)]
        await until(lambda: leader.checks == 3)
        leader.delivers.set()
        await asyncio.gather(*waiting)
        assert (len(leader.receives), len(other.receives), other.checks) == (20, 0, 0)
        assert leader.checks < 20


async def test_a_client_without_patience_still_asks_every_node() -> None:
    async with running(3) as cluster, client_of(cluster, patience=0) as client:
        await cluster.nodes[0].kill()
        await cluster.nodes[1].kill()
        assert await client.create_queue("orders")


async def test_the_last_error_is_raised_when_the_time_is_up() -> None:
    async with running() as cluster, client_of(cluster, timeout=0.2) as client:
        cluster.create("orders")
        cluster.refuse_calls = [Unavailable("two of three nodes are lost")] * 100
        with pytest.raises(Unavailable, match="two of three nodes are lost"):
            await client.purge("orders")


async def test_nobody_there_is_said_with_the_address() -> None:
    async with Client("127.0.0.1:1,127.0.0.1:2", patience=0.1) as client:
        with pytest.raises(Unavailable, match=r"no node of 127\.0\.0\.1:1,127\.0\.0\.1:2 answers; .*`make run`"):
            await client.status()
        with pytest.raises(Unavailable, match="is the cluster running"):
            await client.describe_queue("orders")


async def test_status_and_the_nodes_a_client_learns() -> None:
    async with running(3) as cluster, Client(cluster.nodes[0].address, timeout=5.0) as client:
        # given a client that knows one node of three
        cluster.create("orders")
        status = await client.status()

        # then it sees all
        assert [(node.id, node.zone, node.leads) for node in status.nodes] == [
            ("a-0", "a", 1),
            ("b-0", "b", 0),
            ("c-0", "c", 0),
        ]
        assert status.nodes[0].uptime == 61.0
        assert [replica.node for replica in status.groups[0].replicas] == ["a-0", "b-0", "c-0"]

        # when that one dies
        cluster.leader = cluster.nodes[1].address
        await cluster.nodes[0].kill()

        # then the client works on with the others
        await client.send("orders", b"a")


async def test_a_handover_goes_to_the_node_it_names() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        moved = await client.hand_over("b-0")
        assert (moved.handed_over, moved.kept) == (4, 0)
        assert cluster.handed_over == ["b-0"]
        with pytest.raises(NodeNotFound, match=r"no node 'z-9'; the cluster has a-0, b-0, c-0"):
            await client.hand_over("z-9")


async def test_who_cancels_does_not_wait_for_a_cluster_that_is_gone() -> None:
    async with running() as cluster:
        # given a message that nobody acknowledges
        cluster.create("orders")
        cluster.release.clear()
        told: list[BaseException | None] = []

        async def work() -> None:
            async with Client(cluster.addresses, timeout=600.0) as client:
                waiting = await client.producer("orders").enqueue(b"late")
                waiting.add_done_callback(lambda done: told.append(done.exception()))
                await asyncio.Event().wait()

        working = asyncio.ensure_future(work())
        await until(lambda: bool(cluster.queue("orders").stored))

        # when the work is cancelled
        working.cancel()

        # then it ends soon, and the sender is told
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await working
        assert [type(error) for error in told] == [Unavailable]
