"""Receiving through QueueService on one node: long polls, bounded answers, replays."""

from __future__ import annotations

import asyncio

import pytest

from broker.base.errors import (
    InvalidArgument,
    QueueNotFound,
    Unavailable,
)
from broker.base.instants import Millis
from broker.base.limits import MIB
from broker.domain.queues.commands import Receive
from broker.domain.queues.model import RedrivePolicy
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.outgoing import pack_bodies
from broker.services.receiving import ANSWER_SIZE
from tests.unit.services.running import soon, with_queue

SESSION = b"s" * 16


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


async def test_what_does_not_fit_into_an_answer_was_not_received() -> None:
    cluster, services = await with_queue("dead", AttributeChanges(message_size_limit=MIB))
    queues = services.queues
    changes = AttributeChanges(message_size_limit=MIB, redrive=RedrivePolicy("dead", 1))
    await queues.create("orders", changes, soon(cluster))
    await queues.send("orders", pack_bodies([bytes([n]) * (MIB - 200) for n in range(4)]), soon(cluster))

    first = (await queues.receive("orders", 8, soon(cluster))).messages
    second = (await queues.receive("orders", 8, soon(cluster))).messages

    assert [each.body[0] for each in [*first, *second]] == [0, 1, 2, 3]
    assert [each.receive_count for each in second] == [1]


async def test_what_is_given_back_was_not_received() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.send("orders", pack_bodies([b"a", b"b"]), soon(cluster))
    taken = (await queues.receive("orders", 2, soon(cluster))).messages

    failures = await queues.give_back("orders", [b"junk", taken[0].handle], soon(cluster))
    again = (await queues.receive("orders", 2, soon(cluster))).messages

    assert [(place, refusal.code) for place, refusal in failures] == [(0, "ReceiptHandleInvalid")]
    assert [(each.body, each.receive_count) for each in again] == [(b"a", 1)]


async def test_a_long_poll_that_finds_only_dead_letters_goes_on_waiting() -> None:
    cluster, services = await with_queue("dead")
    queues = services.queues
    await queues.create("orders", AttributeChanges(redrive=RedrivePolicy("dead", 1)), soon(cluster))
    await queues.send("orders", pack_bodies([b"poison"]), soon(cluster))
    await queues.receive("orders", 1, soon(cluster), visibility_timeout=Millis(0))

    polling = asyncio.ensure_future(queues.receive("orders", 1, soon(cluster), Millis(20_000)))
    await cluster.polls(1)
    moved = (await queues.describe("orders", soon(cluster))).counts.moved_total
    await queues.send("orders", pack_bodies([b"good"]), soon(cluster))

    assert (moved, [each.body for each in (await polling).messages]) == (1, [b"good"])


async def test_a_short_poll_that_finds_only_dead_letters_has_used_its_number() -> None:
    cluster, services = await with_queue("dead")
    queues = services.queues
    await queues.create("orders", AttributeChanges(redrive=RedrivePolicy("dead", 1)), soon(cluster))
    await queues.send("orders", pack_bodies([b"poison"]), soon(cluster))
    await queues.receive("orders", 1, soon(cluster), visibility_timeout=Millis(0))

    answer = await queues.receive("orders", 1, soon(cluster), request=RequestId(SESSION, 1))
    after = await queues.receive("orders", 1, soon(cluster), request=RequestId(SESSION, 2))

    assert (answer.messages, answer.used) == ([], True)
    assert (after.messages, after.used) == ([], False)


async def test_a_poll_that_went_on_waiting_and_lost_its_answer_gives_the_same_messages() -> None:
    cluster, services = await with_queue("dead")
    queues = services.queues
    await queues.create("orders", AttributeChanges(redrive=RedrivePolicy("dead", 1)), soon(cluster))
    await queues.send("orders", pack_bodies([b"poison"]), soon(cluster))
    await queues.receive("orders", 1, soon(cluster), visibility_timeout=Millis(0))
    once = RequestId(SESSION, 1)
    polling = asyncio.ensure_future(queues.receive("orders", 1, soon(cluster), Millis(20_000), request=once))
    await cluster.polls(1)
    await queues.send("orders", pack_bodies([b"good"]), soon(cluster))
    first = (await polling).messages

    again = (await queues.receive("orders", 1, soon(cluster), Millis(20_000), request=once)).messages

    assert [each.body for each in first] == [b"good"]
    assert again == first


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

    with pytest.raises(InvalidArgument, match="for another kind of request"):
        await services.queues.receive("orders", 1, soon(cluster), request=RequestId(SESSION, 1))
