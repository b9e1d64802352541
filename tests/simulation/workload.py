"""What clients do: make queues, produce, consume, look, administer, and in the end receive and delete whatever is left.
Every message is unique, so that checkers know it."""

from __future__ import annotations

from broker.base.ids import DIRECTORY_GROUP
from tests.simulation.administering import Administering
from tests.simulation.client import Change, Client, Story
from tests.simulation.cluster import Layout
from tests.simulation.consuming import Consuming
from tests.simulation.court import DIRECTORY, Court
from tests.simulation.load import Load, plan_queues
from tests.simulation.moving import Moving
from tests.simulation.producing import Producing
from tests.simulation.registering import Registering
from tests.simulation.scene import Scene
from tests.simulation.watching import Watching
from tests.simulation.world import World


class Workload:
    def __init__(self, world: World, court: Court, clients: list[Client], load: Load, layout: Layout) -> None:
        self.scene = Scene(world, court, load)
        self._clients = clients
        self._layout = layout
        self._producing = Producing(self.scene)
        self._watching = Watching(self.scene)
        self._consuming = Consuming(self.scene, self._producing, self._watching)
        self._administering = Administering(self.scene)
        self._moving = Moving(self.scene)
        self._registering = Registering(self.scene)

    def begin(self) -> None:
        self._spread([self._open()])

    def end(self) -> None:
        """No new work."""
        self.scene.ended = True

    def drain(self) -> None:
        """Receive and delete until nothing is left in any queue."""
        self._spread([self._consuming.drain(queue) for queue in self.scene.queues])

    def _spread(self, stories: list[Story]) -> None:
        for number, story in enumerate(stories):
            self._clients[number % len(self._clients)].tell(story)

    def _open(self) -> Story:
        while (yield Change(DIRECTORY_GROUP, DIRECTORY, self._layout.bootstrap)) is None:
            pass
        plans = plan_queues(self.scene.load, self.scene.chance)
        for number, plan in enumerate(plans):
            yield from self._administering.make(plan)
            if number == 0:
                self._spread(self._everyday())
        for plan in plans:
            if plan.source:
                self._spread(self._about_dead_letters(plan.name))

    def _everyday(self) -> list[Story]:
        load = self.scene.load
        stories = [self._producing.produce() for _ in range(load.producers)]
        stories += [self._consuming.consume() for _ in range(load.consumers)]
        stories += [self._watching.count() for _ in range(load.counters)]
        stories += [self._watching.find(), self._administering.purge()]
        stories += [self._administering.update()] if load.updates else []
        stories += [self._registering.register() for _ in range(load.registrars)]
        stories += [self._moving.grow()] if load.growing else []
        if self._layout.spare:
            stories += [self._moving.move()] if load.moving else []
            stories += [self._moving.drain()] if load.draining else []
        return stories

    def _about_dead_letters(self, name: str) -> list[Story]:
        load = self.scene.load
        stories = [self._administering.move(name)] if load.moves else []
        return [*stories, self._administering.replace(name)] if load.replacing else stories
