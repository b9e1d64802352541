"""FIFO and fair queues over the API: order, message groups, deduplication, receive attempts, and every refusal."""

from __future__ import annotations

import hashlib

import grpc
import pytest

from broker.base.errors import DiskFull
from broker.base.ids import MessageId
from broker.pb.queues.v1 import queues_pb2 as pb
from tests.conformance.grpc.serving import Running, refusal, serving
from tests.conformance.grpc.test_produce import TIMEOUT, opening
from tests.unit.services.fake_groups import FakeCluster

FIFO = "orders.fifo"
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def of_group(group: str, body: str, deduplication: str = "", **more: int) -> pb.OutgoingMessage:
    return pb.OutgoingMessage(
        body=body.encode(), message_group=group, deduplication_id=deduplication or f"id-{body}", **more
    )


async def send(running: Running, *messages: pb.OutgoingMessage, queue: str = FIFO) -> pb.SendResponse:
    response: pb.SendResponse = await running.queues.Send(pb.SendRequest(queue=queue, messages=messages))
    return response


async def bodies(running: Running, count: int = 10, **options: str) -> list[str]:
    return [message.body.decode() for message in await running.receive(count, queue=FIFO, **options)]


async def test_a_group_is_blocked_while_one_of_its_messages_is_in_flight_and_others_go_on() -> None:
    async with serving() as running:
        await running.create(FIFO)
        sent = await send(running, of_group("a", "a1"), of_group("b", "b1"), of_group("a", "a2"), of_group("b", "b2"))
        (first,) = await running.receive(1, queue=FIFO)
        rest = await bodies(running)
        await running.queues.Delete(pb.DeleteRequest(queue=FIFO, receipt_handles=[first.receipt_handle]))
        after = await bodies(running)

        assert (first.body, first.message_group, first.deduplication_id) == (b"a1", "a", "id-a1")
        assert first.sequence_number == sent.sequence_numbers[0] > 0
        assert list(sent.sequence_numbers) == sorted(set(sent.sequence_numbers))
        assert (rest, after) == (["b1", "b2"], ["a2"])


async def test_a_duplicate_gets_the_first_ones_id_and_number_for_five_minutes() -> None:
    async with serving() as running:
        await running.create(FIFO)
        first = await send(running, of_group("a", "one", "same"))
        again = await send(running, of_group("b", "two", "same"), of_group("a", "three"))
        counts = await running.counts(FIFO)
        running.cluster.clock.advance(300_001)
        later = await send(running, of_group("a", "four", "same"))

        assert again.message_ids[0] == first.message_ids[0] != later.message_ids[0]
        assert again.sequence_numbers[0] == first.sequence_numbers[0] < again.sequence_numbers[1]
        assert (counts.sent_total, counts.duplicates_total, counts.visible, counts.message_groups) == (2, 1, 2, 1)
        assert await bodies(running) == ["one", "three", "four"]


async def test_content_deduplication_takes_the_body_for_the_id_and_a_given_id_wins() -> None:
    async with serving() as running:
        await running.create(FIFO, content_deduplication=True)
        plain = pb.OutgoingMessage(body=b"same", message_group="a")
        named = pb.OutgoingMessage(body=b"same", message_group="a", deduplication_id="other")
        await send(running, plain, plain, named)
        received = await running.receive(queue=FIFO)
        assert [message.deduplication_id for message in received] == [hashlib.sha256(b"same").hexdigest(), "other"]


async def test_deduplication_may_count_for_each_message_group() -> None:
    async with serving() as running:
        await running.create(FIFO, deduplication_scope=pb.PER_MESSAGE_GROUP)
        await send(running, of_group("a", "a", "same"), of_group("b", "b", "same"), of_group("a", "c", "same"))
        assert await bodies(running) == ["a", "b"]


async def test_the_same_receive_attempt_gives_the_same_messages() -> None:
    async with serving() as running:
        await running.create(FIFO)
        await send(running, of_group("a", "one"), of_group("b", "two"))
        first = await bodies(running, 1, receive_attempt_id="try")
        again = await bodies(running, 1, receive_attempt_id="try")
        other = await bodies(running, 1, receive_attempt_id="other")
        assert (first, again, other) == (["one"], ["one"], ["two"])


