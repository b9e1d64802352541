"""Consumers: they receive and delete, forget, change their minds, die, ask again, and exchange what they did for more
work. Poison is never deleted until all is drained."""

from __future__ import annotations

from broker.base.instants import Millis
from broker.domain.queues import commands as queues
from broker.domain.queues import model, questions
from tests.simulation.client import Change, Pause, Read, Story
from tests.simulation.court import QUEUES, Received
from tests.simulation.load import OpenQueue
from tests.simulation.producing import Producing
from tests.simulation.scene import POISON, Scene
from tests.simulation.watching import Watching
from tests.simulation.world import MILLISECOND

_EVERYTHING = 1_000


class Consuming:
    def __init__(self, scene: Scene, producing: Producing, watching: Watching) -> None:
        self._scene = scene
        self._producing = producing
        self._watching = watching
        self._attempts = 0

    def consume(self) -> Story:
        scene = self._scene
        while not scene.ended:
            queue = scene.queue()
            received = yield from self._receive(queue)
            if type(received) is Received and received.messages:
                yield from self._work_on(queue, received)
            else:
                yield scene.think()

    def drain(self, queue: OpenQueue) -> Story:
        """Receive and delete until nothing is left, and no move task runs."""
        while True:
            received = yield Change(queue.group, QUEUES, queues.Receive(queue.id, _EVERYTHING, Millis(60_000)))
            if type(received) is Received and received.messages:
                taken = self._scene.take(queue, received)
                handles = tuple(model.Handle(d.index, d.slot, d.receipt) for d, _ in taken)
                yield Change(queue.group, QUEUES, queues.Delete(queue.id, handles))
                continue
            counts = yield from self._watching.read_counts(queue)
            moves = yield Read(queue.group, QUEUES, questions.MovesOf(queue.id))
            running = isinstance(moves, tuple) and any(move.status == questions.RUNNING for move in moves)
            left = counts is None or counts.visible + counts.in_flight + counts.delayed + counts.moving
            if not left and not running:
                return
            yield Pause(200 * MILLISECOND)

    def _receive(self, queue: OpenQueue) -> Story:
        scene = self._scene
        visibility = scene.chance.choice((None, None, Millis(200), Millis(2_000)))
        most = scene.chance.choice((1, 20, 60) if queue.plan.tenants else (1, 3, 10))
        if not queue.plan.is_fifo or scene.sometimes(0.6):
            return (yield Change(queue.group, QUEUES, queues.Receive(queue.id, most, visibility)))
        self._attempts += 1
        receive = queues.Receive(queue.id, most, visibility, f"attempt-{self._attempts}")
        received = yield Change(queue.group, QUEUES, receive)
        if type(received) is not Received or scene.sometimes(0.4):
            yield scene.think()
            yield Read(queue.group, QUEUES, questions.KnowsAttempt(queue.id, receive.attempt))
            received = yield Change(queue.group, QUEUES, receive)
        return received

    def _work_on(self, queue: OpenQueue, received: Received) -> Story:
        scene = self._scene
        taken = scene.take(queue, received)
        yield Pause(scene.chance.choice((1, 50, 400)) * MILLISECOND)
        handles = tuple(
            model.Handle(d.index, d.slot, d.receipt) for d, body in taken if not (POISON in body and queue.poisoned)
        )
        if len(handles) < len(taken):
            yield from self._reject(queue, taken)
        fate = scene.chance.random()
        if fate < 0.1 or not handles:
            return  # the consumer dies: its messages come back when their visibility ends
        if fate < 0.3:
            timeouts = tuple(Millis(scene.chance.choice((0, 0, 500, 3_000))) for _ in handles)
            change = queues.ChangeVisibility(queue.id, handles, timeouts, uncounted=scene.sometimes(0.3))
            yield Change(queue.group, QUEUES, change)
            yield scene.think()
            if fate < 0.2:
                return
        if scene.load.exchanges and fate > 0.7:
            yield from self._exchange(queue, handles)
        else:
            yield Change(queue.group, QUEUES, queues.Delete(queue.id, handles))

    def _reject(self, queue: OpenQueue, taken: list[tuple[queues.Delivery, bytes]]) -> Story:
        """Poison becomes visible again, soon or when its time is up."""
        if self._scene.sometimes(0.7):
            handles = tuple(model.Handle(d.index, d.slot, d.receipt) for d, body in taken if POISON in body)
            timeouts = tuple(Millis(self._scene.chance.choice((0, 100))) for _ in handles)
            yield Change(queue.group, QUEUES, queues.ChangeVisibility(queue.id, handles, timeouts))

    def _exchange(self, queue: OpenQueue, handles: tuple[model.Handle, ...]) -> Story:
        scene = self._scene
        targets = [each for each in scene.queues if each.group == queue.group]
        if not targets:  # this one is not in the scene any more, and it was the last of its group
            return
        target = scene.chance.choice(targets)
        batch = self._producing.batch(target)
        self._producing.announce(batch)
        exchange = queues.Exchange(target.id, batch.command, queues.Delete(queue.id, handles))
        reply = yield Change(queue.group, QUEUES, exchange)
        if type(reply) is queues.Sent:
            self._producing.acknowledged(batch, reply)
