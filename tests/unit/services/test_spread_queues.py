"""What else is done to queues spread over several groups: settle, describe, browse, count, cancel, exchange, beside."""

from __future__ import annotations

import pytest

from broker.base.errors import DifferentGroups, InvalidArgument, NotForFifo, QueueExists, QueueNotFound
from broker.base.ids import GroupId, MessageId, QueueId
from broker.base.instants import Millis
from broker.domain.queues.model import PER_MESSAGE_GROUP, Message
from broker.machine.envelope import RequestId
from broker.services import handles
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.browsing import BrowseRequest
from broker.services.outgoing import OutgoingMessage, pack, pack_bodies
from broker.services.receiving import Received
from tests.unit.services.fake_groups import EPOCH, FakeCluster
from tests.unit.services.running import soon
from tests.unit.services.striped import (
    a_round,
    held,
    place_of,
    send_into,
    session_of,
    spread_cluster,
    spread_queue,
    take_all,
    visible,
)

HIGH_THROUGHPUT = AttributeChanges(
    deduplication_scope=PER_MESSAGE_GROUP, throughput_limit=PER_MESSAGE_GROUP, content_deduplication=True
)


async def one_of_each(cluster: FakeCluster, services: dict[str, Services]) -> list[Received]:
    """A message taken from each stripe, in the order of the stripes."""
    for group in place_of(cluster).groups:
        await send_into(cluster, services["a-0"], group, b"in %d" % group)
    taken: list[Received] = []
    while len(taken) < len(place_of(cluster).groups):
        taken += (await services["a-0"].queues.receive("orders", 1, soon(cluster), Millis(0))).messages
    return sorted(taken, key=lambda message: message.body)


# --- handles


async def test_a_batch_of_handles_of_several_stripes_is_settled_in_all_of_them() -> None:
    cluster, services = await spread_queue()
    taken = [message.handle for message in await one_of_each(cluster, services)]

    assert await services["b-0"].queues.delete_messages("orders", taken[:2], soon(cluster)) == ()
    now = [Millis(0)] * 2
    assert await services["c-0"].queues.change_visibility("orders", taken[2:], now, soon(cluster)) == ()

    assert {group: counts.deleted_total for group, counts in held(cluster).items()} == {1: 1, 2: 1, 3: 0, 4: 0}
    assert visible(cluster) == {1: 0, 2: 0, 3: 1, 4: 1}


async def test_failures_have_their_places_in_the_callers_batch() -> None:
    cluster, services = await spread_queue()
    taken = [message.handle for message in await one_of_each(cluster, services)]
    await services["a-0"].queues.give_back("orders", [taken[2]], soon(cluster))
    again = (await services["b-0"].queues.receive("orders", 1, soon(cluster), Millis(0))).messages
    assert [message.body for message in again] == [b"in 3"]
    batch = [taken[3], b"guess", taken[2], taken[0], handles.encode(place_of(cluster).group, QueueId(99), 1, 2, 3)]

    failures = await services["c-0"].queues.delete_messages("orders", batch, soon(cluster))

    assert [(place, refusal.code) for place, refusal in failures] == [
        (1, "ReceiptHandleInvalid"),
        (2, "ReceiptHandleExpired"),
        (4, "ReceiptHandleInvalid"),
    ]


async def test_a_batch_settled_again_under_its_id_is_answered_again() -> None:
    cluster, services = await spread_queue()
    taken = [message.handle for message in await one_of_each(cluster, services)]
    once = RequestId(b"s" * 16, 1)
    for node in ("a-0", "b-0"):
        assert await services[node].queues.delete_messages("orders", taken, soon(cluster), once) == ()
    assert sum(counts.deleted_total for counts in held(cluster).values()) == 4


async def test_what_a_group_held_that_the_queue_has_left_is_gone() -> None:
    cluster, services = await spread_queue(stripes=2)
    await send_into(cluster, services["a-0"], 2, b"x")
    (message,) = (await services["b-0"].queues.receive("orders", 1, soon(cluster))).messages
    assert handles.group_of(message.handle) == 2
    await services["a-0"].queues.delete_messages("orders", [message.handle], soon(cluster))
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=1), soon(cluster))
    await services["a-0"].controller.round()
    assert set(held(cluster)) == {1}

    for node in ("a-0", "b-0", "c-0"):  # c-0 has never heard of the queue, b-0 still believes in both stripes
        queues = services[node].queues
        assert await queues.delete_messages("orders", [message.handle], soon(cluster)) == ()
        failures = await queues.change_visibility("orders", [message.handle], [Millis(1)], soon(cluster))
        assert [(place, refusal.code) for place, refusal in failures] == [(0, "ReceiptHandleExpired")]


