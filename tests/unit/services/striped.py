"""A cluster of several nodes that lead its groups in turn, and queues spread over them."""

from __future__ import annotations

from itertools import count

from broker.base.ids import DIRECTORY_GROUP, GroupId
from broker.base.instants import Millis
from broker.domain.directory.commands import FindResource, Resource
from broker.domain.queues.model import Counts, Described
from broker.domain.queues.questions import AllQueues
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.outgoing import pack_bodies
from broker.services.striping import stripe_of_session
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon, started

_SESSIONS = [bytes([number]) * 16 for number in range(100)]
_numbers = count(1)


async def spread_cluster(nodes: int = 3, groups: int = 4) -> tuple[FakeCluster, dict[str, Services]]:
    """Group 1 is led by the first node, group 2 by the second, and so on in turn."""
    cluster = FakeCluster(nodes, groups)
    services = await started(cluster)
    lead_in_turn(cluster)
    return cluster, services


def lead_in_turn(cluster: FakeCluster) -> None:
    for group in cluster.groups:
        if group.id != DIRECTORY_GROUP:
            cluster.elect(group.id, cluster.nodes[(group.id - 1) % len(cluster.nodes)].id)


async def spread_queue(
    name: str = "orders", stripes: int = 4, changes: AttributeChanges | None = None, nodes: int = 3, groups: int = 4
) -> tuple[FakeCluster, dict[str, Services]]:
    cluster, services = await spread_cluster(nodes, groups)
    wanted = changes or AttributeChanges(stripes=stripes)
    await services["a-0"].queues.create(name, wanted, soon(cluster))
    return cluster, services


async def a_round(cluster: FakeCluster, services: dict[str, Services]) -> None:
    """Of every node's controller; leaderships stay in turn."""
    for each in services.values():
        await each.controller.round()
    lead_in_turn(cluster)


def place_of(cluster: FakeCluster, name: str = "orders") -> Resource:
    found = cluster.machines[DIRECTORY_GROUP].query("directory", FindResource("queue", name), cluster.clock.wall())
    assert isinstance(found, Resource), name
    return found


def held(cluster: FakeCluster, name: str = "orders") -> dict[GroupId, Counts]:
    """What each group that has the queue holds of it."""
    return {group: counts for group, _, counts in _everywhere(cluster, name)}


def told(cluster: FakeCluster, name: str = "orders") -> dict[GroupId, Described]:
    """What each group that has the queue knows of it."""
    return {group: described for group, described, _ in _everywhere(cluster, name)}


def visible(cluster: FakeCluster, name: str = "orders") -> dict[GroupId, int]:
    return {group: counts.visible for group, counts in held(cluster, name).items()}


def session_of(stripes: tuple[GroupId, ...], group: int) -> bytes:
    """A session whose batches go to that one of the stripes."""
    return next(session for session in _SESSIONS if stripe_of_session(stripes, session) == group)


async def send_into(cluster: FakeCluster, services: Services, group: int, *bodies: bytes) -> None:
    """One batch into one stripe of the queue "orders"."""
    request = RequestId(session_of(place_of(cluster).groups, group), next(_numbers))
    await services.queues.send("orders", pack_bodies(bodies), soon(cluster), request)


async def take_all(cluster: FakeCluster, services: Services, name: str = "orders") -> list[bytes]:
    """Bodies, in the order received, until the queue looks empty; they are deleted."""
    bodies: list[bytes] = []
    while True:
        answer = await services.queues.receive(name, 10, soon(cluster), Millis(0))
        if not answer.messages:
            return bodies
        bodies += [message.body for message in answer.messages]
        handles = [message.handle for message in answer.messages]
        assert await services.queues.delete_messages(name, handles, soon(cluster)) == ()


def _everywhere(cluster: FakeCluster, name: str) -> list[tuple[GroupId, Described, Counts]]:
    return [
        (group, described, counts)
        for group, machine in cluster.machines.items()
        if group != DIRECTORY_GROUP
        for described, counts in machine.query("queues", AllQueues(), cluster.clock.wall())
        if described.name == name
    ]
