"""Send, receive and settle through QueueService on one node."""

from __future__ import annotations

import asyncio

import pytest

from broker.base.errors import (
    BatchEmpty,
    BatchTooLarge,
    InvalidArgument,
    InvalidName,
    Overloaded,
    QueueNotFound,
    Unavailable,
)
from broker.base.instants import Millis
from broker.base.limits import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, MAX_MESSAGE_SIZE, MIB
from broker.domain.queues.commands import Attribute, Message, Receive, Send
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.admission import AdmissionSettings
from broker.services.assembly import Services, ServiceSettings
from broker.services.outgoing import pack, pack_bodies
from broker.services.receiving import ANSWER_SIZE
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import one_node, soon, with_queue

SESSION = b"s" * 16


async def test_what_is_sent_is_received_with_its_attributes() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    attributes = (Attribute("kind", "String", b"express"),)
    sent = await queues.send(
        "orders", pack([Message(b"one", attributes), Message(b"two")], [None, None]), soon(cluster)
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
    bad_attribute = Message(b"x", (Attribute("a b", "String", b"v"),))
    batch = [bad_attribute, Message(b"good"), Message(b"long" * 1000), Message(b"late"), Message(b"good too")]

    result = await services.queues.send("orders", pack(batch, [None, None, None, 900_001, 10]), soon(cluster))

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
    await services.queues.send("orders", pack([Message(b"own"), Message(b"queue's")], [0, None]), soon(cluster))

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
        pack([Message(b"x" * MAX_BATCH_BYTES), Message(b"y")], [None, None])


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


async def test_messages_of_a_receive_whose_answer_got_lost_are_not_lost() -> None:
    cluster, services = await with_queue()
    await services.queues.send("orders", pack_bodies([b"a", b"b"]), soon(cluster))
    cluster.after = [Unavailable("the connection broke")]

    received = (await services.queues.receive("orders", 10, soon(cluster))).messages

    assert [each.body for each in received] == [b"a", b"b"]
    assert [each.receive_count for each in received] == [1, 1]


async def test_an_empty_receive_proposes_nothing() -> None:
    cluster, services = await with_queue()
    cluster.proposals.clear()

    answer = await services.queues.receive("orders", 10, soon(cluster))

    assert (answer.messages, answer.used, cluster.proposals) == ([], False, [])


async def test_a_long_poll_ends_with_the_message_it_waited_for() -> None:
    cluster, services = await with_queue()
    polling = asyncio.ensure_future(services.queues.receive("orders", 10, soon(cluster), Millis(20_000)))
    await cluster.polls(1)

    await services.queues.send("orders", pack_bodies([b"a"]), soon(cluster))

    assert [each.body for each in (await polling).messages] == [b"a"]


async def test_a_long_poll_ends_empty_when_its_wait_is_over() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(receive_wait=Millis(3_000)))
    polling = asyncio.ensure_future(services.queues.receive("orders", 10, soon(cluster)))
    await cluster.polls(1)

    cluster.clock.advance(2_999)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not polling.done()
    cluster.clock.advance(1)

    assert (await polling).messages == []


async def test_a_long_poll_learns_that_its_queue_was_deleted() -> None:
    cluster, services = await with_queue()
    polling = asyncio.ensure_future(services.queues.receive("orders", 10, soon(cluster), Millis(20_000)))
    await cluster.polls(1)

    await services.queues.delete("orders", soon(cluster))

    with pytest.raises(QueueNotFound, match="'orders'"):
        await polling


async def test_two_long_polls_get_a_message_each() -> None:
    cluster, services = await with_queue()
    polls = [
        asyncio.ensure_future(services.queues.receive("orders", 1, soon(cluster), Millis(20_000))) for _ in range(2)
    ]
    await cluster.polls(2)

    await services.queues.send("orders", pack_bodies([b"a", b"b"]), soon(cluster))

    found = [(await poll).messages for poll in polls]
    assert sorted(messages[0].body for messages in found) == [b"a", b"b"]


