"""Queues with attributes: together right or refused, dead-letter queues found, updates that do not undo each other."""

from __future__ import annotations

import asyncio

import pytest

from broker.base.errors import (
    Conflict,
    InvalidArgument,
    NotForStandard,
    QueueExists,
    RedriveNotAllowed,
    RedriveTargetInvalid,
    Unavailable,
)
from broker.base.instants import Millis
from broker.domain.queues.commands import UpdateQueue
from broker.domain.queues.model import BY_QUEUE, PER_MESSAGE_GROUP, Described, RedriveAllowPolicy, RedrivePolicy
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import one_node, soon, with_queue

NO_CHANGES = AttributeChanges()


async def described(cluster: FakeCluster, services: Services, name: str) -> Described:
    return (await services.queues.describe(name, soon(cluster))).queue


async def test_a_fifo_queue_is_created_with_its_attributes() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    changes = AttributeChanges(content_deduplication=True, deduplication_scope=PER_MESSAGE_GROUP)

    await services.queues.create("orders.fifo", changes, soon(cluster))

    attributes = (await described(cluster, services, "orders.fifo")).attributes
    assert (attributes.content_deduplication, attributes.deduplication_scope) == (True, PER_MESSAGE_GROUP)


async def test_attributes_that_do_not_fit_the_kind_of_queue_create_nothing() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    cluster.proposals.clear()
    too_fast = AttributeChanges(throughput_limit=PER_MESSAGE_GROUP)

    with pytest.raises(NotForStandard):
        await services.queues.create("orders", AttributeChanges(content_deduplication=True), soon(cluster))
    with pytest.raises(InvalidArgument, match="needs deduplication scope"):
        await services.queues.create("orders.fifo", too_fast, soon(cluster))

    assert cluster.proposals == []


async def test_an_update_is_judged_together_with_what_stays() -> None:
    cluster, services = await with_queue(
        "orders.fifo",
        AttributeChanges(deduplication_scope=PER_MESSAGE_GROUP, throughput_limit=PER_MESSAGE_GROUP),
        FakeCluster(groups=1),
    )

    with pytest.raises(InvalidArgument, match="needs deduplication scope"):
        await services.queues.update("orders.fifo", AttributeChanges(deduplication_scope="queue"), soon(cluster))
    both = AttributeChanges(deduplication_scope="queue", throughput_limit="queue", stripes=1)
    await services.queues.update("orders.fifo", both, soon(cluster))

    assert (await described(cluster, services, "orders.fifo")).attributes.throughput_limit == "queue"


async def test_an_update_of_a_standard_queue_to_fifo_attributes_is_refused() -> None:
    cluster, services = await with_queue()
    with pytest.raises(NotForStandard):
        await services.queues.update("orders", AttributeChanges(content_deduplication=True), soon(cluster))


async def test_updates_of_different_attributes_at_the_same_time_both_count() -> None:
    cluster, services = await with_queue()
    cluster.held = asyncio.Event()
    changes = [AttributeChanges(delay=Millis(5_000)), AttributeChanges(retention=Millis(60_000)), NO_CHANGES]
    updates = [asyncio.ensure_future(services.queues.update("orders", each, soon(cluster))) for each in changes]
    await cluster.proposals_held(3)

    cluster.held.set()
    await asyncio.gather(*updates)

    attributes = (await described(cluster, services, "orders")).attributes
    assert (attributes.delay, attributes.retention) == (5_000, 60_000)


async def test_an_update_that_lost_a_race_and_then_its_answer_takes_effect_once() -> None:
    cluster, services = await with_queue()
    cluster.held = asyncio.Event()
    first = asyncio.ensure_future(services.queues.update("orders", AttributeChanges(delay=Millis(1)), soon(cluster)))
    await cluster.proposals_held(1)
    second = asyncio.ensure_future(services.queues.update("orders", AttributeChanges(delay=Millis(2)), soon(cluster)))
    await cluster.proposals_held(2)
    cluster.after = [Unavailable("the first one's answer gets lost"), Unavailable("so does the refusal of the second")]

    cluster.held.set()
    await asyncio.gather(first, second)

    assert (await described(cluster, services, "orders")).attributes.delay == 2
    updates = [command for _, command in cluster.proposals if isinstance(command, UpdateQueue)]
    assert len(updates) == 5  # each once, each asked after once, and the second anew


async def test_the_dead_letter_queue_is_found_and_told_to_the_machine() -> None:
    cluster = FakeCluster(groups=3)
    services = await one_node(cluster)
    queues = services.queues
    await queues.create("dead", NO_CHANGES, soon(cluster))

    await queues.create("orders", AttributeChanges(redrive=RedrivePolicy("dead", 3)), soon(cluster))

    there = await queues.describe("dead", soon(cluster))
    target = (await described(cluster, services, "orders")).target
    assert target is not None
    assert (target.name, target.id, target.groups) == ("dead", there.queue.queue, (there.group,))


