"""Stories about a whole cluster, told one sentence a line and played in virtual time.

A line that begins with # is for the reader. Every sentence is one verb, in ``verbs``; a sentence without a verb is a
mistake in the story.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.domain.queues import commands as queues
from broker.domain.queues import model
from broker.raft.types import RaftConfig
from broker.replication.replica import ReplicaSettings
from broker.services.carrying import CarryingSettings
from broker.storage.settings import StorageSettings
from tests.simulation import load, rates
from tests.simulation.client import Change, Client, Pause
from tests.simulation.client import Story as ClientStory
from tests.simulation.court import QUEUES, Received
from tests.simulation.healing import HealingSettings
from tests.simulation.node import SimulatedNode
from tests.simulation.run import Plan, Simulation
from tests.simulation.world import MILLISECOND, World

GROUP = GroupId(1)
QUEUE = QueueId(1)

_PLAN = Plan(
    rates=rates.Rates(),
    load=load.Load(),
    carrying=CarryingSettings(),
    healing=HealingSettings(),
    nodes=("a-0", "b-0", "c-0"),
    raft=RaftConfig(),
    replica=ReplicaSettings(snapshot_after_entries=50, keep_behind_snapshot=5),
    storage=StorageSettings(segment_bytes=65_536, cache_bytes=65_536),
    groups=2,
    duration=0,
)

_VERBS: list[tuple[re.Pattern[str], Callable[..., None]]] = []


def verb(sentence: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``{n}`` stands for a number."""
    pattern = re.compile(re.escape(sentence).replace(r"\{n\}", r"(\d+)") + r"\.")

    def register(act: Callable[..., None]) -> Callable[..., None]:
        _VERBS.append((pattern, act))
        return act

    return register


def play(path: Path) -> None:
    story = Story()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        sentence = line.strip()
        if not sentence or sentence.startswith("#"):
            continue
        for pattern, act in _VERBS:
            found = pattern.fullmatch(sentence)
            if found:
                try:
                    act(story, *map(int, found.groups()))
                except AssertionError as error:
                    raise AssertionError(f"{path.name}, line {number}: {sentence}\n{error}") from error
                break
        else:
            raise ValueError(f"{path.name}, line {number}: no verb for {sentence!r}")


class Story:
    """A calm cluster with one queue, ``QUEUE`` in ``GROUP``, and one client."""

    def __init__(self) -> None:
        self.world = World(seed=1)
        self.simulation = Simulation(self.world, _PLAN)
        self.nodes = self.simulation.nodes
        self.client: Client = self.simulation.clients[0]
        self.sent: list[bytes] = []
        self.acknowledged: set[bytes] = set()
        self.received: set[bytes] = set()
        for node in self.nodes:
            node.died = lambda node, led: None  # nobody restarts it but the story

    def pass_time(self, duration: int) -> None:
        """Microseconds."""
        self.world.run_until(self.world.now + duration)

    def leader(self) -> SimulatedNode:
        leaders = [node for node in self.nodes if node.up and node.running.replicas[GROUP].leads]
        assert len(leaders) == 1, f"leaders: {[node.name for node in leaders]}"
        return leaders[0]

    def tell(self, story: ClientStory, within: int) -> int:
        """Let the client do it; how long it took. ``within`` and the answer in milliseconds."""
        begun = self.world.now
        self.client.patient = True
        self.client.tell(story)
        while self.client.open and self.world.now < begun + within * MILLISECOND:
            self.pass_time(1 * MILLISECOND)
        return (self.world.now - begun) // MILLISECOND

    def create(self) -> ClientStory:
        attributes = model.QueueAttributes(visibility_timeout=Millis(60_000))
        yield Change(GROUP, QUEUES, queues.CreateQueue(QUEUE, "orders", attributes))

    def send(self, count: int) -> ClientStory:
        """One at a time."""
        for _ in range(count):
            body = b"message %d" % len(self.sent)
            self.sent.append(body)
            self.simulation.court.conservation.sent("orders", [body])
            raw = msgspec.Raw(msgspec.msgpack.encode([model.Message(body)]))
            reply = yield Change(GROUP, QUEUES, queues.Send(QUEUE, 1, len(body), None, raw))
            if type(reply) is queues.Sent:
                self.acknowledged.add(body)

    def receive(self) -> ClientStory:
        """Until the queue is empty."""
        while True:
            received = yield Change(GROUP, QUEUES, queues.Receive(QUEUE, 100))
            assert type(received) is Received
            if not received.messages:
                return
            for delivery, body in received.messages:
                birth = (GROUP, delivery.index, delivery.slot)
                self.simulation.court.conservation.received("orders", body, birth)
                assert body not in self.received, f"{body!r} was received twice"
                self.received.add(body)
            yield Pause(1 * MILLISECOND)