async def test_a_handle_that_is_still_good_works_while_its_group_drains() -> None:
    cluster, services = await spread_queue(stripes=2)
    await send_into(cluster, services["a-0"], 2, b"x")
    (message,) = (await services["b-0"].queues.receive("orders", 1, soon(cluster))).messages
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=1), soon(cluster))
    assert await services["a-0"].queues.delete_messages("orders", [message.handle], soon(cluster)) == ()
    assert held(cluster)[place_of(cluster).draining[0]].in_flight == 0


# --- looking


async def test_counts_are_those_of_all_groups() -> None:
    cluster, services = await spread_queue(stripes=3)
    await one_of_each(cluster, services)
    await send_into(cluster, services["a-0"], 3, b"a", b"b")
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=2), soon(cluster))

    found = await services["c-0"].queues.describe("orders", soon(cluster))

    counts = found.counts
    assert (counts.visible, counts.in_flight, counts.sent_total, counts.received_total) == (2, 3, 5, 3)
    assert (found.group, found.leader, found.queue.groups, found.queue.attributes.stripes) == (1, "a-0", (1, 2), 2)


async def test_a_node_that_has_not_heard_of_new_stripes_counts_and_purges_them_all_the_same() -> None:
    cluster, services = await spread_queue(stripes=1)
    queues = services["b-0"].queues
    await queues.must_exist("orders", soon(cluster))
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=3), soon(cluster))
    await send_into(cluster, services["a-0"], 3, b"x")

    found = await queues.describe("orders", soon(cluster))
    assert (found.counts.visible, found.queue.attributes.stripes) == (1, 3)

    await services["a-0"].queues.update("orders", AttributeChanges(stripes=4), soon(cluster))
    await send_into(cluster, services["a-0"], 4, b"y")
    await queues.purge("orders", soon(cluster))
    assert set(visible(cluster).values()) == {0}


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_go_from_group_to_group_and_show_every_message_once(limit: int) -> None:
    cluster, services = await spread_queue()
    for group, bodies in ((1, [b"a", b"b"]), (3, [b"c", b"d", b"e"]), (4, [b"f"])):
        await send_into(cluster, services["a-0"], group, *bodies)
    token, shown = "", []
    for _ in range(20):
        page = await services["b-0"].queues.browse("orders", BrowseRequest((), token, limit), soon(cluster))
        assert page.messages
        shown += [message.body for message in page.messages]
        token = page.next_token
        if not token:
            break
    assert shown == [b"a", b"b", b"c", b"d", b"e", b"f"]


async def test_a_page_token_survives_that_its_group_has_left() -> None:
    cluster, services = await spread_queue(stripes=2)
    await send_into(cluster, services["a-0"], 1, b"a")
    page = await services["a-0"].queues.browse("orders", BrowseRequest(), soon(cluster))
    assert page.next_token
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=1), soon(cluster))
    await a_round(cluster, services)
    again = await services["a-0"].queues.browse("orders", BrowseRequest((), page.next_token), soon(cluster))
    assert (again.messages, again.next_token) == ([], "")


async def test_an_empty_queue_has_one_empty_page() -> None:
    cluster, services = await spread_queue()
    page = await services["a-0"].queues.browse("orders", BrowseRequest(), soon(cluster))
    assert (page.messages, page.next_token) == ([], "")
    for token in ("1.2", "x", "1.2.3.4"):
        with pytest.raises(InvalidArgument, match="page token"):
            await services["a-0"].queues.browse("orders", BrowseRequest((), token), soon(cluster))


async def test_a_census_is_of_all_groups() -> None:
    cluster, services = await spread_queue(stripes=3)
    stripes = place_of(cluster).groups
    for number, group in enumerate(stripes, 1):
        batch = pack([OutgoingMessage(Message(b"x"), group=f"t{number}"), OutgoingMessage(Message(b"y"), group="all")])
        request = RequestId(session_of(stripes, group), number)
        await services["a-0"].queues.send("orders", batch, soon(cluster), request)
        cluster.clock.advance(1_000)
    await services["b-0"].queues.receive("orders", 1, soon(cluster), Millis(0))

    census = await services["c-0"].queues.census("orders", soon(cluster))

    assert sum(census.ages["visible"]) == 5
    assert sum(census.ages["in_flight"]) == 1
    assert census.groups[0][0] == "all"
    assert sum(census.groups[0][1:]) == 3
    assert sum(waiting + in_flight for _, waiting, in_flight in census.groups) == 6


# --- schedules