async def test_a_redrive_policy_is_kept_by_other_updates_changed_and_taken_away() -> None:
    cluster = FakeCluster(groups=3)
    services = await one_node(cluster)
    queues = services.queues
    for name in ("dead", "deader"):
        await queues.create(name, NO_CHANGES, soon(cluster))
    await queues.create("orders", AttributeChanges(redrive=RedrivePolicy("dead", 3)), soon(cluster))

    await queues.update("orders", AttributeChanges(delay=Millis(1)), soon(cluster))
    kept = await described(cluster, services, "orders")
    await queues.update("orders", AttributeChanges(redrive=RedrivePolicy("deader", 4)), soon(cluster))
    changed = await described(cluster, services, "orders")
    await queues.update("orders", AttributeChanges(no_redrive=True), soon(cluster))
    gone = await described(cluster, services, "orders")

    assert kept.target is not None
    assert (kept.attributes.redrive, kept.target.name) == (RedrivePolicy("dead", 3), "dead")
    assert changed.target is not None
    assert (changed.attributes.redrive, changed.target.name) == (RedrivePolicy("deader", 4), "deader")
    assert (gone.attributes.redrive, gone.target) == (None, None)


async def test_setting_and_taking_away_a_redrive_policy_at_once_is_refused() -> None:
    cluster, services = await with_queue("dead")
    both = AttributeChanges(redrive=RedrivePolicy("dead", 3), no_redrive=True)
    with pytest.raises(InvalidArgument, match="do one of both"):
        await services.queues.create("orders", both, soon(cluster))


@pytest.mark.parametrize("target", ["unknown", "orders", "dead.fifo"])
async def test_a_dead_letter_queue_must_exist_be_of_the_same_kind_and_another(target: str) -> None:
    cluster, services = await with_queue("dead.fifo")
    queues = services.queues
    policy = AttributeChanges(redrive=RedrivePolicy(target, 3))

    with pytest.raises(RedriveTargetInvalid, match=f"'{target}'"):
        await queues.create("orders", policy, soon(cluster))
    await queues.create("orders", NO_CHANGES, soon(cluster))
    with pytest.raises(RedriveTargetInvalid, match=f"'{target}'"):
        await queues.update("orders", policy, soon(cluster))


async def test_a_dead_letter_queue_must_admit_the_source() -> None:
    allow = RedriveAllowPolicy(BY_QUEUE, ("billing",))
    cluster, services = await with_queue("dead", AttributeChanges(redrive_allow=allow))
    policy = AttributeChanges(redrive=RedrivePolicy("dead", 3))

    with pytest.raises(RedriveNotAllowed, match=r"'orders'.*admits billing"):
        await services.queues.create("orders", policy, soon(cluster))
    assert await services.queues.create("billing", policy, soon(cluster))


async def test_creating_again_is_the_same_queue_though_its_dead_letter_queue_has_gone() -> None:
    cluster, services = await with_queue("dead")
    queues = services.queues
    policy = AttributeChanges(redrive=RedrivePolicy("dead", 3))
    await queues.create("orders", policy, soon(cluster))
    await queues.delete("dead", soon(cluster))

    assert not await queues.create("orders", policy, soon(cluster))
    with pytest.raises(QueueExists, match="redrive is"):
        await queues.create("orders", AttributeChanges(redrive=RedrivePolicy("dead", 4)), soon(cluster))


async def test_tags_change_one_by_one_and_do_not_make_a_queue_another_one() -> None:
    cluster, services = await with_queue("orders", AttributeChanges(tags=(("team", "a"), ("stage", "test"))))

    changes = AttributeChanges(tags=(("stage", None), ("cost", "7"), ("none", None)), kept=(("Policy", "{}"),))
    await services.queues.update("orders", changes, soon(cluster))
    again = await services.queues.create("orders", AttributeChanges(), soon(cluster))

    attributes = (await described(cluster, services, "orders")).attributes
    assert attributes.tags == (("cost", "7"), ("team", "a"))
    assert attributes.kept == (("Policy", "{}"),)
    assert again is False


async def test_more_tags_than_a_queue_may_have_change_nothing() -> None:
    cluster, services = await with_queue("orders", AttributeChanges(tags=(("team", "a"),)))
    many = AttributeChanges(tags=tuple((f"{number:02}", "") for number in range(50)))

    with pytest.raises(InvalidArgument, match="number of tags 51"):
        await services.queues.update("orders", many, soon(cluster))

    assert (await described(cluster, services, "orders")).attributes.tags == (("team", "a"),)


async def test_who_changes_what_was_read_is_told_when_it_is_not_so_any_more() -> None:
    cluster, services = await with_queue("orders", AttributeChanges(kept=(("Policy", "1"),)))
    change = AttributeChanges(kept=(("Policy", "2"),), kept_before=(("Policy", "1"),))

    await services.queues.update("orders", change, soon(cluster))
    with pytest.raises(Conflict, match="Policy of the queue was changed by another call meanwhile"):
        await services.queues.update("orders", change, soon(cluster))

    assert (await described(cluster, services, "orders")).attributes.kept == (("Policy", "2"),)