async def test_an_answer_is_bounded_in_bytes_and_the_rest_stays_visible() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(message_size_limit=MIB))
    for _ in range(2):
        await services.queues.send("orders", pack_bodies([bytes([n]) * (MIB - 200) for n in range(4)]), soon(cluster))

    first = (await services.queues.receive("orders", 8, soon(cluster))).messages
    counts = (await services.queues.describe("orders", soon(cluster))).counts
    second = (await services.queues.receive("orders", 8, soon(cluster))).messages

    assert sum(len(each.body) for each in first) <= ANSWER_SIZE
    assert (len(first), counts.in_flight, counts.visible) == (3, 3, 5)
    assert len(second) == 3
    receives = [command for _, command in cluster.proposals if isinstance(command, Receive)]
    assert [command.max_messages for command in receives] == [8, 3]


async def test_one_message_larger_than_an_answer_should_be_comes_alone() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(message_size_limit=MIB))
    await services.queues.send("orders", pack_bodies([b"x" * MIB]), soon(cluster))

    assert len((await services.queues.receive("orders", 8, soon(cluster))).messages) == 1


async def test_a_message_whose_entry_is_gone_was_deleted_and_is_left_out() -> None:
    cluster, services = await with_queue()
    await services.queues.send("orders", pack_bodies([b"a"]), soon(cluster))
    cluster.drop_entries(1)
    cluster.drop_entries(2)

    answer = await services.queues.receive("orders", 8, soon(cluster))

    assert (answer.messages, answer.used) == ([], True)


async def test_deleting_needs_handles_of_this_queue_that_are_whole() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.create("other", AttributeChanges(), soon(cluster))
    await queues.send("orders", pack_bodies([b"a", b"b"]), soon(cluster))
    await queues.send("other", pack_bodies([b"c"]), soon(cluster))
    mine = [each.handle for each in (await queues.receive("orders", 2, soon(cluster))).messages]
    foreign = (await queues.receive("other", 1, soon(cluster))).messages[0].handle
    damaged = mine[1][:-1] + bytes([mine[1][-1] ^ 1])

    failures = await queues.delete_messages("orders", [b"", foreign, mine[0], damaged], soon(cluster))

    assert [(place, refusal.code) for place, refusal in failures] == [
        (0, "ReceiptHandleInvalid"),
        (1, "ReceiptHandleInvalid"),
        (3, "ReceiptHandleInvalid"),
    ]
    counts = (await queues.describe("orders", soon(cluster))).counts
    assert (counts.in_flight, counts.deleted_total) == (1, 1)


async def test_a_stale_handle_cannot_delete_what_another_consumer_holds() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.send("orders", pack_bodies([b"a"]), soon(cluster))
    stale = (await queues.receive("orders", 1, soon(cluster))).messages[0].handle
    cluster.clock.advance(30_000)
    current = (await queues.receive("orders", 1, soon(cluster))).messages[0].handle

    failures = await queues.delete_messages("orders", [b"junk", stale], soon(cluster))
    good = await queues.delete_messages("orders", [current], soon(cluster))

    assert [(place, refusal.code) for place, refusal in failures] == [
        (0, "ReceiptHandleInvalid"),
        (1, "ReceiptHandleExpired"),
    ]
    assert good == ()


async def test_a_visibility_of_zero_makes_visible_at_once_and_bad_ones_fail_alone() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.send("orders", pack_bodies([b"a", b"b", b"c"]), soon(cluster))
    handles = [each.handle for each in (await queues.receive("orders", 3, soon(cluster))).messages]
    timeouts = [Millis(0), Millis(43_200_001), Millis(43_200_000)]

    failures = await queues.change_visibility("orders", handles, timeouts, soon(cluster))

    assert [(place, refusal.code) for place, refusal in failures] == [(1, "InvalidArgument")]
    cluster.clock.advance(31_000)
    counts = (await queues.describe("orders", soon(cluster))).counts
    assert (counts.visible, counts.in_flight) == (2, 1)


