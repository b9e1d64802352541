"""Scheduled messages through QueueService: due when they are due, and withdrawn before."""

from __future__ import annotations

import pytest

from broker.base.errors import BatchEmpty, BatchTooLarge, NotForFifo, QueueNotFound, Unavailable
from broker.base.ids import MessageId
from broker.base.instants import DAY, MINUTE, Millis
from broker.base.limits import DEFAULT_RETENTION, MAX_BATCH_ENTRIES
from broker.domain.queues.model import Message
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.outgoing import OutgoingMessage, pack, pack_bodies
from broker.services.sent import SendResult
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon, with_queue


async def schedule(cluster: FakeCluster, services: Services, *seconds: int) -> SendResult:
    batch = [OutgoingMessage(Message(b"%d" % each), due=cluster.clock.wall() + each * 1_000) for each in seconds]
    return await services.queues.send("orders", pack(batch), soon(cluster))


async def bodies(cluster: FakeCluster, services: Services) -> list[bytes]:
    return [each.body for each in (await services.queues.receive("orders", 100, soon(cluster))).messages]


async def test_a_message_is_due_at_its_instant_and_not_before() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(delay=Millis(900_000)))
    await schedule(cluster, services, -5, 20, 3_600)

    at_once = await bodies(cluster, services)
    cluster.clock.advance(19_999)
    too_early = await bodies(cluster, services)
    cluster.clock.advance(1)
    in_time = await bodies(cluster, services)

    assert (at_once, too_early, in_time) == ([b"-5"], [], [b"20"])


async def test_an_instant_beyond_the_retention_is_refused_alone() -> None:
    cluster, services = await with_queue()
    now = cluster.clock.wall()
    batch = [
        OutgoingMessage(Message(b"last"), due=now + DEFAULT_RETENTION - 1),
        OutgoingMessage(Message(b"never"), due=now + DEFAULT_RETENTION),
        OutgoingMessage(Message(b"both"), due=now + MINUTE, delay=5),
        OutgoingMessage(Message(b"before time"), due=-1),
    ]

    result = await services.queues.send("orders", pack(batch), soon(cluster))

    assert [(place, refusal.code) for place, refusal in result.refused] == [
        (1, "InvalidArgument"),
        (2, "InvalidArgument"),
        (3, "InvalidArgument"),
    ]
    assert "345600000" in result.refused[0][1].message
    assert (await services.queues.describe("orders", soon(cluster))).counts.delayed == 1


async def test_a_scheduled_message_is_withdrawn_by_its_id() -> None:
    cluster, services = await with_queue()
    ids = (await schedule(cluster, services, 10, 20, 30)).message_ids()

    assert await services.queues.cancel("orders", [ids[1]], soon(cluster)) == ()

    cluster.clock.advance(60_000)
    assert await bodies(cluster, services) == [b"10", b"30"]


async def test_what_cannot_be_withdrawn_fails_alone() -> None:
    cluster, services = await with_queue()
    due, later = (await schedule(cluster, services, 10, 20)).message_ids()
    plain = (await services.queues.send("orders", pack_bodies([b"plain"]), soon(cluster))).message_ids()[0]
    known = MessageId.from_bytes(later)
    elsewhere = MessageId(known.group + 1, known.index, known.slot).to_bytes()
    cluster.clock.advance(10_000)

    failures = await services.queues.cancel("orders", [b"short", due, later, plain, elsewhere, later], soon(cluster))

    assert [(place, refusal.code) for place, refusal in failures] == [
        (0, "InvalidArgument"),
        (1, "NotScheduled"),
        (3, "NotScheduled"),
        (4, "NotScheduled"),
        (5, "NotScheduled"),
    ]
    cluster.clock.advance(10_000)
    assert sorted(await bodies(cluster, services)) == [b"10", b"plain"]


async def test_a_withdrawal_whose_answer_got_lost_is_answered_as_done() -> None:
    cluster, services = await with_queue()
    ids = (await schedule(cluster, services, 10)).message_ids()
    cluster.after = [Unavailable("the connection broke")]

    assert await services.queues.cancel("orders", ids, soon(cluster)) == ()


async def test_only_ids_that_cannot_be_read_propose_nothing() -> None:
    cluster, services = await with_queue()
    cluster.proposals.clear()

    failures = await services.queues.cancel("orders", [b"", MessageId(99, 1, 0).to_bytes()], soon(cluster))

    assert [refusal.code for _, refusal in failures] == ["InvalidArgument", "NotScheduled"]
    assert cluster.proposals == []


async def test_cancelling_needs_a_standard_queue_and_a_batch() -> None:
    cluster, services = await with_queue("orders.fifo")
    some = MessageId(1, 1, 0).to_bytes()
    with pytest.raises(NotForFifo):
        await services.queues.cancel("orders.fifo", [some], soon(cluster))
    with pytest.raises(QueueNotFound):
        await services.queues.cancel("unknown", [some], soon(cluster))
    with pytest.raises(BatchEmpty):
        await services.queues.cancel("orders.fifo", [], soon(cluster))
    with pytest.raises(BatchTooLarge):
        await services.queues.cancel("orders.fifo", [some] * (MAX_BATCH_ENTRIES + 1), soon(cluster))


async def test_a_message_expires_after_its_own_lifetime() -> None:
    cluster, services = await with_queue()
    batch = [OutgoingMessage(Message(b"brief"), lifetime=1_000), OutgoingMessage(Message(b"ordinary"))]
    await services.queues.send("orders", pack(batch), soon(cluster))

    cluster.clock.advance(2_000)

    assert await bodies(cluster, services) == [b"ordinary"]


async def test_lifetimes_out_of_range_or_too_short_to_be_seen_fail_alone() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(retention=Millis(DAY), delay=Millis(5_000)))
    batch = [
        OutgoingMessage(Message(b"too short"), lifetime=999),
        OutgoingMessage(Message(b"too long"), lifetime=DAY + 1),
        OutgoingMessage(Message(b"ends within the queue's delay"), lifetime=5_000),
        OutgoingMessage(Message(b"ends within its own delay"), lifetime=6_000, delay=6_000),
        OutgoingMessage(Message(b"ends before it is due"), lifetime=7_000, due=cluster.clock.wall() + 7_000),
        OutgoingMessage(Message(b"good"), lifetime=DAY),
    ]

    result = await services.queues.send("orders", pack(batch), soon(cluster))

    assert [(place, refusal.code) for place, refusal in result.refused] == [
        (place, "InvalidArgument") for place in range(5)
    ]
    assert result.accepted == 1
