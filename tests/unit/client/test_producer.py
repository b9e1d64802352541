"""Sending over streams that break, fall silent and refuse: every message stored once, every sender told the truth."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from broker.base.errors import (
    BrokerError,
    DeadlineExceeded,
    DiskFull,
    InvalidArgument,
    MessageTooLong,
    NotLeader,
    Overloaded,
    QueueNotFound,
    Unavailable,
)
from broker.client.client import Client
from broker.client.coalescing import FrameLimits
from broker.client.errors import PartlyRefused
from broker.client.model import Attribute, OutgoingMessage
from broker.client.producer import ProducerSettings
from tests.unit.client.fake_broker import FakeCluster, running, settle_down, until

QUICK = ProducerSettings(timeout=5.0, silence=0.1)


def client_of(cluster: FakeCluster, settings: ProducerSettings = QUICK, timeout: float = 5.0) -> Client:
    return Client(cluster.addresses, timeout=timeout, patience=0.3, producer_settings=settings, chance=Random(1))


def bodies(count: int) -> list[bytes]:
    return [b"message %d" % number for number in range(count)]


async def test_a_message_arrives_with_its_attributes_and_delay() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a queue
        cluster.create("orders")

        # when a message with everything is sent
        attributes = {"text": "é", "count": 12, "raw": b"\x00", "own": Attribute("Number.euro", b"1.5")}
        sent = await client.send("orders", b"body", attributes=attributes, delay=1.5)

        # then the broker has it as it was, and its id is the broker's
        (stored,) = cluster.queue("orders").stored
        assert stored.body == b"body"
        assert stored.delay_ms == 1_500
        assert {(found.name, found.type, found.value) for found in stored.attributes} == {
            ("text", "String", "é".encode()),
            ("count", "Number", b"12"),
            ("raw", "Binary", b"\x00"),
            ("own", "Number.euro", b"1.5"),
        }
        assert sent.id.to_bytes() == stored.id


async def test_sends_that_run_at_once_share_a_frame() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given an open stream
        cluster.create("orders")
        await client.send("orders", b"first")

        # when a hundred tasks send at once
        sent = await asyncio.gather(*(client.send("orders", body) for body in bodies(100)))

        # then one frame has them all, and each task got its own id
        assert [len(request.messages) for request in cluster.produce_requests] == [1, 100]
        assert [found.id.to_bytes() for found in sent] == [stored.id for stored in cluster.queue("orders").stored[1:]]


async def test_no_more_frames_than_the_window_are_on_their_way() -> None:
    settings = ProducerSettings(timeout=5.0, frames=FrameLimits(max_messages=1), silence=5.0)
    async with running() as cluster, client_of(cluster, settings) as client:
        # given a window of three, and a broker that acknowledges nothing for now
        cluster.create("orders")
        cluster.window = 3
        cluster.release.clear()

        # when ten frames want to go
        sending = asyncio.ensure_future(client.send_many("orders", bodies(10)))
        producer = client._shared_producer("orders")
        await until(lambda: len([frame for frame in producer._outbox.unacknowledged if frame.sent_at]) == 3)
        await settle_down()

        # then three are on their way
        assert len([frame for frame in producer._outbox.unacknowledged if frame.sent_at]) == 3
        # and all go in order once it acknowledges
        cluster.release.set()
        assert len(await sending) == 10
        assert cluster.bodies("orders") == bodies(10)


@pytest.mark.parametrize("fault", ["lose_frames", "lose_acknowledgements"])
async def test_a_stream_lost_mid_frame_loses_and_doubles_nothing(fault: str) -> None:
    settings = ProducerSettings(timeout=5.0, frames=FrameLimits(max_messages=7), silence=0.5)
    async with running(3) as cluster, client_of(cluster, settings) as client:
        # given a broker that breaks five streams, each with a frame on its way
        cluster.create("orders")
        setattr(cluster, fault, 5)

        # when messages are sent
        sent = await client.send_many("orders", bodies(200))

        # then each is stored once, and the ids are those of the first storing
        assert sorted(cluster.bodies("orders")) == sorted(bodies(200))
        by_id = {stored.id: stored.body for stored in cluster.queue("orders").stored}
        assert [by_id[found.id.to_bytes()] for found in sent] == bodies(200)
        # and frames that went again had their numbers
        numbers = [request.frame for request in cluster.produce_requests]
        assert len(numbers) > len(set(numbers))


async def test_a_killed_leader_costs_one_reconnection() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        # given a producer at work
        cluster.create("orders")
        await client.send("orders", b"before")

        # when the leader is killed and another takes over
        cluster.leader = cluster.nodes[1].address
        await cluster.nodes[0].kill()
        await client.send_many("orders", bodies(50))

        # then the message went to the new one
        assert cluster.nodes[1].opened.is_set()
        assert cluster.bodies("orders") == [b"before", *bodies(50)]


async def test_while_the_others_still_name_a_dead_leader_the_client_waits_for_the_new_one() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        # given a killed leader that the others still believe in
        cluster.create("orders")
        await client.send("orders", b"before")
        await cluster.nodes[0].kill()
        sending = asyncio.ensure_future(client.send("orders", b"after"))
        asked = cluster.located
        await until(lambda: cluster.located > asked + 6)
        assert not sending.done()

        # when they elect another
        cluster.leader = cluster.nodes[2].address

        # then the message goes there
        await sending
        assert cluster.nodes[2].opened.is_set()
        assert cluster.bodies("orders") == [b"before", b"after"]


async def test_a_silent_leader_is_given_up() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        # given a leader that accepts everything and answers nothing
        cluster.create("orders")
        await client.send("orders", b"before")
        cluster.nodes[0].speaks.clear()
        cluster.leader = cluster.nodes[1].address

        # when a message is sent
        await client.send("orders", b"after")

        # then it went to the other after the time a stream may be silent
        assert cluster.nodes[1].opened.is_set()
        assert cluster.bodies("orders") == [b"before", b"after"]


async def test_a_leadership_that_moved_is_followed_though_the_old_node_still_serves() -> None:
    settings = ProducerSettings(timeout=5.0, silence=1.0, follow=0.05)
    async with running(3) as cluster, client_of(cluster, settings) as client:
        # given a producer at its leader
        cluster.create("orders")
        await client.send("orders", b"before")

        # when another node takes over in good order, and the old one would forward
        cluster.leader = cluster.nodes[1].address
        asked = cluster.located
        await until(lambda: cluster.located > asked)
        await settle_down()
        await client.send("orders", b"after")

        # then the client went to the new one by itself
        await until(cluster.nodes[1].opened.is_set)
        assert cluster.bodies("orders") == [b"before", b"after"]


async def test_a_message_the_queue_does_not_take_fails_alone() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a queue for small messages
        cluster.create("small", message_size_limit=1_024)

        # when one of three is too long
        with pytest.raises(PartlyRefused, match=r"1 of 3 .* number 1 .*2000 bytes") as caught:
            await client.send_many("small", [b"a", bytes(2_000), b"c"])

        # then the other two are sent, with their ids
        first, second, third = caught.value.outcomes
        assert isinstance(second, MessageTooLong)
        stored = cluster.queue("small").stored
        assert [found.body for found in stored] == [b"a", b"c"]
        assert not isinstance(first, BrokerError)
        assert not isinstance(third, BrokerError)
        assert [first.id.to_bytes(), third.id.to_bytes()] == [found.id for found in stored]


async def test_a_batch_refused_for_one_reason_raises_that_reason() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("small", message_size_limit=1_024)
        with pytest.raises(MessageTooLong):
            await client.send_many("small", [bytes(2_000), bytes(2_000)])


async def test_an_unknown_queue_is_said_by_its_name_and_the_producer_recovers_when_it_is_made() -> None:
    async with running() as cluster, client_of(cluster) as client:
        with pytest.raises(QueueNotFound, match="there is no queue 'orders'"):
            await client.send("orders", b"lost")
        cluster.create("orders")
        await client.send("orders", b"found")
        assert cluster.bodies("orders") == [b"found"]


@pytest.mark.parametrize("error", [Overloaded("busy"), NotLeader("moved"), Unavailable("no quorum")])
async def test_a_frame_refused_for_now_goes_again(error: BrokerError) -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a broker that cannot take the next two frames
        cluster.create("orders")
        cluster.refuse_frames = [error, error]

        # when a message is sent
        await client.send("orders", b"patient")

        # then it was tried three times under one number
        assert cluster.bodies("orders") == [b"patient"]
        assert [request.frame for request in cluster.produce_requests] == [1, 1, 1]


async def test_a_frame_refused_for_good_fails_its_messages_with_the_reason() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("orders")
        cluster.refuse_frames = [QueueNotFound("queue 'orders' was deleted")]
        with pytest.raises(QueueNotFound, match="was deleted"):
            await client.send("orders", b"late")
        await client.send("orders", b"next")
        assert cluster.bodies("orders") == [b"next"]


async def test_after_the_time_is_up_the_sender_learns_that_the_outcome_is_unknown() -> None:
    settings = ProducerSettings(timeout=0.3, silence=5.0)
    async with running() as cluster, client_of(cluster, settings) as client:
        # given a broker that stores and never acknowledges
        cluster.create("orders")
        cluster.release.clear()

        # when a message is sent
        with pytest.raises(DeadlineExceeded, match=r"queue 'orders' in 0\.3 s.*may be stored nevertheless"):
            await client.send("orders", b"who knows")

        # then the next one has a frame number of its own
        cluster.release.set()
        await client.send("orders", b"next")
        assert cluster.bodies("orders") == [b"who knows", b"next"]


async def test_after_the_time_is_up_the_sender_learns_that_nothing_is_stored_if_that_is_known() -> None:
    settings = ProducerSettings(timeout=0.3, silence=5.0)
    async with running() as cluster, client_of(cluster, settings) as client:
        # given a broker that refuses for want of room, as long as one waits
        cluster.create("orders")
        cluster.refuse_frames = [DiskFull("the disk is full: nothing was sent")] * 1_000

        # when a message is sent, then the reason is told, and that nothing came of it
        with pytest.raises(DiskFull, match=r"in 0\.3 s; .* the disk is full.*The message was not stored"):
            await client.send("orders", b"too much")

        # and with room again the next one goes through alone
        cluster.refuse_frames = []
        await client.send("orders", b"next")
        assert cluster.bodies("orders") == [b"next"]


async def test_no_node_at_all_is_said_within_patience() -> None:
    async with Client("127.0.0.1:1", patience=0.1, timeout=30.0) as client:
        with pytest.raises(Unavailable, match=r"no node of 127\.0\.0\.1:1 answers; is the cluster running\?"):
            await client.send("orders", b"nobody")


async def test_a_message_larger_than_any_queue_takes_is_refused_before_it_is_sent() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("orders")
        with pytest.raises(MessageTooLong, match="1,048,577 bytes"):
            await client.send("orders", bytes(1_048_577))
        assert cluster.produce_requests == []


@pytest.mark.parametrize(
    ("body", "attributes", "delay", "said"),
    [
        ("text", None, None, r"bytes, this is str; str needs \.encode\(\)"),
        (b"", {"flag": True}, None, "attribute 'flag' is a bool"),
        (b"", None, -1, "delay is -1"),
        (b"", None, float("nan"), "delay is nan"),
    ],
)
async def test_what_is_no_message_is_refused_at_once(body: bytes, attributes: dict, delay: float, said: str) -> None:
    async with running() as cluster, client_of(cluster) as client:
        with pytest.raises(InvalidArgument, match=said):
            await client.send("orders", body, attributes=attributes, delay=delay)


async def test_send_waits_while_too_much_waits() -> None:
    settings = ProducerSettings(timeout=5.0, silence=5.0, max_waiting=5, frames=FrameLimits(max_messages=5))
    async with running() as cluster, client_of(cluster, settings) as client:
        # given a window of one frame that is not acknowledged
        cluster.create("orders")
        cluster.window = 1
        cluster.release.clear()
        producer = client.producer("orders")
        sending = asyncio.ensure_future(producer.send_many(bodies(100)))
        await asyncio.wait_for(cluster.nodes[0].opened.wait(), 5)
        await until(lambda: producer._outbox.waiting == 5 and bool(producer._outbox.unacknowledged))
        await settle_down()

        # then memory holds the frame on its way and what may wait, and no more
        assert producer._outbox.waiting == 5
        # and the rest follows when the broker goes on
        cluster.release.set()
        await sending
        assert cluster.bodies("orders") == bodies(100)


async def test_producers_of_one_queue_do_not_take_each_others_frames_for_their_own() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("orders")
        for producer in (client.producer("orders"), client.producer("orders")):
            await producer.send(b"first frame")
        assert [request.frame for request in cluster.produce_requests] == [1, 1]
        assert cluster.bodies("orders") == [b"first frame"] * 2


async def test_flush_and_close_wait_for_every_acknowledgement() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("orders")
        producer = client.producer("orders")
        futures = [await producer.enqueue(body) for body in bodies(20)]
        await producer.flush()
        assert all(future.done() for future in futures)
        late = await producer.enqueue(b"last")
        await producer.close()
        assert late.done()
        with pytest.raises(Unavailable, match="the producer of queue 'orders' is closed"):
            await producer.send(b"too late")
        assert cluster.bodies("orders") == [*bodies(20), b"last"]


async def test_a_batch_may_mix_bodies_and_messages_and_may_be_empty() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("orders")
        assert await client.send_many("orders", []) == []
        await client.send_many("orders", [b"plain", OutgoingMessage(b"delayed", delay=2)])
        assert [found.delay_ms for found in cluster.queue("orders").stored] == [None, 2_000]


async def test_a_cancelled_sender_disturbs_nobody() -> None:
    settings = ProducerSettings(timeout=5.0, silence=5.0)
    async with running() as cluster, client_of(cluster, settings) as client:
        # given two senders in one frame that is not acknowledged yet
        cluster.create("orders")
        cluster.release.clear()
        cancelled = asyncio.ensure_future(client.send("orders", b"one"))
        patient = asyncio.ensure_future(client.send("orders", b"two"))
        await asyncio.wait_for(cluster.nodes[0].opened.wait(), 5)

        # when one of them gives up
        cancelled.cancel()
        cluster.release.set()

        # then the other still gets its answer
        await patient
        assert cluster.bodies("orders") == [b"one", b"two"]
