"""A change of stripes, attributes or content that is interrupted anywhere can be finished, or is undone."""

from __future__ import annotations

import pytest

from broker.base.errors import (
    BrokerError,
    PurgeInProgress,
    QueueNotFound,
    Unavailable,
)
from broker.base.ids import GroupId
from broker.base.instants import Millis
from broker.domain.directory.commands import (
    BeginTelling,
    EndTelling,
    RestripeResource,
    SpreadResource,
)
from broker.domain.queues.commands import CreateQueue, DeleteQueue, PurgeQueue, UpdateQueue
from broker.domain.queues.model import RedrivePolicy
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.outgoing import pack_bodies
from tests.unit.services.interrupted import (
    FOUR,
    LONG,
    Interrupted,
    interrupt,
    is_in_order,
    no_more_interruptions,
    tended,
)
from tests.unit.services.running import soon
from tests.unit.services.striped import (
    lead_in_turn,
    place_of,
    send_into,
    spread_queue,
    take_all,
    told,
    visible,
)

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