async def test_messages_that_do_not_fit_a_fifo_queue_fail_alone() -> None:
    async with serving() as running:
        await running.create(FIFO)
        now = running.cluster.clock.wall()
        sent = await send(
            running,
            pb.OutgoingMessage(body=b"no group", deduplication_id="1"),
            pb.OutgoingMessage(body=b"no id", message_group="a"),
            of_group("a", "delayed", delay_ms=1_000),
            of_group("a", "scheduled", deliver_at=now + 1_000),
            of_group("a b", "bad group"),
            of_group("a", "bad id", "ä"),
            of_group("a", "mayfly", time_to_live_ms=999),
            of_group("a", "good", time_to_live_ms=1_000),
        )
        assert [(failed.entry, failed.error.code) for failed in sent.failed] == [
            (0, "MessageGroupRequired"),
            (1, "DeduplicationIdRequired"),
            (2, "NotForFifo"),
            (3, "NotForFifo"),
            (4, "InvalidArgument"),
            (5, "InvalidArgument"),
            (6, "InvalidArgument"),
        ]
        assert [bool(each) for each in sent.message_ids] == [False] * 7 + [True]
        assert [bool(each) for each in sent.sequence_numbers] == [False] * 7 + [True]
        assert (await running.counts(FIFO)).visible == 1


async def test_what_only_fifo_queues_have_is_refused_of_standard_ones() -> None:
    async with serving() as running:
        await running.create()
        sent = await send(running, pb.OutgoingMessage(body=b"x", deduplication_id="1"), queue="orders")
        assert [failed.error.code for failed in sent.failed] == ["NotForStandard"]
        receive = running.queues.Receive(pb.ReceiveRequest(queue="orders", receive_attempt_id="try"))
        status, info = await refusal(receive)
        assert (status, info.code) == (INVALID, "NotForStandard")
        for attributes in (
            pb.QueueAttributes(content_deduplication=True),
            pb.QueueAttributes(deduplication_scope=pb.PER_MESSAGE_GROUP),
            pb.QueueAttributes(throughput_limit=pb.PER_MESSAGE_GROUP),
        ):
            for call in (
                running.queues.CreateQueue(pb.CreateQueueRequest(name="other", attributes=attributes)),
                running.queues.UpdateQueue(pb.UpdateQueueRequest(name="orders", attributes=attributes)),
            ):
                status, info = await refusal(call)
                assert (status, info.code, info.retryable) == (INVALID, "NotForStandard", False)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("deduplication_scope", "deduplication scope 7 is not known: use one of PER_QUEUE (1), PER_MESSAGE_GROUP (2)"),
        ("throughput_limit", "throughput limit 7 is not known: use one of PER_QUEUE (1), PER_MESSAGE_GROUP (2)"),
    ],
)
async def test_a_number_that_is_no_choice_is_told_with_those_that_are(field: str, message: str) -> None:
    async with serving() as running:
        attributes = pb.QueueAttributes(**{field: 7})
        status, info = await refusal(
            running.queues.CreateQueue(pb.CreateQueueRequest(name=FIFO, attributes=attributes))
        )
        assert (status, info.code, info.message) == (INVALID, "InvalidArgument", message)


async def test_a_scope_that_is_not_set_stays_as_it_is() -> None:
    async with serving() as running:
        await running.create(FIFO, deduplication_scope=pb.PER_MESSAGE_GROUP, throughput_limit=pb.PER_MESSAGE_GROUP)
        unset = pb.QueueAttributes(deduplication_scope=pb.PER_UNSPECIFIED, delay_ms=5)
        await running.queues.UpdateQueue(pb.UpdateQueueRequest(name=FIFO, attributes=unset))
        found = (await running.queues.DescribeQueue(pb.DescribeQueueRequest(name=FIFO))).queue.attributes
        assert (found.deduplication_scope, found.throughput_limit, found.delay_ms) == (2, 2, 5)


# --- streams


