"""The client's calls about the cluster's members."""

from __future__ import annotations

from random import Random

import pytest

from broker.base.errors import Conflict, NodeNotFound
from broker.client.client import Client
from broker.client.status import JoinedCluster, Member
from tests.unit.client.fake_broker import FakeCluster, running


def client_of(cluster: FakeCluster) -> Client:
    return Client(cluster.addresses, timeout=5.0, patience=0.3, chance=Random(1))


async def test_a_node_learns_the_cluster_that_it_joins() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        joined = await client.add_node(Member("a-1", "a", "h:11", "h:12"))
        assert joined == JoinedCluster("fake", (Member("a-0", "a", "h:1", "h:2", "h:3"),))
        assert cluster.members.wishes == ["add a-1 in a at h:11"]


async def test_wishes_reach_the_cluster_in_its_words() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        cluster.members.balancing = ["group 7: a-0 -> a-1"]
        await client.drain_node("a-0")
        await client.resume_node("a-0")
        await client.remove_node("a-0", "b-0")
        await client.remove_node("b-0")
        await client.move_replica(7, "b-0", "c-0")
        await client.transfer_leader(7, "c-0")
        await client.add_groups(2)
        assert await client.balance() == "group 7: a-0 -> a-1"
        assert await client.balance() == ""
        assert cluster.members.wishes == [
            "a-0 draining",
            "a-0 active",
            "a-0 leaving b-0",
            "b-0 leaving",
            "move 7 b-0 c-0",
            "lead 7 c-0",
            "groups 2",
            "balance",
            "balance",
        ]


async def test_what_the_cluster_refuses_is_raised_as_it_says() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        with pytest.raises(NodeNotFound, match="no node 'z-9'"):
            await client.drain_node("z-9")


async def test_a_move_under_way_is_waited_for_until_the_time_is_up() -> None:
    async with running(3) as cluster, Client(cluster.addresses, timeout=0.2, chance=Random(1)) as client:
        cluster.members.refusals = [Conflict("a replica of group 7 is on its way")] * 100
        with pytest.raises(Conflict, match="a replica of group 7 is on its way"):
            await client.move_replica(7, "b-0", "c-0")
        assert cluster.members.wishes == []


async def test_status_tells_duties_changes_and_trouble() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        cluster.members.finishes = False
        cluster.members.trouble["b-0"] = ["the disk is full"]
        await client.drain_node("a-0")
        status = await client.status()
        assert [(node.id, node.duty, node.replicas) for node in status.nodes] == [
            ("a-0", "draining", 0),
            ("b-0", "active", 1),
            ("c-0", "active", 1),
        ]
        assert status.nodes[1].trouble == ("the disk is full",)
        assert status.groups[0].change == "a-0 -> a-1: a-0 is draining"
