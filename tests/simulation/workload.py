"""What clients do: make queues, produce, consume, count, purge. Every message is unique, so that checkers know it."""

from __future__ import annotations

from collections.abc import Generator
from random import Random
from typing import Any

import msgspec

from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId, QueueId, Zone
from broker.base.instants import Millis
from broker.domain.directory import commands as directory
from broker.domain.queues import commands as queues
from broker.domain.queues import model, questions
from tests.simulation.client import Change, Client, Pause, Read, Story
from tests.simulation.court import DIRECTORY, QUEUES, Court, Received
from tests.simulation.world import MILLISECOND, SECOND, World

_encoder = msgspec.msgpack.Encoder()
_PURGED = "purged"
"""Queues whose names begin so are purged now and then."""


class Load(msgspec.Struct, frozen=True):
    """How much of what. ``think`` is the mean pause between two requests of one story, in microseconds."""

    queues: int = 3
    producers: int = 3
    consumers: int = 3
    counters: int = 2
    think: int = 250 * MILLISECOND
    batch: int = 8
    padding: int = 400
    """Largest number of bytes added to a body."""
    visibility: int = 1_500
    """Milliseconds."""


def draw(chance: Random) -> Load:
    return Load(
        queues=chance.choice((1, 2, 4)),
        producers=chance.choice((1, 2, 4)),
        consumers=chance.choice((2, 3, 5)),
        counters=chance.choice((1, 3)),
        think=chance.choice((100, 200, 500)) * MILLISECOND,
        batch=chance.choice((1, 4, 10)),
        padding=chance.choice((0, 200, 3_000)),
        visibility=chance.choice((300, 1_500, 4_000)),
    )


class OpenQueue(msgspec.Struct, frozen=True):
    name: str
    id: QueueId
    group: GroupId


