"""Where the replicas of each group go: nodes by zone -> replica sets. A pure function of the nodes, in any order.

Replicas of a group never share a zone; replicas and preferred leaders are spread evenly. Knows nothing of what runs
now: which node leads at the moment is ``balance``'s affair.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from broker.base.ids import GroupId, NodeId, Zone
from broker.base.limits import REPLICATION_FACTOR
from broker.domain.directory.commands import Group, Node


def place(nodes: Iterable[Node], groups: int, replication_factor: int = REPLICATION_FACTOR) -> tuple[Group, ...]:
    """Groups 0 to ``groups`` - 1, each with a replica in ``replication_factor`` zones, or in all there are.

    Within a zone no node has more than one replica more than another; between zones of as many nodes the same holds.
    The replicas of a group do not depend on how many groups follow it. Raises ValueError without nodes.
    """
    by_zone = _by_zone(nodes)
    load = {node: 0 for members in by_zone.values() for node in members}
    replica_sets = [_next_replicas(by_zone, load, replication_factor) for _ in range(groups)]
    return tuple(
        Group(GroupId(group), replicas, leader)
        for group, (replicas, leader) in enumerate(zip(replica_sets, _leaders(replica_sets), strict=True))
    )


def place_further(nodes: Iterable[Node], groups: Iterable[Group], first: GroupId, count: int) -> list[Group]:
    """``count`` groups more, numbered from ``first`` on, on the nodes that have the fewest replicas. Those there are
    stay as they are.

    Raises ValueError without nodes.
    """
    groups = list(groups)
    by_zone = _by_zone(nodes)
    load = {node: 0 for members in by_zone.values() for node in members}
    for group in groups:
        for node in group.replicas:
            if node in load:
                load[node] += 1
    placed: list[Group] = []
    for number in range(first, first + count):
        replicas = _next_replicas(by_zone, load, REPLICATION_FACTOR)
        placed.append(Group(GroupId(number), replicas, least_preferred(replicas, groups + placed)))
    return placed


def least_preferred(replicas: Iterable[NodeId], groups: Iterable[Group]) -> NodeId:
    """The one that should lead the fewest of ``groups``."""
    burden: dict[NodeId, int] = {}
    for group in groups:
        burden[group.preferred_leader] = burden.get(group.preferred_leader, 0) + 1
    return min(replicas, key=lambda node: (burden.get(node, 0), node))


def steady_preferred(present: NodeId, replicas: tuple[NodeId, ...], groups: Iterable[Group]) -> NodeId:
    """``present``, unless it is none of the replicas, or another one should lead fewer of ``groups``, the others."""
    groups = list(groups)
    least = least_preferred(replicas, groups)
    led = [group.preferred_leader for group in groups]
    return present if present in replicas and led.count(present) <= led.count(least) else least


def _by_zone(nodes: Iterable[Node]) -> dict[Zone, list[NodeId]]:
    by_zone: dict[Zone, list[NodeId]] = {}
    for node in sorted(nodes, key=lambda node: node.id):
        by_zone.setdefault(node.zone, []).append(node.id)
    if not by_zone:
        raise ValueError("no nodes to place groups on: register at least one")
    return by_zone


def _next_replicas(
    by_zone: dict[Zone, list[NodeId]], load: dict[NodeId, int], replication_factor: int
) -> tuple[NodeId, ...]:
    """The least loaded node of each of the zones with most room; ``load`` is brought up to date."""
    candidates = {zone: min(members, key=lambda node: (load[node], node)) for zone, members in by_zone.items()}
    fullness = {zone: sum(load[node] for node in members) / len(members) for zone, members in by_zone.items()}
    zones = sorted(candidates, key=lambda zone: (fullness[zone], zone))[:replication_factor]
    replicas = tuple(sorted(candidates[zone] for zone in zones))
    for node in replicas:
        load[node] += 1
    return replicas


def _leaders(replica_sets: list[tuple[NodeId, ...]]) -> list[NodeId]:
    """One replica of each group, such that the most and the least burdened nodes are as close as the sets allow.

    First the least burdened replica of each group; then, as long as leadership can be passed along a chain of groups
    to a node with at least two fewer, it is. What no such chain improves is optimal: a flow without augmenting paths.
    """
    burden = {node: 0 for replicas in replica_sets for node in replicas}
    leaders: list[NodeId] = []
    for replicas in replica_sets:
        leader = min(replicas, key=lambda node: (burden[node], node))
        burden[leader] += 1
        leaders.append(leader)
    while any(_relieve(node, replica_sets, leaders, burden) for node in sorted(burden)):
        pass
    return leaders


def _relieve(
    node: NodeId, replica_sets: list[tuple[NodeId, ...]], leaders: list[NodeId], burden: dict[NodeId, int]
) -> bool:
    """Pass one leadership of ``node`` along the shortest chain to a node with at least two fewer, if there is one."""
    came_from: dict[NodeId, tuple[NodeId, int]] = {}
    seen = {node}
    waiting = deque([node])
    while waiting:
        giver = waiting.popleft()
        if burden[giver] <= burden[node] - 2:
            burden[node] -= 1
            burden[giver] += 1
            while giver != node:
                previous, group = came_from[giver]
                leaders[group] = giver
                giver = previous
            return True
        for group, replicas in enumerate(replica_sets):
            if leaders[group] == giver:
                for taker in replicas:
                    if taker not in seen:
                        seen.add(taker)
                        came_from[taker] = giver, group
                        waiting.append(taker)
    return False
