"""The cluster as an operator sees it, and handing over."""

from __future__ import annotations

import asyncio

import pytest

from broker.base.errors import InvalidArgument, NodeNotFound, Unavailable
from broker.base.ids import GroupId, NodeId
from broker.domain.directory.commands import Group, Node
from broker.services.administering import AttributeChanges
from broker.services.topology import Topology
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon, started
from tests.unit.services.striped import place_of, session_of, spread_queue


async def test_the_status_has_every_nodes_word_and_every_leaders_view() -> None:
    cluster = FakeCluster(nodes=3, groups=2)
    nodes = await started(cluster)
    await nodes["a-0"].queues.create("orders", AttributeChanges(), soon(cluster))
    cluster.elect(2, "c-0")
    cluster.clock.advance(1_234)

    status = await nodes["b-0"].cluster.status()

    assert (status.cluster, status.answered_by) == ("test", "b-0")
    assert [(node.node.id, node.leads) for node in status.nodes] == [("a-0", 2), ("b-0", 0), ("c-0", 1)]
    assert all(node.report is not None and node.report.version == "1.2.3" for node in status.nodes)
    assert all(node.report is not None and node.report.uptime == 1_234 for node in status.nodes)
    assert [(group.group, group.leader, len(group.replicas)) for group in status.groups] == [
        (0, "a-0", 3),
        (1, "a-0", 3),
        (2, "c-0", 3),
    ]
    assert status.resources == {1: 1}


async def test_a_node_that_is_down_is_shown_so_and_holds_nothing_up() -> None:
    cluster = FakeCluster(nodes=3)
    nodes = await started(cluster)
    cluster.down = {NodeId("a-0")}

    status = await nodes["b-0"].cluster.status()

    assert [node.report is None for node in status.nodes] == [True, False, False]
    assert [group.role for group in status.groups] == ["follower"] * 3
    assert status.resources == {}


async def test_a_queue_is_located_at_its_leader_from_any_node() -> None:
    cluster = FakeCluster(nodes=3)
    nodes = await started(cluster)
    await nodes["a-0"].queues.create("orders", AttributeChanges(), soon(cluster))
    cluster.elect(1, "c-0")

    for services in nodes.values():
        place = await services.cluster.locate("queue", "orders", soon(cluster))
        assert place is not None
        assert (place.group, place.node.id, place.node.client_address) == (1, "c-0", "c-0:4001")
    assert await nodes["b-0"].cluster.locate("queue", "unknown", soon(cluster)) is None
    with pytest.raises(InvalidArgument, match="'topic'"):
        await nodes["b-0"].cluster.locate("topic", "orders", soon(cluster))


async def test_sessions_spread_over_the_leaders_of_a_spread_queue_and_all_nodes_agree() -> None:
    cluster, nodes = await spread_queue(stripes=3)
    stripes = place_of(cluster).groups
    for group in stripes:
        session = session_of(stripes, group)
        for node in nodes.values():
            place = await node.cluster.locate("queue", "orders", soon(cluster), session)
            assert place is not None
            assert (place.group, place.node.id, place.spread) == (group, cluster.leaders[group], True)
    without = await nodes["b-0"].cluster.locate("queue", "orders", soon(cluster))
    assert without is not None
    assert (without.group, without.spread) == (stripes[0], True)


async def test_a_session_goes_to_another_leader_while_its_own_stripe_has_none() -> None:
    cluster, nodes = await spread_queue(stripes=3)
    stripes = place_of(cluster).groups
    session = session_of(stripes, 2)
    cluster.elect(2, None)

    found = [await node.cluster.locate("queue", "orders", soon(cluster), session) for node in nodes.values()]

    assert found[0] is not None
    assert found[0].group in {1, 3}
    assert found == [found[0]] * 3


async def test_a_node_without_a_replica_of_the_sessions_stripe_agrees_with_the_others() -> None:
    cluster = FakeCluster(nodes=4, groups=4)
    cluster.groups = tuple(
        Group(
            group.id, tuple(node for node in group.replicas if (group.id, node) != (2, "d-0")), group.preferred_leader
        )
        for group in cluster.groups
    )
    nodes = await started(cluster)
    await nodes["a-0"].queues.create("orders", AttributeChanges(stripes=4), soon(cluster))
    cluster.elect(2, "c-0")
    session = session_of(place_of(cluster).groups, 2)

    for node in nodes.values():
        place = await node.cluster.locate("queue", "orders", soon(cluster), session)
        assert place is not None
        assert (place.group, place.node.id) == (2, "c-0")


