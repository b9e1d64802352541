"""States of the cluster that a fault may meet, beside the calls of clients: what the coverage table is told of."""

from __future__ import annotations

from collections.abc import Iterator

from broker.raft.types import Role
from tests.simulation.court import Court
from tests.simulation.node import SimulatedNode
from tests.simulation.wholeness import Wholeness


class States:
    """Names begin with a tilde, so that they stand together."""

    def __init__(self, nodes: list[SimulatedNode], court: Court, wholeness: Wholeness) -> None:
        self._nodes = nodes
        self._court = court
        self._wholeness = wholeness

    def now(self) -> Iterator[str]:
        rafts = [replica.raft for node in self._nodes if node.core for replica in node.core.replicas.values()]
        if any(raft.role in (Role.CANDIDATE, Role.PRE_CANDIDATE) for raft in rafts):
            yield "~ election"
        leading = [raft for raft in rafts if raft.role is Role.LEADER]
        if any(raft.membership.outgoing for raft in leading):
            yield "~ joint membership"
        if any(raft.membership.learners for raft in leading):
            yield "~ learner catches up"
        if any(len(raft.membership.voters) < 3 for raft in leading):
            yield "~ replica missing"
        if any(raft.transferring_to for raft in leading):
            yield "~ leader hands over"
        if any(model.outbox for model in self._court.judge.models):
            yield "~ parcel between groups"
        if self._wholeness.forming:
            yield "~ group forms"
        if any(not node.up for node in self._nodes):
            yield "~ node down"
