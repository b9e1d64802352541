"""Members come and go while clients are at work: what operators do, and what the cluster does by itself."""

from __future__ import annotations

import asyncio
import contextlib

from broker.base.errors import BrokerError, Conflict
from broker.base.ids import DIRECTORY_GROUP
from broker.client.status import ClusterStatus
from loadtest.faults.scene import Fault, Scene
from loadtest.faults.zones import GROUPS

_SPARES = ("a-1", "b-1", "c-1")
_MOVES = 12
_FAIR_SHARE = (GROUPS + 1) // 2
"""Of all groups, the directory's too, for one of two nodes of a zone."""
_DEAD_AFTER_SECONDS = 3.0
_LONG_SECONDS = 90.0


async def _join(scene: Scene) -> None:
    """A node in the leader's zone, which then takes its share; so does it if it is asked to go."""
    node = await scene.cluster.join(f"{await scene.leaders_zone()}-1")
    await _balance(scene)
    await scene.until(lambda status: _replicas(status, node.id) >= _FAIR_SHARE)
    await scene.client.remove_node(node.id)
    await scene.until(lambda status: _is_gone(status, node.id), _LONG_SECONDS)
    await scene.cluster.part_with(node)


async def _drain(scene: Scene) -> None:
    node = await scene.leader()
    await scene.client.drain_node(node.id)
    await scene.until(lambda status: _replicas(status, node.id) == 0, _LONG_SECONDS)
    await scene.client.resume_node(node.id)
    await _balance(scene)


async def _drain_under_kills(scene: Scene) -> None:
    """Whoever leads the directory, and with it the change, is killed again and again."""
    node = await scene.leader()
    await scene.client.drain_node(node.id)
    for _ in range(3):
        await asyncio.sleep(0.7)
        status = await scene.client.status()
        leading = next((each.leader for each in status.groups if each.id == DIRECTORY_GROUP), "")
        if leading:
            await scene.cluster.kill(scene.cluster.nodes[leading])
            await scene.cluster.start_again(scene.cluster.nodes[leading])
    await scene.until(lambda status: _replicas(status, node.id) == 0, _LONG_SECONDS)
    await scene.client.resume_node(node.id)


async def _remove(scene: Scene) -> None:
    node = await scene.leader()
    await scene.client.remove_node(node.id)
    await scene.until(lambda status: _is_gone(status, node.id), _LONG_SECONDS)
    await scene.cluster.part_with(node)


async def _replace(scene: Scene) -> None:
    """A dead leader, by a node that joins after its death."""
    dead = await scene.leader()
    await scene.cluster.kill(dead)
    new = await scene.cluster.join(f"{scene.cluster.places[dead.id]}-1")
    await scene.client.remove_node(dead.id, new.id)
    await scene.until(lambda status: _is_gone(status, dead.id), _LONG_SECONDS)
    await scene.cluster.part_with(dead)


async def _replaced_by_itself(scene: Scene) -> None:
    dead = await scene.leader()
    new = await scene.cluster.join(f"{scene.cluster.places[dead.id]}-1")
    await scene.cluster.kill(dead)
    await scene.until(lambda status: _replicas(status, dead.id) == 0, _LONG_SECONDS)
    scene.note(f"{new.id} has {_replicas(await scene.client.status(), new.id)} replicas")
    await scene.client.remove_node(dead.id)
    await scene.until(lambda status: _is_gone(status, dead.id), _LONG_SECONDS)
    await scene.cluster.part_with(dead)


async def _transfer(scene: Scene) -> None:
    """Leadership goes round, a second each."""
    group = (await scene.client.describe_queue(scene.workload.queues[0])).group
    for turn in range(_MOVES):
        status = await scene.client.status()
        holders = next([each.node for each in found.replicas] for found in status.groups if found.id == group)
        with contextlib.suppress(BrokerError):  # that a candidate is not ready yet is no fault
            await scene.client.transfer_leader(group, holders[turn % len(holders)])
        await asyncio.sleep(1.0)


async def _add_groups(scene: Scene) -> None:
    before = len((await scene.client.status()).groups)
    await scene.client.add_groups(2)
    await scene.until(
        lambda status: len(status.groups) == before + 2 and not any(each.change for each in status.groups)
    )


async def _balance(scene: Scene) -> None:
    """As `broker cluster balance` does."""
    begun = "something"
    while begun:
        await scene.until(lambda status: not any(each.change for each in status.groups), _LONG_SECONDS)
        with contextlib.suppress(Conflict):
            begun = await scene.client.balance()


def _replicas(status: ClusterStatus, node: str) -> int:
    return next((each.replicas for each in status.nodes if each.id == node), 0)


def _is_gone(status: ClusterStatus, node: str) -> bool:
    return all(each.id != node for each in status.nodes)


MEMBERSHIP_FAULTS = (
    Fault("join", "a node joins, takes its share, and is removed again", _join, spares=_SPARES),
    Fault("drain", "of six nodes, the leader is drained, and takes its share again", _drain, nodes=6),
    Fault(
        "drain-kills", "of six, the leader is drained while whoever changes it is killed", _drain_under_kills, nodes=6
    ),
    Fault("remove", "of six nodes, the leader is removed", _remove, nodes=6, changes=True),
    Fault("replace", "the leader dies, and a new node takes its place", _replace, spares=_SPARES, changes=True),
    Fault(
        "replaced",
        "the leader dies, and a spare node takes its place by itself",
        _replaced_by_itself,
        spares=_SPARES,
        replace_dead_after=_DEAD_AFTER_SECONDS,
        changes=True,
    ),
    Fault("transfer", "leadership goes round, every second", _transfer),
    Fault("add-groups", "two groups are added", _add_groups, changes=True),
)
