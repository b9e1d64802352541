"""Produce streams: the window, frames stored once, answers per frame, and every way in which a stream ends."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from broker.base.errors import DiskFull
from broker.base.ids import MessageId
from broker.base.instants import Millis
from broker.pb.queues.v1 import queues_pb2 as pb
from tests.conformance.grpc.serving import TIMEOUT, Running, refusal, serving, until
from tests.unit.services.fake_groups import FakeCluster

SESSION = b"p" * 16


def opening(queue: str = "orders", session: bytes = SESSION) -> pb.ProduceRequest:
    return pb.ProduceRequest(open=pb.ProduceRequest.Open(queue=queue, session=session))


def frame(number: int, *bodies: bytes) -> pb.ProduceRequest:
    return pb.ProduceRequest(frame=number, messages=[pb.OutgoingMessage(body=body) for body in bodies])


async def opened(running: Running, node: str = "a-0") -> Any:
    stream = running.doors[node].queues.Produce(timeout=TIMEOUT)
    await stream.write(opening())
    assert (await stream.read()).window == 64
    return stream


async def test_every_frame_is_acknowledged_with_its_ids() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        await stream.write(frame(1, b"a", b"b"))
        first = await stream.read()
        await stream.write(frame(2, b"c"))
        second = await stream.read()
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK

        received = await running.receive()
        start = MessageId.from_bytes(first.first_message_id)
        ids = [MessageId(start.group, start.index, slot).to_bytes() for slot in range(2)]
        assert (first.frame, first.accepted, second.frame, second.accepted) == (1, 2, 2, 1)
        assert [message.message_id for message in received] == [*ids, second.first_message_id]
        assert [message.body for message in received] == [b"a", b"b", b"c"]


async def test_messages_enter_the_queue_in_the_order_of_their_frames() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        for number in range(1, 51):
            await stream.write(frame(number, b"%d" % number))
        for _ in range(50):
            await stream.read()
        received = await running.receive(100)
        assert [int(message.body) for message in received] == list(range(1, 51))


async def test_a_frame_sent_again_on_this_stream_or_another_is_stored_once() -> None:
    async with serving(FakeCluster(nodes=2)) as running:
        await running.create()
        stream = await opened(running)
        await stream.write(frame(1, b"a"))
        first = await stream.read()
        await stream.write(frame(1, b"a"))
        again = await stream.read()
        other = await opened(running, "b-0")
        await other.write(frame(1, b"a"))
        elsewhere = await other.read()

        assert first == again == elsewhere
        assert (await running.counts()).sent_total == 1


async def test_bad_messages_fail_alone_with_their_places() -> None:
    async with serving() as running:
        await running.create(message_size_limit=1_024)
        stream = await opened(running)
        messages = [
            pb.OutgoingMessage(body=b"a", delay_ms=900_001),
            pb.OutgoingMessage(body=b"b" * 1_025),
            pb.OutgoingMessage(body=b"c", attributes=[pb.MessageAttribute(name="k", type="String", value=b"v")]),
        ]
        await stream.write(pb.ProduceRequest(frame=1, messages=messages))
        acknowledged = await stream.read()

        assert acknowledged.accepted == 1
        assert [(failed.entry, failed.error.code) for failed in acknowledged.failed] == [
            (0, "InvalidArgument"),
            (1, "MessageTooLong"),
        ]
        received = await running.receive()
        assert [(message.body, message.attributes[0].value) for message in received] == [(b"c", b"v")]
        assert received[0].message_id == acknowledged.first_message_id


async def test_a_frame_can_fail_as_a_whole_and_be_sent_again() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        running.cluster.before = [DiskFull("the disk is full")]
        await stream.write(frame(1, b"a"))
        failed = await stream.read()
        await stream.write(frame(1, b"a"))
        stored = await stream.read()
        await stream.write(frame(2))
        empty = await stream.read()

        assert (failed.frame, failed.error.code, failed.error.retryable) == (1, "DiskFull", True)
        assert (stored.accepted, stored.HasField("error")) == (1, False)
        assert (empty.frame, empty.error.code) == (2, "BatchEmpty")


async def test_no_more_frames_are_taken_on_than_the_window_grants() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        running.cluster.held = asyncio.Event()
        for number in range(1, 101):
            await stream.write(frame(number, b"x"))
        await until(lambda: running.doors["a-0"].services.admission.requests == 64)
        for _ in range(50):
            await asyncio.sleep(0)
        assert running.doors["a-0"].services.admission.requests == 64
        running.cluster.held.set()
        answered = {(await stream.read()).frame for _ in range(100)}
        assert answered == set(range(1, 101))


async def test_frames_under_way_are_answered_after_the_client_has_said_its_last() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        running.cluster.held = asyncio.Event()
        await stream.write(frame(1, b"a"))
        await stream.write(frame(2, b"b"))
        await stream.done_writing()
        await until(lambda: running.doors["a-0"].services.admission.requests == 2)
        running.cluster.held.set()
        assert {(await stream.read()).frame, (await stream.read()).frame} == {1, 2}
        assert await stream.read() is grpc.aio.EOF


@pytest.mark.parametrize(
    ("requests", "status", "code"),
    [
        ([frame(1, b"a")], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ([opening(session=b"short")], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ([opening(queue="a b")], grpc.StatusCode.INVALID_ARGUMENT, "InvalidName"),
        ([opening(queue="none")], grpc.StatusCode.NOT_FOUND, "QueueNotFound"),
        ([opening(), opening()], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ([opening(), frame(0, b"a")], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ([opening(), frame(2**63, b"a")], grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
    ],
)
async def test_what_breaks_the_protocol_ends_the_stream(
    requests: list[pb.ProduceRequest], status: grpc.StatusCode, code: str
) -> None:
    async with serving() as running:
        await running.create()
        stream = running.queues.Produce(iter(requests), timeout=TIMEOUT)

        async def read_all() -> None:
            async for _ in stream:
                pass

        found, info = await refusal(read_all())
        assert (found, info.code) == (status, code)
        assert (await running.counts()).sent_total == 0


async def test_nothing_but_the_end_is_an_error_too() -> None:
    async with serving() as running:
        stream = running.queues.Produce(timeout=TIMEOUT)
        await stream.done_writing()
        status, _ = await refusal(stream.read())
        assert status is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_deleted_queue_answers_its_frames_with_not_found() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        await running.queues.DeleteQueue(pb.DeleteQueueRequest(name="orders"))
        await stream.write(frame(1, b"a"))
        assert (await stream.read()).error.code == "QueueNotFound"


async def test_a_client_that_goes_away_leaves_no_stream_behind() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        gauge = running.doors["a-0"].registry.gauge(
            "broker_grpc_open_streams", "Streams open now.", {"method": "broker.queues.v1.QueueService/Produce"}
        )
        assert gauge.value == 1
        stream.cancel()
        await until(lambda: gauge.value == 0)


async def test_a_stopping_node_answers_what_it_has_and_sends_the_client_elsewhere() -> None:
    async with serving() as running:
        await running.create()
        stream = await opened(running)
        running.cluster.held = asyncio.Event()
        await stream.write(frame(1, b"a"))
        await until(lambda: running.doors["a-0"].services.admission.requests == 1)
        draining = asyncio.ensure_future(running.doors["a-0"].server.drain(Millis(10_000)))
        await asyncio.sleep(0.01)
        running.cluster.held.set()

        assert (await stream.read()).frame == 1
        status, info = await refusal(stream.read())
        await draining
        assert (status, info.code, info.retryable) == (grpc.StatusCode.UNAVAILABLE, "Unavailable", True)


async def test_a_stream_survives_a_change_of_leader() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        await running.create()
        stream = await opened(running)
        await stream.write(frame(1, b"a"))
        await stream.read()
        running.cluster.elect(1, "c-0")
        await stream.write(frame(2, b"b"))
        assert (await stream.read()).accepted == 1