async def fifo_stream(running: Running, node: str = "a-0") -> tuple[pb.ProduceResponse, grpc.aio.StreamStreamCall]:
    stream = running.doors[node].queues.Produce(timeout=TIMEOUT)
    await stream.write(opening(FIFO))
    return await stream.read(), stream


def frame(number: int, *messages: pb.OutgoingMessage) -> pb.ProduceRequest:
    return pb.ProduceRequest(frame=number, messages=messages)


async def test_a_stream_into_a_fifo_queue_takes_one_frame_at_a_time_and_tells_numbers() -> None:
    async with serving() as running:
        await running.create(FIFO)
        granted, stream = await fifo_stream(running)
        await stream.write(frame(1, of_group("a", "one"), of_group("a", "two")))
        ordinary = await stream.read()
        await stream.write(frame(2, of_group("a", "three"), of_group("a", "again", "id-one"), pb.OutgoingMessage()))
        mixed = await stream.read()
        received = await running.receive(queue=FIFO)

        assert granted.window == 1
        assert (ordinary.accepted, len(ordinary.message_ids)) == (2, 0)
        first = ordinary.first_sequence_number
        assert [message.sequence_number for message in received[:2]] == [first, first + 1]
        assert received[0].message_id == ordinary.first_message_id
        assert (mixed.accepted, mixed.first_message_id, len(mixed.failed)) == (2, b"", 1)
        assert list(mixed.message_ids) == [received[2].message_id, ordinary.first_message_id, b""]
        assert list(mixed.sequence_numbers) == [received[2].sequence_number, first, 0]


async def test_frames_sent_without_waiting_are_stored_in_order_whatever_fails_between() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        await running.create(FIFO)
        _, stream = await fifo_stream(running)
        running.cluster.before = [DiskFull("the disk is full")]
        for number in range(1, 31):
            await stream.write(frame(number, of_group("a", f"{number}")))
            if number == 15:
                running.cluster.elect(1, "b-0")
                running.cluster.elect(2, "b-0")
        answers = [await stream.read() for _ in range(30)]

        # one was refused, and its client would send it again before any other; those stored are in order
        stored = [answer.frame for answer in answers if not answer.HasField("error")]
        assert [answer.frame for answer in answers] == list(range(1, 31))
        assert stored == list(range(2, 31))
        assert await bodies(running, 100) == [f"{number}" for number in stored]


async def test_a_consumer_of_a_fifo_queue_gets_the_next_ones_when_the_first_are_acked() -> None:
    async with serving() as running:
        await running.create(FIFO)
        await send(running, *(of_group("a", f"{number}") for number in range(5)))
        stream = running.queues.Consume(timeout=TIMEOUT)
        await stream.write(pb.ConsumeRequest(open=pb.ConsumeRequest.Open(queue=FIFO, session=b"c" * 16), credit=2))
        first = await stream.read()
        assert [message.body for message in first.messages] == [b"0", b"1"]

        # given back, the second comes again as if nobody had seen it; the first was deleted
        one, two = [message.receipt_handle for message in first.messages]
        await stream.write(pb.ConsumeRequest(settle=1, acks=[one], returns=[two], credit=10))
        seen: list[pb.DeliveredMessage] = []
        settled: list[pb.ConsumeResponse.Settled] = []
        while len(seen) < 4:
            response = await stream.read()
            seen += response.messages
            settled += response.settled
        stream.cancel()

        assert [message.body for message in seen] == [b"1", b"2", b"3", b"4"]
        assert [message.receive_count for message in seen] == [1, 1, 1, 1]
        assert [list(each.failed) for each in settled] == [[]]


# --- fair queues


async def test_a_standard_queue_takes_and_tells_message_groups() -> None:
    async with serving() as running:
        await running.create()
        sent = await send(running, pb.OutgoingMessage(body=b"x", message_group="tenant-7"), queue="orders")
        (received,) = await running.receive()
        assert (received.message_group, received.sequence_number, received.deduplication_id) == ("tenant-7", 0, "")
        assert list(sent.sequence_numbers) == []
        assert MessageId.from_bytes(sent.message_ids[0]) == MessageId.from_bytes(received.message_id)
