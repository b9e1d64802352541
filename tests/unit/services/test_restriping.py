"""Queues grow to more groups and shrink to fewer while they are used, and come and go with all their groups."""

from __future__ import annotations

import pytest

from broker.base.errors import (
    BrokerError,
    FixedAttribute,
    InvalidArgument,
    QueueExists,
    Unavailable,
)
from broker.base.ids import GroupId
from broker.base.instants import Millis
from broker.domain.directory.commands import (
    ActivateResource,
    ForgetResource,
    PlaceResource,
    RetireResource,
)
from broker.domain.queues.commands import CreateQueue, DeleteQueue
from broker.domain.queues.model import PER_MESSAGE_GROUP
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.outgoing import pack_bodies
from tests.unit.services.interrupted import (
    FOUR,
    Interrupted,
    interrupt,
    is_in_order,
    no_more_interruptions,
    tended,
)
from tests.unit.services.running import soon
from tests.unit.services.striped import (
    a_round,
    held,
    lead_in_turn,
    place_of,
    send_into,
    session_of,
    spread_cluster,
    spread_queue,
    take_all,
    told,
    visible,
)

# --- growing and shrinking


async def test_a_queue_grows_while_it_holds_messages() -> None:
    cluster, services = await spread_queue(stripes=1, changes=AttributeChanges(delay=Millis(10), stripes=1))
    await services["b-0"].queues.send("orders", pack_bodies([b"old"]), soon(cluster))
    cluster.clock.advance(10)

    await services["b-0"].queues.update("orders", FOUR, soon(cluster))

    is_in_order(cluster, 4)
    described = (await services["c-0"].queues.describe("orders", soon(cluster))).queue
    assert (described.attributes.stripes, described.attributes.delay) == (4, 10)
    assert await take_all(cluster, services["b-0"]) == [b"old"]


async def test_growing_again_to_the_same_changes_nothing() -> None:
    cluster, services = await spread_queue(stripes=4)
    cluster.proposals.clear()
    await services["a-0"].queues.update("orders", FOUR, soon(cluster))
    assert cluster.proposals == []


async def test_a_queue_shrinks_and_nothing_that_it_held_is_lost() -> None:
    cluster, services = await spread_queue(stripes=4)
    for group in (1, 2, 3, 4):
        await send_into(cluster, services["a-0"], group, b"in %d" % group)

    await services["a-0"].queues.update("orders", AttributeChanges(stripes=2), soon(cluster))
    await a_round(cluster, services)

    assert (place_of(cluster).groups, place_of(cluster).draining) == ((1, 2), (3, 4))
    assert sorted(await take_all(cluster, services["b-0"])) == [b"in 1", b"in 2", b"in 3", b"in 4"]
    await a_round(cluster, services)
    is_in_order(cluster, 2)


@pytest.mark.parametrize("state", ["in flight", "delayed"])
async def test_a_draining_group_is_kept_while_a_message_may_come_back(state: str) -> None:
    cluster, services = await spread_queue(stripes=2)
    if state == "delayed":
        await services["a-0"].queues.update("orders", AttributeChanges(delay=Millis(60_000)), soon(cluster))
    await send_into(cluster, services["a-0"], 2, b"x")
    if state == "in flight":
        await services["a-0"].queues.receive("orders", 1, soon(cluster))
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=1), soon(cluster))

    await a_round(cluster, services)
    assert set(held(cluster)) == {1, 2}

    cluster.clock.advance(60_000)
    assert await take_all(cluster, services["b-0"]) == [b"x"]
    await a_round(cluster, services)
    is_in_order(cluster, 1)


async def test_a_message_sent_at_the_last_moment_keeps_the_group() -> None:
    """By a node that has not heard, between the look that found the group empty and the deletion."""
    cluster, services = await spread_queue(stripes=2)
    await services["c-0"].queues.must_exist("orders", soon(cluster))
    late = RequestId(session_of(place_of(cluster).groups, 2), 1)
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=1), soon(cluster))
    groups = cluster.on[cluster.nodes[1].id]  # which leads group 2
    propose = groups.propose

    async def after_a_send(group: GroupId, room: str, command: object, *rest: object) -> object:
        if isinstance(command, DeleteQueue):
            groups.propose = propose  # type: ignore[method-assign]
            await services["c-0"].queues.send("orders", pack_bodies([b"late"]), soon(cluster), late)
        return await propose(group, room, command, *rest)  # type: ignore[arg-type]

    groups.propose = after_a_send  # type: ignore[method-assign,assignment]

    await services["a-0"].controller.round()
    lead_in_turn(cluster)

    assert visible(cluster) == {1: 0, 2: 1}
    assert await take_all(cluster, services["a-0"]) == [b"late"]


async def test_a_group_that_still_drains_is_not_used_again() -> None:
    cluster, services = await spread_queue(stripes=4)
    await send_into(cluster, services["a-0"], 4, b"x")
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=3), soon(cluster))

    with pytest.raises(Unavailable, match="1 of the 4 data groups may still hold something"):
        await services["a-0"].queues.update("orders", FOUR, soon(cluster))

    assert await take_all(cluster, services["a-0"]) == [b"x"]
    await tended(cluster, services)
    await services["a-0"].queues.update("orders", FOUR, soon(cluster))
    is_in_order(cluster, 4)


