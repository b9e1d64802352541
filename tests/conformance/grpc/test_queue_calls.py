"""Every unary call of QueueService: what it does, its boundaries, and each of its errors."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from broker.base.errors import DiskFull, Unavailable
from broker.base.ids import MessageId
from broker.pb.queues.v1 import queues_pb2 as pb
from broker.services.admission import AdmissionSettings
from broker.services.assembly import ServiceSettings
from tests.conformance.grpc.serving import TIMEOUT, refusal, serving, until
from tests.unit.services.fake_groups import FakeCluster

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


@pytest.mark.parametrize("name", ["", "a" * 81, "a b", "ä", "a.fifo", "a/b"])
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


async def test_over_the_limit_of_messages_in_flight() -> None:
    async with serving(FakeCluster(in_flight_limit=2)) as running:
        await running.create()
        await running.send(b"a", b"b", b"c")
        assert len(await running.receive()) == 2
        status, info = await refusal(running.queues.Receive(pb.ReceiveRequest(queue="orders")))
        assert (status, info.code, info.retryable) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OverLimit", True)


async def test_an_overloaded_node_says_so_at_once() -> None:
    async with serving(settings=ServiceSettings(admission=AdmissionSettings(requests=1))) as running:
        await running.create()
        running.cluster.held = asyncio.Event()
        first = asyncio.ensure_future(running.send(b"a"))
        await until(lambda: running.doors["a-0"].services.admission.requests == 1)
        status, info = await refusal(running.queues.DescribeQueue(pb.DescribeQueueRequest(name="orders")))
        running.cluster.held.set()
        assert (status, info.code, info.retryable) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "Overloaded", True)
        assert len((await first).message_ids) == 1


async def test_a_full_disk_is_told_as_such() -> None:
    error, status = DiskFull("the disk is full"), grpc.StatusCode.RESOURCE_EXHAUSTED
    async with serving() as running:
        await running.create()
        running.cluster.before = [error]
        message = pb.OutgoingMessage(body=b"x")
        found, info = await refusal(running.queues.Send(pb.SendRequest(queue="orders", messages=[message])))
        assert (found, info.code, info.retryable, info.message) == (status, error.code, True, str(error))


async def test_without_a_quorum_writes_are_refused_in_bounded_time() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        await running.create()
        running.cluster.elect(1, None)
        call = asyncio.ensure_future(refusal(running.queues.Send(_one())))
        await asyncio.sleep(0.05)
        running.cluster.clock.advance(5_000)
        status, info = await call
        assert (status, info.code, info.retryable) == (grpc.StatusCode.UNAVAILABLE, "Unavailable", True)
        assert "no leader for group 1 within 5000 ms" in info.message


def _one() -> pb.SendRequest:
    return pb.SendRequest(queue="orders", messages=[pb.OutgoingMessage(body=b"x")])


async def test_an_unexpected_error_is_internal_with_an_id_and_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as running:
        await running.create()
        groups = running.cluster.on[running.cluster.nodes[0].id]
        groups.peek = _explode  # type: ignore[method-assign]
        status, info = await refusal(running.queues.Send(_one()))

        assert (status, info.code, info.retryable) == (grpc.StatusCode.INTERNAL, "Internal", False)
        identity = info.message.rpartition(" ")[2]
        assert len(identity) == 8
        assert "secret" not in info.message
        logged = [record for record in caplog.records if identity in record.getMessage()]
        assert len(logged) == 1
        assert logged[0].exc_info is not None


def _explode(*_: object) -> None:
    raise KeyError("secret")


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


async def test_the_callers_deadline_is_honoured() -> None:
    async with serving() as running:
        await running.create()
        running.cluster.held = asyncio.Event()
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await running.queues.Send(_one(), timeout=0.05)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        running.cluster.held.set()
        # What is left of a deadline bounds the search for a leader too.
        running.cluster.elect(1, None)
        call = asyncio.ensure_future(refusal(running.queues.Send(_one(), timeout=10)))
        await asyncio.sleep(0.05)
        running.cluster.clock.advance(10_000)
        assert (await call)[0] is grpc.StatusCode.UNAVAILABLE


async def test_any_node_answers_any_call() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        await running.doors["c-0"].queues.CreateQueue(pb.CreateQueueRequest(name="orders"))
        sent = await running.doors["b-0"].queues.Send(_one())
        received = await running.doors["c-0"].queues.Receive(pb.ReceiveRequest(queue="orders"))
        assert received.messages[0].message_id == sent.message_ids[0]
        running.cluster.after = [Unavailable("the connection to a-0 ended")]
        await running.doors["b-0"].queues.Send(_one())
        assert (await running.counts()).sent_total == 2
