"""Real processes whose disks rot: what is damaged is given back by the others, and nothing confirmed is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from broker.client.client import Client
from broker.client.status import ClusterStatus
from broker.storage import layout
from broker.storage.checking import check as check_directory
from broker.storage.disk import ReadOnlyDisk
from loadtest.cluster import BrokerProcess, LocalCluster, wait_ready
from tests.integration.cluster.traffic import Traffic, check, drain, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]

MARKER = b"precious"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    started = LocalCluster(tmp_path / "cluster")
    for node in started.nodes.values():
        node.configure(msgspec.structs.replace(node.settings, groups=3, cache_bytes=0))
    async with started:
        yield started


@pytest.fixture
async def client(cluster: LocalCluster) -> AsyncIterator[Client]:
    async with Client(cluster.addresses) as connected:
        yield connected


def whole(status: ClusterStatus) -> bool:
    """Every group has three replicas that keep up, and nothing is on its way. Of a node that does not answer nobody
    knows what it has lost."""
    return all(node.reachable for node in status.nodes) and all(
        not group.change
        and group.leader
        and len(group.replicas) == 3
        and all(each.matched and not each.missing for each in group.replicas)
        for group in status.groups
    )


def trouble(status: ClusterStatus, node: str) -> str:
    return " ".join(next((each.trouble for each in status.nodes if each.id == node), ()))


def rot(node: BrokerProcess, file: str, what: bytes) -> None:
    path = Path(node.settings.data_dir) / file
    with path.open("r+b") as opened:
        at = opened.read().index(what)
        opened.seek(at)
        opened.write(bytes(byte ^ 0x55 for byte in what))


async def stop(node: BrokerProcess) -> None:
    node.terminate()
    await node.ended(15.0)


async def test_a_replica_that_rotted_while_its_node_was_down_is_given_back(
    cluster: LocalCluster, client: Client
) -> None:
    # given a node that is stopped, and one damaged entry in its log
    await client.create_queue("kept")
    await client.send("kept", MARKER)
    async with Traffic(client, "rotten") as traffic:
        await traffic.more(200)
        victim = cluster.nodes["b-0"]
        await stop(victim)
        rot(victim, layout.segment_path(1), MARKER)
        (finding,) = check_directory(ReadOnlyDisk(victim.settings.data_dir)).damage

        # when it starts again
        victim.start()
        await wait_ready(victim)

        # then it says what is damaged, and has all its replicas again
        await until(client, lambda status: whole(status) and not trouble(status, "b-0"))
        log = victim.log.read_text()
        assert "damaged data" in log
        assert f"group {finding.group}, entry {finding.index}" in log
        await traffic.more(200)

        # and the cluster can lose another one
        cluster.nodes["c-0"].kill()
        await traffic.more(200)
    assert traffic.failed == {}
    check(traffic, await drain(client, "rotten", len(traffic.confirmed)))
    assert [message.body for message in await client.receive("kept", wait=5.0)] == [MARKER]
    await stop(victim)
    assert check_directory(ReadOnlyDisk(victim.settings.data_dir)).is_well


async def test_a_leader_whose_log_rots_under_it_hands_out_nothing_of_it(cluster: LocalCluster, client: Client) -> None:
    # given a message in the leader's log, and an entry that rots there while it runs
    await client.create_queue("kept")
    await client.send("kept", MARKER)
    leader = (await client.describe_queue("kept")).leader
    assert leader
    rot(cluster.nodes[leader], layout.segment_path(1), MARKER)

    # when it is received
    messages = await client.receive("kept", wait=10.0)
    if not messages:  # the first delivery was cut short: the message is visible again later
        await client.update_queue("kept", visibility_timeout=1)
        messages = await client.receive("kept", wait=20.0)

    # then it comes from another node, as it was sent
    assert [message.body for message in messages] == [MARKER]
    assert (await client.describe_queue("kept")).leader != leader
    assert "a replica is damaged and has ended" in cluster.nodes[leader].log.read_text()

    # and the damaged replica is given back
    await until(client, lambda status: whole(status) and not trouble(status, leader))


async def test_a_directory_that_nobody_can_trust_is_kept_aside(cluster: LocalCluster, client: Client) -> None:
    async with Traffic(client, "doubt") as traffic:
        # given a node whose manifest rots
        await traffic.more(200)
        victim = cluster.nodes["b-0"]
        await stop(victim)
        rot(victim, layout.MANIFEST, b"b-0")
        before = sorted(each.name for each in (Path(victim.settings.data_dir) / layout.WAL).glob("*.seg"))

        # when it starts again
        victim.start()
        await wait_ready(victim)

        # then it gets everything anew, and says where the old directory is
        await until(client, lambda status: whole(status) and "is kept as damaged/1" in trouble(status, "b-0"))
        await traffic.more(200)
    assert traffic.failed == {}
    kept = Path(victim.settings.data_dir) / layout.damaged_path(1, layout.WAL)
    assert sorted(each.name for each in kept.glob("*.seg")) == before
    check(traffic, await drain(client, "doubt", len(traffic.confirmed)))


async def test_where_all_copies_are_damaged_nobody_guesses(cluster: LocalCluster, client: Client) -> None:
    # given an entry that rots on all nodes while they are stopped
    await client.create_queue("kept")
    await client.send("kept", MARKER)
    group = (await client.describe_queue("kept")).group
    for node in cluster.nodes.values():
        await stop(node)
    for node in cluster.nodes.values():
        rot(node, layout.segment_path(1), MARKER)
        node.start()

    # when they start again
    def named_everywhere(status: ClusterStatus) -> bool:
        told = f"replica of group {group} here is damaged (wal/"
        return all(told in trouble(status, each) for each in cluster.nodes)

    await until(client, named_everywhere)
    others = [each for each in range(4) if each != group]
    await until(client, lambda status: all(led(status, each) for each in others))

    # then the group has no leader, the others have, and what is left of it is still there
    assert not led(await client.status(), group)
    for node in cluster.nodes.values():
        await stop(node)
        damage = check_directory(ReadOnlyDisk(node.settings.data_dir)).damage
        assert {finding.group for finding in damage} == {group}


def led(status: ClusterStatus, group: int) -> bool:
    return any(each.id == group and each.leader for each in status.groups)
