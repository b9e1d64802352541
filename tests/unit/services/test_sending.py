"""Sending through QueueService on one node, and finding the queue by its name."""

from __future__ import annotations

import asyncio

import pytest

from broker.base.errors import (
    BatchEmpty,
    BatchTooLarge,
    DiskFull,
    InvalidName,
    Overloaded,
    QueueNotFound,
    Unavailable,
)
from broker.base.ids import NodeId
from broker.base.instants import Millis
from broker.base.limits import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, MAX_MESSAGE_SIZE
from broker.domain.queues.commands import Send
from broker.domain.queues.model import Attribute, Message
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.admission import AdmissionSettings
from broker.services.assembly import Services, ServiceSettings
from broker.services.outgoing import OutgoingMessage, pack, pack_bodies
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import one_node, soon, with_queue

SESSION = b"s" * 16


async def test_what_is_sent_is_received_with_its_attributes() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    attributes = (Attribute("kind", "String", b"express"),)
    sent = await queues.send(
        "orders", pack([OutgoingMessage(Message(b"one", attributes)), OutgoingMessage(Message(b"two"))]), soon(cluster)
    )

    received = (await queues.receive("orders", 10, soon(cluster))).messages

    assert (sent.accepted, sent.refused) == (2, ())
    assert [(each.body, each.attributes) for each in received] == [(b"one", attributes), (b"two", ())]
    assert [each.receive_count for each in received] == [1, 1]


async def test_a_message_beyond_the_queues_limit_fails_alone() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(message_size_limit=1024))
    bodies = [b"a" * 1023, b"b" * 1025, b"c" * 1024, b"d" * 5000]

    result = await services.queues.send("orders", pack_bodies(bodies), soon(cluster))

    assert result.accepted == 2
    assert [(place, refusal.code) for place, refusal in result.refused] == [
        (1, "MessageTooLong"),
        (3, "MessageTooLong"),
    ]
    received = (await services.queues.receive("orders", 10, soon(cluster))).messages
    assert [each.body[:1] for each in received] == [b"a", b"c"]


async def test_a_batch_of_bad_messages_proposes_nothing() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(message_size_limit=1024))
    cluster.proposals.clear()

    result = await services.queues.send("orders", pack_bodies([b"a" * 1025]), soon(cluster))

    assert (result.accepted, len(result.refused), cluster.proposals) == (0, 1, [])


async def test_refusals_found_here_and_at_the_leader_keep_their_places() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(message_size_limit=1024))
    batch = [
        OutgoingMessage(Message(b"x", (Attribute("a b", "String", b"v"),))),
        OutgoingMessage(Message(b"good")),
        OutgoingMessage(Message(b"long" * 1000)),
        OutgoingMessage(Message(b"late"), delay=900_001),
        OutgoingMessage(Message(b"good too"), delay=10),
    ]

    result = await services.queues.send("orders", pack(batch), soon(cluster))

    assert [(place, refusal.code) for place, refusal in result.refused] == [
        (0, "InvalidArgument"),
        (2, "MessageTooLong"),
        (3, "InvalidArgument"),
    ]
    cluster.clock.advance(10)
    received = (await services.queues.receive("orders", 10, soon(cluster))).messages
    assert sorted(each.body for each in received) == [b"good", b"good too"]


async def test_a_delay_of_its_own_stands_beside_the_queues() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(delay=Millis(10_000)))
    batch = [OutgoingMessage(Message(b"own"), delay=0), OutgoingMessage(Message(b"queue's"))]
    await services.queues.send("orders", pack(batch), soon(cluster))

    at_once = (await services.queues.receive("orders", 10, soon(cluster))).messages
    cluster.clock.advance(10_000)
    later = (await services.queues.receive("orders", 10, soon(cluster))).messages

    assert [each.body for each in at_once] == [b"own"]
    assert [each.body for each in later] == [b"queue's"]


def test_batches_have_limits() -> None:
    with pytest.raises(BatchEmpty):
        pack_bodies([])
    pack_bodies([b""] * MAX_BATCH_ENTRIES)
    with pytest.raises(BatchTooLarge):
        pack_bodies([b""] * (MAX_BATCH_ENTRIES + 1))
    pack_bodies([b"x" * MAX_MESSAGE_SIZE] * 4)
    with pytest.raises(BatchTooLarge):
        pack_bodies([b"x" * MAX_MESSAGE_SIZE] * 4 + [b"x"])
    with pytest.raises(BatchTooLarge):
        pack([OutgoingMessage(Message(b"x" * MAX_BATCH_BYTES)), OutgoingMessage(Message(b"y"))])