class Workload:
    """``groups``: what Bootstrap tells the directory."""

    def __init__(
        self, world: World, court: Court, clients: list[Client], load: Load, groups: dict[GroupId, tuple[NodeId, ...]]
    ) -> None:
        self.queues: list[OpenQueue] = []
        self.ended = False
        """No new work is begun."""
        self._world = world
        self._court = court
        self._clients = clients
        self._load = load
        self._groups = groups
        self._chance = world.chance("workload")
        self._bodies = 0

    @property
    def idle(self) -> bool:
        return all(client.open == 0 for client in self._clients)

    def begin(self) -> None:
        self._spread([self._make_queues()])

    def drain(self) -> None:
        """Receive and delete until nothing is left in any queue."""
        self._spread([self._drain(queue) for queue in self.queues])

    def _spread(self, stories: list[Story]) -> None:
        for number, story in enumerate(stories):
            self._clients[number % len(self._clients)].tell(story)

    def _think(self) -> Pause:
        return Pause(int(self._chance.expovariate(1.0) * self._load.think) + 1)

    # --- stories

    def _make_queues(self) -> Story:
        nodes = tuple(
            directory.Node(node, Zone(f"zone-{node}"), f"{node}:1", f"{node}:2")
            for node in self._groups[DIRECTORY_GROUP]
        )
        groups = tuple(
            directory.Group(group, replicas, replicas[group % len(replicas)])
            for group, replicas in sorted(self._groups.items())
        )
        while (yield Change(DIRECTORY_GROUP, DIRECTORY, directory.Bootstrap(nodes, groups))) is None:
            pass
        for number in range(self._load.queues):
            yield from self._make_queue(f"{_PURGED if number == 3 else 'queue'}-{number}")
            if number == 0:
                self._spread(self._everyday())

    def _make_queue(self, name: str) -> Story:
        placed = None
        while type(placed) is not directory.Placed:
            placed = yield Change(DIRECTORY_GROUP, DIRECTORY, directory.PlaceResource("queue", name))
        resource = placed.resource
        attributes = model.QueueAttributes(visibility_timeout=Millis(self._load.visibility))
        queue = OpenQueue(name, QueueId(resource.id), resource.group)
        while (
            type((yield Change(queue.group, QUEUES, queues.CreateQueue(queue.id, name, attributes)))) is not queues.Done
        ):
            pass
        if name.startswith(_PURGED):
            self._court.conservation.excuse(name)
        self.queues.append(queue)
        yield Change(DIRECTORY_GROUP, DIRECTORY, directory.ActivateResource("queue", resource.id))

    def _everyday(self) -> list[Story]:
        load = self._load
        stories = [self._produce() for _ in range(load.producers)]
        stories += [self._consume() for _ in range(load.consumers)]
        stories += [self._count() for _ in range(load.counters)]
        return [*stories, self._find(), self._purge()]

    def _produce(self) -> Story:
        while not self.ended:
            queue = self._chance.choice(self.queues)
            bodies = [self._body() for _ in range(self._chance.randint(1, self._load.batch))]
            delays = None
            if self._chance.random() < 0.2:
                delays = tuple(self._chance.choice((0, 100, 1_500)) for _ in bodies)
            messages = [model.Message(body) for body in bodies]
            raw = msgspec.Raw(_encoder.encode(messages))
            send = queues.Send(queue.id, len(bodies), max(map(len, bodies)), delays, raw)
            self._court.conservation.sent(queue.name, bodies)
            self._court.reads.invoked(queue.name, len(bodies))
            reply = yield Change(queue.group, QUEUES, send)
            if type(reply) is queues.Sent:
                self._court.conservation.acknowledged(bodies, queue.group, reply.index)
                self._court.reads.acknowledged(queue.name, len(bodies))
            yield self._think()

    def _consume(self) -> Story:
        while not self.ended:
            queue = self._chance.choice(self.queues)
            visibility = self._chance.choice((None, None, Millis(200), Millis(2_000)))
            receive = queues.Receive(queue.id, self._chance.choice((1, 3, 10)), visibility)
            received = yield Change(queue.group, QUEUES, receive)
            if type(received) is Received and received.messages:
                yield from self._work_on(queue, received)
            else:
                yield self._think()

    def _work_on(self, queue: OpenQueue, received: Received) -> Story:
        handles = self._take(queue, received)
        yield Pause(self._chance.choice((1, 50, 400)) * MILLISECOND)
        fate = self._chance.random()
        if fate < 0.1:
            return  # the consumer dies: its messages come back when their visibility ends
        if fate < 0.3:
            timeouts = tuple(Millis(self._chance.choice((0, 0, 500, 3_000))) for _ in handles)
            yield Change(queue.group, QUEUES, queues.ChangeVisibility(queue.id, handles, timeouts))
            yield self._think()
            if fate < 0.2:
                return
        yield Change(queue.group, QUEUES, queues.Delete(queue.id, handles))

    def _take(self, queue: OpenQueue, received: Received) -> tuple[model.Handle, ...]:
        for delivery, body in received.messages:
            birth = (queue.group, delivery.index, delivery.slot)
            self._court.conservation.received(queue.name, body, birth)
        return tuple(model.Handle(d.index, d.slot, d.receipt) for d, _ in received.messages)

    def _count(self) -> Story:
        while not self.ended:
            queue = self._chance.choice(self.queues)
            yield from self._read_counts(queue)
            yield self._think()

    def _read_counts(self, queue: OpenQueue) -> Generator[Any, Any, model.Counts | None]:
        least = self._court.reads.begin(queue.name)
        counts = yield Read(queue.group, QUEUES, questions.CountsOf(queue.id))
        if type(counts) is not model.Counts:
            return None
        self._court.reads.end(queue.name, least, counts.sent_total, "a leader")
        return counts

    def _find(self) -> Story:
        while not self.ended:
            name = self._chance.choice(self.queues).name
            found = yield Read(DIRECTORY_GROUP, DIRECTORY, directory.FindResource("queue", name))
            self._court.placed(name, found)
            yield Pause(1 * SECOND)

    def _purge(self) -> Story:
        while not self.ended:
            yield Pause(int(self._chance.uniform(3, 10) * SECOND))
            for queue in self.queues:
                if queue.name.startswith(_PURGED):
                    yield Change(queue.group, QUEUES, queues.PurgeQueue(queue.id))

    def _drain(self, queue: OpenQueue) -> Story:
        while True:
            received = yield Change(queue.group, QUEUES, queues.Receive(queue.id, 1_000, Millis(60_000)))
            if type(received) is Received and received.messages:
                handles = self._take(queue, received)
                yield Change(queue.group, QUEUES, queues.Delete(queue.id, handles))
                continue
            counts = yield from self._read_counts(queue)
            if counts is not None and counts.visible + counts.in_flight + counts.delayed == 0:
                return
            yield Pause(200 * MILLISECOND)

    def _body(self) -> bytes:
        self._bodies += 1
        return b"message %d " % self._bodies + b"." * self._chance.randint(0, self._load.padding)
