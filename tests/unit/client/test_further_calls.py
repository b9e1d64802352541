"""Calls beyond sending and receiving: attributes of complete queues, schedules, exchange, browsing, dead letters."""

from __future__ import annotations

import pytest

from broker.base.errors import (
    InvalidArgument,
    MoveTaskNotFound,
    MoveTaskNotRunning,
    NotDeadLetterQueue,
    NotScheduled,
    ReceiptHandleExpired,
)
from broker.client.model import MessageGroup, OutgoingMessage, RedriveAllowPolicy, RedrivePolicy
from broker.pb.queues.v1 import queues_pb2
from tests.unit.client.fake_broker import FakeCluster, running
from tests.unit.client.test_client import client_of


async def test_attributes_of_complete_queues_go_there_and_back() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a FIFO queue with everything
        await client.create_queue(
            "orders.fifo",
            beside="invoices.fifo",
            content_deduplication=True,
            deduplication_scope="message_group",
            throughput_limit="message_group",
            redrive=RedrivePolicy("dead.fifo", 5),
            redrive_allow=RedriveAllowPolicy("by_queue", ("a.fifo", "b.fifo")),
            stripes=4,
        )
        cluster.queue("orders.fifo").suspended_until = 1_700_000_000_000

        # when it is described
        found = await client.describe_queue("orders.fifo")

        # then it has it all
        attributes = found.attributes
        assert (attributes.content_deduplication, attributes.deduplication_scope) == (True, "message_group")
        assert (attributes.throughput_limit, attributes.stripes) == ("message_group", 4)
        assert attributes.redrive == RedrivePolicy("dead.fifo", 5)
        assert attributes.redrive_allow == RedriveAllowPolicy("by_queue", ("a.fifo", "b.fifo"))
        assert (found.redrive_target, found.redrive_suspended_until) == ("dead.fifo", 1_700_000_000.0)
        assert (found.groups, found.counts.message_groups) == ((7,), 0)

        # when the redrive policy is removed, only that changes
        await client.update_queue("orders.fifo", remove_redrive=True)
        found = await client.describe_queue("orders.fifo")
        assert (found.attributes.redrive, found.redrive_target, found.attributes.stripes) == (None, None, 4)


async def test_words_that_are_none_are_refused_with_those_that_are() -> None:
    async with running() as cluster, client_of(cluster) as client:
        with pytest.raises(InvalidArgument, match=r"deduplication_scope is 'group'; .* 'queue', 'message_group'"):
            await client.create_queue("a.fifo", deduplication_scope="group")  # type: ignore[arg-type]
        with pytest.raises(
            InvalidArgument, match=r"redrive permission is 'all'; .* 'allow_all', 'deny_all', 'by_queue'"
        ):
            await client.create_queue("a", redrive_allow=RedriveAllowPolicy("all"))  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="max_receive_count is -1"):
            await client.create_queue("a", redrive=RedrivePolicy("b", -1))
        with pytest.raises(InvalidArgument, match="remove_redrive and redrive were given"):
            await client.update_queue("a", redrive=RedrivePolicy("b", 1), remove_redrive=True)
        with pytest.raises(InvalidArgument, match=r"state is 'gone'; .* 'visible', 'in_flight', 'delayed'"):
            [message async for message in client.browse("a", states=["gone"])]  # type: ignore[list-item]
        assert cluster.calls == []


async def test_received_messages_tell_of_their_group_and_origin() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a message that came from another queue
        queue = cluster.create("dead.fifo")
        message = queue.send(queues_pb2.OutgoingMessage(body=b"a", message_group="g", deduplication_id="d"))
        message.origin = queues_pb2.Origin(queue="orders.fifo", message_id=b"o" * 16, sent_at=1_500, receive_count=5)

        # when it is received, in both ways
        (received,) = await client.receive("dead.fifo", wait=0, attempt="again")
        await client.give_back("dead.fifo", [received.receipt_handle])
        async with client.consume("dead.fifo") as messages:
            taken = await anext(messages)

        # then both tell the same, and giving back did not count
        for found in (received, taken):
            assert (found.message_group, found.deduplication_id, found.sequence_number) == ("g", "d", 1)
            assert found.origin is not None
            assert (found.origin.queue, found.origin.sent_at, found.origin.receive_count) == ("orders.fifo", 1.5, 5)
            assert found.origin.id.to_bytes() == b"o" * 16
            assert found.receive_count == 1


async def test_what_a_plain_message_has_not_is_none() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("orders")
        sent = await client.send("orders", b"a")
        (received,) = await client.receive("orders", wait=0)
        nothing = (received.message_group, received.deduplication_id, received.sequence_number, received.origin)
        assert (sent.sequence_number, nothing) == (None, (None, None, None, None))


