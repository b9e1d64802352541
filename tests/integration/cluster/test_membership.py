"""Real processes: nodes come, go, lose their disks and are replaced under load, and nothing confirmed is lost."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from broker.client.client import Client
from broker.client.status import ClusterStatus
from loadtest.cluster import BrokerProcess, LocalCluster, wait_ready
from tests.integration.cluster.traffic import Traffic, check, drain, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]

DATA_GROUPS = 3


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    started = LocalCluster(tmp_path / "cluster")
    for node in started.nodes.values():
        node.configure(msgspec.structs.replace(node.settings, groups=DATA_GROUPS, replace_dead_after_ms=3_000))
    async with started:
        yield started


@pytest.fixture
async def client(cluster: LocalCluster) -> AsyncIterator[Client]:
    async with Client(cluster.addresses) as connected:
        yield connected


def replicas(status: ClusterStatus, node: str) -> int:
    return next((each.replicas for each in status.nodes if each.id == node), 0)


def whole(status: ClusterStatus) -> bool:
    """Every group has three replicas that keep up, and nothing is on its way."""
    return all(
        not group.change
        and group.leader
        and len(group.replicas) == 3
        and all(each.matched and not each.missing for each in group.replicas)
        for group in status.groups
    )


async def stop(node: BrokerProcess) -> None:
    node.terminate()
    await node.ended(15.0)


async def test_a_node_takes_the_place_of_another_under_load(cluster: LocalCluster, client: Client) -> None:
    async with Traffic(client, "moving") as traffic:
        # given a fourth node that joins while clients send
        await traffic.more(300)
        await cluster.join("a-1", "a")

        # when a replica of the queue's group is moved there, and then the other node is removed
        group = (await client.describe_queue("moving")).group
        await client.move_replica(group, "a-0", "a-1")
        await until(client, lambda status: whole(status) and replicas(status, "a-1") == 1)
        await client.remove_node("a-0")
        await until(client, lambda status: all(node.id != "a-0" for node in status.nodes))
        await cluster.nodes["a-0"].ended(30.0)
        assert "it has left the cluster" in cluster.nodes["a-0"].last_words()
        await traffic.more(300)

        # then the three that are left survive a crash, the new one among them
        cluster.nodes["c-0"].kill()
        await traffic.more(300)
        await cluster.nodes["c-0"].ended(10.0)
        cluster.nodes["c-0"].start()
        await wait_ready(cluster.nodes["c-0"])
    assert traffic.failed == {}
    assert whole(await client.status())
    check(traffic, await drain(client, "moving", len(traffic.confirmed)))


async def test_a_node_that_was_removed_while_it_was_away_ends_by_itself_whatever_its_name(
    cluster: LocalCluster, client: Client
) -> None:
    # given a node that no other one waits to be called by, and that is removed while it does not run
    last = await cluster.join("c-1", "c")
    await until(client, lambda status: any(each.id == "c-1" and each.reachable for each in status.nodes))
    last.kill()
    await last.ended(10.0)
    await client.remove_node("c-1")
    await until(client, lambda status: all(node.id != "c-1" for node in status.nodes))

    # when it is started again
    last.start()

    # then it hears of it, and says so
    await last.ended(30.0)
    assert "it has left the cluster" in last.last_words()


async def test_a_node_that_lost_its_disk_gets_its_replicas_anew(cluster: LocalCluster, client: Client) -> None:
    async with Traffic(client, "lost") as traffic:
        # given a node that dies and comes back with an empty data directory
        await traffic.more(300)
        victim = cluster.nodes["b-0"]
        victim.kill()
        await victim.ended(10.0)
        shutil.rmtree(victim.settings.data_dir)
        victim.start()
        await wait_ready(victim)

        # when it has been given all its replicas
        await until(
            client, lambda status: whole(status) and any(each.id == "b-0" and each.reachable for each in status.nodes)
        )
        assert "the cluster is there already" in victim.log.read_text()
        await traffic.more(300)

        # then the cluster can lose another one: what b-0 has is worth a vote
        cluster.nodes["c-0"].kill()
        await traffic.more(300)
    assert traffic.failed == {}
    check(traffic, await drain(client, "lost", len(traffic.confirmed)))


async def test_an_old_copy_of_a_data_directory_is_refused(cluster: LocalCluster, client: Client) -> None:
    # given a copy of a node's directory, and the node at work since
    node = cluster.nodes["b-0"]
    await stop(node)
    directory, copy = Path(node.settings.data_dir), Path(node.settings.data_dir + ".copy")
    shutil.copytree(directory, copy)
    node.start()
    await wait_ready(node)
    async with Traffic(client, "copied") as traffic:
        await traffic.more(100)
    await stop(node)

    # when the copy is mounted in the place of the directory
    shutil.rmtree(directory)
    shutil.move(copy, directory)
    # then the node refuses to run, however often it is started, and says why; the others serve on
    for _ in range(3):
        node.log.write_text("")
        node.start()
        await node.ended(20.0)
        assert "the data directory of b-0 is an old copy" in node.last_words()
        assert "give it an empty one" in node.last_words()
    check(traffic, await drain(client, "copied", len(traffic.confirmed)))


async def test_a_dead_node_is_replaced_by_itself_where_its_zone_has_another(
    cluster: LocalCluster, client: Client
) -> None:
    # given a spare node in zone a
    await cluster.join("a-1", "a")
    async with Traffic(client, "dead") as traffic:
        await traffic.more(100)

        # when a node of that zone dies for good
        cluster.nodes["a-0"].kill()

        # then all its replicas go to the spare one, and what it still is called is dead
        await until(client, lambda status: whole(status) and replicas(status, "a-1") == DATA_GROUPS + 1)
        await traffic.more(100)
    assert traffic.failed == {}
    status = await client.status()
    assert [(node.reachable, node.replicas) for node in status.nodes if node.id == "a-0"] == [(False, 0)]
    check(traffic, await drain(client, "dead", len(traffic.confirmed)))


async def test_groups_are_added_and_take_queues(cluster: LocalCluster, client: Client) -> None:
    # given queues in all groups
    for number in range(DATA_GROUPS):
        await client.create_queue(f"old-{number}")

    # when groups are added
    await client.add_groups(2)
    await until(client, lambda status: whole(status) and len(status.groups) == DATA_GROUPS + 3)

    # then new queues go there first
    groups = []
    for number in range(2):
        await client.create_queue(f"new-{number}")
        await client.send(f"new-{number}", b"first")
        groups.append((await client.describe_queue(f"new-{number}")).group)
    assert groups == [DATA_GROUPS + 1, DATA_GROUPS + 2]
