"""Whether the cluster has all its replicas, seen from outside: what no node of it can know."""

from __future__ import annotations

from broker.base.ids import DIRECTORY_GROUP, GroupId
from broker.base.limits import REPLICATION_FACTOR
from broker.domain.directory.commands import Topology, TopologyAnswer
from tests.simulation.node import SimulatedNode


class Wholeness:
    def __init__(self, nodes: list[SimulatedNode], groups: list[GroupId]) -> None:
        self._nodes = nodes
        self._founded = groups

    def safe(self) -> bool:
        """Every group that may hold something has all its voters, each with all that is committed, and does not change.
        One that is being formed holds nothing, and need not stand a loss."""
        topology = self._topology()
        if topology is None or not topology.groups:
            return False
        formed = [group for group in topology.groups if not group.forming]
        return not any(group.change is not None or self._lacks(group.id) for group in formed)

    @property
    def forming(self) -> bool:
        topology = self._topology()
        return topology is not None and any(group.forming for group in topology.groups)

    def missing(self) -> str:
        """What keeps the cluster from being whole, in words; empty when nothing does."""
        topology = self._topology()
        if topology is None:
            return "the directory has no leader"
        for group in topology.groups:
            if group.change is not None or group.forming:
                return f"group {group.id} is changing: {group.change}"
        for node in self._nodes:
            if left := {*node.groups} - {group.id for group in topology.groups}:
                return f"{node.name} has replicas of groups {left}, which are no more"
        return next((f"group {group}: {found}" for group in self.groups if (found := self._lacks(group))), "")

    @property
    def groups(self) -> list[GroupId]:
        """All that there are."""
        topology = self._topology()
        return self._founded if topology is None else [group.id for group in topology.groups]

    def _topology(self) -> TopologyAnswer | None:
        leader = self._leader(DIRECTORY_GROUP)
        if leader is None:
            return None
        found: TopologyAnswer = leader.machine(DIRECTORY_GROUP).ask_directory(Topology())
        return found

    def _leader(self, group: GroupId) -> SimulatedNode | None:
        return max(
            (node for node in self._nodes if node.leads(group)),
            key=lambda node: node.running.replicas[group].raft.term,
            default=None,
        )

    def _lacks(self, group: GroupId) -> str:
        leader = self._leader(group)
        if leader is None:
            return "it has no leader"
        raft = leader.running.replicas[group].raft
        membership, matched = raft.membership, {peer: view.matched for peer, view in raft.progress().items()}
        if membership.outgoing or membership.learners or len(membership.voters) < REPLICATION_FACTOR:
            return f"its members are {membership}"
        for node in self._nodes:
            holds = node.up and group in node.running.replicas
            if holds != (node.name in membership.voters):
                return f"{node.name} has {'a replica' if holds else 'none'}, and the voters are {membership.voters}"
            if holds and node is not leader and matched[node.name] < raft.commit_index:  # type: ignore[index]
                return f"{node.name} is behind"
        return ""