async def test_a_scheduled_message_is_withdrawn_once() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("orders")
        sent = await client.send("orders", b"later", deliver_at=2_000_000_000)
        assert await client.cancel_scheduled("orders", [sent.id]) == [None]
        (refused,) = await client.cancel_scheduled("orders", [sent.id])
        assert isinstance(refused, NotScheduled)


async def test_an_exchange_does_both_or_neither() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a message in hand
        cluster.create("orders")
        cluster.create("invoices.fifo")
        await client.send("orders", b"order")
        (order,) = await client.receive("orders", wait=0)

        # when it is exchanged for two others
        messages = [
            OutgoingMessage(b"invoice", message_group="g", deduplication_id="1"),
            OutgoingMessage(b"copy", message_group="g", deduplication_id="2"),
        ]
        handles = [order.receipt_handle]
        sent = await client.exchange("invoices.fifo", messages, delete_from="orders", receipt_handles=handles)

        # then it is gone and they are there
        assert cluster.queue("orders").deleted == [b"order"]
        assert cluster.bodies("invoices.fifo") == [b"invoice", b"copy"]
        assert [found.sequence_number for found in sent] == [1, 2]
        # and a second time nothing happens
        with pytest.raises(ReceiptHandleExpired):
            await client.exchange("invoices.fifo", [b"again"], delete_from="orders", receipt_handles=handles)
        assert len(cluster.bodies("invoices.fifo")) == 2


async def test_browsing_follows_every_page_and_takes_nothing() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given seven messages, one in flight and one scheduled
        cluster.create("orders")
        await client.send_many("orders", [b"%d" % number for number in range(6)])
        await client.send("orders", b"later", deliver_at=2_000_000_000, message_group="g")
        await client.receive("orders", wait=0)

        # when they are browsed, all, by state, and only some
        found = [message async for message in client.browse("orders")]
        delayed = [message async for message in client.browse("orders", states=["delayed"], since=0, until=2e9)]
        some = [message async for message in client.browse("orders", limit=3)]

        # then
        assert [message.body for message in found] == [b"0", b"1", b"2", b"3", b"4", b"5", b"later"]
        assert [message.state for message in found] == ["in_flight", *["visible"] * 5, "delayed"]
        assert [(message.body, message.until, message.message_group) for message in delayed] == [
            (b"later", 2_000_000_000.0, "g")
        ]
        assert [message.body for message in some] == [b"0", b"1", b"2"]
        assert len(cluster.queue("orders").visible) == 5


async def test_a_census_tells_ages_and_groups() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("orders")
        for group in ("a", "a", "b"):
            await client.send("orders", b"x", message_group=group)
        await client.receive("orders", wait=0)
        census = await client.census("orders")
        assert census.age_bounds == (1.0, 60.0)
        assert census.ages == {"visible": (0, 2, 0), "in_flight": (1, 0, 0), "delayed": (0, 0, 0)}
        assert census.message_groups == (MessageGroup("a", 1, 1), MessageGroup("b", 1, 0))


async def test_moves_are_started_listed_and_cancelled() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a dead-letter queue with two messages
        _dead_letters(cluster)
        assert await client.dead_letter_sources("dead") == ["orders"]

        # when they are moved slowly, and that is cancelled
        slow = await client.start_move("dead", "elsewhere", rate=1)
        assert await client.cancel_move(slow) == 0
        # and then at once, back to where they came from
        fast = await client.start_move("dead")

        # then both are told, newest first
        newest, oldest = await client.list_moves("dead")
        assert (newest.task, newest.status, newest.destination, newest.rate) == (fast, "completed", None, None)
        assert (newest.moved, newest.to_move, newest.started_at, newest.failure) == (2, 2, 1_700_000_000.0, None)
        assert (oldest.task, oldest.status, oldest.destination, oldest.rate) == (slow, "cancelled", "elsewhere", 1)
        with pytest.raises(MoveTaskNotRunning):
            await client.cancel_move(fast)
        with pytest.raises(MoveTaskNotFound):
            await client.cancel_move("none")
        with pytest.raises(NotDeadLetterQueue):
            await client.start_move("orders")


def _dead_letters(cluster: FakeCluster) -> None:
    dead = cluster.create("dead")
    cluster.create("orders", redrive=queues_pb2.RedrivePolicy(target="dead", max_receive_count=3))
    for body in (b"a", b"b"):
        dead.send(queues_pb2.OutgoingMessage(body=body))
