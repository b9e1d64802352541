"""A handler over a FIFO queue: one message of a group at a time, in order, and other groups meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from broker.client.message import Message
from broker.pb.queues.v1 import queues_pb2
from tests.unit.client.fake_broker import FakeCluster, running, settle_down, until
from tests.unit.client.test_handling import client_of


def fill_groups(cluster: FakeCluster, groups: str, each: int) -> None:
    queue = cluster.create("orders.fifo")
    for number in range(each):
        for group in groups:
            queue.send(queues_pb2.OutgoingMessage(body=b"%d" % number, message_group=group))


async def test_a_group_is_handled_in_order_one_at_a_time_and_others_go_on() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given three groups, of which the first one's first message takes until the others are done
        fill_groups(cluster, "abc", 20)
        handled: dict[str, list[int]] = defaultdict(list)
        at_once: dict[str, int] = defaultdict(int)
        stop, others_done = asyncio.Event(), asyncio.Event()

        async def handle(message: Message) -> None:
            group = message.message_group or ""
            at_once[group] += 1
            assert at_once[group] == 1
            if group == "a" and not handled["a"]:
                await others_done.wait()
            await asyncio.sleep(0)
            handled[group].append(int(message.body))
            at_once[group] -= 1
            if len(handled["b"]) == len(handled["c"]) == 20:
                others_done.set()
            if sum(map(len, handled.values())) == 60:
                stop.set()

        # when three handlers run
        async with asyncio.timeout(10):
            await client.run_consumer("orders.fifo", handle, concurrency=3, stop=stop)

        # then each group was handled in order
        assert handled == {group: list(range(20)) for group in "abc"}
        assert len(cluster.queue("orders.fifo").deleted) == 60


async def test_when_a_handler_fails_the_rest_of_its_group_goes_back_uncounted() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a group whose second message fails the first time
        fill_groups(cluster, "a", 6)
        seen: list[tuple[int, int]] = []
        stop = asyncio.Event()

        async def handle(message: Message) -> None:
            seen.append((int(message.body), message.receive_count))
            if seen[-1] == (1, 1):
                await settle_down()
                raise ValueError("not yet")
            if len(seen) == 7:
                stop.set()

        # when it is handled
        async with asyncio.timeout(10):
            await client.run_consumer("orders.fifo", handle, concurrency=4, stop=stop)

        # then what came after it was not handled before it, and was not received by anybody
        assert sorted(set(seen[2:])) == [(1, 2), (2, 1), (3, 1), (4, 1), (5, 1)]
        assert [number for number, _ in seen].index(2) > 1
        assert set(cluster.queue("orders.fifo").returned) >= {b"2", b"3"}


async def test_a_stopped_handler_finishes_its_message_and_gives_back_the_rest_of_the_group() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a group whose first message is in work, the others waiting for their turn
        fill_groups(cluster, "a", 5)
        begun, go_on, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def handle(message: Message) -> None:
            begun.set()
            await go_on.wait()

        working = asyncio.ensure_future(client.run_consumer("orders.fifo", handle, concurrency=4, stop=stop))
        await begun.wait()
        await until(lambda: len(cluster.queue("orders.fifo").in_flight) == 5)
        await settle_down()

        # when it is to stop
        stop.set()
        await settle_down()
        go_on.set()
        await working

        # then one is done, and the others are in the queue as if nobody had received them
        queue = cluster.queue("orders.fifo")
        assert queue.deleted == [b"0"]
        assert sorted(set(queue.returned)) == [b"1", b"2", b"3", b"4"]
        assert {message.receive_count for message in queue.visible} == {0}


async def test_a_nack_gives_back_what_waits_of_the_group() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given two groups delivered, and the first message of one taken
        fill_groups(cluster, "ab", 3)
        async with client.consume("orders.fifo") as messages:
            first = await anext(messages)
            await until(lambda: messages.ready == 5)

            # when it is nacked
            await first.nack()
            await messages.flush()

            # then the rest of its group went back with it, uncounted, and the other group's messages stay
            assert sorted(cluster.queue("orders.fifo").returned) == [b"1", b"2"]
            taken = [await anext(messages) for _ in range(3)]
            assert [message.message_group for message in taken] == ["b", "b", "b"]
