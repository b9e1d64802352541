"""Operators who move replicas, drain nodes and add groups while clients work. The healer carries out what they ask."""

from __future__ import annotations

from broker.base.ids import DIRECTORY_GROUP
from broker.domain.directory import commands as directory
from broker.domain.directory import healing
from tests.simulation.client import Change, Pause, Read, Story
from tests.simulation.court import DIRECTORY
from tests.simulation.scene import Scene
from tests.simulation.world import SECOND


class Moving:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def grow(self) -> Story:
        """One more data group."""
        yield Pause(int(self._scene.chance.uniform(0.5, 4) * SECOND))
        if not self._scene.ended:
            while (yield Change(DIRECTORY_GROUP, DIRECTORY, directory.AddGroups(1))) is None:
                pass

    def move(self) -> Story:
        """One replica after the other, to another node of its zone, if that has one."""
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
