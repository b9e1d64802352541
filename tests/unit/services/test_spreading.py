"""Sends to queues spread over several groups: where they go, and that what is sent again is stored once."""

from __future__ import annotations

import asyncio

import pytest

from broker.base.errors import QueueNotFound, Unavailable
from broker.base.ids import GroupId, MessageId, NodeId
from broker.base.instants import Millis
from broker.domain.queues.commands import ChangeVisibility, Send
from broker.domain.queues.keys import message_key
from broker.domain.queues.model import PER_MESSAGE_GROUP, Message
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.outgoing import Outgoing, OutgoingMessage, pack, pack_bodies
from broker.services.striping import stripe_of_message_group, stripe_of_session
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon
from tests.unit.services.striped import (
    a_round,
    held,
    place_of,
    session_of,
    spread_cluster,
    spread_queue,
    take_all,
    visible,
)

HIGH_THROUGHPUT = AttributeChanges(
    deduplication_scope=PER_MESSAGE_GROUP, throughput_limit=PER_MESSAGE_GROUP, content_deduplication=True
)


async def restripe(cluster: FakeCluster, services: dict[str, Services], stripes: int) -> None:
    """On the first node; the others do not know until their controller's next round."""
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=stripes), soon(cluster))


def moving_session(before: tuple[GroupId, ...], after: tuple[GroupId, ...], to: int | None = None) -> bytes:
    return next(
        session
        for session in (bytes([number]) * 16 for number in range(256))
        if (new := stripe_of_session(after, session)) != stripe_of_session(before, session) and to in (None, new)
    )


def fifo(*messages: tuple[str, bytes]) -> Outgoing:
    return pack([OutgoingMessage(Message(body), group=group) for group, body in messages])


# --- a standard queue


