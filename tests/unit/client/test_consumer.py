"""Receiving over streams that break and fall silent: credit, settling, and what is given back."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from broker.base.errors import QueueNotFound, ReceiptHandleExpired, Unavailable
from broker.client.client import Client
from broker.client.consumer import Consumer, ConsumerSettings
from broker.client.message import Message
from broker.pb.queues.v1 import queues_pb2
from tests.unit.client.fake_broker import FakeCluster, running

QUICK = ConsumerSettings(silence=0.15, idle=0.1, closing=1.0)


def client_of(cluster: FakeCluster) -> Client:
    return Client(cluster.addresses, timeout=5.0, patience=0.3, consumer_settings=QUICK, chance=Random(1))


def fill(cluster: FakeCluster, count: int, **attributes: int) -> None:
    queue = cluster.create("orders", **attributes)
    for number in range(count):
        queue.send(queues_pb2.OutgoingMessage(body=b"%d" % number))


async def take(messages: Consumer, count: int) -> list[Message]:
    return [await anext(messages) for _ in range(count)]


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


async def test_messages_arrive_whole_and_acked_ones_are_gone() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given two messages, one with an attribute
        queue = cluster.create("orders")
        attribute = queues_pb2.MessageAttribute(name="n", type="Number", value=b"1")
        queue.send(queues_pb2.OutgoingMessage(body=b"first", attributes=[attribute]))
        queue.send(queues_pb2.OutgoingMessage(body=b"second"))

        # when the first is taken and acked
        async with client.consume("orders") as messages:
            first = await anext(messages)
            await first.ack()
            assert queue.deleted == [b"first"]

        # then it had everything
        assert (first.body, first.receive_count, first.sent_at) == (b"first", 1, 1_700_000_000.0)
        assert first.first_received_at == 1_700_000_000.5
        assert first.attributes["n"].text == "1"
        assert first.id.to_bytes() == queue.stored[0].id
        # and the second, which nobody took, is visible again
        assert [found.body for found in queue.visible] == [b"second"]
        assert queue.in_flight == {}


async def test_acks_of_one_turn_share_a_request() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a hundred messages taken
        fill(cluster, 100)
        async with client.consume("orders", prefetch=100) as messages:
            taken = await take(messages, 100)

            # when all are acked at once
            for message in taken:
                message.ack()
            await messages.flush()

            # then one request carried them all
            assert [len(request.acks) for request in cluster.consume_requests if request.settle] == [100]
            assert cluster.queue("orders").deleted == numbers(100)


async def test_a_nack_brings_the_message_again() -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster, 1)
        async with client.consume("orders") as messages:
            first = await anext(messages)
            first.nack()
            again = await anext(messages)
            assert (again.body, again.receive_count) == (b"0", 2)
            # the first delivery has no power any more
            with pytest.raises(ReceiptHandleExpired):
                await first.ack()
            await again.ack()


async def test_an_extension_carries_its_time() -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster, 1)
        async with client.consume("orders") as messages:
            message = await anext(messages)
            before = message.expires_at
            await message.extend(90.0)
            assert cluster.queue("orders").extensions == [(b"0", 90_000)]
            assert message.expires_at > before + 50


async def test_the_broker_never_has_more_credit_than_prefetch() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given many messages and a prefetch of eight
        fill(cluster, 100)
        async with client.consume("orders", prefetch=8) as messages:
            # when all are taken
            for count in range(1, 101):
                (await anext(messages)).ack()
                # then credit never ran ahead of what was taken by more than the prefetch
                granted = sum(request.credit for request in cluster.consume_requests)
                assert granted <= count + 8
        assert cluster.queue("orders").deleted == numbers(100)


@pytest.mark.parametrize("fault", ["lose_deliveries", "lose_settles"])
async def test_lost_streams_lose_no_message_and_show_none_twice(fault: str) -> None:
    async with running(2) as cluster, client_of(cluster) as client:
        # given a broker that breaks five streams: with a delivery on its way, or a settle request
        fill(cluster, 300)
        setattr(cluster, fault, 5)

        # when everything is consumed
        seen = []
        async with client.consume("orders", prefetch=40) as messages:
            while len(seen) < 300:
                message = await anext(messages)
                seen.append(message.body)
                message.ack()
            await messages.flush()

        # then each was seen once and is gone
        assert sorted(seen) == sorted(numbers(300))
        assert sorted(cluster.queue("orders").deleted) == sorted(numbers(300))
        assert getattr(cluster, fault) == 0
        # and each new stream of the session said how far the last one had come
        openings = [request.open for request in cluster.consume_requests if request.HasField("open")]
        assert len({opening.session for opening in openings}) == 1
        said = [opening.last_delivery for opening in openings]
        assert said == sorted(said)
        assert said[-1] > 0


async def test_a_killed_leader_is_followed() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        # given a consumer with a message in hand
        fill(cluster, 1)
        async with client.consume("orders") as messages:
            first = await anext(messages)

            # when the leader dies and another has the queue
            cluster.leader = cluster.nodes[1].address
            await cluster.nodes[0].kill()
            await first.ack()
            queue = cluster.queue("orders")
            async with queue.changed:
                queue.send(queues_pb2.OutgoingMessage(body=b"later"))
                queue.changed.notify_all()

            # then its ack and the next message pass through that one
            assert (await anext(messages)).body == b"later"
        assert queue.deleted == [b"0"]
        assert cluster.nodes[1].opened.is_set()


async def test_a_leader_that_moved_without_a_word_is_noticed_while_idle() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        # given an idle consumer whose node stops talking
        fill(cluster, 0)
        async with client.consume("orders") as messages:
            waiting = asyncio.ensure_future(anext(messages))
            await asyncio.wait_for(cluster.nodes[0].opened.wait(), 5)
            cluster.nodes[0].speaks.clear()

            # when another leads and gets a message
            cluster.leader = cluster.nodes[1].address
            cluster.queue("orders").send(queues_pb2.OutgoingMessage(body=b"there"))

            # then the consumer goes there by itself
            assert (await asyncio.wait_for(waiting, 5)).body == b"there"


async def test_a_leadership_that_moved_is_followed_though_the_old_node_still_serves() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        # given a consumer that is never idle
        fill(cluster, 0)
        settings = ConsumerSettings(idle=0.02, follow=0.05)
        queue = cluster.queue("orders")
        async with client.consume("orders", settings=settings) as messages:
            waiting = asyncio.ensure_future(anext(messages))
            await asyncio.wait_for(cluster.nodes[0].opened.wait(), 5)

            # when another node takes over in good order
            cluster.leader = cluster.nodes[1].address

            # then the consumer goes there by itself
            await asyncio.wait_for(cluster.nodes[1].opened.wait(), 5)
            async with queue.changed:
                queue.send(queues_pb2.OutgoingMessage(body=b"there"))
                queue.changed.notify_all()
            assert (await asyncio.wait_for(waiting, 5)).body == b"there"


async def test_an_unknown_queue_ends_the_iteration_with_its_name() -> None:
    async with running() as cluster, client_of(cluster) as client:
        with pytest.raises(QueueNotFound, match="'orders'"):
            await anext(client.consume("orders"))


async def test_a_queue_deleted_meanwhile_ends_the_iteration() -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster, 0)
        messages = client.consume("orders")
        waiting = asyncio.ensure_future(anext(messages))
        await asyncio.wait_for(cluster.nodes[0].opened.wait(), 5)
        del cluster.queues["orders"]
        with pytest.raises(QueueNotFound):
            await asyncio.wait_for(waiting, 5)


async def test_close_confirms_acks_and_gives_back_what_nobody_took() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given twenty prefetched messages of which three are taken and two acked
        fill(cluster, 20)
        messages = client.consume("orders", prefetch=20)
        taken = await take(messages, 3)
        taken[0].ack()
        taken[1].ack()

        # when the consumer is closed
        await messages.close()

        # then the acked are gone, the one in hand stays hidden, all others are visible
        queue = cluster.queue("orders")
        assert queue.deleted == [b"0", b"1"]
        assert [found.body for found in queue.in_flight.values()] == [b"2"]
        assert len(queue.visible) == 17
        # and nothing more comes
        with pytest.raises(StopAsyncIteration):
            await anext(messages)
        with pytest.raises(Unavailable, match="closed"):
            await taken[2].ack()


async def test_the_end_of_the_client_closes_its_consumers() -> None:
    async with running() as cluster:
        fill(cluster, 5)
        async with client_of(cluster) as client:
            async for message in client.consume("orders"):
                message.ack()
                break
        queue = cluster.queue("orders")
        assert queue.deleted == [b"0"]
        assert len(queue.visible) == 4


async def test_iteration_ends_for_every_task_when_stopped() -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster, 0)
        messages = client.consume("orders")

        async def count() -> int:
            return len([message async for message in messages])

        tasks = [asyncio.ensure_future(count()) for _ in range(3)]
        await asyncio.wait_for(cluster.nodes[0].opened.wait(), 5)
        messages.stop()
        assert await asyncio.gather(*tasks) == [0, 0, 0]


async def test_a_visibility_timeout_of_ones_own_reaches_the_broker() -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster, 1)
        async with client.consume("orders", visibility_timeout=2.5) as messages:
            await anext(messages)
            assert cluster.consume_requests[0].open.visibility_timeout_ms == 2_500
            assert "DescribeQueue" not in cluster.calls
