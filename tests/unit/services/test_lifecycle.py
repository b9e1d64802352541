"""Queues come and go over two groups; every interruption leaves something that can be finished or undone."""

from __future__ import annotations

import pytest

from broker.base.errors import BrokerError, InvalidArgument, InvalidName, PurgeInProgress, QueueExists, QueueNotFound
from broker.base.ids import DIRECTORY_GROUP, GroupId
from broker.base.instants import Millis
from broker.domain.directory.commands import FindResource, ForgetResource, PlaceResource, Resource, RetireResource
from broker.domain.queues.commands import CreateQueue, DeleteQueue
from broker.domain.queues.model import RedrivePolicy
from broker.domain.queues.questions import AllQueues
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.outgoing import pack_bodies
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import one_node, soon, with_queue

NO_CHANGES = AttributeChanges()


def names_in_groups(cluster: FakeCluster) -> list[str]:
    found: list[str] = []
    for group, machine in cluster.machines.items():
        if group != DIRECTORY_GROUP:
            found += [described.name for described, _ in machine.query("queues", AllQueues(), cluster.clock.wall())]
    return sorted(found)


def in_directory(cluster: FakeCluster, name: str) -> Resource | None:
    found: Resource | None = cluster.machines[DIRECTORY_GROUP].query(
        "directory", FindResource("queue", name), cluster.clock.wall()
    )
    return found


class Interrupted(BrokerError):
    """What ends a node between two steps."""


async def test_creating_twice_is_the_same_queue_and_other_attributes_are_refused() -> None:
    cluster, services = await with_queue("orders", AttributeChanges(delay=Millis(5)))

    again = await services.queues.create("orders", AttributeChanges(delay=Millis(5)), soon(cluster))
    with pytest.raises(QueueExists, match="delay is 5, not 0"):
        await services.queues.create("orders", NO_CHANGES, soon(cluster))

    assert again is False
    assert names_in_groups(cluster) == ["orders"]


async def test_queues_spread_over_the_groups() -> None:
    cluster = FakeCluster(groups=3)
    services = await one_node(cluster)
    for number in range(6):
        assert await services.queues.create(f"queue-{number}", NO_CHANGES, soon(cluster))

    groups = [(await services.queues.describe(f"queue-{number}", soon(cluster))).group for number in range(6)]
    assert sorted(groups) == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("changes", [NO_CHANGES, AttributeChanges(redrive=RedrivePolicy("queue-1", 3))])
async def test_a_queue_is_created_beside_another_one(changes: AttributeChanges) -> None:
    cluster = FakeCluster(groups=3)
    services = await one_node(cluster)
    queues = services.queues
    for number in range(4):
        await queues.create(f"queue-{number}", NO_CHANGES, soon(cluster))

    assert await queues.create("orders", changes, soon(cluster), beside="queue-0")
    assert not await queues.create("orders", changes, soon(cluster), beside="queue-0")

    groups = [(await queues.describe(name, soon(cluster))).group for name in ("orders", "queue-0", "queue-1")]
    assert groups[0] == groups[1] != groups[2]
    with pytest.raises(QueueExists, match="queue-1"):
        await queues.create("orders", changes, soon(cluster), beside="queue-1")


async def test_a_queue_beside_which_another_one_is_to_be_created_must_exist() -> None:
    cluster, services = await with_queue()
    with pytest.raises(QueueNotFound, match="'unknown'"):
        await services.queues.create("other", NO_CHANGES, soon(cluster), beside="unknown")
    with pytest.raises(InvalidName):
        await services.queues.create("other", NO_CHANGES, soon(cluster), beside="a b")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (AttributeChanges(visibility_timeout=Millis(43_200_001)), "visibility timeout"),
        (AttributeChanges(delay=Millis(900_001)), "delay"),
        (AttributeChanges(retention=Millis(59_999)), "retention"),
        (AttributeChanges(message_size_limit=1_023), "size limit"),
        (AttributeChanges(receive_wait=Millis(20_001)), "wait"),
    ],
)
async def test_attributes_out_of_range_change_nothing(changes: AttributeChanges, what: str) -> None:
    cluster, services = await with_queue()
    before = (await services.queues.describe("orders", soon(cluster))).queue
    with pytest.raises(InvalidArgument, match=what):
        await services.queues.create("other", changes, soon(cluster))
    with pytest.raises(InvalidArgument, match=what):
        await services.queues.update("orders", changes, soon(cluster))
    assert (await services.queues.describe("orders", soon(cluster))).queue == before
    assert in_directory(cluster, "other") is None


async def test_a_bad_name_is_refused_before_anything_is_asked() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    cluster.proposals.clear()
    for call in (services.queues.create("a b", NO_CHANGES, soon(cluster)), services.queues.delete("", soon(cluster))):
        with pytest.raises(InvalidName):
            await call
    assert cluster.proposals == []


async def test_an_update_changes_what_is_given_and_nothing_else() -> None:
    cluster, services = await with_queue("orders", AttributeChanges(delay=Millis(5), retention=Millis(60_000)))
    cluster.clock.advance(1_000)

    await services.queues.update("orders", AttributeChanges(delay=Millis(0)), soon(cluster))

    queue = (await services.queues.describe("orders", soon(cluster))).queue
    assert (queue.attributes.delay, queue.attributes.retention) == (0, 60_000)
    assert queue.modified_at - queue.created_at == 1_000


async def test_a_deleted_queue_is_gone_from_both_places_and_deleting_again_says_so() -> None:
    cluster, services = await with_queue()

    await services.queues.delete("orders", soon(cluster))

    assert (in_directory(cluster, "orders"), names_in_groups(cluster)) == (None, [])
    with pytest.raises(QueueNotFound):
        await services.queues.delete("orders", soon(cluster))
    with pytest.raises(QueueNotFound):
        await services.queues.describe("orders", soon(cluster))


