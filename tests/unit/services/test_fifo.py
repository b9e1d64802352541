"""FIFO and fair queues through QueueService: what a message must bring, what deduplication answers, in what order."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from broker.base.errors import InvalidArgument, NotForStandard, Unavailable
from broker.base.ids import MessageId
from broker.base.instants import MINUTE, Millis
from broker.domain.queues.commands import Receive
from broker.domain.queues.keys import message_key
from broker.domain.queues.model import PER_MESSAGE_GROUP, Message
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.outgoing import OutgoingMessage, pack, pack_bodies
from broker.services.receiving import Received
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon, with_queue

SESSION = b"s" * 16
BY_CONTENT = AttributeChanges(content_deduplication=True)


def of(group: str, body: bytes, deduplication: str = "") -> OutgoingMessage:
    return OutgoingMessage(Message(body), group=group, deduplication=deduplication)


async def receive(cluster: FakeCluster, services: Services, count: int = 10) -> list[Received]:
    return (await services.queues.receive("orders.fifo", count, soon(cluster))).messages


async def test_what_a_fifo_queue_does_not_take_fails_alone() -> None:
    cluster, services = await with_queue("orders.fifo")
    now = cluster.clock.wall()
    batch = [
        OutgoingMessage(Message(b"no group"), deduplication="1"),
        OutgoingMessage(Message(b"no id"), group="a"),
        OutgoingMessage(Message(b"delay"), group="a", deduplication="2", delay=0),
        OutgoingMessage(Message(b"due"), group="a", deduplication="3", due=now + MINUTE),
        OutgoingMessage(Message(b"group"), group="a b", deduplication="4"),
        OutgoingMessage(Message(b"id"), group="a", deduplication="x" * 129),
        OutgoingMessage(Message(b"good"), group="a", deduplication="5", lifetime=60_000),
    ]

    result = await services.queues.send("orders.fifo", pack(batch), soon(cluster))

    assert [(place, refusal.code) for place, refusal in result.refused] == [
        (0, "MessageGroupRequired"),
        (1, "DeduplicationIdRequired"),
        (2, "NotForFifo"),
        (3, "NotForFifo"),
        (4, "InvalidArgument"),
        (5, "InvalidArgument"),
    ]
    assert [each.body for each in await receive(cluster, services)] == [b"good"]


async def test_plain_bodies_need_a_group_too() -> None:
    cluster, services = await with_queue("orders.fifo", BY_CONTENT)
    result = await services.queues.send("orders.fifo", pack_bodies([b"a", b"b"]), soon(cluster))
    assert [refusal.code for _, refusal in result.refused] == ["MessageGroupRequired"] * 2
    assert (result.accepted, result.first, result.message_ids(), result.sequence_numbers()) == (
        0,
        None,
        [b"", b""],
        [0, 0],
    )


async def test_a_standard_queue_takes_groups_and_no_deduplication_ids() -> None:
    cluster, services = await with_queue()
    batch = [of("tenant", b"good"), of("", b"bad", "1"), of("", b"also good")]

    result = await services.queues.send("orders", pack(batch), soon(cluster))

    assert [(place, refusal.code) for place, refusal in result.refused] == [(1, "NotForStandard")]
    found = (await services.queues.receive("orders", 10, soon(cluster))).messages
    assert [(each.body, each.group, each.deduplication, each.sequence_number) for each in found] == [
        (b"good", "tenant", "", 0),
        (b"also good", "", "", 0),
    ]
    assert result.sequence_numbers() == []


async def test_messages_come_in_the_order_of_their_group_with_all_that_belongs_to_them() -> None:
    cluster, services = await with_queue("orders.fifo")
    sent = await services.queues.send(
        "orders.fifo", pack([of("a", b"a1", "1"), of("b", b"b1", "2"), of("a", b"a2", "3")]), soon(cluster)
    )

    found = await receive(cluster, services)

    by_body = {each.body: each for each in found}
    assert [each.body for each in found if each.group == "a"] == [b"a1", b"a2"]
    assert [by_body[body].sequence_number for body in (b"a1", b"b1", b"a2")] == sent.sequence_numbers()
    assert [by_body[body].id for body in (b"a1", b"b1", b"a2")] == sent.message_ids()
    assert (by_body[b"b1"].group, by_body[b"b1"].deduplication) == ("b", "2")
    assert sent.first == MessageId.from_bytes(sent.message_ids()[0])
    assert sorted(sent.sequence_numbers()) == sent.sequence_numbers()


async def test_a_duplicate_is_acknowledged_with_the_id_and_the_number_of_the_first() -> None:
    cluster, services = await with_queue("orders.fifo")
    first = await services.queues.send("orders.fifo", pack([of("a", b"1", "x"), of("a", b"2", "y")]), soon(cluster))

    batch = [of("a", b"3", "z"), of("a", b"1 again", "x"), of("", b"no group", "w"), of("a", b"3 again", "z")]
    again = await services.queues.send("orders.fifo", pack(batch), soon(cluster))

    ids, numbers = again.message_ids(), again.sequence_numbers()
    assert ids == [ids[0], first.message_ids()[0], b"", ids[0]]
    assert numbers == [numbers[0], first.sequence_numbers()[0], 0, numbers[0]]
    new = MessageId.from_bytes(ids[0])
    assert numbers[0] == message_key(new.index, new.slot)
    assert (again.accepted, again.first) == (3, None)
    assert [each.body for each in await receive(cluster, services)] == [b"1", b"2", b"3"]


async def test_content_deduplicates_unless_the_sender_gives_an_id() -> None:
    cluster, services = await with_queue("orders.fifo", BY_CONTENT)
    batch = [of("a", b"same"), of("a", b"same"), of("a", b"same", "mine"), of("a", b"other")]

    result = await services.queues.send("orders.fifo", pack(batch), soon(cluster))

    ids = result.message_ids()
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    found = await receive(cluster, services)
    assert [(each.body, each.deduplication) for each in found] == [
        (b"same", sha256(b"same").hexdigest()),
        (b"same", "mine"),
        (b"other", sha256(b"other").hexdigest()),
    ]


async def test_a_send_repeated_under_its_request_id_is_no_duplicate_of_itself() -> None:
    cluster, services = await with_queue("orders.fifo", BY_CONTENT)
    cluster.after = [Unavailable("the connection broke")]
    batch = pack([of("a", b"1"), of("a", b"2")])

    first = await services.queues.send("orders.fifo", batch, soon(cluster), RequestId(SESSION, 1))
    again = await services.queues.send("orders.fifo", batch, soon(cluster), RequestId(SESSION, 1))

    assert first == again
    assert first.first is not None


async def test_a_request_id_of_another_batch_is_refused() -> None:
    cluster, services = await with_queue("orders.fifo", BY_CONTENT)
    await services.queues.send("orders.fifo", pack([of("a", b"1")]), soon(cluster), RequestId(SESSION, 1))
    other = pack([of("a", b"1"), of("a", b"2")])
    with pytest.raises(InvalidArgument, match="for a batch of 1 messages, not 2"):
        await services.queues.send("orders.fifo", other, soon(cluster), RequestId(SESSION, 1))


async def test_a_receive_attempt_repeated_gives_the_same_messages() -> None:
    cluster, services = await with_queue("orders.fifo", BY_CONTENT)
    await services.queues.send("orders.fifo", pack([of("a", b"1"), of("a", b"2")]), soon(cluster))

    async def attempt() -> list[bytes]:
        answer = await services.queues.receive("orders.fifo", 1, soon(cluster), attempt="try-1")
        return [each.body for each in answer.messages]

    assert (await attempt(), await receive(cluster, services), await attempt()) == ([b"1"], [], [b"1"])


async def test_an_attempt_that_finds_nothing_waits_for_what_comes() -> None:
    cluster, services = await with_queue("orders.fifo", BY_CONTENT)
    polling = asyncio.ensure_future(
        services.queues.receive("orders.fifo", 1, soon(cluster), Millis(20_000), attempt="try-1")
    )
    await cluster.polls(1)

    await services.queues.send("orders.fifo", pack([of("a", b"1")]), soon(cluster))

    assert [each.body for each in (await polling).messages] == [b"1"]


async def test_attempts_are_of_fifo_queues_and_of_a_form() -> None:
    cluster, services = await with_queue()
    with pytest.raises(NotForStandard, match="'orders'"):
        await services.queues.receive("orders", 1, soon(cluster), attempt="try-1")
    with pytest.raises(InvalidArgument, match="receive-attempt id"):
        await services.queues.receive("orders", 1, soon(cluster), attempt="two words")


async def test_a_blocked_group_lets_a_long_poll_wait_until_it_is_free() -> None:
    cluster, services = await with_queue("orders.fifo", BY_CONTENT)
    await services.queues.send("orders.fifo", pack([of("a", b"1"), of("a", b"2")]), soon(cluster))
    (first,) = await receive(cluster, services, 1)
    polling = asyncio.ensure_future(services.queues.receive("orders.fifo", 1, soon(cluster), Millis(20_000)))
    await cluster.polls(1)
    receives = sum(isinstance(command, Receive) for _, command in cluster.proposals)

    await services.queues.delete_messages("orders.fifo", [first.handle], soon(cluster))

    assert [each.body for each in (await polling).messages] == [b"2"]
    assert sum(isinstance(command, Receive) for _, command in cluster.proposals) == receives + 1


async def test_high_throughput_deduplicates_within_a_message_group() -> None:
    changes = AttributeChanges(deduplication_scope=PER_MESSAGE_GROUP, throughput_limit=PER_MESSAGE_GROUP, stripes=1)
    cluster, services = await with_queue("orders.fifo", changes)

    result = await services.queues.send(
        "orders.fifo", pack([of("a", b"1", "x"), of("b", b"2", "x"), of("a", b"3", "x")]), soon(cluster)
    )

    ids = result.message_ids()
    assert ids[0] == ids[2] != ids[1]