async def test_more_stripes_than_groups_are_refused_and_change_nothing() -> None:
    cluster, services = await spread_queue(stripes=1)
    with pytest.raises(InvalidArgument, match="cannot have 5 stripes, the cluster has 4 data groups"):
        await services["a-0"].queues.update("orders", AttributeChanges(stripes=5), soon(cluster))
    with pytest.raises(InvalidArgument, match="number of stripes 0"):
        await services["a-0"].queues.update("orders", AttributeChanges(stripes=0), soon(cluster))
    is_in_order(cluster, 1)


async def test_a_fifo_queue_keeps_its_stripes() -> None:
    changes = AttributeChanges(deduplication_scope=PER_MESSAGE_GROUP, throughput_limit=PER_MESSAGE_GROUP)
    cluster, services = await spread_queue("orders.fifo", changes=changes)
    with pytest.raises(FixedAttribute, match="keeps its 4 stripes and cannot have 2"):
        await services["a-0"].queues.update("orders.fifo", AttributeChanges(stripes=2), soon(cluster))
    await services["a-0"].queues.update("orders.fifo", FOUR, soon(cluster))
    is_in_order(cluster, 4, "orders.fifo")


async def test_attributes_that_do_not_fit_are_refused_before_the_stripes_change() -> None:
    cluster, services = await spread_queue(stripes=1)
    with pytest.raises(BrokerError, match="of FIFO queues only"):
        await services["a-0"].queues.update(
            "orders", AttributeChanges(stripes=4, content_deduplication=True), soon(cluster)
        )
    is_in_order(cluster, 1)


async def test_stripes_and_other_attributes_change_in_one_call() -> None:
    cluster, services = await spread_queue(stripes=1)
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=3, delay=Millis(7)), soon(cluster))
    is_in_order(cluster, 3)
    assert {described.attributes.delay for described in told(cluster).values()} == {7}


# --- coming and going


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("step", "nth"), [(PlaceResource, 1), *((CreateQueue, nth) for nth in (1, 2, 3, 4)), (ActivateResource, 1)]
)
async def test_the_creation_of_a_spread_queue_cut_off_anywhere_is_finished_or_undone(
    step: type, nth: int, when: str
) -> None:
    cluster, services = await spread_cluster()
    interrupt(cluster, step, when, nth)
    with pytest.raises(Interrupted):
        await services["a-0"].queues.create("orders", FOUR, soon(cluster))

    await tended(cluster, services)

    if told(cluster):
        is_in_order(cluster, 4)
    await services["b-0"].queues.create("orders", FOUR, soon(cluster))
    is_in_order(cluster, 4)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("step", "nth"), [(RetireResource, 1), *((DeleteQueue, nth) for nth in (1, 2, 3)), (ForgetResource, 1)]
)
async def test_the_deletion_of_a_spread_queue_cut_off_anywhere_is_completed(step: type, nth: int, when: str) -> None:
    cluster, services = await spread_queue(stripes=3)
    await send_into(cluster, services["a-0"], 3, b"x")
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=2), soon(cluster))
    interrupt(cluster, step, when, nth)
    with pytest.raises(Interrupted):
        await services["a-0"].queues.delete("orders", soon(cluster))
    no_more_interruptions(cluster)
    if (step, when) == (RetireResource, "before"):
        await services["a-0"].queues.delete("orders", soon(cluster))

    await tended(cluster, services)

    assert told(cluster) == {}
    assert await services["a-0"].queues.create("orders", AttributeChanges(), soon(cluster))


async def test_creating_again_takes_the_stripes_as_they_are_unless_others_are_asked_for() -> None:
    cluster, services = await spread_queue(stripes=3)
    assert not await services["b-0"].queues.create("orders", AttributeChanges(), soon(cluster))
    assert not await services["b-0"].queues.create("orders", AttributeChanges(stripes=3), soon(cluster))
    with pytest.raises(QueueExists, match="stripes is 3, not 4"):
        await services["b-0"].queues.create("orders", FOUR, soon(cluster))


async def test_two_creations_with_different_stripes_at_once_do_not_mix() -> None:
    cluster, services = await spread_cluster()
    interrupt(cluster, CreateQueue, "before")
    with pytest.raises(Interrupted):
        await services["a-0"].queues.create("orders", FOUR, soon(cluster))
    with pytest.raises(Unavailable, match="created by another call with 4 stripes, not 2"):
        await services["b-0"].queues.create("orders", AttributeChanges(stripes=2), soon(cluster))
    await tended(cluster, services)
    assert await services["b-0"].queues.create("orders", AttributeChanges(stripes=2), soon(cluster))
    is_in_order(cluster, 2)


async def test_a_queue_of_a_new_cluster_with_few_groups_has_as_many_stripes_as_there_are() -> None:
    changes = AttributeChanges(deduplication_scope=PER_MESSAGE_GROUP, throughput_limit=PER_MESSAGE_GROUP)
    cluster, _ = await spread_queue("orders.fifo", changes=changes, groups=2)
    is_in_order(cluster, 2, "orders.fifo")


async def test_every_node_hears_of_new_stripes_in_its_next_round() -> None:
    cluster, services = await spread_queue(stripes=1)
    await services["c-0"].queues.must_exist("orders", soon(cluster))
    await services["a-0"].queues.update("orders", FOUR, soon(cluster))
    for _ in range(3):
        await services["c-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster))
    assert visible(cluster) == {1: 3, 2: 0, 3: 0, 4: 0}

    await services["c-0"].controller.round()
    lead_in_turn(cluster)

    await services["c-0"].queues.send("orders", pack_bodies([b"x"]), soon(cluster))  # it leads group 3
    assert visible(cluster) == {1: 3, 2: 0, 3: 1, 4: 0}
