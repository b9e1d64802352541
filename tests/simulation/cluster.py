"""What all nodes of a run share: the lines between them, the court, and how the cluster is laid out at its founding."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from broker.base.ids import GroupId, NodeId, Zone
from broker.domain.directory.commands import Bootstrap, Group, Node
from broker.domain.directory.placement import place
from broker.machine.replicated import ReplicatedMachine
from broker.raft.types import RaftConfig
from broker.replication.replica import ReplicaSettings
from tests.simulation.bulk import Bulk
from tests.simulation.courier import Roads
from tests.simulation.court import Court
from tests.simulation.healing import HealingSettings
from tests.simulation.network import Network
from tests.simulation.rates import Rates
from tests.simulation.world import World

ZONES = ("a", "b", "c")


class Layout:
    """Who founds the cluster, and where replicas are then: as the product lays it out."""

    def __init__(self, names: tuple[str, ...], groups: int) -> None:
        self.nodes = tuple(Node(NodeId(name), Zone(name[0]), f"{name}:1", f"{name}:2") for name in names)
        self.groups: tuple[Group, ...] = place(self.nodes, groups)

    @property
    def bootstrap(self) -> Bootstrap:
        return Bootstrap(self.nodes, self.groups)

    @property
    def spare(self) -> bool:
        """Whether a replica could be elsewhere than it is."""
        return len(self.nodes) > len(ZONES)

    def founded_by(self, name: str) -> dict[GroupId, tuple[NodeId, ...]]:
        return {group.id: group.replicas for group in self.groups if name in group.replicas}


def draw_names(chance: Random) -> tuple[str, ...]:
    """One node in each zone, or two: then replicas can move."""
    each = chance.choice((1, 1, 2))
    return tuple(f"{zone}-{number}" for zone in ZONES for number in range(each))


class Cluster:
    def __init__(
        self,
        world: World,
        rates: Rates,
        network: Network,
        roads: Roads,
        court: Court,
        layout: Layout,
        raft: RaftConfig,
        replica: ReplicaSettings,
        healing: HealingSettings,
        machine_of: Callable[[GroupId], ReplicatedMachine],
    ) -> None:
        self.world = world
        self.rates = rates
        self.network = network
        self.roads = roads
        self.bulk = Bulk(world, network)
        self.court = court
        self.layout = layout
        self.raft = raft
        self.replica = replica
        self.healing = healing
        self.machine_of = machine_of
