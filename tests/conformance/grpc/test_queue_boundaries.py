"""The unary calls of QueueService at the boundaries of what they take: names, ranges, batches, sizes, attributes."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest

from broker.pb.queues.v1 import queues_pb2 as pb
from tests.conformance.grpc.serving import TIMEOUT, refusal, serving

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("attribute", "low", "high"),
    [
        ("visibility_timeout_ms", 0, 43_200_000),
        ("delay_ms", 0, 900_000),
        ("retention_ms", 60_000, 1_209_600_000),
        ("message_size_limit", 1_024, 1_048_576),
        ("receive_wait_ms", 0, 20_000),
    ],
)
async def test_queue_attributes_at_their_boundaries(attribute: str, low: int, high: int) -> None:
    async with serving() as running:
        for name, value in (("low", low), ("high", high)):
            await running.create(name, **{attribute: value})
            described = await running.queues.DescribeQueue(pb.DescribeQueueRequest(name=name))
            assert getattr(described.queue.attributes, attribute) == value
        for value in (low - 1, high + 1, 2**63):
            if value < 0:
                continue
            request = pb.CreateQueueRequest(name="bad", attributes=pb.QueueAttributes(**{attribute: value}))
            status, info = await refusal(running.queues.CreateQueue(request))
            assert (status, info.code) == (INVALID, "InvalidArgument")
            assert str(value) in info.message


@pytest.mark.parametrize("name", ["", "a" * 81, "a" * 76 + ".fifo", "a b", "ä", ".fifo", "a.fifi", "a/b"])
async def test_malformed_names_get_their_own_error_from_every_call(name: str) -> None:
    async with serving() as running:
        q = running.queues
        message = pb.OutgoingMessage(body=b"x")
        calls = [
            q.CreateQueue(pb.CreateQueueRequest(name=name)),
            q.UpdateQueue(pb.UpdateQueueRequest(name=name)),
            q.DeleteQueue(pb.DeleteQueueRequest(name=name)),
            q.DescribeQueue(pb.DescribeQueueRequest(name=name)),
            q.PurgeQueue(pb.PurgeQueueRequest(name=name)),
            q.Send(pb.SendRequest(queue=name, messages=[message])),
            q.Receive(pb.ReceiveRequest(queue=name)),
            q.Delete(pb.DeleteRequest(queue=name, receipt_handles=[b"x"])),
            q.ChangeVisibility(pb.ChangeVisibilityRequest(queue=name, changes=[pb.VisibilityChange()])),
        ]
        for call in calls:
            status, info = await refusal(call)
            assert (status, info.code, info.retryable) == (INVALID, "InvalidName", False)


async def test_names_of_1_and_80_characters_are_good() -> None:
    async with serving() as running:
        await running.create("a")
        await running.create("Z-9_" * 20)


async def test_batches_at_their_boundaries() -> None:
    async with serving() as running:
        await running.create(message_size_limit=1_048_576)
        q = running.queues
        message = pb.OutgoingMessage(body=b"")
        full = await q.Send(pb.SendRequest(queue="orders", messages=[message] * 1_000))
        assert len(full.message_ids) == 1_000
        assert len(set(full.message_ids)) == 1_000
        calls: list[tuple[Any, str]] = [
            (q.Send(pb.SendRequest(queue="orders")), "BatchEmpty"),
            (q.Send(pb.SendRequest(queue="orders", messages=[message] * 1_001)), "BatchTooLarge"),
            (q.Delete(pb.DeleteRequest(queue="orders")), "BatchEmpty"),
            (q.Delete(pb.DeleteRequest(queue="orders", receipt_handles=[b""] * 1_001)), "BatchTooLarge"),
            (q.ChangeVisibility(pb.ChangeVisibilityRequest(queue="orders")), "BatchEmpty"),
        ]
        for call, code in calls:
            status, info = await refusal(call)
            assert (status, info.code) == (INVALID, code)


async def test_a_batch_of_4_mib_is_taken_and_a_byte_more_is_not() -> None:
    async with serving() as running:
        await running.create(message_size_limit=1_048_576)
        whole = [b"x" * 1_048_576] * 4
        assert list((await running.send(*whole)).failed) == []
        request = pb.SendRequest(queue="orders", messages=[pb.OutgoingMessage(body=body) for body in [*whole, b"y"]])
        status, info = await refusal(running.queues.Send(request))
        assert (status, info.code) == (INVALID, "BatchTooLarge")


async def test_a_request_beyond_the_size_limit_is_refused_before_it_is_read() -> None:
    async with serving() as running:
        await running.create()
        request = pb.SendRequest(queue="orders", messages=[pb.OutgoingMessage(body=b"x" * (6 << 20))])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.queues.Send(request)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("options", "good"),
    [
        ({"max_messages": 1_000}, True),
        ({"max_messages": 1_001}, False),
        ({"max_messages": 0}, True),
        ({"wait_ms": 0}, True),
        ({"wait_ms": 20_001}, False),
        ({"visibility_timeout_ms": 43_200_000}, True),
        ({"visibility_timeout_ms": 43_200_001}, False),
    ],
)
async def test_receive_options_at_their_boundaries(options: dict[str, int], good: bool) -> None:
    async with serving() as running:
        await running.create()
        await running.send(b"a")
        call = running.queues.Receive(pb.ReceiveRequest(queue="orders", **options), timeout=TIMEOUT)
        if good:
            assert len((await call).messages) == 1
        else:
            status, info = await refusal(call)
            assert (status, info.code) == (INVALID, "InvalidArgument")


@pytest.mark.parametrize(("delay", "good"), [(0, True), (900_000, True), (900_001, False)])
async def test_a_messages_delay_at_its_boundaries(delay: int, good: bool) -> None:
    async with serving() as running:
        await running.create()
        message = pb.OutgoingMessage(body=b"x", delay_ms=delay)
        response = await running.queues.Send(pb.SendRequest(queue="orders", messages=[message]))
        assert [failed.error.code for failed in response.failed] == ([] if good else ["InvalidArgument"])


def _attribute(name: str = "a", kind: str = "String", value: bytes = b"v") -> pb.MessageAttribute:
    return pb.MessageAttribute(name=name, type=kind, value=value)


@pytest.mark.parametrize(
    ("attributes", "good"),
    [
        ([_attribute(f"a{n}") for n in range(10)], True),
        ([_attribute(f"a{n}") for n in range(11)], False),
        ([_attribute("a" * 256)], True),
        ([_attribute("a" * 257)], False),
        ([_attribute("")], False),
        ([_attribute("AWS.x")], False),
        ([_attribute(kind="Number", value=b"-1.5")], True),
        ([_attribute(kind="Number", value=b"one")], False),
        ([_attribute(kind="Binary.png", value=b"\xff")], True),
        ([_attribute(kind="Text")], False),
        ([_attribute(), _attribute()], False),
    ],
)
async def test_message_attributes(attributes: list[pb.MessageAttribute], good: bool) -> None:
    async with serving() as running:
        await running.create()
        messages = [pb.OutgoingMessage(body=b"x", attributes=attributes), pb.OutgoingMessage(body=b"y")]
        response = await running.queues.Send(pb.SendRequest(queue="orders", messages=messages))
        assert [(failed.entry, failed.error.code) for failed in response.failed] == (
            [] if good else [(0, "InvalidArgument")]
        )
        assert len(await running.receive()) == (2 if good else 1)
