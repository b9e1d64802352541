"""Those who only look: counts, pages of messages, whether there is anything, and where a queue lives."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from broker.base.ids import DIRECTORY_GROUP
from broker.domain.directory import commands as directory
from broker.domain.queues import model, questions
from tests.simulation.client import Pause, Read, Story
from tests.simulation.court import DIRECTORY, QUEUES
from tests.simulation.load import OpenQueue
from tests.simulation.scene import Scene
from tests.simulation.world import SECOND


class Watching:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def count(self) -> Story:
        scene = self._scene
        while not scene.ended:
            queue = scene.chance.choice(scene.queues)
            what = scene.chance.random()
            if what < 0.6:
                yield from self.read_counts(queue)
            elif what < 0.8:
                yield Read(queue.group, QUEUES, questions.HasVisible(queue.id))
            else:
                states = scene.chance.choice((model.STATES, model.STATES, (model.VISIBLE,), (model.DELAYED,)))
                limit = scene.chance.choice((5, 1_000))
                yield Read(queue.group, QUEUES, questions.Browse(queue.id, states, limit=limit))
            yield scene.think()

    def read_counts(self, queue: OpenQueue) -> Generator[Any, Any, model.Counts | None]:
        reads, sent = self._scene.court.reads, self._scene.sent_to(queue)
        least = reads.begin(sent)
        counts = yield Read(queue.group, QUEUES, questions.CountsOf(queue.id))
        if type(counts) is not model.Counts:
            return None
        reads.end(sent, least, counts.sent_total, "a leader")
        return counts

    def find(self) -> Story:
        while not self._scene.ended:
            name = self._scene.chance.choice(self._scene.queues).name
            found = yield Read(DIRECTORY_GROUP, DIRECTORY, directory.FindResource("queue", name))
            self._scene.court.placed(name, found)
            yield Pause(1 * SECOND)
