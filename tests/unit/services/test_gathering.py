"""Receives from spread queues: nothing starves, waits cover all stripes, a session's numbers stay its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from broker.base.errors import InvalidArgument, OverLimit, QueueNotFound, Unavailable
from broker.base.ids import GroupId
from broker.base.instants import Millis
from broker.domain.queues.commands import PurgeQueue, Receive
from broker.domain.queues.model import PER_MESSAGE_GROUP, Message
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.gathering import MANY, NEAR_WAIT
from broker.services.outgoing import Outgoing, OutgoingMessage, pack
from broker.services.receiving import ReceiveAnswer
from broker.services.striping import ROUND_ALL
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon, started
from tests.unit.services.striped import (
    a_round,
    held,
    lead_in_turn,
    place_of,
    send_into,
    spread_queue,
    take_all,
    visible,
)

SESSION = b"s" * 16
HIGH_THROUGHPUT = AttributeChanges(
    deduplication_scope=PER_MESSAGE_GROUP, throughput_limit=PER_MESSAGE_GROUP, content_deduplication=True
)


async def receive(
    cluster: FakeCluster, services: Services, wait: int = 0, number: int = 0, most: int = 10, attempt: str = ""
) -> ReceiveAnswer:
    request = RequestId(SESSION, number) if number else None
    name = "orders.fifo" if attempt else "orders"
    return await services.queues.receive(name, most, soon(cluster), Millis(wait), None, request, attempt)


def bodies(answer: ReceiveAnswer) -> list[bytes]:
    return [message.body for message in answer.messages]


async def running(call: Awaitable[ReceiveAnswer], holds: Callable[[], bool]) -> asyncio.Future[list[ReceiveAnswer]]:
    """``call`` on its way, as far as ``holds`` says."""
    going = asyncio.gather(call)
    for _ in range(1_000):
        if holds():
            return going
        await asyncio.sleep(0)
    raise AssertionError("it never came to be")


# --- looking


async def test_what_any_stripe_holds_is_received_on_any_node() -> None:
    cluster, services = await spread_queue()
    for group in (1, 2, 3, 4):
        await send_into(cluster, services["a-0"], group, b"in %d" % group)
    for node in ("a-0", "b-0", "c-0"):
        answers = [await receive(cluster, services[node]) for _ in range(4)]
        assert sorted(body for answer in answers for body in bodies(answer)) == [b"in 1", b"in 2", b"in 3", b"in 4"]
        for answer in answers:
            handles = [message.handle for message in answer.messages]
            now = [Millis(0)] * len(handles)
            assert await services[node].queues.change_visibility("orders", handles, now, soon(cluster)) == ()


async def test_a_stripe_led_elsewhere_is_not_starved_by_full_ones_led_here() -> None:
    cluster, services = await spread_queue()
    for group in (1, 2, 3, 4):
        await send_into(cluster, services["a-0"], group, *([b"%d" % group] * 40))

    taken = [bodies(await receive(cluster, services["a-0"], most=1))[0] for _ in range(40)]

    assert set(taken) == {b"1", b"2", b"3", b"4"}
    assert taken.count(b"1") + taken.count(b"4") > 30  # those it leads itself


async def test_a_stripe_without_a_leader_is_passed_over() -> None:
    cluster, services = await spread_queue()
    await send_into(cluster, services["a-0"], 3, b"x")
    cluster.elect(2, None)
    found: list[list[bytes]] = []
    for _ in range(2):
        going = asyncio.ensure_future(receive(cluster, services["a-0"]))
        while not going.done():
            cluster.clock.advance(100)
            await asyncio.sleep(0)
        found.append(bodies(await going))
    assert sorted(found) == [[], [b"x"]]


async def test_when_no_stripe_can_be_asked_the_caller_is_told() -> None:
    cluster, services = await spread_queue(stripes=2)
    cluster.elect(1, None)
    cluster.elect(2, None)
    going = asyncio.gather(receive(cluster, services["a-0"]))
    while not going.done():
        cluster.clock.advance(100)
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await going


async def test_too_many_in_flight_in_one_stripe_leaves_the_others_open() -> None:
    cluster = FakeCluster(nodes=1, groups=2, in_flight_limit=1)
    services = (await started(cluster))["a-0"]
    await services.queues.create("orders", AttributeChanges(stripes=2), soon(cluster))
    for group in (1, 2):
        await send_into(cluster, services, group, b"%d" % group, b"%d" % group)

    taken = [bodies(await receive(cluster, services, most=1)) for _ in range(2)]

    assert sorted(taken) == [[b"1"], [b"2"]]
    with pytest.raises(OverLimit):
        await receive(cluster, services, most=1)


async def busy_node() -> tuple[FakeCluster, dict[str, Services]]:
    """A stream on a-0 has just taken many messages from stripe 1, which a-0 leads; stripe 2 is led elsewhere."""
    cluster, services = await spread_queue(stripes=2)
    await services["a-0"].queues.replay("orders", SESSION, 0, None, soon(cluster))
    await send_into(cluster, services["a-0"], 1, *([b"near"] * (MANY * 20)))
    await send_into(cluster, services["a-0"], 2, b"far")
    assert bodies(await receive(cluster, services["a-0"], number=2, most=MANY)) == [b"near"] * MANY
    return cluster, services


async def test_a_node_that_finds_many_near_messages_keeps_to_them_but_starves_nobody() -> None:
    cluster, services = await busy_node()
    cluster.calls.clear()

    taken = [
        await receive(cluster, services["a-0"], number=number, most=MANY) for number in range(3, 3 + ROUND_ALL * 2)
    ]

    assert [answer for answer in taken if bodies(answer) == [b"far"]]
    assert len(cluster.calls) <= 2  # not even asked the other times


async def test_a_busy_node_that_finds_nothing_near_looks_elsewhere_after_a_moment() -> None:
    cluster, services = await busy_node()
    cluster.proposals.clear()
    cluster.apply_command(GroupId(1), "queues", PurgeQueue(place_of(cluster).id))
    assert await receive(cluster, services["a-0"], number=3, most=MANY) == ReceiveAnswer([], False)

    waiting = asyncio.gather(services["a-0"].queues.wait_for_messages("orders", Millis(5_000), soon(cluster)))
    await cluster.polls(1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    cluster.clock.advance(NEAR_WAIT)
    assert await waiting == [True]
    assert bodies(await receive(cluster, services["a-0"], number=3, most=MANY)) == [b"far"]


async def test_a_receive_that_is_no_streams_looks_everywhere_however_busy_its_node() -> None:
    cluster, services = await busy_node()
    cluster.apply_command(GroupId(1), "queues", PurgeQueue(place_of(cluster).id))
    assert bodies(await receive(cluster, services["a-0"])) == [b"far"]


# --- waiting


async def test_a_long_poll_is_woken_by_a_message_in_any_stripe() -> None:
    cluster, services = await spread_queue()
    for group in (1, 2, 3, 4):
        going = await running(receive(cluster, services["b-0"], wait=20_000), lambda: cluster.waiting == 4)
        await send_into(cluster, services["a-0"], group, b"in %d" % group)
        assert [bodies(answer) for answer in await going] == [[b"in %d" % group]]
        assert cluster.waiting == 0


async def test_a_long_poll_ends_when_its_time_is_up_and_has_used_nothing() -> None:
    cluster, services = await spread_queue()
    cluster.proposals.clear()
    going = asyncio.gather(receive(cluster, services["a-0"], wait=5_000, number=1))
    begun = cluster.clock.now
    while not going.done():
        await asyncio.sleep(0)
        if cluster.waiting == 4:
            cluster.clock.advance(1_000)
    assert await going == [ReceiveAnswer([], False)]
    assert cluster.clock.now - begun == 5_000
    assert cluster.proposals == []


async def test_the_queues_own_wait_counts_when_none_is_given() -> None:
    cluster, services = await spread_queue(changes=AttributeChanges(stripes=4, receive_wait=Millis(3_000)))
    going = asyncio.gather(services["b-0"].queues.receive("orders", 1, soon(cluster)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not going.done()
    await send_into(cluster, services["a-0"], 2, b"x")
    assert bodies((await going)[0]) == [b"x"]


async def test_as_many_as_wait_get_one_message_each_wherever_these_arrive() -> None:
    cluster, services = await spread_queue()
    going = asyncio.gather(*(receive(cluster, services[node], 20_000, most=1) for node in ("a-0", "b-0", "c-0")))
    await cluster.polls(12)
    for group in (1, 2, 3):
        await send_into(cluster, services["a-0"], group, b"%d" % group)
    for _ in range(20):  # a wake may have gone to one that was woken twice: it is made up for within a slice
        for _ in range(50):
            await asyncio.sleep(0)
        cluster.clock.advance(500)
    assert sorted(bodies(answer)[0] for answer in await going) == [b"1", b"2", b"3"]


async def test_waiting_for_messages_covers_all_stripes_and_may_be_cancelled() -> None:
    cluster, services = await spread_queue()
    watching = asyncio.gather(services["a-0"].queues.wait_for_messages("orders", Millis(20_000), soon(cluster)))
    await cluster.polls(4)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert cluster.waiting == 0

    again = asyncio.gather(services["a-0"].queues.wait_for_messages("orders", Millis(20_000), soon(cluster)))
    await cluster.polls(4)
    await send_into(cluster, services["a-0"], 3, b"x")
    assert await again == [True]


async def test_a_wait_is_over_when_the_queue_is_deleted() -> None:
    cluster, services = await spread_queue()
    going = asyncio.gather(receive(cluster, services["b-0"], wait=20_000))
    await cluster.polls(4)
    await services["a-0"].queues.delete("orders", soon(cluster))
    with pytest.raises(QueueNotFound):
        await going


async def test_a_stripe_that_is_drained_meanwhile_does_not_disturb_a_wait() -> None:
    cluster, services = await spread_queue(stripes=4)
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=1), soon(cluster))
    going = asyncio.gather(receive(cluster, services["a-0"], wait=20_000))
    await cluster.polls(4)
    await services["a-0"].controller.round()
    lead_in_turn(cluster)
    assert set(held(cluster)) == {1}
    await send_into(cluster, services["a-0"], 1, b"x")
    assert [bodies(answer) for answer in await going] == [[b"x"]]


# --- numbers of a session


async def test_the_same_number_gives_the_same_messages_whichever_stripe_gave_them() -> None:
    cluster, services = await spread_queue()
    await send_into(cluster, services["a-0"], 3, b"x")
    first = await receive(cluster, services["a-0"], number=1)
    assert bodies(first) == [b"x"]
    await send_into(cluster, services["a-0"], 1, b"y")  # a stripe that a-0 would ask first

    for node in ("a-0", "b-0", "c-0"):
        assert await receive(cluster, services[node], number=1) == first
    assert visible(cluster)[GroupId(1)] == 1


async def test_a_number_is_used_in_one_stripe_only() -> None:
    cluster, services = await spread_queue()
    await services["a-0"].queues.replay("orders", SESSION, 0, None, soon(cluster))
    for group in (1, 2, 3, 4):
        await send_into(cluster, services["a-0"], group, b"x")
    cluster.proposals.clear()
    for number in (2, 3, 4, 5):
        assert (await receive(cluster, services["a-0"], number=number)).used
    assert sorted(group for group, command in cluster.proposals if isinstance(command, Receive)) == [1, 2, 3, 4]


async def test_a_stream_opened_again_gets_what_all_stripes_had_handed_out() -> None:
    cluster, services = await spread_queue()
    assert (await services["a-0"].queues.replay("orders", SESSION, 0, None, soon(cluster))).last == 1
    for number, group in ((2, 3), (3, 1), (4, 2), (5, 3)):
        await send_into(cluster, services["a-0"], group, b"%d" % number)
        assert bodies(await receive(cluster, services["a-0"], number=number)) == [b"%d" % number]

    again = await services["b-0"].queues.replay("orders", SESSION, 3, None, soon(cluster))

    assert [(number, [each.body for each in messages]) for number, messages in again.deliveries] == [
        (4, [b"4"]),
        (5, [b"5"]),
    ]
    assert again.last == 6


@pytest.mark.parametrize("behind", range(1, 7))
async def test_a_predecessor_gets_nothing_more_from_any_stripe(behind: int) -> None:
    """However many numbers it has used, and wherever, since its client heard of one last."""
    cluster, services = await spread_queue()
    await services["a-0"].queues.replay("orders", SESSION, 0, None, soon(cluster))
    for number, group in enumerate([3, 3, 1, 4, 3, 2][:behind], 2):
        await send_into(cluster, services["a-0"], group, b"%d" % number)
        assert (await receive(cluster, services["a-0"], number=number)).used
    await services["b-0"].queues.replay("orders", SESSION, 1, None, soon(cluster))

    for group in (1, 2, 3, 4):
        await send_into(cluster, services["c-0"], group, b"late")
        with pytest.raises(InvalidArgument, match="opened again elsewhere"):
            await receive(cluster, services["a-0"], number=behind + 2)

    assert visible(cluster) == {1: 1, 2: 1, 3: 1, 4: 1}


async def test_a_predecessor_that_was_faster_is_overtaken_all_the_same() -> None:
    """It takes messages in one stripe while its successor has claimed numbers in others only."""
    cluster, services = await spread_queue(stripes=2)
    await services["a-0"].queues.replay("orders", SESSION, 0, None, soon(cluster))
    await send_into(cluster, services["a-0"], 1, b"x")
    cluster.held = asyncio.Event()
    taking = asyncio.gather(receive(cluster, services["a-0"], number=2))
    await cluster.proposals_held(1)
    opening = asyncio.gather(services["b-0"].queues.replay("orders", SESSION, 1, None, soon(cluster)))
    await cluster.proposals_held(3)
    cluster.held.set()

    (taken,) = await taking
    (answer,) = await opening

    assert bodies(taken) == [b"x"]
    assert [[each.body for each in messages] for _, messages in answer.deliveries] == [[b"x"]]
    for group in (1, 2):
        await send_into(cluster, services["b-0"], group, b"late")
        with pytest.raises(InvalidArgument):
            await receive(cluster, services["a-0"], number=3)
    assert (await receive(cluster, services["b-0"], number=answer.last + 1)).messages


async def test_a_session_that_was_opened_before_the_queue_grew_goes_on() -> None:
    cluster, services = await spread_queue(stripes=1)
    opened = await services["b-0"].queues.replay("orders", SESSION, 0, None, soon(cluster))
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=4), soon(cluster))
    await a_round(cluster, services)
    for group in (1, 2, 3, 4):
        await send_into(cluster, services["a-0"], group, b"%d" % group)
    taken = [bodies(await receive(cluster, services["b-0"], number=opened.last + step)) for step in range(1, 5)]
    assert sorted(taken) == [[b"1"], [b"2"], [b"3"], [b"4"]]


# --- receive attempts


def fifo(*groups: str) -> Outgoing:
    return pack([OutgoingMessage(Message(group.encode()), group=group) for group in groups])


async def test_an_attempt_is_answered_again_by_the_stripe_that_answered_it() -> None:
    cluster, services = await spread_queue("orders.fifo", changes=HIGH_THROUGHPUT)
    await services["a-0"].queues.send("orders.fifo", fifo("late"), soon(cluster))
    first = await receive(cluster, services["a-0"], attempt="one")
    assert bodies(first) == [b"late"]
    more = [f"g{number}" for number in range(20)]
    await services["a-0"].queues.send("orders.fifo", fifo(*more), soon(cluster))

    for node in ("a-0", "b-0", "c-0"):
        assert bodies(await receive(cluster, services[node], attempt="one")) == [b"late"]

    assert b"late" not in await take_all(cluster, services["a-0"], "orders.fifo")


async def test_an_attempt_that_found_nothing_waits_like_any_other() -> None:
    cluster, services = await spread_queue("orders.fifo", changes=HIGH_THROUGHPUT)
    cluster.proposals.clear()
    going = asyncio.gather(receive(cluster, services["a-0"], wait=20_000, attempt="one"))
    await cluster.polls(4)
    assert cluster.proposals == []
    await services["b-0"].queues.send("orders.fifo", fifo("g"), soon(cluster))
    assert [bodies(answer) for answer in await going] == [[b"g"]]
    assert place_of(cluster, "orders.fifo").stripes