async def test_sends_without_an_id_stay_on_their_node_when_it_leads_a_stripe() -> None:
    cluster, services = await spread_queue()
    cluster.calls.clear()
    for _ in range(4):
        await services["a-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster))

    assert visible(cluster) == {1: 2, 2: 0, 3: 0, 4: 2}
    assert cluster.calls == []


async def test_a_node_that_leads_no_stripe_sends_to_all_in_turn() -> None:
    cluster, services = await spread_queue(stripes=2)
    for _ in range(4):
        await services["c-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster))
    assert visible(cluster) == {1: 2, 2: 2}


async def test_a_session_sends_to_one_stripe_whichever_node_takes_its_batches() -> None:
    cluster, services = await spread_queue()
    session = session_of(place_of(cluster).groups, 3)
    for number, node in enumerate(("a-0", "b-0", "c-0", "a-0"), 1):
        await services[node].queues.send("orders", pack_bodies([b"x"]), soon(cluster), RequestId(session, number))
    assert visible(cluster) == {1: 0, 2: 0, 3: 4, 4: 0}


async def test_a_batch_sent_again_by_way_of_another_node_is_stored_once() -> None:
    cluster, services = await spread_queue()
    again = RequestId(b"s" * 16, 1)
    first = await services["a-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again)
    second = await services["b-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again)
    assert first == second
    assert sum(visible(cluster).values()) == 1


async def test_the_id_names_the_group_that_took_the_message() -> None:
    cluster, services = await spread_queue()
    session = session_of(place_of(cluster).groups, 2)
    result = await services["a-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), RequestId(session, 1))
    assert result.first is not None
    assert result.first.group == 2
    assert MessageId.from_bytes(result.message_ids()[0]).group == 2


# --- while its stripes change


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (4, 2), (2, 3)])
@pytest.mark.parametrize("knows", [True, False])
async def test_a_batch_sent_again_after_the_stripes_changed_is_stored_once(
    before: int, after: int, knows: bool
) -> None:
    cluster, services = await spread_queue(stripes=before)
    old = place_of(cluster).groups
    await services["b-0"].queues.must_exist("orders", soon(cluster))
    await services["a-0"].queues.must_exist("orders", soon(cluster))
    await restripe(cluster, services, after)
    session = moving_session(old, place_of(cluster).groups)
    again = RequestId(session, 1)
    first = await services["b-0"].queues.send("orders", pack_bodies([b"x", b"y"]), soon(cluster), again)
    assert first.first is not None
    assert first.first.group == stripe_of_session(old, session)  # b-0 has not heard of it
    if knows:
        await a_round(cluster, services)

    for node in ("a-0", "b-0", "c-0"):
        assert await services[node].queues.send("orders", pack_bodies([b"x", b"y"]), soon(cluster), again) == first

    assert await take_all(cluster, services["a-0"]) == [b"x", b"y"]


async def test_a_batch_sent_again_after_its_stripe_was_drained_and_deleted_is_stored_once() -> None:
    cluster, services = await spread_queue(stripes=4)
    old = place_of(cluster).groups
    session = moving_session(old, old[:1])
    again = RequestId(session, 1)
    first = await services["a-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again)
    assert await take_all(cluster, services["a-0"]) == [b"x"]
    await restripe(cluster, services, 1)
    await a_round(cluster, services)
    assert set(held(cluster)) == {1}

    assert await services["b-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again) == first

    assert await take_all(cluster, services["a-0"]) == []


async def test_an_old_picture_cannot_store_what_a_new_one_has_stored_elsewhere() -> None:
    """Sent by a node that knows the new stripes, and then again by one that knows the old ones only."""
    cluster, services = await spread_queue(stripes=1)
    await services["b-0"].queues.must_exist("orders", soon(cluster))
    old = place_of(cluster).groups
    await restripe(cluster, services, 4)
    session = moving_session(old, place_of(cluster).groups)
    again = RequestId(session, 1)
    first = await services["a-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again)
    assert first.first is not None
    assert first.first.group != 1

    assert await services["b-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again) == first

    assert await take_all(cluster, services["c-0"]) == [b"x"]


async def test_a_stale_node_loses_the_race_against_a_claim_and_nothing_is_doubled() -> None:
    """The batch is on its way into the old stripe while a node that knows better looks for it there."""
    cluster, services = await spread_queue(stripes=1)
    await services["a-0"].queues.must_exist("orders", soon(cluster))
    old = place_of(cluster).groups
    await services["b-0"].queues.must_exist("orders", soon(cluster))
    await restripe(cluster, services, 4)
    again = RequestId(moving_session(old, place_of(cluster).groups), 1)
    claim = ChangeVisibility(queue=_id(cluster), handles=(), timeouts=())
    await cluster.on[NodeId("a-0")].propose(GroupId(1), "queues", claim, Millis(1_000), again)

    await services["b-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again)

    assert visible(cluster)[GroupId(1)] == 0
    assert await take_all(cluster, services["c-0"]) == [b"x"]


async def to_and_fro(cluster: FakeCluster, services: dict[str, Services]) -> RequestId:
    """An id that belongs to group 1 again, after it was claimed there on behalf of stripes that are gone."""
    old = place_of(cluster).groups
    await restripe(cluster, services, 4)
    again = RequestId(moving_session(old, place_of(cluster).groups), 1)
    claim = ChangeVisibility(queue=_id(cluster), handles=(), timeouts=())
    await cluster.on[NodeId("a-0")].propose(GroupId(1), "queues", claim, Millis(1_000), again)
    await restripe(cluster, services, 1)
    return again


@pytest.mark.parametrize("later", [1, 2, 3])
async def test_a_batch_moved_to_and_fro_is_stored_once_under_an_id_of_the_last_layout(later: int) -> None:
    cluster, services = await spread_queue(stripes=1)
    await services["c-0"].queues.must_exist("orders", soon(cluster))
    again = await to_and_fro(cluster, services)
    await a_round(cluster, services)
    first = await services["b-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again)
    assert visible(cluster) == {1: 1}

    for node in ("a-0", "b-0", "c-0"):
        assert await services[node].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again) == first
    await restripe(cluster, services, later)
    for node in ("b-0", "a-0", "c-0"):
        assert await services[node].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again) == first

    assert await take_all(cluster, services["a-0"]) == [b"x"]


async def test_what_is_about_to_be_stored_under_an_older_layouts_id_is_not_when_a_newer_one_has_stored_it() -> None:
    """A node has looked the stripes up, and they change before its batch arrives under the id of their layout."""
    cluster, services = await spread_queue(stripes=1)
    again = await to_and_fro(cluster, services)
    await a_round(cluster, services)
    cluster.elect(1, "b-0")
    groups = cluster.on[NodeId("b-0")]
    propose = groups.propose
    results = []

    async def overtaken(group: GroupId, room: str, command: object, *rest: object) -> object:
        if isinstance(command, Send) and rest[1] != again:  # under the derived id
            groups.propose = propose  # type: ignore[method-assign]
            await restripe(cluster, services, 4)
            results.append(await services["a-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again))
        return await propose(group, room, command, *rest)  # type: ignore[arg-type]

    groups.propose = overtaken  # type: ignore[method-assign,assignment]

    results.append(await services["b-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), again))

    assert len(results) == 2
    assert results[0] == results[1]
    assert await take_all(cluster, services["c-0"]) == [b"x"]


async def test_after_a_while_nobody_is_asked_about_former_stripes_any_more() -> None:
    cluster, services = await spread_queue(stripes=1)
    old = place_of(cluster).groups
    await restripe(cluster, services, 4)
    session = moving_session(old, place_of(cluster).groups)
    for number, claims in ((1, 1), (2, 0)):
        cluster.proposals.clear()
        await services["a-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), RequestId(session, number))
        kinds = [type(command) for _, command in cluster.proposals]
        assert (kinds.count(ChangeVisibility), kinds.count(Send)) == (claims, 1)
        cluster.clock.advance(15 * 60_000)


async def test_a_batch_whose_stripe_is_gone_goes_to_another_one() -> None:
    """By a node that has not heard that the stripe was drained, and deleted."""
    cluster, services = await spread_queue(stripes=4)
    await services["b-0"].queues.must_exist("orders", soon(cluster))  # b-0 leads group 2
    await restripe(cluster, services, 1)
    await services["a-0"].controller.round()
    cluster.elect(2, "b-0")
    assert set(held(cluster)) == {1}

    await services["b-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster))

    assert visible(cluster) == {1: 1}


async def test_a_batch_partly_refused_is_told_alike_after_the_stripes_changed() -> None:
    cluster, services = await spread_queue(changes=AttributeChanges(stripes=1, message_size_limit=1_024))
    old = place_of(cluster).groups
    bodies = [b"a", b"b" * 1_025, b"c"]
    await services["b-0"].queues.must_exist("orders", soon(cluster))
    await restripe(cluster, services, 4)
    again = RequestId(moving_session(old, place_of(cluster).groups), 1)
    first = await services["b-0"].queues.send("orders", pack_bodies(bodies), soon(cluster), again)
    assert [place for place, _ in first.refused] == [1]

    second = await services["a-0"].queues.send("orders", pack_bodies(bodies), soon(cluster), again)

    assert second.message_ids() == first.message_ids()
    assert [place for place, _ in second.refused] == [1]


async def test_a_deleted_queue_is_not_found_in_any_stripe() -> None:
    cluster, services = await spread_queue()
    await services["b-0"].queues.must_exist("orders", soon(cluster))
    await services["a-0"].queues.delete("orders", soon(cluster))
    with pytest.raises(QueueNotFound):
        await services["b-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster), RequestId(b"s" * 16, 1))


# --- a FIFO queue


async def test_a_queue_of_high_throughput_is_spread_and_a_message_group_stays_in_one_stripe() -> None:
    cluster, services = await spread_queue("orders.fifo", changes=HIGH_THROUGHPUT)
    stripes = place_of(cluster, "orders.fifo").groups
    assert len(stripes) == 4
    groups = [f"g{number % 7}" for number in range(28)]
    batch = fifo(*((group, str(number).encode()) for number, group in enumerate(groups)))

    result = await services["a-0"].queues.send("orders.fifo", batch, soon(cluster))

    ids = [MessageId.from_bytes(each) for each in result.message_ids()]
    assert [each.group for each in ids] == [stripe_of_message_group(stripes, group) for group in groups]
    assert result.sequence_numbers() == [message_key(each.index, each.slot) for each in ids]
    assert result.accepted == 28
    assert sum(visible(cluster, "orders.fifo").values()) == 28


async def test_order_within_a_message_group_holds_over_batches() -> None:
    cluster, services = await spread_queue("orders.fifo", changes=HIGH_THROUGHPUT)
    for number in range(5):
        batch = fifo(("a", b"a%d" % number), ("b", b"b%d" % number), ("c", b"c%d" % number))
        await services["b-0"].queues.send("orders.fifo", batch, soon(cluster))
    bodies = await take_all(cluster, services["c-0"], "orders.fifo")
    for group in (b"a", b"b", b"c"):
        assert [body for body in bodies if body[:1] == group] == [group + b"%d" % number for number in range(5)]


async def test_one_stripe_that_cannot_be_reached_fails_the_batch_and_the_same_again_stores_the_rest() -> None:
    cluster, services = await spread_queue("orders.fifo", changes=HIGH_THROUGHPUT)
    again = RequestId(b"s" * 16, 1)
    batch = fifo(*((f"g{number}", b"%d" % number) for number in range(20)))
    cluster.elect(3, None)
    sending = asyncio.gather(services["a-0"].queues.send("orders.fifo", batch, soon(cluster), again))
    while not sending.done():
        cluster.clock.advance(100)
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await sending
    assert 0 < sum(visible(cluster, "orders.fifo").values()) < 20
    cluster.elect(3, "b-0")

    result = await services["b-0"].queues.send("orders.fifo", batch, soon(cluster), again)

    assert result.accepted == 20
    assert sum(visible(cluster, "orders.fifo").values()) == 20
    assert {counts.duplicates_total for counts in held(cluster, "orders.fifo").values()} == {0}


async def test_places_in_the_callers_batch_survive_both_judgements() -> None:
    """One message is refused before it is sent, one by its stripe, and the others come back under their places."""
    cluster, services = await spread_queue("orders.fifo", changes=HIGH_THROUGHPUT)
    messages = [OutgoingMessage(Message(b"%d" % number), group=f"g{number}") for number in range(8)]
    messages[2] = OutgoingMessage(Message(b"2"), group="bad group")
    messages[5] = OutgoingMessage(Message(b"5"), group="g5", delay=1_000)

    result = await services["a-0"].queues.send("orders.fifo", pack(messages), soon(cluster))

    assert [(place, refusal.code) for place, refusal in result.refused] == [(2, "InvalidArgument"), (5, "NotForFifo")]
    assert [bool(each) for each in result.message_ids()] == [place not in (2, 5) for place in range(8)]
    assert result.accepted == 6


async def test_an_ordinary_fifo_queue_has_one_stripe() -> None:
    cluster, services = await spread_cluster()
    await services["a-0"].queues.create("plain.fifo", AttributeChanges(), soon(cluster))
    assert place_of(cluster, "plain.fifo").stripes == ()


def _id(cluster: FakeCluster) -> int:
    return place_of(cluster).id
