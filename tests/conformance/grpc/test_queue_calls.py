"""Every unary call of QueueService: what it does, what it refuses, and that it may be repeated."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from broker.base.ids import MessageId
from broker.pb.queues.v1 import queues_pb2 as pb
from tests.conformance.grpc.serving import refusal, serving

SESSION = b"r" * 16
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def request_id(number: int) -> pb.RequestId:
    return pb.RequestId(session=SESSION, number=number)


async def test_a_queue_is_created_described_updated_listed_and_deleted() -> None:
    async with serving() as running:
        queues = running.queues
        given = pb.QueueAttributes(visibility_timeout_ms=1, delay_ms=2, message_size_limit=1_024)
        created = await queues.CreateQueue(pb.CreateQueueRequest(name="orders", attributes=given))
        again = await queues.CreateQueue(pb.CreateQueueRequest(name="orders", attributes=given))
        await queues.UpdateQueue(
            pb.UpdateQueueRequest(name="orders", attributes=pb.QueueAttributes(delay_ms=0), request_id=request_id(1))
        )
        described = (await queues.DescribeQueue(pb.DescribeQueueRequest(name="orders"))).queue
        listed = await queues.ListQueues(pb.ListQueuesRequest())
        await queues.DeleteQueue(pb.DeleteQueueRequest(name="orders"))
        empty = await queues.ListQueues(pb.ListQueuesRequest())

        assert (created.created, again.created) == (True, False)
        assert described.attributes == pb.QueueAttributes(
            visibility_timeout_ms=1,
            delay_ms=0,
            retention_ms=345_600_000,
            message_size_limit=1_024,
            receive_wait_ms=0,
            content_deduplication=False,
            deduplication_scope=pb.PER_QUEUE,
            throughput_limit=pb.PER_QUEUE,
            redrive_allow=pb.RedriveAllowPolicy(permission=pb.REDRIVE_PERMISSION_ALLOW_ALL),
            stripes=1,
        )
        assert (described.name, described.leader, described.group) == ("orders", "a-0", 1)
        assert not described.counts.HasField("oldest_age_ms")
        assert (list(listed.names), list(empty.names)) == (["orders"], [])


async def test_messages_are_sent_received_and_deleted_with_everything_they_carry() -> None:
    async with serving() as running:
        await running.create()
        attributes = [pb.MessageAttribute(name="kind", type="String.label", value=b"express")]
        messages = [pb.OutgoingMessage(body=b"one", attributes=attributes), pb.OutgoingMessage(body=b"")]
        sent = await running.queues.Send(pb.SendRequest(queue="orders", messages=messages))
        running.cluster.clock.advance(1_500)
        before = await running.counts()
        received = await running.receive()
        handles = [message.receipt_handle for message in received]
        deleted = await running.queues.Delete(pb.DeleteRequest(queue="orders", receipt_handles=handles))
        after = await running.counts()

        assert [message.message_id for message in received] == list(sent.message_ids)
        assert [(message.body, list(message.attributes)) for message in received] == [(b"one", attributes), (b"", [])]
        assert [message.receive_count for message in received] == [1, 1]
        assert received[0].first_received_at - received[0].sent_at == 1_500
        assert (before.visible, before.oldest_age_ms) == (2, 1_500)
        assert list(deleted.failed) == []
        assert (after.visible, after.in_flight, after.deleted_total) == (0, 0, 2)


async def test_a_failed_entry_has_no_id_and_its_own_error() -> None:
    async with serving() as running:
        await running.create(message_size_limit=1_024)
        response = await running.send(b"a" * 1_024, b"b" * 1_025, b"c")

        ids = [MessageId.from_bytes(raw) if raw else None for raw in response.message_ids]
        assert ids[1] is None
        assert [found.slot for found in ids if found] == [0, 1]
        assert [(failed.entry, failed.error.code) for failed in response.failed] == [(1, "MessageTooLong")]
        assert response.failed[0].error.retryable is False
        assert "1025" in response.failed[0].error.message


async def test_an_unknown_queue_is_not_found_by_every_call() -> None:
    async with serving() as running:
        q = running.queues
        message = pb.OutgoingMessage(body=b"x")
        calls = [
            q.UpdateQueue(pb.UpdateQueueRequest(name="none")),
            q.DeleteQueue(pb.DeleteQueueRequest(name="none")),
            q.DescribeQueue(pb.DescribeQueueRequest(name="none")),
            q.PurgeQueue(pb.PurgeQueueRequest(name="none")),
            q.Send(pb.SendRequest(queue="none", messages=[message])),
            q.Receive(pb.ReceiveRequest(queue="none")),
            q.Delete(pb.DeleteRequest(queue="none", receipt_handles=[b"x"])),
            q.ChangeVisibility(pb.ChangeVisibilityRequest(queue="none", changes=[pb.VisibilityChange()])),
        ]
        for call in calls:
            status, info = await refusal(call)
            assert (status, info.code) == (grpc.StatusCode.NOT_FOUND, "QueueNotFound")
            assert info.message == "queue 'none' does not exist: create it first"


async def test_visibility_is_changed_and_each_bad_entry_says_why() -> None:
    async with serving() as running:
        await running.create(visibility_timeout_ms=10_000)
        await running.send(b"a", b"b", b"c")
        handles = [message.receipt_handle for message in await running.receive()]
        changes = [
            pb.VisibilityChange(receipt_handle=handles[0], visibility_timeout_ms=0),
            pb.VisibilityChange(receipt_handle=handles[1], visibility_timeout_ms=43_200_001),
            pb.VisibilityChange(receipt_handle=b"junk", visibility_timeout_ms=5),
            pb.VisibilityChange(receipt_handle=handles[2], visibility_timeout_ms=43_200_000),
        ]
        response = await running.queues.ChangeVisibility(pb.ChangeVisibilityRequest(queue="orders", changes=changes))

        assert [(failed.entry, failed.error.code) for failed in response.failed] == [
            (1, "InvalidArgument"),
            (2, "ReceiptHandleInvalid"),
        ]
        assert [message.body for message in await running.receive()] == [b"a"]
        running.cluster.clock.advance(10_000)
        assert sorted(message.body for message in await running.receive()) == [b"a", b"b"]


async def test_a_stale_handle_is_told_from_a_bad_one() -> None:
    async with serving() as running:
        await running.create(visibility_timeout_ms=1_000)
        await running.send(b"a")
        stale = (await running.receive())[0].receipt_handle
        running.cluster.clock.advance(1_000)
        await running.receive()
        response = await running.queues.Delete(pb.DeleteRequest(queue="orders", receipt_handles=[stale, b"x" * 33]))

        codes = [(failed.entry, failed.error.code) for failed in response.failed]
        assert codes == [(0, "ReceiptHandleExpired"), (1, "ReceiptHandleInvalid")]


async def test_other_attributes_under_the_same_name_are_refused() -> None:
    async with serving() as running:
        await running.create()
        request = pb.CreateQueueRequest(name="orders", attributes=pb.QueueAttributes(delay_ms=1))
        status, info = await refusal(running.queues.CreateQueue(request))
        assert (status, info.code) == (grpc.StatusCode.ALREADY_EXISTS, "QueueExists")


async def test_a_second_purge_within_a_minute_is_refused_as_retryable() -> None:
    async with serving() as running:
        await running.create()
        await running.send(b"a")
        await running.queues.PurgeQueue(pb.PurgeQueueRequest(name="orders"))
        status, info = await refusal(running.queues.PurgeQueue(pb.PurgeQueueRequest(name="orders")))
        assert (status, info.code, info.retryable) == (grpc.StatusCode.FAILED_PRECONDITION, "PurgeInProgress", True)
        assert (await running.counts()).visible == 0


async def test_a_request_id_makes_a_retry_safe_and_its_form_is_checked() -> None:
    async with serving() as running:
        await running.create()
        request = _one()
        request.request_id.CopyFrom(request_id(7))
        first = await running.queues.Send(request)
        again = await running.queues.Send(request)
        assert list(first.message_ids) == list(again.message_ids)
        assert (await running.counts()).sent_total == 1
        for bad in (pb.RequestId(session=b"short", number=1), pb.RequestId(session=SESSION, number=2**63)):
            request.request_id.CopyFrom(bad)
            status, info = await refusal(running.queues.Send(request))
            assert (status, info.code) == (INVALID, "InvalidArgument")


async def test_a_repeated_receive_gives_the_same_messages() -> None:
    async with serving() as running:
        await running.create()
        await running.send(b"a", b"b")
        request = pb.ReceiveRequest(queue="orders", max_messages=10, request_id=request_id(1))
        first = await running.queues.Receive(request)
        again = await running.queues.Receive(request)
        assert first == again
        assert len(first.messages) == 2


async def test_a_too_old_request_number_is_refused() -> None:
    async with serving() as running:
        await running.create()
        for number in (1, 200):
            request = _one()
            request.request_id.CopyFrom(request_id(number))
            await running.queues.Send(request)
        request.request_id.CopyFrom(request_id(2))
        status, info = await refusal(running.queues.Send(request))
        assert (status, info.code) == (INVALID, "InvalidArgument")
        assert "too old" in info.message


async def test_pages_of_names() -> None:
    async with serving() as running:
        for name in ("a1", "a2", "a3", "b1"):
            await running.create(name)
        first = await running.queues.ListQueues(pb.ListQueuesRequest(prefix="a", page_size=2))
        token = first.next_page_token
        second = await running.queues.ListQueues(pb.ListQueuesRequest(prefix="a", page_size=2, page_token=token))
        assert (list(first.names), list(second.names), second.next_page_token) == (["a1", "a2"], ["a3"], "")
        status, info = await refusal(running.queues.ListQueues(pb.ListQueuesRequest(page_size=1_001)))
        assert (status, info.code) == (INVALID, "InvalidArgument")


async def test_a_long_poll_ends_with_a_message_or_with_its_wait() -> None:
    async with serving() as running:
        await running.create(receive_wait_ms=2_000)
        polling = asyncio.ensure_future(running.receive())
        await running.polls(1)
        await running.send(b"a")
        assert [message.body for message in await polling] == [b"a"]
        polling = asyncio.ensure_future(running.receive())
        await running.polls(1)
        running.cluster.clock.advance(2_000)
        assert await polling == []


async def test_a_poller_that_goes_away_takes_nothing() -> None:
    async with serving() as running:
        await running.create()
        polling = running.queues.Receive(pb.ReceiveRequest(queue="orders", wait_ms=20_000))
        await running.polls(1)
        polling.cancel()
        await running.polls(0)
        await running.send(b"a")
        assert (await running.counts()).visible == 1


def _one() -> pb.SendRequest:
    return pb.SendRequest(queue="orders", messages=[pb.OutgoingMessage(body=b"x")])
