"""Queues grow to more groups and shrink to fewer while they are used; what is interrupted anywhere can be finished."""

from __future__ import annotations

from itertools import count

import pytest

from broker.base.errors import (
    BrokerError,
    FixedAttribute,
    InvalidArgument,
    PurgeInProgress,
    QueueExists,
    QueueNotFound,
    Unavailable,
)
from broker.base.ids import GroupId
from broker.base.instants import Millis
from broker.domain.directory.commands import (
    ActivateResource,
    BeginTelling,
    EndTelling,
    ForgetResource,
    PlaceResource,
    RestripeResource,
    RetireResource,
    SpreadResource,
)
from broker.domain.queues.commands import CreateQueue, DeleteQueue, PurgeQueue, UpdateQueue
from broker.domain.queues.model import PER_MESSAGE_GROUP, RedrivePolicy
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.outgoing import pack_bodies
from tests.unit.services.fake_groups import FakeCluster, FakeGroups
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

FOUR = AttributeChanges(stripes=4)
LONG = 10_001
"""After which a step that nobody goes on with counts as interrupted."""


class Interrupted(BrokerError):
    """What ends a node between two steps."""


def interrupt(cluster: FakeCluster, wanted: type, when: str, nth: int = 1) -> None:
    """Who proposes the ``nth`` command of that type is gone, "before" or "after" it takes effect."""
    numbers = count(1)

    def cut(groups: FakeGroups) -> None:
        propose = groups.propose

        async def cut_off(group: GroupId, room: str, command: object, *rest: object) -> object:
            if isinstance(command, wanted) and next(numbers) == nth:
                (cluster.before if when == "before" else cluster.after).append(Interrupted("the node is gone"))
            return await propose(group, room, command, *rest)  # type: ignore[arg-type]

        groups.propose = cut_off  # type: ignore[method-assign,assignment]

    for groups in cluster.on.values():
        cut(groups)


def no_more_interruptions(cluster: FakeCluster) -> None:
    for groups in cluster.on.values():
        groups.__dict__.pop("propose", None)
    cluster.before.clear()
    cluster.after.clear()


async def tended(cluster: FakeCluster, services: dict[str, Services]) -> None:
    """What was interrupted has been so for long, and every controller has had its rounds."""
    no_more_interruptions(cluster)
    for _ in range(2):
        cluster.clock.advance(LONG)
        await a_round(cluster, services)


def is_in_order(cluster: FakeCluster, stripes: int, name: str = "orders") -> None:
    """The directory and the groups say the same, and nothing is under way."""
    place = place_of(cluster, name)
    assert (len(place.groups), place.joining, place.draining, place.tellings) == (stripes, (), (), ())
    known = told(cluster, name)
    assert set(known) == set(place.groups)
    home = known[place.group]
    for described in known.values():
        assert described.attributes == home.attributes
        assert (described.groups, described.attributes.stripes) == (place.groups, stripes)
        assert described.target == home.target


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


# --- interrupted


