"""A handler over a queue: answers by outcome, visibility kept while it works, an orderly stop."""

from __future__ import annotations

import asyncio
import logging
from random import Random

import pytest

from broker.base.errors import InvalidArgument, QueueNotFound
from broker.client.client import Client
from broker.client.handling import due
from broker.client.message import Message
from broker.client.settling import Settlement
from broker.pb.queues.v1 import queues_pb2
from tests.unit.client.fake_broker import FakeCluster, running
from tests.unit.client.test_consumer import QUICK, fill


def client_of(cluster: FakeCluster) -> Client:
    return Client(cluster.addresses, timeout=5.0, patience=0.3, consumer_settings=QUICK, chance=Random(1))


class Nobody:
    """Holds messages whose answers nobody waits for."""

    def settle(self, settlement: Settlement) -> Settlement:
        return settlement

    def return_group(self, message_group: str) -> None:
        raise AssertionError(f"no message of group {message_group} waits")


def message_named(name: bytes) -> Message:
    return Message(queues_pb2.DeliveredMessage(body=name), 0.0, Nobody())


def test_due_is_what_has_less_than_two_thirds_of_its_time_left() -> None:
    # given three messages of a timeout of 30 s
    fresh, worn, over = (message_named(name) for name in (b"fresh", b"worn", b"over"))
    ends = {fresh: 121.0, worn: 119.0, over: 90.0}
    # when a third of the first one's time is nearly over
    # then the others are due
    assert due(ends, now=100.0, visibility_timeout=30.0) == [worn, over]


async def test_success_acks_and_failure_gives_back(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given ten messages and a handler that fails the first time it sees an odd one
        fill(cluster, 10)
        seen: list[bytes] = []
        stop = asyncio.Event()

        async def handle(message: Message) -> None:
            if int(message.body) % 2 and message.receive_count == 1:
                raise ValueError("odd")
            seen.append(message.body)
            if len(seen) == 10:
                stop.set()

        # when it runs until it has handled all
        with caplog.at_level(logging.WARNING):
            await client.run_consumer("orders", handle, concurrency=4, stop=stop)

        # then each was handled in the end, and is gone
        assert sorted(seen) == sorted(cluster.queue("orders").deleted) == [b"%d" % number for number in range(10)]
        assert len(cluster.queue("orders").visible) == len(cluster.queue("orders").in_flight) == 0
        assert caplog.text.count("ValueError: odd") == 5


async def test_no_more_handlers_than_asked_for_run_at_once() -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster, 30)
        running_now, most, done = 0, 0, 0
        stop = asyncio.Event()

        async def handle(message: Message) -> None:
            nonlocal running_now, most, done
            running_now += 1
            most = max(most, running_now)
            await asyncio.sleep(0)
            running_now -= 1
            done += 1
            if done == 30:
                stop.set()

        await client.run_consumer("orders", handle, concurrency=3, stop=stop)
        assert most == 3


async def test_visibility_is_extended_while_the_handler_works() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a visibility timeout far shorter than the work
        fill(cluster, 1)
        queue = cluster.queue("orders")
        stop = asyncio.Event()

        async def handle(message: Message) -> None:
            async with queue.changed:
                await queue.changed.wait_for(lambda: len(queue.extensions) >= 3)
            stop.set()

        # when the message is handled
        await client.run_consumer("orders", handle, concurrency=1, visibility_timeout=0.12, stop=stop)

        # then it was kept, again and again, and is gone now
        assert set(queue.extensions) == {(b"0", 120)}
        assert queue.deleted == [b"0"]


async def test_stop_lets_running_handlers_finish_and_gives_back_the_rest() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given two handlers at work and more messages waiting
        fill(cluster, 10)
        started, stop, go_on = asyncio.Semaphore(0), asyncio.Event(), asyncio.Event()

        async def handle(message: Message) -> None:
            started.release()
            await go_on.wait()

        consuming = asyncio.ensure_future(client.run_consumer("orders", handle, concurrency=2, stop=stop))
        await started.acquire()
        await started.acquire()

        # when it is to stop, and the handlers finish later
        stop.set()
        await asyncio.sleep(0)
        assert not consuming.done()
        go_on.set()
        await consuming

        # then theirs are done, and the rest is visible
        queue = cluster.queue("orders")
        assert len(queue.deleted) == 2
        assert len(queue.visible) == 8
        assert queue.in_flight == {}


async def test_cancelling_gives_back_what_was_in_work() -> None:
    async with running() as cluster, client_of(cluster) as client:
        fill(cluster, 3)
        started = asyncio.Event()

        async def handle(message: Message) -> None:
            started.set()
            await asyncio.Event().wait()

        consuming = asyncio.ensure_future(client.run_consumer("orders", handle, concurrency=1))
        await started.wait()
        consuming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consuming
        queue = cluster.queue("orders")
        assert queue.deleted == []
        assert len(queue.visible) == 3


async def test_an_unknown_queue_is_raised() -> None:
    async def handle(message: Message) -> None:
        raise AssertionError("there is nothing to handle")

    async with running() as cluster, client_of(cluster) as client:
        with pytest.raises(QueueNotFound, match="'orders'"):
            await client.run_consumer("orders", handle)


async def test_concurrency_has_a_lower_limit() -> None:
    async def handle(message: Message) -> None:
        raise AssertionError("there is nothing to handle")

    async with running() as cluster, client_of(cluster) as client:
        fill(cluster, 1)
        with pytest.raises(InvalidArgument, match="concurrency is 0"):
            await client.run_consumer("orders", handle, concurrency=0)
