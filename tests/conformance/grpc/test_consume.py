"""Consume streams: credit, deliveries that come again after a broken stream, settling, and every way of ending."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from broker.base.errors import DiskFull
from broker.base.instants import Millis
from broker.pb.queues.v1 import queues_pb2 as pb
from tests.conformance.grpc.serving import TIMEOUT, Running, refusal, serving, until
from tests.unit.services.fake_groups import FakeCluster

SESSION = b"c" * 16
Settled = pb.ConsumeResponse.Settled


def opening(credit: int = 100, **options: Any) -> pb.ConsumeRequest:
    given = {"queue": "orders", "session": SESSION} | options
    return pb.ConsumeRequest(open=pb.ConsumeRequest.Open(**given), credit=credit)


async def opened(running: Running, node: str = "a-0", credit: int = 100, **options: Any) -> Any:
    stream = running.doors[node].queues.Consume(timeout=TIMEOUT)
    await stream.write(opening(credit, **options))
    return stream


async def delivered(stream: Any, count: int) -> list[pb.DeliveredMessage]:
    """The next messages, exactly so many."""
    found: list[pb.DeliveredMessage] = []
    while len(found) < count:
        found += (await stream.read()).messages
    assert len(found) == count
    return found


async def settled(stream: Any, request: pb.ConsumeRequest) -> Settled:
    await stream.write(request)
    while True:
        response = await stream.read()
        for found in response.settled:
            assert found.settle == request.settle
            return found


async def test_messages_come_as_they_are_sent() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        await running.polls(1)
        sent = await running.send(b"a", b"b")
        messages = await delivered(stream, 2)

        assert [message.body for message in messages] == [b"a", b"b"]
        assert [message.message_id for message in messages] == list(sent.message_ids)


async def test_no_more_messages_are_on_their_way_than_credit_allows() -> None:
    async with serving() as running:
        await running.create()
        await running.send(*[b"%d" % n for n in range(20)])
        stream = await opened(running, credit=3)
        first = await delivered(stream, 3)
        await asyncio.sleep(0.02)
        assert (await running.counts()).in_flight == 3
        await stream.write(pb.ConsumeRequest(credit=5))
        second = await delivered(stream, 5)
        await asyncio.sleep(0.02)

        assert [int(message.body) for message in [*first, *second]] == list(range(8))
        assert (await running.counts()).in_flight == 8


async def test_without_credit_nothing_is_taken() -> None:
    async with serving() as running:
        await running.create()
        await running.send(b"a")
        stream = await opened(running, credit=0)
        acknowledged = await settled(stream, pb.ConsumeRequest(settle=1, nacks=[b"junk"]))
        assert acknowledged.failed[0].error.code == "ReceiptHandleInvalid"
        assert (await running.counts()).visible == 1


async def test_delivery_numbers_grow() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        numbers = []
        for _ in range(3):
            await running.send(b"a")
            response = await stream.read()
            numbers.append(response.delivery)
        assert numbers == sorted(set(numbers))
        assert numbers[0] > 0


async def test_acks_delete_nacks_return_and_extensions_hold() -> None:
    async with serving() as running:
        await running.create(visibility_timeout_ms=10_000)
        await running.send(b"ack", b"nack", b"extend", b"leave")
        stream = await opened(running, credit=4)
        handles = {message.body: message.receipt_handle for message in await delivered(stream, 4)}
        extension = pb.VisibilityChange(receipt_handle=handles[b"extend"], visibility_timeout_ms=20_000)
        answer = await settled(
            stream,
            pb.ConsumeRequest(settle=9, acks=[handles[b"ack"]], nacks=[handles[b"nack"]], extensions=[extension]),
        )
        after = await running.counts()
        running.cluster.clock.advance(10_000)
        later = await running.counts()

        assert (list(answer.failed), answer.HasField("error")) == ([], False)
        assert (after.deleted_total, after.visible, after.in_flight) == (1, 1, 2)
        assert (later.visible, later.in_flight) == (2, 1)


async def test_a_nacked_message_comes_again() -> None:
    async with serving() as running:
        await running.create()
        await running.send(b"a")
        stream = await opened(running)
        first = (await delivered(stream, 1))[0]
        await stream.write(pb.ConsumeRequest(settle=1, nacks=[first.receipt_handle]))
        again = (await delivered(stream, 1))[0]

        assert (again.body, again.receive_count) == (b"a", 2)
        assert again.receipt_handle != first.receipt_handle


async def test_failures_count_through_acks_nacks_and_extensions() -> None:
    async with serving() as running:
        await running.create(visibility_timeout_ms=1_000)
        await running.send(b"a")
        stale = (await running.receive())[0].receipt_handle
        running.cluster.clock.advance(1_000)
        await running.receive()
        stream = await opened(running)
        extensions = [
            pb.VisibilityChange(receipt_handle=stale, visibility_timeout_ms=5),
            pb.VisibilityChange(receipt_handle=stale, visibility_timeout_ms=43_200_001),
        ]
        request = pb.ConsumeRequest(settle=1, acks=[b"x", stale], nacks=[stale, b"y"], extensions=extensions)
        answer = await settled(stream, request)

        assert [(failed.entry, failed.error.code) for failed in answer.failed] == [
            (0, "ReceiptHandleInvalid"),
            (1, "ReceiptHandleExpired"),
            (2, "ReceiptHandleExpired"),
            (3, "ReceiptHandleInvalid"),
            (4, "ReceiptHandleExpired"),
            (5, "InvalidArgument"),
        ]


async def test_a_settle_request_can_fail_as_a_whole_and_be_sent_again() -> None:
    async with serving() as running:
        await running.create()
        await running.send(b"a")
        stream = await opened(running, credit=1)
        handle = (await delivered(stream, 1))[0].receipt_handle
        running.cluster.before = [DiskFull("the disk is full")]
        failed = await settled(stream, pb.ConsumeRequest(settle=1, acks=[handle]))
        done = await settled(stream, pb.ConsumeRequest(settle=1, acks=[handle]))
        too_many = await settled(stream, pb.ConsumeRequest(settle=2, acks=[b"x"] * 1_001))

        assert (failed.error.code, failed.error.retryable) == ("DiskFull", True)
        assert not done.HasField("error")
        assert too_many.error.code == "BatchTooLarge"
        assert (await running.counts()).deleted_total == 1


async def test_after_a_broken_stream_what_is_still_held_comes_first_under_its_number() -> None:
    async with serving(FakeCluster(nodes=2)) as running:
        await running.create()
        stream = await opened(running)
        deliveries = []
        for body in (b"a", b"b", b"c"):
            await running.send(body)
            deliveries.append(await stream.read())
        await settled(stream, pb.ConsumeRequest(settle=1, acks=[deliveries[1].messages[0].receipt_handle]))
        stream.cancel()
        await running.polls(0)
        await running.send(b"d")

        again = await opened(running, "b-0", last_delivery=deliveries[0].delivery)
        first, second = await again.read(), await again.read()

        assert (first.delivery, list(first.messages)) == (deliveries[2].delivery, list(deliveries[2].messages))
        assert second.delivery > first.delivery
        assert [message.body for message in second.messages] == [b"d"]
        acked = await settled(again, pb.ConsumeRequest(settle=2, acks=[first.messages[0].receipt_handle]))
        assert list(acked.failed) == []


async def test_what_was_seen_does_not_come_again() -> None:
    async with serving() as running:
        await running.create()
        await running.send(b"a")
        stream = await opened(running)
        seen = await stream.read()
        stream.cancel()
        again = await opened(running, last_delivery=seen.delivery)
        await running.polls(1)
        await running.send(b"b")
        assert [message.body for message in (await again.read()).messages] == [b"b"]


async def test_a_session_belongs_to_the_stream_that_was_opened_last() -> None:
    async with serving() as running:
        await running.create()
        old = await opened(running)
        await running.polls(1)
        new = await opened(running)
        await running.polls(2)
        await running.send(b"a")
        await running.send(b"b")

        assert [message.body for message in await delivered(new, 2)] == [b"a", b"b"]
        status, info = await refusal(old.read())
        assert (status, info.code) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument")
        assert (await running.counts()).in_flight == 2


async def test_what_the_old_stream_of_a_session_took_first_comes_to_the_new_one() -> None:
    async with serving() as running:
        await running.create()
        old = await opened(running)
        await running.polls(1)
        await running.send(b"a")
        first = await old.read()
        new = await opened(running)

        again = await new.read()

        assert (again.delivery, list(again.messages)) == (first.delivery, list(first.messages))


async def test_messages_nobody_can_be_given_any_more_are_visible_again() -> None:
    async with serving() as running:
        await running.create(message_size_limit=1_048_576)
        for _ in range(30):  # more than fits between a server and a client that does not read
            await running.send(*[b"x" * 1_000_000] * 3)
        stream = await opened(running, credit=90)
        await until(lambda: running.cluster.taken("orders") >= 6)
        stream.cancel()
        await until(lambda: running.doors["a-0"].services.admission.requests == 0)
        await asyncio.sleep(0.05)
        counts = await running.counts()
        assert counts.visible + counts.in_flight == 90
        assert counts.visible >= 84


async def test_a_consumer_that_says_its_last_gets_its_answers_and_a_clean_end() -> None:
    async with serving() as running:
        await running.create()
        await running.send(b"a")
        stream = await opened(running)
        handle = (await delivered(stream, 1))[0].receipt_handle
        await stream.write(pb.ConsumeRequest(settle=1, acks=[handle]))
        await stream.done_writing()
        assert (await stream.read()).settled[0].settle == 1
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK
        await running.polls(0)
        await running.send(b"b")
        assert (await running.counts()).visible == 1


async def test_acks_sent_just_before_the_client_goes_are_carried_out() -> None:
    async with serving() as running:
        await running.create()
        await running.send(b"a")
        stream = await opened(running)
        handle = (await delivered(stream, 1))[0].receipt_handle
        running.cluster.held = asyncio.Event()
        await stream.write(pb.ConsumeRequest(settle=1, acks=[handle]))
        await until(lambda: running.doors["a-0"].services.admission.requests == 1)
        stream.cancel()
        await running.polls(0)
        running.cluster.held.set()
        await until(lambda: running.doors["a-0"].services.admission.requests == 0)
        assert (await running.counts()).deleted_total == 1


async def test_the_streams_visibility_timeout_wins_over_the_queues() -> None:
    async with serving() as running:
        await running.create()
        await running.send(b"a")
        stream = await opened(running, visibility_timeout_ms=1_000)
        await delivered(stream, 1)
        running.cluster.clock.advance(1_000)
        assert (await delivered(stream, 1))[0].receive_count == 2


async def test_over_the_limit_of_messages_in_flight_the_stream_goes_on_when_some_are_settled() -> None:
    async with serving(FakeCluster(in_flight_limit=2)) as running:
        await running.create()
        await running.send(b"a", b"b", b"c")
        stream = await opened(running)
        first = await delivered(stream, 2)
        await stream.write(pb.ConsumeRequest(settle=1, acks=[first[0].receipt_handle]))
        assert (await delivered(stream, 1))[0].body == b"c"


@pytest.mark.parametrize(
    ("requests", "status", "code"),
    [
        ([pb.ConsumeRequest(credit=1)], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ([opening(session=b"short")], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ([opening(queue="a b")], grpc.StatusCode.INVALID_ARGUMENT, "InvalidName"),
        ([opening(queue="none")], grpc.StatusCode.NOT_FOUND, "QueueNotFound"),
        ([opening(visibility_timeout_ms=43_200_001)], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ([opening(last_delivery=2**63)], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ([opening(credit=10_001)], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ([opening(credit=10_000), pb.ConsumeRequest(credit=1)], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ([opening(), opening()], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ([opening(), pb.ConsumeRequest(acks=[b"x"])], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
    ],
)
async def test_what_breaks_the_protocol_ends_the_stream(
    requests: list[pb.ConsumeRequest], status: grpc.StatusCode, code: str
) -> None:
    async with serving() as running:
        await running.create()
        stream = running.queues.Consume(iter(requests), timeout=TIMEOUT)

        async def read_all() -> None:
            async for _ in stream:
                pass

        found, info = await refusal(read_all())
        assert (found, info.code) == (status, code)


async def test_a_deleted_queue_ends_its_streams() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        await running.polls(1)
        await running.queues.DeleteQueue(pb.DeleteQueueRequest(name="orders"))
        status, info = await refusal(stream.read())
        assert (status, info.code) == (grpc.StatusCode.NOT_FOUND, "QueueNotFound")


async def test_a_stopping_node_sends_the_consumer_elsewhere() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        await running.polls(1)
        draining = asyncio.ensure_future(running.doors["a-0"].server.drain(Millis(10_000)))
        status, info = await refusal(stream.read())
        await draining
        assert (status, info.code, info.retryable) == (grpc.StatusCode.UNAVAILABLE, "Unavailable", True)
        assert running.cluster.waiting == 0


async def test_a_stream_at_another_node_follows_the_leader() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        await running.create()
        stream = await opened(running, "b-0")
        await running.send(b"a")
        first = await delivered(stream, 1)
        running.cluster.elect(1, "c-0")
        await running.send(b"b")
        second = await delivered(stream, 1)
        handles = [message.receipt_handle for message in [*first, *second]]
        done = await settled(stream, pb.ConsumeRequest(settle=1, acks=handles))
        assert (list(done.failed), (await running.counts()).deleted_total) == ([], 2)
