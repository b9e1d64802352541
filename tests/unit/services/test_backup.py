"""Capturing a cluster: all groups under one hold, released whatever happens, and read from whichever node has it."""

from __future__ import annotations

import asyncio

import pytest

from broker.base.errors import BackupExpired, BackupInProgress, Unavailable
from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId
from broker.domain.directory.commands import AddGroups
from broker.machine import holding
from broker.machine.holding import LEASE, HoldFor, Release
from broker.replication.transfer import DUMP
from broker.services.administering import AttributeChanges
from broker.services.outgoing import pack_bodies
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.moving_yard import yard
from tests.unit.services.running import one_node, soon, started

GROUPS = [GroupId(0), GroupId(1), GroupId(2)]


def held(cluster: FakeCluster) -> list[int]:
    now = cluster.clock.wall()
    return [group for group, machine in cluster.machines.items() if machine.query(holding.ROOM, None, now) is not None]


async def test_every_group_is_captured_and_none_is_held_afterwards() -> None:
    cluster = FakeCluster(nodes=3)
    services = await started(cluster)
    captured = await services["b-0"].backup.begin(soon(cluster))
    assert (captured.cluster, captured.at) == ("test", cluster.clock.wall())
    assert [group.group for group in captured.groups] == GROUPS
    assert held(cluster) == []
    commands = [
        type(command).__name__ for _, command in cluster.proposals if type(command).__module__.endswith("holding")
    ]
    assert commands == ["HoldFor"] * 3 + ["CaptureFor"] * 3 + ["Release"] * 3


async def test_followers_are_the_better_sources() -> None:
    cluster = FakeCluster(nodes=3)
    services = await started(cluster)
    cluster.elect(1, "b-0")
    captured = await services["a-0"].backup.begin(soon(cluster))
    assert [group.sources for group in captured.groups] == [
        ("b-0", "c-0", "a-0"), ("a-0", "c-0", "b-0"), ("b-0", "c-0", "a-0"),
    ]  # fmt: skip


async def test_what_was_captured_is_read_on_any_node_from_any_other_one() -> None:
    cluster = FakeCluster(nodes=3)
    services = await started(cluster)
    await services["a-0"].queues.create("orders", AttributeChanges(), soon(cluster))
    await services["a-0"].queues.send("orders", pack_bodies([b"one book"]), soon(cluster))
    captured = await services["a-0"].backup.begin(soon(cluster))
    group = captured.groups[1]
    parts = [
        await services["b-0"].backup.read(NodeId(source), group.group, captured.backup, 0) for source in ("b-0", "c-0")
    ]
    assert parts[0] == parts[1]
    assert parts[0].last
    assert parts[0].mark.index == group.index
    assert [piece[0] == DUMP for piece in parts[0].pieces][-1] is False
    assert b"one book" in parts[0].pieces[-1]


async def test_a_source_that_does_not_answer_is_passed_over() -> None:
    cluster = FakeCluster(nodes=3)
    services = await started(cluster)
    captured = await services["a-0"].backup.begin(soon(cluster))
    cluster.down.add(NodeId("b-0"))
    with pytest.raises(BackupExpired, match="b-0"):
        await services["a-0"].backup.read(NodeId("b-0"), GroupId(1), captured.backup, 0)


async def test_what_is_not_needed_any_more_is_dropped_on_all_nodes() -> None:
    cluster = FakeCluster(nodes=3)
    services = await started(cluster)
    captured = await services["a-0"].backup.begin(soon(cluster))
    await services["a-0"].backup.keep(captured.backup, [GroupId(2)])
    assert {group for _, group, _ in cluster.captures} == {2}
    assert {node for node, _, _ in cluster.captures} == {"a-0", "b-0", "c-0"}
    await services["c-0"].backup.keep(captured.backup, [])
    assert cluster.captures == {}


async def test_a_second_backup_waits_for_the_first_one_to_have_captured() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    cluster.apply_command(GroupId(2), holding.ROOM, HoldFor(b"other"))
    with pytest.raises(BackupInProgress, match="another backup"):
        await services.backup.begin(soon(cluster))
    assert held(cluster) == [2]
    cluster.apply_command(GroupId(2), holding.ROOM, Release(b"other"))
    assert len((await services.backup.begin(soon(cluster))).groups) == 3


async def test_a_backup_that_died_is_in_the_way_for_as_long_as_its_hold_lasts() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    cluster.apply_command(GroupId(1), holding.ROOM, HoldFor(b"other"))
    cluster.clock.advance(LEASE + 1)
    assert len((await services.backup.begin(soon(cluster))).groups) == 3


async def test_without_a_leader_of_every_group_there_is_no_backup_and_no_hold() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    cluster.elect(2, None)
    beginning = asyncio.ensure_future(services.backup.begin(soon(cluster)))
    for _ in range(200):
        await asyncio.sleep(0)
        cluster.clock.advance(200)
    with pytest.raises(Unavailable, match="no leader for group 2"):
        await beginning
    assert held(cluster) == []


async def test_a_hold_that_lapsed_before_all_is_captured_fails_the_backup() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    cluster.held = asyncio.Event()
    beginning = asyncio.ensure_future(services.backup.begin(soon(cluster)))
    await cluster.proposals_held(1)
    cluster.held.set()
    for _ in range(1_000):
        if len(held(cluster)) == 3:
            break
        await asyncio.sleep(0)
    cluster.held = asyncio.Event()
    await cluster.proposals_held(3)
    cluster.clock.advance(LEASE + 1)
    cluster.held.set()
    with pytest.raises(Unavailable, match="in time"):
        await beginning
    assert cluster.captures == {}


async def test_while_groups_are_being_formed_there_is_no_backup() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    cluster.apply_command(DIRECTORY_GROUP, "directory", AddGroups(1))
    with pytest.raises(Unavailable, match="being formed"):
        await services.backup.begin(soon(cluster))


async def test_creating_a_queue_waits_for_the_end_of_the_hold() -> None:
    cluster = FakeCluster()
    services = await one_node(cluster)
    cluster.apply_command(DIRECTORY_GROUP, holding.ROOM, HoldFor(b"other"))
    creating = asyncio.ensure_future(services.queues.create("orders", AttributeChanges(), soon(cluster)))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not creating.done()
    cluster.apply_command(DIRECTORY_GROUP, holding.ROOM, Release(b"other"))
    assert await creating


@pytest.mark.parametrize("held_group", [1, 2], ids=["source", "target"])
async def test_nothing_moves_into_or_out_of_a_held_group_and_nothing_is_replicated_in_vain(held_group: int) -> None:
    async with yard() as there:
        dead = there.make("dead", 2)
        orders = there.make("orders", 1, dead_letters_to=dead)
        there.cluster.apply_command(GroupId(held_group), holding.ROOM, HoldFor(b"backup"))
        there.send(orders, [b"one", b"two"])
        there.kill(orders)
        steps = 0
        while held(there.cluster):  # pauses make time pass, so that it lapses
            assert there.leaving(1) == 2
            assert not any(group == held_group for group, _ in there.cluster.proposals)
            await asyncio.sleep(0)
            steps += 1
        assert steps > 20
        await there.carried()
        assert there.counts(dead).visible == 2