async def test_the_same_request_id_stores_once_and_answers_the_same() -> None:
    cluster, services = await with_queue()
    once = RequestId(SESSION, 1)

    first = await services.queues.send("orders", pack_bodies([b"a"]), soon(cluster), once)
    again = await services.queues.send("orders", pack_bodies([b"a"]), soon(cluster), once)

    assert first == again
    assert (await services.queues.describe("orders", soon(cluster))).counts.visible == 1


async def test_an_outcome_that_got_lost_is_found_out_and_nothing_is_stored_twice() -> None:
    cluster, services = await with_queue()
    cluster.after = [Unavailable("the connection broke"), Unavailable("again")]

    result = await services.queues.send("orders", pack_bodies([b"a"]), soon(cluster))

    assert result.accepted == 1
    assert (await services.queues.describe("orders", soon(cluster))).counts.visible == 1


@pytest.mark.parametrize("name", ["", "a b", "x" * 81, "ä"])
async def test_bad_names_are_told_from_unknown_ones(name: str) -> None:
    cluster, services = await with_queue()
    with pytest.raises(InvalidName):
        await services.queues.send(name, pack_bodies([b"a"]), soon(cluster))
    with pytest.raises(QueueNotFound, match="'unknown' does not exist"):
        await services.queues.send("unknown", pack_bodies([b"a"]), soon(cluster))


async def test_a_queue_created_again_is_found_though_the_old_one_was_known() -> None:
    cluster, services = await with_queue()
    await services.queues.send("orders", pack_bodies([b"old"]), soon(cluster))
    elsewhere = await one_node_beside(cluster)
    await elsewhere.queues.delete("orders", soon(cluster))
    await elsewhere.queues.create("orders", AttributeChanges(), soon(cluster))

    await services.queues.send("orders", pack_bodies([b"new"]), soon(cluster), RequestId(SESSION, 1))

    assert [each.body for each in (await services.queues.receive("orders", 9, soon(cluster))).messages] == [b"new"]


async def test_more_than_a_node_takes_on_is_refused_at_once_and_counted() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster, ServiceSettings(admission=AdmissionSettings(requests=2, size=100)))
    await services.queues.create("orders", AttributeChanges(), soon(cluster))
    cluster.held = asyncio.Event()
    first = asyncio.ensure_future(services.queues.send("orders", pack_bodies([b"x" * 80]), soon(cluster)))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded, match="bytes"):
        await services.queues.send("orders", pack_bodies([b"x" * 80]), soon(cluster))
    second = asyncio.ensure_future(services.queues.send("orders", pack_bodies([b"x"]), soon(cluster)))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="2 requests"):
        await services.queues.describe("orders", soon(cluster))
    cluster.held.set()

    assert (await first).accepted + (await second).accepted == 2
    assert services.admission.turned_away == 2
    assert (services.admission.requests, services.admission.size) == (0, 0)


async def test_a_frame_goes_into_the_log_without_being_encoded_again() -> None:
    cluster, services = await with_queue()
    outgoing = pack_bodies([b"a", b"b"])
    await services.queues.send("orders", outgoing, soon(cluster))

    sent = [command for _, command in cluster.proposals if isinstance(command, Send)]
    assert bytes(sent[-1].messages) == bytes(outgoing.packed.messages)
    assert (sent[-1].count, sent[-1].largest, sent[-1].delays) == (2, 1, None)


async def one_node_beside(cluster: FakeCluster) -> Services:
    """Services of the same node once more: another process's view of the directory."""
    cluster.on[cluster.nodes[0].id].handlers.clear()
    return await one_node(cluster)


async def test_a_full_disk_takes_no_messages_and_gives_those_it_has() -> None:
    # given a message, and then a leader whose disk is nearly full
    cluster, services = await with_queue()
    queues = services.queues
    await queues.send("orders", pack_bodies([b"one"]), soon(cluster))
    cluster.on[NodeId("a-0")].full = True

    # then sends are refused by that name, and nothing is stored
    with pytest.raises(DiskFull):
        await queues.send("orders", pack_bodies([b"two"]), soon(cluster))

    # and receives and deletes go on
    (message,) = (await queues.receive("orders", 10, soon(cluster))).messages
    assert message.body == b"one"
    assert await queues.delete_messages("orders", [message.handle], soon(cluster)) == ()
