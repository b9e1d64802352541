"""Callers in one another's company get what they would get alone."""

from __future__ import annotations

import asyncio

from broker.base.errors import Refusal
from broker.base.ids import MessageId
from broker.base.instants import Millis
from broker.domain.queues.commands import Delete, Receive, Send
from broker.domain.queues.model import Message
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.outgoing import OutgoingMessage, pack, pack_bodies
from broker.services.receiving import ReceiveAnswer
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon, with_queue


def count(cluster: FakeCluster, command: type) -> int:
    return sum(isinstance(each, command) for _, each in cluster.proposals)


async def receive(cluster: FakeCluster, services: Services, most: int) -> ReceiveAnswer:
    return await services.queues.receive("orders", most, soon(cluster), Millis(0))


async def test_sends_of_several_callers_are_one_entry_and_each_has_its_own_ids() -> None:
    cluster, services = await with_queue()
    batches = [[b"a"], [b"b", b"c"], [b"d"]]

    results = await asyncio.gather(
        *(services.queues.send("orders", pack_bodies(batch), soon(cluster)) for batch in batches)
    )

    assert count(cluster, Send) == 1
    ids = [MessageId.from_bytes(each) for result in results for each in result.message_ids()]
    assert [result.accepted for result in results] == [1, 2, 1]
    assert len(set(ids)) == 4
    assert [result.first for result in results] == [ids[0], ids[1], ids[3]]
    found = {message.id: message.body for message in (await receive(cluster, services, 10)).messages}
    assert found == {each.to_bytes(): body for each, body in zip(ids, (b"a", b"b", b"c", b"d"), strict=True)}


async def test_a_message_that_is_refused_is_its_own_senders_affair() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(message_size_limit=1_024))
    long = b"x" * 1_025

    short, mixed, other = await asyncio.gather(
        services.queues.send("orders", pack_bodies([b"a"]), soon(cluster)),
        services.queues.send("orders", pack_bodies([long, b"b"]), soon(cluster)),
        services.queues.send("orders", pack_bodies([b"c"]), soon(cluster)),
    )

    assert (short.refused, other.refused) == ((), ())
    assert [(place, refusal.code) for place, refusal in mixed.refused] == [(0, "MessageTooLong")]
    ids = [*short.message_ids(), mixed.message_ids()[1], *other.message_ids()]
    found = {message.id: message.body for message in (await receive(cluster, services, 10)).messages}
    assert found == dict(zip(ids, (b"a", b"b", b"c"), strict=True))


async def test_duplicates_in_a_fifo_queue_are_told_to_whom_they_belong() -> None:
    cluster, services = await with_queue("orders.fifo")

    def one(body: bytes, deduplication: str) -> OutgoingMessage:
        return OutgoingMessage(Message(body), group="g", deduplication=deduplication)

    first, again, other = await asyncio.gather(
        services.queues.send("orders.fifo", pack([one(b"a", "1")]), soon(cluster)),
        services.queues.send("orders.fifo", pack([one(b"a", "1"), one(b"b", "2")]), soon(cluster)),
        services.queues.send("orders.fifo", pack([one(b"c", "3")]), soon(cluster)),
    )

    assert count(cluster, Send) == 1
    assert again.sequence_numbers()[0] == first.sequence_numbers()[0]
    numbers = [*first.sequence_numbers(), again.sequence_numbers()[1], *other.sequence_numbers()]
    assert numbers == sorted(set(numbers))


async def test_receives_of_several_callers_are_one_entry_and_no_message_has_two_takers() -> None:
    cluster, services = await with_queue()
    bodies = [b"%d" % number for number in range(5)]
    await services.queues.send("orders", pack_bodies(bodies), soon(cluster))

    answers = await asyncio.gather(*(receive(cluster, services, most) for most in (2, 1, 3)))

    assert count(cluster, Receive) == 1
    assert [len(answer.messages) for answer in answers] == [2, 1, 2]
    assert sorted(message.body for answer in answers for message in answer.messages) == bodies


async def test_nobody_is_left_empty_for_want_of_room_in_one_answer() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(message_size_limit=1_048_576))
    large = b"x" * 1_000_000
    for _ in range(6):
        await services.queues.send("orders", pack_bodies([large]), soon(cluster))

    answers = await asyncio.gather(*(receive(cluster, services, 2) for _ in range(3)))

    assert all(answer.messages for answer in answers)


async def test_what_was_taken_for_one_who_left_is_visible_again_and_not_counted() -> None:
    cluster, services = await with_queue()
    await services.queues.send("orders", pack_bodies([b"a", b"b"]), soon(cluster))
    cluster.held = asyncio.Event()
    leaving, staying = (asyncio.create_task(receive(cluster, services, 1)) for _ in range(2))
    await cluster.proposals_held(1)

    leaving.cancel()
    cluster.held.set()

    first = (await staying).messages
    second = (await receive(cluster, services, 10)).messages
    assert sorted(message.body for message in first + second) == [b"a", b"b"]
    assert [message.receive_count for message in second] == [1]


async def test_receives_with_different_visibility_timeouts_do_not_share() -> None:
    cluster, services = await with_queue()
    await services.queues.send("orders", pack_bodies([b"a", b"b"]), soon(cluster))

    await asyncio.gather(
        *(services.queues.receive("orders", 1, soon(cluster), Millis(0), Millis(timeout)) for timeout in (1_000, 2_000))
    )

    assert count(cluster, Receive) == 2


async def test_deletes_of_several_callers_are_one_entry_and_each_hears_of_its_own_handles() -> None:
    cluster, services = await with_queue()
    await services.queues.send("orders", pack_bodies([b"a", b"b"]), soon(cluster))
    one, other = (message.handle for message in (await receive(cluster, services, 2)).messages)

    found = await asyncio.gather(
        services.queues.delete_messages("orders", [one], soon(cluster)),
        services.queues.delete_messages("orders", [b"nonsense", other], soon(cluster)),
    )

    assert count(cluster, Delete) == 1
    assert found[0] == ()
    assert [(place, type(refusal), refusal.code) for place, refusal in found[1]] == [
        (0, Refusal, "ReceiptHandleInvalid")
    ]
    assert (await services.queues.describe("orders", soon(cluster))).counts.in_flight == 0
