"""What the stories of all clients share: the queues there are, the time, chance, and bodies that are never the same."""

from __future__ import annotations

from typing import Any

from tests.simulation.client import Pause
from tests.simulation.court import Court, Received
from tests.simulation.load import Load, OpenQueue
from tests.simulation.world import World

POISON = b"poison "


class Scene:
    def __init__(self, world: World, court: Court, load: Load) -> None:
        self._world = world
        self.court = court
        self.load = load
        self.chance = world.chance("workload")
        self.queues: list[OpenQueue] = []
        self.ended = False
        """No new work is begun."""
        self._bodies = 0

    @property
    def now(self) -> int:
        return self._world.now

    def think(self) -> Pause:
        return Pause(int(self.chance.expovariate(1.0) * self.load.think) + 1)

    def sometimes(self, share: float) -> bool:
        return self.chance.random() < share

    def queue(self) -> OpenQueue:
        """Dead-letter queues are used less than others."""
        for _ in range(3):
            queue = self.chance.choice(self.queues)
            if not queue.plan.source:
                break
        return queue

    def body(self, queue: OpenQueue) -> bytes:
        self._bodies += 1
        mark = POISON if queue.poisoned and self.sometimes(0.4) else b""
        padding = 0 if queue.plan.small else self.chance.randint(0, self.load.padding)
        return b"message %d %s" % (self._bodies, mark) + b"." * padding

    def take(self, queue: OpenQueue, received: Received) -> list[tuple[Any, bytes]]:
        """What was delivered has been seen."""
        taken = []
        for delivery, body in received.messages:
            place = (queue.group, (delivery.index, delivery.slot))
            self.court.conservation.received(queue.name, body, place)
            taken.append((delivery, body or b""))
        return taken

    def sent_to(self, queue: OpenQueue) -> str:
        """What strong reads of how much was sent there are about."""
        return f"{queue.name} ({queue.id} in {queue.group})"
