"""Operators who move replicas and drain nodes while clients work. The healer carries out what they ask for."""

from __future__ import annotations

from broker.base.ids import DIRECTORY_GROUP
from broker.domain.directory import commands as directory
from broker.domain.directory import healing
from tests.simulation.client import Change, Pause, Read, Story
from tests.simulation.court import DIRECTORY
from tests.simulation.scene import Scene
from tests.simulation.world import SECOND


class Moving:
    """Only where a zone has more than one node."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def move(self) -> Story:
        """One replica after the other, to another node of its zone."""
        scene = self._scene
        while not scene.ended:
            yield Pause(int(scene.chance.uniform(0.2, 1.5) * SECOND))
            topology = yield Read(DIRECTORY_GROUP, DIRECTORY, directory.Topology())
            if scene.ended or type(topology) is not directory.TopologyAnswer:
                continue
            if not topology.groups or any(group.change is not None for group in topology.groups):
                continue
            group = scene.chance.choice(topology.groups)
            out = scene.chance.choice(group.replicas)
            zone = next((node.zone for node in topology.nodes if node.id == out), None)
            others = [node.id for node in topology.nodes if node.zone == zone and node.id not in group.replicas]
            if others:
                change = directory.Change(out, scene.chance.choice(others), "asked for")
                yield Change(DIRECTORY_GROUP, DIRECTORY, directory.BeginChange(group.id, change))

    def drain(self) -> Story:
        """A node gives all that it has to others, and may have some again later."""
        scene = self._scene
        while not scene.ended:
            yield Pause(int(scene.chance.uniform(1, 4) * SECOND))
            topology = yield Read(DIRECTORY_GROUP, DIRECTORY, directory.Topology())
            if scene.ended or type(topology) is not directory.TopologyAnswer or not topology.nodes:
                continue
            node = scene.chance.choice(topology.nodes)
            if not healing.without_room(topology, node.id):
                yield Change(DIRECTORY_GROUP, DIRECTORY, directory.SetDuty(node.id, directory.DRAINING))
                yield Pause(int(scene.chance.uniform(1, 4) * SECOND))
            while (yield Change(DIRECTORY_GROUP, DIRECTORY, directory.SetDuty(node.id, directory.ACTIVE_DUTY))) is None:
                pass
