"""A cluster whose couriers run, with queues that a test makes, fills and empties by commands to their machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId, QueueId
from broker.base.instants import Millis
from broker.domain.directory.commands import ActivateResource, PlaceResource, TopologyAnswer
from broker.domain.queues.commands import CreateQueue, Deliveries, Receive, Send
from broker.domain.queues.model import Counts, Message, QueueAttributes, RedrivePolicy, Target
from broker.domain.queues.questions import AttributesOf, CountsOf, Leaving
from broker.services.assembly import Services
from broker.services.contents import Contents
from broker.telemetry.metrics import Registry, render
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import services_of

_encode = msgspec.msgpack.Encoder().encode


class Yard:
    def __init__(self, cluster: FakeCluster, nodes: dict[NodeId, Services], registries: dict[NodeId, Registry]) -> None:
        self.cluster = cluster
        self.nodes = nodes
        self._registries = registries

    def make(
        self,
        name: str,
        group: int,
        dead_letters_to: Target | None = None,
        after: int = 1,
        attributes: QueueAttributes | None = None,
        groups: tuple[int, ...] = (),
    ) -> Target:
        """A queue in ``group``, unknown to the directory. Its messages are visible again as soon as received."""
        attributes = attributes or QueueAttributes(visibility_timeout=Millis(0))
        if dead_letters_to is not None:
            redrive = RedrivePolicy(dead_letters_to.name, after)
            attributes = msgspec.structs.replace(attributes, redrive=redrive)
        queue = QueueId(sum(name.encode()) * 100 + group if not groups else sum(name.encode()))
        stripes = tuple(map(GroupId, groups or (group,)))
        for each in stripes:
            self.tell(each, CreateQueue(queue, name, attributes, stripes, dead_letters_to))
        return Target(name, queue, stripes)

    def list_in_directory(self, name: str) -> Target:
        """A queue made where the directory says that it should be."""
        placed = self.cluster.apply_command(DIRECTORY_GROUP, "directory", PlaceResource("queue", name)).reply
        self.cluster.apply_command(DIRECTORY_GROUP, "directory", ActivateResource("queue", placed.resource.id))
        queue = QueueId(placed.resource.id)
        attributes = QueueAttributes(visibility_timeout=Millis(0))
        self.tell(placed.resource.group, CreateQueue(queue, name, attributes, placed.resource.groups))
        return Target(name, queue, placed.resource.groups)

    def tell(self, group: int, command: msgspec.Struct) -> object:
        return self.cluster.apply_command(GroupId(group), "queues", command).reply

    def send(
        self,
        queue: Target,
        bodies: Sequence[bytes],
        message_groups: tuple[str, ...] | None = None,
        group: GroupId | None = None,
        messages: Sequence[Message] | None = None,
    ) -> None:
        found = list(messages or map(Message, bodies))
        raw = msgspec.Raw(_encode(found))
        ids = None if message_groups is None else tuple(body.decode() for body in bodies)
        largest = max(message.size() for message in found)
        self.tell(group or queue.groups[0], Send(queue.id, len(found), largest, None, raw, message_groups, ids))

    def receive(self, queue: Target, group: GroupId | None = None, limit: int = 100) -> list[Message]:
        """What is handed out, and with it what has left for the dead-letter queue instead has left."""
        at = group or queue.groups[0]
        deliveries = self.tell(at, Receive(queue.id, limit))
        assert isinstance(deliveries, Deliveries)
        contents = Contents(next(iter(self.cluster.on.values())))
        found = []
        for each in deliveries.deliveries:
            content = contents.of_entry(at, each.index)
            assert content is not None
            found.append(content.messages[each.slot])
        return found

    def kill(self, queue: Target, group: GroupId | None = None) -> None:
        """Receive everything once more than the queue allows."""
        for _ in range(2):
            self.receive(queue, group)

    def counts(self, queue: Target, group: GroupId | None = None) -> Counts:
        found = self._ask(group or queue.groups[0], CountsOf(queue.id))
        assert isinstance(found, Counts)
        return found

    def described(self, queue: Target) -> object:
        return self._ask(queue.groups[0], AttributesOf(queue.id))

    def leaving(self, group: int) -> int:
        """Messages in the outbox."""
        found = self._ask(GroupId(group), Leaving(0, 100_000))
        assert isinstance(found, tuple)
        return len(found)

    async def metrics(self, node: str) -> str:
        """Of the courier, as the node tells them."""
        text = (await render(self._registries[NodeId(node)])).decode()
        lines = [line for line in text.splitlines() if line.startswith(("broker_courier_", "broker_outbox_"))]
        return "\n".join(line for line in lines if "_created" not in line)

    async def carried(self) -> None:
        """Returns when all outboxes are empty."""
        await self.until(lambda: not any(self.leaving(group.id) for group in self.cluster.groups if group.id))

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(20_000):
            if holds():
                return
            await asyncio.sleep(0)
        raise AssertionError("it never came to be")

    def _ask(self, group: GroupId, question: msgspec.Struct) -> object:
        return self.cluster.machines[group].query("queues", question, self.cluster.clock.wall())


@asynccontextmanager
async def yard(late: GroupId | None = None) -> AsyncIterator[Yard]:
    """Three nodes and groups: group k is led by the k-th node, the directory by the first. ``late``: a group that is
    not known when the couriers start, and neither is there any replica then."""
    cluster = FakeCluster(nodes=3, groups=3)
    groups, replicas = cluster.groups, cluster.replicas
    if late is not None:
        cluster.groups = tuple(group for group in groups if group.id != late)
        cluster.replicas = {(group, node) for group, node in replicas if group == DIRECTORY_GROUP}
    registries = {node.id: Registry() for node in cluster.nodes}
    services = {node: services_of(cluster, node, registry=registry) for node, registry in registries.items()}
    for each in services.values():
        await each.controller.round()
    for group, leader in enumerate(cluster.nodes, 1):
        cluster.elect(group, leader.id)
    failures: list[BaseException] = []
    async with TaskScope("couriers", lambda _, error: failures.append(error)) as scope:
        for each in services.values():
            each.courier.start(scope)
        cluster.groups, cluster.replicas = groups, replicas
        for each in services.values():
            each.topology.learn(TopologyAnswer(cluster.nodes, groups))
        await cluster.polls(len(services))
        yield Yard(cluster, services, registries)
    assert failures == []
