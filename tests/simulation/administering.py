"""Those who make queues, change and purge them, move messages between them, and replace one."""

from __future__ import annotations

import msgspec

from broker.base.ids import DIRECTORY_GROUP, QueueId
from broker.base.instants import Millis
from broker.domain.directory import commands as directory
from broker.domain.queues import commands as queues
from broker.domain.queues import model, questions
from tests.simulation.client import Change, Pause, Read, Story
from tests.simulation.court import DIRECTORY, QUEUES
from tests.simulation.load import PURGED, OpenQueue, QueuePlan
from tests.simulation.scene import Scene
from tests.simulation.world import MILLISECOND, SECOND


class Administering:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def make(self, plan: QueuePlan) -> Story:
        placed = None
        place = directory.PlaceResource("queue", plan.name, stripes=plan.stripes, beside=plan.beside)
        while type(placed) is not directory.Placed:
            placed = yield Change(DIRECTORY_GROUP, DIRECTORY, place)
        resource = placed.resource
        target = self._target_of(plan.attributes)
        create = queues.CreateQueue(QueueId(resource.id), plan.name, plan.attributes, resource.groups, target)
        for group in resource.groups:
            while type((yield Change(group, QUEUES, create))) is not queues.Done:
                pass
        for group in resource.groups:
            self._scene.queues.append(OpenQueue(plan, QueueId(resource.id), group, resource.groups))
        yield Change(DIRECTORY_GROUP, DIRECTORY, directory.ActivateResource("queue", resource.id))

    def purge(self) -> Story:
        scene = self._scene
        while not scene.ended:
            yield Pause(int(scene.chance.uniform(3, 10) * SECOND))
            for queue in scene.queues:
                if queue.name.startswith(PURGED):
                    yield Change(queue.group, QUEUES, queues.PurgeQueue(queue.id))

    def update(self) -> Story:
        """Now and then, some attribute of some queue."""
        scene = self._scene
        while not scene.ended:
            yield Pause(int(scene.chance.uniform(1, 4) * SECOND))
            queue = scene.chance.choice(scene.queues)
            known = yield Read(queue.group, QUEUES, questions.AttributesOf(queue.id))
            if type(known) is not model.Described:
                continue
            attributes = msgspec.structs.replace(
                known.attributes,
                visibility_timeout=Millis(scene.chance.choice((300, 1_500))),
                delay=Millis(scene.chance.choice((0, 300, 1_000))),
                redrive=self._some_redrive(queue),
            )
            target = self._target_of(attributes)
            yield Change(queue.group, QUEUES, queues.UpdateQueue(queue.id, attributes, (), target, known.attributes))

    def move(self, name: str) -> Story:
        """Messages of a dead-letter queue, home or elsewhere, again and again."""
        scene = self._scene
        while not scene.ended:
            yield Pause(int(scene.chance.uniform(0.5, 2) * SECOND))
            queue = self._open(name, scene.chance.randrange(2))
            if queue is None:
                continue
            started = yield Change(
                queue.group,
                QUEUES,
                queues.StartMove(queue.id, self._destination(queue), scene.chance.choice((0, 0, 5, 50))),
            )
            for _ in range(scene.chance.randint(1, 8)):
                yield Pause(250 * MILLISECOND)
                moves = yield Read(queue.group, QUEUES, questions.MovesOf(queue.id))
                running = isinstance(moves, tuple) and any(move.status == questions.RUNNING for move in moves)
                if scene.ended or not running:
                    break
            if type(started) is queues.MoveStarted and scene.sometimes(0.3):
                yield Change(queue.group, QUEUES, queues.CancelMove(queue.id, started.task))

    def replace(self, name: str) -> Story:
        """Delete a dead-letter queue, and make one of the same name: dead letters must find it."""
        scene = self._scene
        yield Pause(int(scene.chance.uniform(1, 6) * SECOND))
        queue = self._open(name)
        if scene.ended or queue is None:
            return
        scene.court.conservation.excuse_queue(name)
        scene.court.conservation.excuse_queue(queue.plan.source)
        scene.queues[:] = [each for each in scene.queues if each.name != name]
        for change in (
            Change(DIRECTORY_GROUP, DIRECTORY, directory.RetireResource("queue", queue.id)),
            *(Change(group, QUEUES, queues.DeleteQueue(queue.id)) for group in queue.groups),
            Change(DIRECTORY_GROUP, DIRECTORY, directory.ForgetResource("queue", queue.id)),
        ):
            while (yield change) is None:
                pass
        yield Pause(scene.chance.choice((1, 500)) * MILLISECOND)
        yield from self.make(queue.plan)

    def _open(self, name: str, stripe: int = 0) -> OpenQueue | None:
        stripes = [queue for queue in self._scene.queues if queue.name == name]
        return stripes[stripe % len(stripes)] if stripes else None

    def _target_of(self, attributes: model.QueueAttributes) -> model.Target | None:
        queue = None if attributes.redrive is None else self._open(attributes.redrive.target)
        return None if queue is None else queue.target

    def _some_redrive(self, queue: OpenQueue) -> model.RedrivePolicy | None:
        redrive = queue.plan.attributes.redrive
        if redrive is None or self._scene.sometimes(0.2):
            return None
        return model.RedrivePolicy(redrive.target, self._scene.chance.randint(1, 3))

    def _destination(self, queue: OpenQueue) -> model.Target | None:
        """None: home."""
        scene = self._scene
        others = [each for each in scene.queues if each.name != queue.name and each.plan.is_fifo == queue.plan.is_fifo]
        if not others or scene.sometimes(0.6):
            return None
        destination = scene.chance.choice(others)
        if destination.plan.loses:
            scene.court.conservation.excuse_queue(queue.name)
            scene.court.conservation.excuse_queue(queue.plan.source)
        return destination.target