async def test_a_name_can_be_used_again_for_an_empty_queue() -> None:
    cluster, services = await with_queue()
    await services.queues.send("orders", pack_bodies([b"a"]), soon(cluster))
    await services.queues.delete("orders", soon(cluster))

    assert await services.queues.create("orders", NO_CHANGES, soon(cluster))
    assert (await services.queues.describe("orders", soon(cluster))).counts.visible == 0


async def test_a_purge_drops_what_was_sent_before_once_a_minute() -> None:
    cluster, services = await with_queue()
    await services.queues.send("orders", pack_bodies([b"a", b"b"]), soon(cluster))
    once = RequestId(b"p" * 16, 1)

    await services.queues.purge("orders", soon(cluster), once)
    await services.queues.purge("orders", soon(cluster), once)
    with pytest.raises(PurgeInProgress):
        await services.queues.purge("orders", soon(cluster))

    assert (await services.queues.describe("orders", soon(cluster))).counts.visible == 0


async def test_names_come_in_pages_by_prefix() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    for name in ("b2", "a1", "b1", "b3", "c1"):
        await services.queues.create(name, NO_CHANGES, soon(cluster))

    first = await services.queues.names("b", "", 2, soon(cluster))
    second = await services.queues.names("b", "b2", 2, soon(cluster))

    assert (first.names, first.more) == (("b1", "b2"), True)
    assert (second.names, second.more) == (("b3",), False)
    for limit in (0, 1_001):
        with pytest.raises(InvalidArgument, match="1 to 1000"):
            await services.queues.names("", "", limit, soon(cluster))


async def test_a_creation_cut_off_before_its_group_is_undone() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    cut_off_before(cluster, CreateQueue)
    with pytest.raises(Interrupted):
        await services.queues.create("orders", NO_CHANGES, soon(cluster))
    with pytest.raises(QueueNotFound):
        await services.queues.describe("orders", soon(cluster))
    cluster.clock.advance(10_001)

    await services.controller.round()

    assert (in_directory(cluster, "orders"), names_in_groups(cluster)) == (None, [])
    assert await services.queues.create("orders", NO_CHANGES, soon(cluster))


async def test_a_creation_cut_off_after_its_group_is_completed() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    cut_off_after(cluster, CreateQueue)
    with pytest.raises(Interrupted):
        await services.queues.create("orders", AttributeChanges(delay=Millis(7)), soon(cluster))
    cluster.clock.advance(10_001)

    await services.controller.round()

    assert (await services.queues.describe("orders", soon(cluster))).queue.attributes.delay == 7


async def test_a_creation_cut_off_can_simply_be_repeated() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    for command in (PlaceResource, CreateQueue):
        cut_off_after(cluster, command)
        with pytest.raises(Interrupted):
            await services.queues.create("orders", NO_CHANGES, soon(cluster))

    await services.queues.create("orders", NO_CHANGES, soon(cluster))

    assert names_in_groups(cluster) == ["orders"]


@pytest.mark.parametrize("step", [RetireResource, DeleteQueue])
async def test_a_deletion_cut_off_is_completed(step: type) -> None:
    cluster, services = await with_queue()
    cut_off_after(cluster, step)
    with pytest.raises(Interrupted):
        await services.queues.delete("orders", soon(cluster))
    with pytest.raises(QueueNotFound):
        await services.queues.delete("orders", soon(cluster))
    cluster.clock.advance(10_001)

    await services.controller.round()

    assert names_in_groups(cluster) == []
    assert await services.queues.create("orders", NO_CHANGES, soon(cluster))


async def test_what_is_young_is_left_to_whoever_works_on_it() -> None:
    cluster, services = await with_queue()
    cut_off_after(cluster, RetireResource)
    with pytest.raises(Interrupted):
        await services.queues.delete("orders", soon(cluster))
    cluster.clock.advance(9_000)

    await services.controller.round()

    assert names_in_groups(cluster) == ["orders"]


async def test_a_creation_undone_meanwhile_leaves_nothing_behind() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    groups = cluster.on[cluster.nodes[0].id]
    propose = groups.propose

    async def and_undo(group: GroupId, room: str, command: object, *rest: object) -> object:
        reply = await propose(group, room, command, *rest)  # type: ignore[arg-type]
        if isinstance(command, CreateQueue):
            for undo in (RetireResource("queue", command.queue), ForgetResource("queue", command.queue)):
                await propose(DIRECTORY_GROUP, "directory", undo, Millis(1_000))
        return reply

    groups.propose = and_undo  # type: ignore[method-assign,assignment]

    with pytest.raises(BrokerError, match="was deleted while it was created"):
        await services.queues.create("orders", NO_CHANGES, soon(cluster))
    assert names_in_groups(cluster) == []


def cut_off_before(cluster: FakeCluster, command: type) -> None:
    """The node is interrupted when it is about to propose ``command``, once."""
    _cut_off(cluster, command, cluster.before)


def cut_off_after(cluster: FakeCluster, command: type) -> None:
    """The node is interrupted when ``command`` has taken effect, once."""
    _cut_off(cluster, command, cluster.after)


def _cut_off(cluster: FakeCluster, wanted: type, where: list[BrokerError]) -> None:
    groups = cluster.on[cluster.nodes[0].id]
    propose = type(groups).propose

    async def once(group: GroupId, room: str, command: object, *rest: object) -> object:
        if isinstance(command, wanted):
            where.append(Interrupted("the node is gone"))
            del groups.propose  # type: ignore[method-assign]
        return await propose(groups, group, room, command, *rest)  # type: ignore[arg-type]

    groups.propose = once  # type: ignore[method-assign,assignment]
