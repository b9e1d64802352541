"""What this node knows of the cluster's shape: nodes, zones, addresses, and where the groups' replicas live.

Starts from the configuration and follows the directory. May lag behind it; whoever acts on it must bear that.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.base.errors import NodeNotFound
from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId
from broker.domain.directory.commands import Group, Node, TopologyAnswer


class Topology:
    def __init__(self, cluster: str, nodes: tuple[Node, ...], groups: tuple[Group, ...]) -> None:
        """``groups`` holds the directory's own group too: without it nothing could be looked up."""
        if all(group.id != DIRECTORY_GROUP for group in groups):
            raise ValueError(f"the configured groups must include the directory's, group {DIRECTORY_GROUP}")
        self.cluster = cluster
        self._nodes = {node.id: node for node in nodes}
        self._groups = {group.id: group for group in groups}
        self._retired: tuple[GroupId, ...] = ()
        self.listeners: list[Callable[[TopologyAnswer], None]] = []
        """Told what was learned, if it is news."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(self._nodes[node] for node in sorted(self._nodes))

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(self._groups[group] for group in sorted(self._groups))

    @property
    def answer(self) -> TopologyAnswer:
        """All of it, as the directory would say it."""
        return TopologyAnswer(self.nodes, self.groups, self._retired)

    def node(self, node: NodeId) -> Node:
        """Raises NodeNotFound."""
        found = self._nodes.get(node)
        if found is None:
            raise NodeNotFound(f"no node {node!r} in cluster {self.cluster!r}: it has {', '.join(sorted(self._nodes))}")
        return found

    def replicas(self, group: GroupId) -> tuple[NodeId, ...]:
        """With one that is on its way. Empty when the group is not known (yet)."""
        found = self._groups.get(group)
        return () if found is None else found.everywhere

    def settled_replicas(self, group: GroupId) -> tuple[NodeId, ...]:
        """Without one that is on its way: of these a majority is needed. Empty when the group is not known (yet)."""
        found = self._groups.get(group)
        return () if found is None else found.replicas

    def learn(self, answer: TopologyAnswer) -> None:
        """What the directory says takes the place of what was known, once it says anything."""
        if not answer.nodes or answer == self.answer:
            return
        self._nodes = {node.id: node for node in answer.nodes}
        self._groups = {group.id: group for group in answer.groups}
        self._retired = answer.retired
        for listener in self.listeners:
            listener(answer)