async def test_every_stripe_counts_as_a_resource_of_its_group() -> None:
    cluster, nodes = await spread_queue(stripes=3)
    await nodes["a-0"].queues.create("plain", AttributeChanges(), soon(cluster))
    assert (await nodes["b-0"].cluster.status()).resources == {1: 1, 2: 1, 3: 1, 4: 1}


async def test_where_a_queue_is_is_looked_up_again_after_a_while() -> None:
    cluster = FakeCluster(nodes=3)
    nodes = await started(cluster)
    await nodes["a-0"].queues.create("orders", AttributeChanges(), soon(cluster))
    assert await nodes["b-0"].cluster.locate("queue", "orders", soon(cluster)) is not None
    await nodes["a-0"].queues.delete("orders", soon(cluster))

    assert await nodes["a-0"].cluster.locate("queue", "orders", soon(cluster)) is None
    cluster.clock.advance(30_001)
    assert await nodes["b-0"].cluster.locate("queue", "orders", soon(cluster)) is None


async def test_locating_waits_for_an_election_until_the_deadline() -> None:
    cluster = FakeCluster(nodes=3)
    nodes = await started(cluster)
    await nodes["a-0"].queues.create("orders", AttributeChanges(), soon(cluster))
    cluster.elect(1, None)
    first = asyncio.ensure_future(nodes["a-0"].cluster.locate("queue", "orders", soon(cluster, 1)))
    await asyncio.sleep(0)
    cluster.elect(1, "b-0")
    found = await first
    assert found is not None
    assert found.node.id == "b-0"

    cluster.elect(1, None)
    second = asyncio.ensure_future(nodes["a-0"].cluster.locate("queue", "orders", soon(cluster, 1)))
    await asyncio.sleep(0)
    cluster.clock.advance(1_000)
    with pytest.raises(Unavailable, match="group 1"):
        await second


async def test_a_node_without_a_replica_asks_who_leads() -> None:
    cluster = FakeCluster(nodes=4, groups=1)
    cluster.groups = tuple(
        Group(group.id, tuple(node for node in group.replicas if node != "d-0"), group.preferred_leader)
        for group in cluster.groups
    )
    nodes = await started(cluster)
    await nodes["a-0"].queues.create("orders", AttributeChanges(), soon(cluster))
    cluster.elect(1, "c-0")

    place = await nodes["d-0"].cluster.locate("queue", "orders", soon(cluster))

    assert place is not None
    assert place.node.id == "c-0"


async def test_handing_over_spreads_leaderships_over_the_others() -> None:
    cluster = FakeCluster(nodes=3, groups=5)
    nodes = await started(cluster)

    done = await nodes["a-0"].cluster.hand_over(soon(cluster))

    assert (done.moved, done.kept) == (6, 0)
    leaders = sorted(str(leader) for leader in cluster.leaders.values())
    assert leaders == ["b-0"] * 3 + ["c-0"] * 3


async def test_handing_over_keeps_what_nobody_can_take() -> None:
    cluster = FakeCluster(nodes=3, groups=1)
    nodes = await started(cluster)
    cluster.down = {NodeId("b-0"), NodeId("c-0")}

    done = await nodes["a-0"].cluster.hand_over(soon(cluster))

    assert (done.moved, done.kept) == (0, 2)


async def test_handing_over_ends_at_its_deadline() -> None:
    cluster = FakeCluster(nodes=3, groups=1)
    nodes = await started(cluster)

    done = await nodes["a-0"].cluster.hand_over(soon(cluster, 0))

    assert (done.moved, done.kept) == (0, 2)


def test_an_unknown_node_is_named() -> None:
    cluster = FakeCluster()
    topology = Topology("test", cluster.nodes, cluster.groups)
    with pytest.raises(NodeNotFound, match=r"'z-9'.*a-0"):
        topology.node(NodeId("z-9"))
    assert topology.replicas(GroupId(99)) == ()
    assert isinstance(topology.nodes[0], Node)


async def test_nobody_hands_over_to_a_node_that_is_handing_over_itself() -> None:
    cluster = FakeCluster(nodes=3, groups=3)
    nodes = await started(cluster)
    await nodes["b-0"].cluster.hand_over(soon(cluster))

    await nodes["a-0"].cluster.hand_over(soon(cluster))

    assert set(cluster.leaders.values()) == {"c-0"}
