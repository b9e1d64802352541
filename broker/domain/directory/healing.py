"""Which replica to move next, and what to do next about one that is on its way. Pure: what is known in, one step out.

The directory says how it should be, ``Reality`` how it is. A change is made in steps that are safe by themselves: a
learner first, then joint consensus; wherever it is interrupted, the next look at reality tells how to go on, or back.
At most one replica of the cluster is on its way at a time. Knows nothing of how a step is carried out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId, Zone
from broker.base.limits import REPLICATION_FACTOR
from broker.domain.directory.commands import ACTIVE_DUTY, DRAINING, LEAVING, Change, Group, Node, TopologyAnswer


class Standing(msgspec.Struct, frozen=True):
    """A group as its leader sees it; ``voters`` sorted. ``joint``: a change of voters is under way. ``ready``: members
    that are connected and have nearly all of the log, the leader among them."""

    leader: NodeId
    voters: tuple[NodeId, ...]
    learners: tuple[NodeId, ...]
    ready: frozenset[NodeId]
    joint: bool = False


class Reality(msgspec.Struct, frozen=True):
    """``holds``: by node that answered lately, the groups of which it has a replica. ``silent``: nodes that have not
    answered for as long as a change waits for one; ``dead``: for so long that their replicas go to others. ``groups``:
    those whose leader answered; ``leaderless``: those of which none did for as long as a change waits for a node."""

    holds: Mapping[NodeId, frozenset[GroupId]]
    silent: frozenset[NodeId]
    dead: frozenset[NodeId]
    groups: Mapping[GroupId, Standing]
    leaderless: frozenset[GroupId] = frozenset()


# --- steps


class Open(msgspec.Struct, frozen=True):
    """``node`` starts an empty replica, which follows ``voters``; or, being one of them, founds the group with them."""

    group: GroupId
    node: NodeId
    voters: tuple[NodeId, ...]


class Reconfigure(msgspec.Struct, frozen=True):
    """``leader`` changes who votes and who learns."""

    group: GroupId
    leader: NodeId
    voters: tuple[NodeId, ...]
    learners: tuple[NodeId, ...]


class HandOver(msgspec.Struct, frozen=True):
    group: GroupId
    leader: NodeId
    to: NodeId


class End(msgspec.Struct, frozen=True):
    """The change is done, or taken back: these are the replicas now."""

    group: GroupId
    replicas: tuple[NodeId, ...]


class Formed(msgspec.Struct, frozen=True):
    group: GroupId


class Retire(msgspec.Struct, frozen=True):
    """The group is given up, and ``founder`` founds another one in its place."""

    group: GroupId
    founder: NodeId


class Drop(msgspec.Struct, frozen=True):
    """``node`` has a replica that belongs to nobody."""

    group: GroupId
    node: NodeId


class Wait(msgspec.Struct, frozen=True):
    """``why`` in words, for people. ``stuck``: it may take more than time."""

    group: GroupId
    why: str
    stuck: bool = False


Step = Open | Reconfigure | HandOver | End | Formed | Retire | Drop | Wait


def next_step(group: Group, topology: TopologyAnswer, reality: Reality) -> Step:
    """What to do now about the change of ``group``, which has one, or is forming."""
    if group.forming and (step := _form(group, topology, reality)) is not None:
        return step
    standing = reality.groups.get(group.id)
    if standing is None:
        return Wait(group.id, "the group has no leader that answers", stuck=True)
    if standing.joint:
        return Wait(group.id, "its voters are changing")
    # A leader does not know of what a member has lost since it confirmed it.
    holding = {node for node, held in reality.holds.items() if group.id in held}
    standing = msgspec.structs.replace(standing, ready=standing.ready & holding)
    change = group.change
    if change is None:
        raise ValueError(f"group {group.id} is not changing")
    out, into = change.out, change.into
    if into is None:
        return _remove(group, standing, out) if out in standing.voters else End(group.id, standing.voters)
    if into not in standing.voters:
        return _bring_in(group, standing, out, into, reality)
    if out == into and group.id not in reality.holds.get(into, frozenset()):
        # It voted once and has forgotten how: it must not vote again before it has been out and in.
        return _remove(group, standing, into)
    if out is None or out == into or out not in standing.voters:
        return End(group.id, standing.voters)
    return _remove(group, standing, out)


def _bring_in(group: Group, standing: Standing, out: NodeId | None, into: NodeId, reality: Reality) -> Step:
    """``into`` does not vote yet: an empty replica, a learner, a voter."""
    learners = set(standing.learners)
    if into in reality.silent:
        if into in learners:
            return Reconfigure(group.id, standing.leader, standing.voters, _sorted(learners - {into}))
        return End(group.id, standing.voters)
    if into not in reality.holds:
        return Wait(group.id, f"{into} does not answer", stuck=True)
    if group.id not in reality.holds[into]:
        if into in learners:
            # Its leader still believes that it has what it had confirmed: it must forget that first.
            return Reconfigure(group.id, standing.leader, standing.voters, _sorted(learners - {into}))
        return Open(group.id, into, standing.voters)
    if into not in learners:
        return Reconfigure(group.id, standing.leader, standing.voters, _sorted(learners | {into}))
    if into not in standing.ready:
        return Wait(group.id, f"{into} is catching up")
    return _replace(group, standing, out, into)


def _form(group: Group, topology: TopologyAnswer, reality: Reality) -> Step | None:
    """Founded by one node alone: should that one lose it before anybody else can have voted with it, it is founded
    again. Later, that could not be told from a voter that has forgotten its vote: what cannot go on is given up, for it
    holds nothing. None: it goes on like any other group."""
    [*others, founder] = group.replicas
    unfounded = not others and founder in reality.holds and group.id not in reality.holds[founder]
    if unfounded and group.alone:
        return Open(group.id, founder, group.replicas)
    if unfounded or group.id in reality.leaderless:
        return _retire(group, topology, reality)
    if group.change is not None:
        return None
    if group.id not in reality.groups:
        return Wait(group.id, "it has no leader that answers")
    wanted = _wanted(topology)
    return Formed(group.id) if len(group.replicas) >= wanted else Wait(group.id, f"it gets {wanted} replicas")


def _retire(group: Group, topology: TopologyAnswer, reality: Reality) -> Step:
    able = [node.id for node in topology.nodes if node.duty == ACTIVE_DUTY and node.id in reality.holds]
    if not able:
        return Wait(group.id, "no active node answers that could found another one in its place", stuck=True)
    load = replica_counts(topology)
    return Retire(group.id, min(able, key=lambda node: (node in group.everywhere, load[node], node)))


def is_awaited(group: Group, node: NodeId, voters: tuple[NodeId, ...]) -> bool:
    """Whether ``node`` should start an empty replica of ``group`` that follows ``voters``, or founds it."""
    if node in voters:
        return group.alone and voters == group.replicas == (node,)
    return group.change is not None and group.change.into == node


def _replace(group: Group, standing: Standing, out: NodeId | None, into: NodeId) -> Step:
    voters = {*standing.voters} - {out} | {into}
    return _voters(group, standing, voters, out, {*standing.learners} - {into})


def _remove(group: Group, standing: Standing, out: NodeId | None) -> Step:
    return _voters(group, standing, {*standing.voters} - {out}, out, set(standing.learners))


def _voters(group: Group, standing: Standing, voters: set[NodeId], out: NodeId | None, learners: set[NodeId]) -> Step:
    """Only where the new voters would have a majority that is there: what is damaged twice must wait for people."""
    there = voters & standing.ready
    if len(there) <= len(voters) // 2:
        missing = ", ".join(sorted(voters - there))
        return Wait(group.id, f"{missing} would be needed for a majority, and is not there or far behind", stuck=True)
    heirs = there & set(standing.voters)
    if out == standing.leader and heirs:
        return HandOver(
            group.id, standing.leader, group.preferred_leader if group.preferred_leader in heirs else min(heirs)
        )
    return Reconfigure(group.id, standing.leader, _sorted(voters), _sorted(learners))


# --- what to change


def next_change(topology: TopologyAnswer, reality: Reality) -> tuple[GroupId, Change] | None:
    """What should be changed first, or None when all is as it should be, or cannot be helped now.

    A lost replica is given back before anything else; then those of nodes that are dead, leaving or draining move; then
    groups with fewer replicas than they could have get more.
    """
    nodes = {node.id: node for node in topology.nodes}
    for find in (_lost, _unwanted, _missing):
        for group in topology.groups:
            standing = reality.groups.get(group.id)
            if standing is None or standing.joint or group.change is not None:
                continue
            change = find(group, nodes, topology, reality)
            if change is not None:
                return group.id, change
    return None


Nodes = Mapping[NodeId, Node]


def _lost(group: Group, nodes: Nodes, _: TopologyAnswer, reality: Reality) -> Change | None:
    for node in group.replicas if len(group.replicas) > 1 else ():
        if node in reality.holds and group.id not in reality.holds[node] and nodes[node].duty == ACTIVE_DUTY:
            return Change(node, node, f"{node} has lost its replica")
    return None


def _unwanted(group: Group, nodes: Nodes, topology: TopologyAnswer, reality: Reality) -> Change | None:
    for node in group.replicas:
        known = nodes.get(node)
        leaving = known is not None and known.duty in (DRAINING, LEAVING)
        if not leaving and node not in reality.dead:
            continue
        zones = {nodes[other].zone for other in group.replicas if other != node and other in nodes}
        successor = known.successor if known is not None else None
        # What is only dead may come back: elsewhere than in its zone its place is not taken by itself.
        only = {known.zone} if known is not None and not leaving else None
        into = successor or _spare(topology, reality, group, zones, known.zone if known is not None else None, only)
        if into is not None and into in reality.holds:
            return Change(node, into, f"{node} is {known.duty if known is not None and leaving else 'dead'}")
    return None


def _wanted(topology: TopologyAnswer) -> int:
    """How many replicas a new group is to have."""
    return min(REPLICATION_FACTOR, len({node.zone for node in topology.nodes}))


def _missing(group: Group, nodes: Nodes, topology: TopologyAnswer, reality: Reality) -> Change | None:
    if len(group.replicas) >= REPLICATION_FACTOR:
        return None
    zones = {nodes[node].zone for node in group.replicas if node in nodes}
    into = _spare(topology, reality, group, zones, None, None)
    return None if into is None else Change(None, into, f"group {group.id} has {len(group.replicas)} replicas")


def _spare(
    topology: TopologyAnswer,
    reality: Reality,
    group: Group,
    taken: Collection[Zone],
    preferred: Zone | None,
    only: Collection[Zone] | None,
) -> NodeId | None:
    """The node with the fewest replicas that can take one, in the zone preferred if there is one."""
    load = replica_counts(topology)
    able = [
        node
        for node in topology.nodes
        if node.duty == ACTIVE_DUTY
        and node.id in reality.holds
        and node.id not in group.everywhere
        and node.zone not in taken
        and (only is None or node.zone in only)
    ]
    chosen = min(able, key=lambda node: (node.zone != preferred, load[node.id], node.id), default=None)
    return None if chosen is None else chosen.id


def next_balancing(topology: TopologyAnswer, reality: Reality) -> tuple[GroupId, Change] | None:
    """The replica whose move makes the nodes more even, or None: within its zone, or to a zone with less to bear. Only
    while all is well otherwise."""
    if next_change(topology, reality) is not None or any(group.change or group.forming for group in topology.groups):
        return None
    nodes = {node.id: node for node in topology.nodes}
    load = replica_counts(topology)
    best: tuple[int, int, NodeId, NodeId] | None = None
    for group in topology.groups:
        if group.id not in reality.groups:
            continue
        zones = {nodes[node].zone for node in group.replicas if node in nodes}
        for giver in group.replicas:
            for taker in topology.nodes:
                if (
                    taker.duty != ACTIVE_DUTY
                    or taker.id not in reality.holds
                    or taker.id in group.replicas
                    or (taker.zone in zones and taker.zone != nodes[giver].zone)
                ):
                    continue
                gain = load[giver] - load[taker.id]
                # The directory's group last: it is small, and everybody must learn where it went.
                candidate = (-gain, group.id if group.id != DIRECTORY_GROUP else 1 << 30, giver, taker.id)
                if gain >= 2 and (best is None or candidate < best):
                    best = candidate
    if best is None:
        return None
    _, number, giver, taker_id = best
    group_id = DIRECTORY_GROUP if number == 1 << 30 else GroupId(number)
    return group_id, Change(giver, taker_id, f"{giver} has {load[giver]} replicas, {taker_id} {load[taker_id]}")


def beyond_help(topology: TopologyAnswer, reality: Reality) -> dict[GroupId, str]:
    """Groups that have lost so many replicas that those left cannot elect a leader, in words for people. Not those that
    are being formed: they are given up."""
    found: dict[GroupId, str] = {}
    for group in topology.groups:
        lost = [node for node in group.replicas if node in reality.holds and group.id not in reality.holds[node]]
        if group.id not in reality.groups and not group.forming and len(lost) > (len(group.replicas) - 1) // 2:
            left = ", ".join(node for node in group.replicas if node not in lost) or "nobody"
            found[group.id] = (
                f"group {group.id} cannot elect a leader: {', '.join(lost)} lost their replicas, {left} is left. Bring "
                f"a lost data directory back, or restore a backup"
            )
    return found


def without_room(topology: TopologyAnswer, node: NodeId) -> list[GroupId]:
    """Groups whose replica on ``node`` would have nowhere to go."""
    nodes = {each.id: each for each in topology.nodes}
    everybody = Reality({each: frozenset() for each in nodes}, frozenset(), frozenset(), {})
    stranded: list[GroupId] = []
    for group in topology.groups:
        going = group.change is not None and group.change.out == node
        if node in group.replicas and not going:
            zones = {nodes[other].zone for other in group.replicas if other != node and other in nodes}
            without = TopologyAnswer(tuple(each for each in topology.nodes if each.id != node), topology.groups)
            if _spare(without, everybody, group, zones, None, None) is None:
                stranded.append(group.id)
    return stranded


def replica_counts(topology: TopologyAnswer) -> dict[NodeId, int]:
    load = {node.id: 0 for node in topology.nodes}
    for group in topology.groups:
        for node in group.everywhere:
            load[node] = load.get(node, 0) + 1
    return load


def strays(topology: TopologyAnswer, holds: Mapping[NodeId, Collection[GroupId]]) -> list[Drop]:
    """Replicas that belong to nobody: left behind by a change, or of a group given up, while their node was away. Of a
    group that was never heard of nobody can say that."""
    places: dict[GroupId, tuple[NodeId, ...]] = dict.fromkeys(topology.retired, ())
    places |= {group.id: group.everywhere for group in topology.groups}
    return [
        Drop(group, node)
        for node, held in sorted(holds.items())
        for group in sorted(held)
        if group in places and node not in places[group]
    ]


def departed(topology: TopologyAnswer) -> list[NodeId]:
    """Leaving nodes that have nothing left."""
    load = replica_counts(topology)
    return [node.id for node in topology.nodes if node.duty == LEAVING and not load[node.id]]


def _sorted(nodes: Collection[NodeId]) -> tuple[NodeId, ...]:
    return tuple(sorted(nodes))
