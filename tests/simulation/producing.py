"""Producers: batches to queues of every kind, sent again under another request when it pleases them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from broker.domain.queues import commands as queues
from broker.domain.queues import model
from broker.domain.queues.model import PER_MESSAGE_GROUP
from broker.services.parcels import stripe
from tests.simulation.client import Change, Pause, Story
from tests.simulation.court import QUEUES
from tests.simulation.load import OpenQueue
from tests.simulation.scene import Scene
from tests.simulation.world import MILLISECOND

_encoder = msgspec.msgpack.Encoder()

_NOISY_BATCH = 40
_TENANTS = ("quiet-1", "quiet-2", "noisy", "")
_MESSAGE_GROUPS = ("a", "b", "c", "d", "e")


class Batch(msgspec.Struct):
    """``scheduled``: positions of messages that wait for an instant."""

    queue: OpenQueue
    bodies: list[bytes]
    command: queues.Send
    scheduled: list[int]


class Producing:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._identities = 0

    def produce(self) -> Story:
        scene = self._scene
        while not scene.ended:
            batch = self.batch(scene.queue())
            reply = yield from self.send(batch)
            if batch.queue.plan.is_fifo and scene.sometimes(0.4):
                yield Pause(scene.chance.choice((1, 300, 2_000)) * MILLISECOND)
                yield from self.send(batch)
            if type(reply) is queues.Sent and batch.scheduled and scene.sometimes(0.5):
                yield scene.think()
                yield from self._cancel(batch, reply)
            yield scene.think()

    def send(self, batch: Batch) -> Any:
        self.announce(batch)
        reply = yield Change(batch.queue.group, QUEUES, batch.command)
        if type(reply) is queues.Sent:
            self.acknowledged(batch, reply)
        return reply

    def announce(self, batch: Batch) -> None:
        """It is about to be sent."""
        court, name = self._scene.court, batch.queue.name
        court.conservation.sent(name, batch.bodies)
        court.reads.invoked(self._scene.sent_to(batch.queue), len(batch.bodies))
        if batch.command.lifetimes is not None:
            court.conservation.excuse(batch.bodies)
        if batch.queue.plan.loses:
            court.conservation.excuse_queue(name)

    def acknowledged(self, batch: Batch, reply: queues.Sent) -> None:
        court, queue = self._scene.court, batch.queue
        duplicates = dict(reply.duplicates)
        for slot, body in enumerate(batch.bodies):
            first = duplicates.get(slot)
            key = (reply.index, slot) if first is None else (first >> 16, first & 0xFFFF)
            court.conservation.acknowledged(body, (queue.group, key))
        court.reads.acknowledged(self._scene.sent_to(queue), len(batch.bodies) - len(duplicates))

    def batch(self, queue: OpenQueue) -> Batch:
        """Something new for the queue, as it likes it."""
        scene, load = self._scene, self._scene.load
        if queue.plan.is_fifo:
            return self._fifo_batch(queue)
        noisy = queue.plan.tenants and scene.sometimes(0.3)
        count = _NOISY_BATCH if noisy else scene.chance.randint(1, load.batch)
        bodies = [scene.body(queue) for _ in range(count)]
        groups = delays = due = lifetimes = None
        if queue.plan.tenants:
            groups = ("noisy",) * count if noisy else self._each(count, _TENANTS)
        if scene.sometimes(0.2):
            delays = self._each(count, (0, 100, 1_500))
        elif load.schedules and scene.sometimes(0.4):
            now = scene.court.now(queue.group)
            due = tuple(now + wait if wait else 0 for wait in self._each(count, (0, -500, 1, 400, 2_000, 5_000)))
        if load.lifetimes and scene.sometimes(0.3):
            lifetimes = self._each(count, (0, 1_000, 2_000, 5_000))
        scheduled = [slot for slot, instant in enumerate(due or ()) if instant]
        send = queues.Send(queue.id, count, 0, delays, msgspec.Raw(), groups, None, due, lifetimes)
        return _filled(queue, bodies, send, scheduled)

    def _fifo_batch(self, queue: OpenQueue) -> Batch:
        """Identities differ, except that two message groups may use the same one where that is allowed."""
        scene, attributes = self._scene, queue.plan.attributes
        bodies = [scene.body(queue) for _ in range(scene.chance.randint(1, scene.load.batch))]
        names = [name for name in _MESSAGE_GROUPS if stripe(queue.target, name) == queue.group]
        groups, identities = [], []
        for body in bodies:
            self._identities += 1
            group = scene.chance.choice(names)
            identity = f"id-{self._identities}"
            if attributes.deduplication_scope == PER_MESSAGE_GROUP and len(names) > 1:
                group = names[self._identities % 2]
                identity = f"id-{self._identities // 2}"
            groups.append(group)
            identities.append(sha256(body).hexdigest() if attributes.content_deduplication else identity)
        lifetimes = None
        if scene.load.lifetimes and scene.sometimes(0.3):
            lifetimes = self._each(len(bodies), (0, 1_000, 5_000))
        if scene.load.leaps:
            scene.court.conservation.may_repeat(queue.name)
        send = queues.Send(
            queue.id, len(bodies), 0, None, msgspec.Raw(), tuple(groups), tuple(identities), None, lifetimes
        )
        return _filled(queue, bodies, send, [])

    def _cancel(self, batch: Batch, sent: queues.Sent) -> Story:
        conservation = self._scene.court.conservation
        slots = self._scene.chance.sample(batch.scheduled, self._scene.chance.randint(1, len(batch.scheduled)))
        conservation.excuse([batch.bodies[slot] for slot in slots])
        names = tuple((sent.index, slot) for slot in slots)
        results = yield Change(batch.queue.group, QUEUES, queues.Cancel(batch.queue.id, names))
        if type(results) is queues.Results:
            refused = {position for position, _ in results.refused}
            for position, slot in enumerate(slots):
                if position not in refused:
                    conservation.cancelled(batch.bodies[slot])

    def _each(self, count: int, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self._scene.chance.choice(values) for _ in range(count))


def _filled(queue: OpenQueue, bodies: list[bytes], send: queues.Send, scheduled: list[int]) -> Batch:
    raw = msgspec.Raw(_encoder.encode([model.Message(body) for body in bodies]))
    command = msgspec.structs.replace(send, largest=max(map(len, bodies)), messages=raw)
    return Batch(queue, bodies, command, scheduled)
