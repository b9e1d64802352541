"""The controller's rounds: first content, own entry, leaderships given back one at a time."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId
from broker.domain.directory.commands import Bootstrap, RegisterNode, Topology
from broker.services.administering import AttributeChanges
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import services_of, soon, started


def nodes_in_directory(cluster: FakeCluster) -> dict[str, str]:
    answer = cluster.machines[DIRECTORY_GROUP].query("directory", Topology(), cluster.clock.wall())
    return {node.id: node.client_address for node in answer.nodes}


async def test_the_directorys_leader_gives_a_new_cluster_its_first_content_once() -> None:
    cluster = FakeCluster(nodes=3)
    nodes = await started(cluster)
    for _ in range(3):
        for services in nodes.values():
            await services.controller.round()

    assert sorted(nodes_in_directory(cluster)) == ["a-0", "b-0", "c-0"]
    told = [type(command) for _, command in cluster.proposals]
    assert (told.count(Bootstrap), told.count(RegisterNode)) == (1, 0)


async def test_a_node_with_a_new_address_says_so() -> None:
    cluster = FakeCluster(nodes=3)
    await started(cluster)
    moved = msgspec.structs.replace(cluster.nodes[1], client_address="elsewhere:4001")
    cluster.nodes = (cluster.nodes[0], moved, cluster.nodes[2])
    cluster.on[NodeId("b-0")].handlers.clear()

    await services_of(cluster, "b-0").controller.round()

    assert nodes_in_directory(cluster)["b-0"] == "elsewhere:4001"


async def test_other_nodes_learn_the_new_address() -> None:
    cluster = FakeCluster(nodes=3)
    nodes = await started(cluster)
    await nodes["a-0"].queues.create("orders", AttributeChanges(), soon(cluster))
    moved = msgspec.structs.replace(cluster.nodes[0], client_address="elsewhere:4001")
    cluster.apply_command(DIRECTORY_GROUP, "directory", RegisterNode(moved))

    await nodes["c-0"].controller.round()
    place = await nodes["c-0"].cluster.locate("queue", "orders", soon(cluster))

    assert place is not None
    assert place.node.client_address == "elsewhere:4001"


async def test_leaderships_go_back_one_a_round_to_nodes_that_are_well() -> None:
    cluster = FakeCluster(nodes=3, groups=3)
    nodes = await started(cluster)
    for group in (1, 2, 3):
        cluster.elect(group, "b-0")

    await nodes["b-0"].controller.round()
    assert cluster.transfers == [(1, "a-0")]
    cluster.down = {NodeId("a-0")}
    cluster.elect(0, "c-0")
    await nodes["b-0"].controller.round()
    assert cluster.transfers == [(1, "a-0")]
    cluster.down = set()
    await nodes["b-0"].controller.round()
    await nodes["b-0"].controller.round()
    await nodes["b-0"].controller.round()

    assert cluster.transfers == [(1, "a-0"), (2, "a-0"), (3, "a-0")]


async def test_a_node_that_has_handed_over_gets_nothing_back_for_a_minute() -> None:
    cluster = FakeCluster(nodes=3, groups=2)
    nodes = await started(cluster)
    await nodes["a-0"].cluster.hand_over(soon(cluster))
    cluster.transfers.clear()

    cluster.clock.advance(59_999)
    await nodes["b-0"].controller.round()
    assert cluster.transfers == []
    cluster.clock.advance(1)
    await nodes["b-0"].controller.round()

    assert [to for _, to in cluster.transfers] == ["a-0"]


async def test_trouble_ends_a_round_and_not_the_controller() -> None:
    cluster = FakeCluster(nodes=3)
    rounds = 0

    async def pause(_: int) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            cluster.elect(0, "a-0")
        if rounds == 5:
            raise asyncio.CancelledError
        cluster.clock.advance(1_000)

    services = services_of(cluster)
    services.controller._pause = pause  # type: ignore[assignment]
    cluster.elect(0, None)
    cluster.clock.watchers.append(lambda: None)
    running = asyncio.ensure_future(services.controller.run())
    for _ in range(200):
        cluster.clock.advance(500)
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await running

    assert sorted(nodes_in_directory(cluster)) == ["a-0", "b-0", "c-0"]


async def test_a_lagging_replica_gets_no_leadership() -> None:
    cluster = FakeCluster(nodes=3, groups=1)
    nodes = await started(cluster)
    cluster.elect(1, "b-0")
    cluster.lag[GroupId(1), NodeId("a-0")] = 1_001
    cluster.machines[GroupId(1)].applied_index += 5_000

    await nodes["b-0"].controller.round()
    assert cluster.transfers == []
    cluster.lag[GroupId(1), NodeId("a-0")] = 1_000
    await nodes["b-0"].controller.round()

    assert cluster.transfers == [(1, "a-0")]