GROWING = [
    (BeginTelling, 1),
    (SpreadResource, 1),
    *((CreateQueue, nth) for nth in (1, 2, 3)),
    (RestripeResource, 1),
    *((UpdateQueue, nth) for nth in (1, 2, 3, 4)),
    (EndTelling, 1),
]
"""The steps from 1 stripe to 4: which command, and the how-manieth of its kind."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("step", "nth"), GROWING)
async def test_a_growth_cut_off_anywhere_is_finished_or_undone(step: type, nth: int, when: str) -> None:
    cluster, services = await spread_queue(stripes=1)
    await services["a-0"].queues.send("orders", pack_bodies([b"old"]), soon(cluster))
    interrupt(cluster, step, when, nth)
    with pytest.raises(Interrupted):
        await services["a-0"].queues.update("orders", FOUR, soon(cluster))

    await tended(cluster, services)

    is_in_order(cluster, len(place_of(cluster).groups))
    assert len(place_of(cluster).groups) in {1, 4}
    await services["b-0"].queues.send("orders", pack_bodies([b"new"]), soon(cluster))
    assert sorted(await take_all(cluster, services["c-0"])) == [b"new", b"old"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("step", "nth"), GROWING)
async def test_a_growth_cut_off_anywhere_can_simply_be_repeated(step: type, nth: int, when: str) -> None:
    cluster, services = await spread_queue(stripes=1)
    interrupt(cluster, step, when, nth)
    with pytest.raises(Interrupted):
        await services["a-0"].queues.update("orders", FOUR, soon(cluster))
    no_more_interruptions(cluster)

    await services["b-0"].queues.update("orders", FOUR, soon(cluster))

    assert len(place_of(cluster).groups) == 4
    await tended(cluster, services)
    is_in_order(cluster, 4)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [SpreadResource, UpdateQueue, EndTelling, DeleteQueue, RestripeResource])
async def test_a_shrinking_cut_off_anywhere_comes_to_its_end(step: type, when: str) -> None:
    cluster, services = await spread_queue(stripes=4)
    for group in (1, 2, 3, 4):
        await send_into(cluster, services["a-0"], group, b"in %d" % group)
    interrupt(cluster, step, when)
    try:
        await services["a-0"].queues.update("orders", AttributeChanges(stripes=1), soon(cluster))
    except Interrupted:
        no_more_interruptions(cluster)
        await services["a-0"].queues.update("orders", AttributeChanges(stripes=1), soon(cluster))
    assert sorted(await take_all(cluster, services["b-0"])) == [b"in 1", b"in 2", b"in 3", b"in 4"]

    cluster.clock.advance(LONG)
    await services["a-0"].controller.round()  # some of whose steps may be the interrupted ones
    lead_in_turn(cluster)
    await tended(cluster, services)

    is_in_order(cluster, 1)


async def test_a_growth_that_was_given_up_joins_nothing_when_its_node_goes_on() -> None:
    """The controller takes the new groups away while the node that wanted them is asleep."""
    cluster, services = await spread_queue(stripes=1)
    groups = cluster.on[cluster.nodes[0].id]
    propose = groups.propose

    async def sleepy(group: GroupId, room: str, command: object, *rest: object) -> object:
        if isinstance(command, RestripeResource) and command.joined:
            groups.propose = propose  # type: ignore[method-assign]
            await tended(cluster, services)
        return await propose(group, room, command, *rest)  # type: ignore[arg-type]

    groups.propose = sleepy  # type: ignore[method-assign,assignment]

    with pytest.raises(Unavailable, match="were changed by another call meanwhile"):
        await services["a-0"].queues.update("orders", FOUR, soon(cluster, 60))

    await tended(cluster, services)
    is_in_order(cluster, 1)


async def test_a_queue_deleted_while_it_grows_leaves_nothing_behind() -> None:
    cluster, services = await spread_queue(stripes=1)
    groups = cluster.on[cluster.nodes[0].id]
    propose = groups.propose

    async def deleted_meanwhile(group: GroupId, room: str, command: object, *rest: object) -> object:
        if isinstance(command, CreateQueue | RestripeResource):
            groups.propose = propose  # type: ignore[method-assign]
            await services["a-0"].queues.delete("orders", soon(cluster))
        return await propose(group, room, command, *rest)  # type: ignore[arg-type]

    groups.propose = deleted_meanwhile  # type: ignore[method-assign,assignment]

    with pytest.raises(QueueNotFound):
        await services["a-0"].queues.update("orders", FOUR, soon(cluster))

    assert told(cluster) == {}


# --- telling all stripes


async def test_an_update_reaches_all_stripes_draining_ones_too() -> None:
    cluster, services = await spread_queue(stripes=3)
    await send_into(cluster, services["a-0"], 3, b"x")
    await services["a-0"].queues.update("orders", AttributeChanges(stripes=2), soon(cluster))
    await services["a-0"].queues.create("dead", AttributeChanges(), soon(cluster))

    changes = AttributeChanges(delay=Millis(9), redrive=RedrivePolicy("dead", 3))
    await services["b-0"].queues.update("orders", changes, soon(cluster))

    assert {described.attributes.delay for described in told(cluster).values()} == {9}
    assert {described.target.name for described in told(cluster).values() if described.target} == {"dead"}
    assert len(told(cluster)) == 3


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_an_update_cut_off_between_stripes_is_told_to_all_later(nth: int, when: str) -> None:
    cluster, services = await spread_queue(stripes=3)
    interrupt(cluster, UpdateQueue, when, nth)
    with pytest.raises(Interrupted):
        await services["a-0"].queues.update("orders", AttributeChanges(delay=Millis(9)), soon(cluster))

    await tended(cluster, services)

    is_in_order(cluster, 3)
    expected = 0 if (nth, when) == (1, "before") else 9
    assert (await services["a-0"].queues.describe("orders", soon(cluster))).queue.attributes.delay == expected


async def test_of_two_updates_at_once_no_stripe_keeps_the_older_one() -> None:
    """The second one runs from beginning to end between the look of the first one and its copies."""
    cluster, services = await spread_queue(stripes=3)
    groups = cluster.on[cluster.nodes[1].id]  # which leads group 2
    propose = groups.propose

    async def overtaken(group: GroupId, room: str, command: object, *rest: object) -> object:
        if isinstance(command, UpdateQueue) and group == 2:
            groups.propose = propose  # type: ignore[method-assign]
            await services["c-0"].queues.update("orders", AttributeChanges(delay=Millis(2)), soon(cluster))
        return await propose(group, room, command, *rest)  # type: ignore[arg-type]

    groups.propose = overtaken  # type: ignore[method-assign,assignment]

    await services["a-0"].queues.update("orders", AttributeChanges(delay=Millis(1)), soon(cluster))

    is_in_order(cluster, 3)
    assert {described.attributes.delay for described in told(cluster).values()} == {2}


async def test_a_refused_update_is_not_told_and_nothing_is_left_to_do() -> None:
    cluster, services = await spread_queue(stripes=3)
    with pytest.raises(BrokerError, match="of FIFO queues only"):
        await services["a-0"].queues.update("orders", AttributeChanges(content_deduplication=True), soon(cluster))
    is_in_order(cluster, 3)


async def test_a_purge_reaches_all_stripes_and_those_it_missed_the_next_time() -> None:
    cluster, services = await spread_queue(stripes=3)
    for group in (1, 2, 3):
        await send_into(cluster, services["a-0"], group, b"x")
    interrupt(cluster, PurgeQueue, "before", nth=3)
    with pytest.raises(Interrupted):
        await services["a-0"].queues.purge("orders", soon(cluster))
    no_more_interruptions(cluster)

    await services["a-0"].queues.purge("orders", soon(cluster))

    assert set(visible(cluster).values()) == {0}
    with pytest.raises(PurgeInProgress):
        await services["a-0"].queues.purge("orders", soon(cluster))
    cluster.clock.advance(60_000)
    once = RequestId(b"p" * 16, 1)
    await services["a-0"].queues.purge("orders", soon(cluster), once)
    await services["b-0"].queues.purge("orders", soon(cluster), once)


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