@pytest.mark.parametrize("count", [0, MAX_BATCH_ENTRIES + 1])
async def test_settling_batches_have_limits(count: int) -> None:
    cluster, services = await with_queue()
    expected = BatchTooLarge if count else BatchEmpty
    with pytest.raises(expected):
        await services.queues.delete_messages("orders", [b""] * count, soon(cluster))
    with pytest.raises(expected):
        await services.queues.change_visibility("orders", [b""] * count, [Millis(0)] * count, soon(cluster))


async def test_a_replay_gives_again_what_is_still_held_and_holds_it_longer() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.send("orders", pack_bodies([b"a", b"b", b"c"]), soon(cluster))
    taken = []
    for number in (1, 2, 3):
        own = RequestId(SESSION, number)
        taken += (await queues.receive("orders", 1, soon(cluster), request=own)).messages
    await queues.delete_messages("orders", [taken[1].handle], soon(cluster))
    cluster.clock.advance(29_000)

    replayed = await queues.replay("orders", SESSION, 1, None, soon(cluster))
    cluster.clock.advance(29_000)

    assert [(number, [each.body for each in messages]) for number, messages in replayed.deliveries] == [(3, [b"c"])]
    assert replayed.deliveries[0][1][0].handle == taken[2].handle
    assert replayed.last == 4  # one more, so that nobody else takes messages under it
    counts = (await queues.describe("orders", soon(cluster))).counts
    assert (counts.visible, counts.in_flight) == (1, 1)  # a's time was over, c's is not


async def test_what_another_consumer_received_since_is_not_replayed() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.send("orders", pack_bodies([b"a"]), soon(cluster))
    await queues.receive("orders", 1, soon(cluster), request=RequestId(SESSION, 1))
    cluster.clock.advance(30_000)
    await queues.receive("orders", 1, soon(cluster))

    assert (await queues.replay("orders", SESSION, 0, None, soon(cluster))).deliveries == []


async def test_after_a_replay_whoever_used_the_session_before_gets_nothing_more() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.replay("orders", SESSION, 0, None, soon(cluster))
    await queues.send("orders", pack_bodies([b"a"]), soon(cluster))

    with pytest.raises(InvalidArgument, match="opened again elsewhere"):
        await queues.receive("orders", 1, soon(cluster), request=RequestId(SESSION, 1))
    answer = await queues.receive("orders", 1, soon(cluster), request=RequestId(SESSION, 2))

    assert [each.body for each in answer.messages] == [b"a"]


async def test_what_a_predecessor_takes_during_a_replay_is_replayed() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.send("orders", pack_bodies([b"a"]), soon(cluster))
    cluster.held = asyncio.Event()
    late = asyncio.ensure_future(queues.receive("orders", 1, soon(cluster), request=RequestId(SESSION, 1)))
    await cluster.proposals_held(1)
    replaying = asyncio.ensure_future(queues.replay("orders", SESSION, 0, None, soon(cluster)))
    await cluster.proposals_held(2)
    cluster.held.set()

    replayed = await replaying

    assert [each.body for each in (await late).messages] == [b"a"]
    assert [(number, [each.body for each in messages]) for number, messages in replayed.deliveries] == [(1, [b"a"])]
    assert replayed.last == 2


async def test_a_request_id_of_a_send_does_not_serve_for_a_receive() -> None:
    cluster, services = await with_queue()
    await services.queues.send("orders", pack_bodies([b"a"]), soon(cluster), RequestId(SESSION, 1))

    with pytest.raises(InvalidArgument, match="request id was used before"):
        await services.queues.receive("orders", 1, soon(cluster), request=RequestId(SESSION, 1))


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
