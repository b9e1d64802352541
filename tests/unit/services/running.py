"""Services of the nodes of a fake cluster, assembled as a node assembles them, with a directory that knows them."""

from __future__ import annotations

from itertools import count

from broker.aio.tasks import TaskScope
from broker.base.ids import NodeId
from broker.base.instants import SECOND, Millis
from broker.base.trouble import Trouble
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services, ServiceSettings, assemble
from broker.telemetry.metrics import Registry
from tests.unit.services.fake_groups import FakeCluster

_counter = count(1)


def random_bytes(size: int) -> bytes:
    """Never the same twice in a test run, and the same in every run."""
    return next(_counter).to_bytes(size, "big")


def services_of(
    cluster: FakeCluster,
    node: str = "a-0",
    settings: ServiceSettings | None = None,
    registry: Registry | None = None,
) -> Services:
    return assemble(
        groups=cluster.on[NodeId(node)],
        cluster="test",
        me=next(each for each in cluster.nodes if each.id == node),
        nodes=cluster.nodes,
        first_groups=cluster.groups,
        version="1.2.3",
        pause=cluster.clock.pause,
        random_bytes=random_bytes,
        settings=settings or ServiceSettings(),
        registry=registry or Registry(),
        trouble=Trouble(),
        scope=TaskScope("calls", _fail),
    )


def _fail(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name} failed") from error


async def started(cluster: FakeCluster, settings: ServiceSettings | None = None) -> dict[str, Services]:
    """Every node's services, after the first round of the controllers."""
    found = {node.id: services_of(cluster, node.id, settings) for node in cluster.nodes}
    for services in found.values():
        await services.controller.round()
    return {str(node): services for node, services in found.items()}


async def one_node(cluster: FakeCluster | None = None, settings: ServiceSettings | None = None) -> Services:
    return (await started(cluster or FakeCluster(), settings))["a-0"]


async def with_queue(
    name: str = "orders", changes: AttributeChanges | None = None, cluster: FakeCluster | None = None
) -> tuple[FakeCluster, Services]:
    cluster = cluster or FakeCluster()
    services = await one_node(cluster)
    await services.queues.create(name, changes or AttributeChanges(), soon(cluster))
    return cluster, services


def soon(cluster: FakeCluster, seconds: int = 30) -> Millis:
    return Millis(cluster.clock.monotonic() + seconds * SECOND)
