"""The nodes and groups of the cluster: who is in it, what each is meant to do, where replicas are and which one moves.

The part of the directory's machine that knows no resources. Methods named after commands raise BrokerError for what
cannot be done, and then nothing has changed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from broker.base.errors import Conflict, InvalidArgument, NodeNotFound
from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId
from broker.base.instants import WallMillis
from broker.base.limits import MAX_DATA_GROUPS
from broker.domain.directory import commands
from broker.domain.directory.commands import ACTIVE_DUTY, DRAINING, LEAVING, Group, Node, TopologyAnswer
from broker.domain.directory.placement import least_preferred, place_further, steady_preferred


class Members:
    def __init__(
        self, nodes: Iterable[Node] = (), groups: Iterable[Group] = (), retired: Iterable[GroupId] = ()
    ) -> None:
        self._nodes = {node.id: node for node in nodes}
        self._groups = {group.id: group for group in groups}
        self._retired = set(retired)
        self.topology = TopologyAnswer((), ())
        self._refresh()

    def bootstrap(self, command: commands.Bootstrap, _: WallMillis) -> commands.Done:
        if not self._nodes and not self._groups:
            self._nodes = {node.id: node for node in command.nodes}
            self._groups = {group.id: group for group in command.groups}
        return self._done()

    # --- nodes

    def register(self, command: commands.RegisterNode, _: WallMillis) -> commands.Done:
        known = self._node(command.node.id)
        self._put_node(known, command.node)
        return self._done()

    def add(self, command: commands.AddNode, _: WallMillis) -> commands.Done:
        node = command.node
        known = self._nodes.get(node.id)
        if known is None:
            self._nodes[node.id] = msgspec.structs.replace(node, duty=ACTIVE_DUTY, successor=None)
        else:
            self._put_node(known, node)
        return self._done()

    def set_duty(self, command: commands.SetDuty, _: WallMillis) -> commands.Done:
        node = self._node(command.node)
        if command.duty not in (ACTIVE_DUTY, DRAINING, LEAVING):
            raise InvalidArgument(f"duty {command.duty!r} is none: use {ACTIVE_DUTY}, {DRAINING} or {LEAVING}")
        if command.successor is not None:
            self._check_successor(node, command.successor)
        self._nodes[node.id] = msgspec.structs.replace(node, duty=command.duty, successor=command.successor)
        if command.duty != ACTIVE_DUTY:
            self._prefer_others(node.id, list(self._groups))
        return self._done()

    def forget(self, command: commands.ForgetNode, _: WallMillis) -> commands.Done:
        node = self._nodes.get(command.node)
        if node is None:
            return commands.Done()
        if node.duty != LEAVING:
            raise InvalidArgument(f"node {node.id} is {node.duty}: remove it first")
        held = [group.id for group in self._groups.values() if node.id in group.everywhere]
        if held:
            raise InvalidArgument(
                f"node {node.id} still has replicas of groups {', '.join(map(str, held))}: they must move first"
            )
        del self._nodes[node.id]
        return self._done()

    # --- groups

    def begin_change(self, command: commands.BeginChange, at: WallMillis) -> commands.Done:
        group, change = self._group(command.group), command.change
        if group.change is not None:
            raise Conflict(f"a replica of group {group.id} is on its way already ({group.change.reason}): wait for it")
        out, into = change.out, change.into
        if out is not None and out not in group.replicas:
            raise Conflict(f"group {group.id} has no replica on {out}: it has {', '.join(group.replicas)}")
        if into is not None and into != out:
            zone = self._node(into).zone
            staying = [node for node in group.replicas if node != out]
            if into in staying:
                raise Conflict(f"group {group.id} has a replica on {into} already")
            if zone in {self._nodes[node].zone for node in staying if node in self._nodes}:
                raise InvalidArgument(
                    f"group {group.id} has another replica in zone {zone}: {into} cannot take one too"
                )
        if out is None and into is None:
            raise InvalidArgument("a change names the replica that goes, or the one that comes, or both")
        if into is None and len(group.replicas) == 1:
            raise InvalidArgument(f"{out} has the only replica of group {group.id}: it can be replaced, not removed")
        begun = msgspec.structs.replace(change, since=at)
        self._groups[group.id] = msgspec.structs.replace(group, change=begun, alone=False)
        if out is not None and out != into:
            self._prefer_others(out, [group.id])
        return self._done()

    def end_change(self, command: commands.EndChange, _: WallMillis) -> commands.Done:
        group = self._group(command.group)
        if group.change is None or not command.replicas:
            return commands.Done()
        replicas = tuple(sorted(command.replicas))
        others = [other for other in self._groups.values() if other.id != group.id]
        leader = steady_preferred(group.preferred_leader, replicas, others)
        self._groups[group.id] = Group(group.id, replicas, leader, forming=group.forming)
        return self._done()

    def add_groups(self, command: commands.AddGroups, _: WallMillis) -> commands.Done:
        have = len(self._groups) - 1
        if not 1 <= command.count <= MAX_DATA_GROUPS - have:
            raise InvalidArgument(
                f"{command.count} further data groups cannot be: the cluster has {have}, and may have up to "
                f"{MAX_DATA_GROUPS}"
            )
        able = [node for node in self._nodes.values() if node.duty == ACTIVE_DUTY]
        if not able:
            raise InvalidArgument("no node takes replicas now: let one by `broker cluster resume`, or add one")
        for placed in place_further(able, list(self._groups.values()), self._next_group, command.count):
            self._form(placed.id, placed.preferred_leader)
        return self._done()

    def formed(self, command: commands.GroupFormed, _: WallMillis) -> commands.Done:
        group = self._group(command.group)
        self._groups[group.id] = msgspec.structs.replace(group, forming=False, alone=False)
        return self._done()

    def retire(self, command: commands.RetireGroup, _: WallMillis) -> commands.Done:
        if command.group in self._retired:
            return commands.Done()
        group, founder = self._group(command.group), self._node(command.founder)
        if not group.forming:
            raise Conflict(f"group {group.id} is formed and may hold something: it stays")
        if founder.duty != ACTIVE_DUTY:
            raise InvalidArgument(f"{founder.id} is {founder.duty} and founds no group: choose an active node")
        del self._groups[group.id]
        self._retired.add(group.id)
        self._form(self._next_group, founder.id)
        return self._done()

    def prefer(self, command: commands.PreferLeader, _: WallMillis) -> commands.Done:
        group = self._group(command.group)
        if command.node not in group.replicas:
            raise InvalidArgument(
                f"{command.node} has no replica of group {group.id} and cannot lead it: choose one of "
                f"{', '.join(group.replicas)}"
            )
        self._groups[group.id] = msgspec.structs.replace(group, preferred_leader=command.node)
        return self._done()

    # --- inside

    @property
    def _next_group(self) -> GroupId:
        """An id that no group ever had."""
        return GroupId(max((*self._groups, *self._retired), default=DIRECTORY_GROUP) + 1)

    def _form(self, group: GroupId, founder: NodeId) -> None:
        self._groups[group] = Group(group, (founder,), founder, forming=True, alone=True)

    def _prefer_others(self, node: NodeId, groups: Iterable[GroupId]) -> None:
        """Whoever goes is not to be given a leadership any more, if another replica can have it."""
        for number in groups:
            group = self._groups[number]
            able = [other for other in group.replicas if other != node and self._is_active(other)]
            if group.preferred_leader == node and able:
                others = [other for other in self._groups.values() if other.id != number]
                preferred = least_preferred(able, others)
                self._groups[number] = msgspec.structs.replace(group, preferred_leader=preferred)

    def _is_active(self, node: NodeId) -> bool:
        found = self._nodes.get(node)
        return found is not None and found.duty == ACTIVE_DUTY

    def _put_node(self, known: Node, node: Node) -> None:
        if known.zone != node.zone:
            raise InvalidArgument(
                f"node {node.id} is in zone {known.zone} and cannot move to zone {node.zone}: give it a new name"
            )
        self._nodes[node.id] = msgspec.structs.replace(node, duty=known.duty, successor=known.successor)

    def _check_successor(self, node: Node, successor: NodeId) -> None:
        found = self._node(successor)
        if found.id == node.id or found.zone != node.zone or found.duty != ACTIVE_DUTY:
            raise InvalidArgument(
                f"{successor} cannot replace {node.id}: it must be another active node of zone {node.zone}, and is an "
                f"{found.duty} one of zone {found.zone}"
            )

    def _node(self, node: NodeId) -> Node:
        found = self._nodes.get(node)
        if found is None:
            known = ", ".join(sorted(self._nodes)) or "none yet"
            raise NodeNotFound(f"no node {node!r} in this cluster (it has {known}): add it with `broker node --join`")
        return found

    def _group(self, group: GroupId) -> Group:
        found = self._groups.get(group)
        if group in self._retired:
            raise InvalidArgument(f"there is no group {group} any more: it was given up while it was being formed")
        if found is None:
            raise InvalidArgument(f"there is no group {group}: the cluster has 0 to {max(self._groups, default=0)}")
        return found

    def _done(self) -> commands.Done:
        self._refresh()
        return commands.Done()

    def _refresh(self) -> None:
        self.topology = TopologyAnswer(
            tuple(self._nodes[node] for node in sorted(self._nodes)),
            tuple(self._groups[group] for group in sorted(self._groups)),
            tuple(sorted(self._retired)),
        )