async def test_scheduled_messages_of_all_stripes_are_cancelled_by_their_ids() -> None:
    cluster, services = await spread_queue()
    stripes = place_of(cluster).groups
    due = EPOCH + cluster.clock.now + 60_000
    ids: list[bytes] = []
    for group in stripes:
        batch = pack([OutgoingMessage(Message(b"later"), due=due)])
        request = RequestId(session_of(stripes, group), 1)
        ids += (await services["a-0"].queues.send("orders", batch, soon(cluster), request)).message_ids()
    unknown = MessageId(77, 5, 0).to_bytes()

    failures = await services["b-0"].queues.cancel("orders", [ids[3], unknown, ids[0], b"x", ids[1]], soon(cluster))

    assert [(place, refusal.code) for place, refusal in failures] == [(1, "NotScheduled"), (3, "InvalidArgument")]
    assert {group: counts.delayed for group, counts in held(cluster).items()} == {1: 0, 2: 0, 3: 1, 4: 0}


async def test_nothing_is_cancelled_in_a_fifo_queue_wherever_an_id_points() -> None:
    cluster, services = await spread_queue("orders.fifo", changes=HIGH_THROUGHPUT)
    for group in (1, 77):
        with pytest.raises(NotForFifo):
            await services["a-0"].queues.cancel("orders.fifo", [MessageId(group, 5, 0).to_bytes()], soon(cluster))


# --- exchanges, and queues beside others


async def test_an_exchange_happens_in_the_group_of_what_is_deleted() -> None:
    cluster, services = await spread_queue()
    taken = await one_of_each(cluster, services)

    result = await services["b-0"].queues.exchange(
        "orders", pack_bodies([b"x"]), "orders", [taken[2].handle], soon(cluster)
    )

    assert result.first is not None
    assert result.first.group == 3
    there = held(cluster)[GroupId(3)]
    assert (there.deleted_total, there.visible) == (1, 1)
    handles_of_two = [taken[0].handle, taken[1].handle]
    with pytest.raises(DifferentGroups, match="in group 1 and 2, one step works within one group"):
        await services["b-0"].queues.exchange("orders", pack_bodies([b"y"]), "orders", handles_of_two, soon(cluster))


async def test_an_exchange_into_a_fifo_queue_needs_the_stripe_of_the_message_group() -> None:
    cluster, services = await spread_queue("orders.fifo", changes=HIGH_THROUGHPUT)
    queues = services["a-0"].queues

    def fifo(*groups: str) -> list[OutgoingMessage]:
        return [OutgoingMessage(Message(b"of " + group.encode()), group=group) for group in groups]

    await queues.send("orders.fifo", pack(fifo("a")), soon(cluster))
    (message,) = (await queues.receive("orders.fifo", 1, soon(cluster))).messages
    group = handles.group_of(message.handle)
    others = [f"g{number}" for number in range(20)]
    homes = {
        name: MessageId.from_bytes(
            (await queues.send("orders.fifo", pack(fifo(name)), soon(cluster))).message_ids()[0]
        ).group
        for name in others
    }
    near = next(name for name in others if homes[name] == group)
    far = next(name for name in others if homes[name] != group)
    for wrong in ((far,), (near, far)):
        with pytest.raises(DifferentGroups):
            await queues.exchange(
                "orders.fifo",
                pack(fifo(*wrong)),
                "orders.fifo",
                [message.handle],
                soon(cluster),
            )
    batch = pack([OutgoingMessage(Message(b"another"), group=near)])

    result = await queues.exchange("orders.fifo", batch, "orders.fifo", [message.handle], soon(cluster))

    assert result.accepted == 1


async def test_a_queue_beside_another_can_exchange_with_it() -> None:
    cluster, services = await spread_cluster()
    queues = services["c-0"].queues
    await queues.create("orders", AttributeChanges(), soon(cluster))
    await queues.create("elsewhere", AttributeChanges(), soon(cluster))
    assert await queues.create("invoices", AttributeChanges(), soon(cluster), beside="orders")
    assert place_of(cluster, "invoices").group == place_of(cluster).group != place_of(cluster, "elsewhere").group
    await queues.send("orders", pack_bodies([b"x"]), soon(cluster))
    taken = [message.handle for message in (await queues.receive("orders", 1, soon(cluster))).messages]

    await queues.exchange("invoices", pack_bodies([b"y"]), "orders", taken, soon(cluster))

    assert await take_all(cluster, services["a-0"], "invoices") == [b"y"]


async def test_beside_what_is_not_there_or_for_a_queue_that_is_elsewhere_is_refused() -> None:
    cluster, services = await spread_cluster()
    queues = services["a-0"].queues
    with pytest.raises(QueueNotFound, match="beside which to place another one, does not exist"):
        await queues.create("invoices", AttributeChanges(), soon(cluster), beside="orders")
    await queues.create("orders", AttributeChanges(), soon(cluster))
    await queues.create("invoices", AttributeChanges(), soon(cluster))
    with pytest.raises(QueueExists, match="exists in group 2, not beside 'orders' in group 1"):
        await queues.create("invoices", AttributeChanges(), soon(cluster), beside="orders")
    assert not await queues.create("invoices", AttributeChanges(), soon(cluster), beside="invoices")
