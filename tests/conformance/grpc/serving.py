"""Real gRPC servers on loopback over a cluster in memory, and real stubs to call them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from broker.aio.tasks import TaskScope
from broker.base.instants import Millis
from broker.edge.grpc.server import GrpcServer, GrpcSettings
from broker.pb.cluster.v1 import cluster_pb2_grpc
from broker.pb.queues.v1 import queues_pb2, queues_pb2_grpc
from broker.pb.rpc.v1 import status_pb2
from broker.services.assembly import Services, ServiceSettings
from broker.telemetry.metrics import Registry
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import random_bytes, started

TIMEOUT = 20
"""Seconds after which a call of a test has hung."""


class Door:
    """One node's server and stubs connected to it."""

    def __init__(self, services: Services, server: GrpcServer, registry: Registry, channel: grpc.aio.Channel) -> None:
        self.services = services
        self.server = server
        self.registry = registry
        self.channel = channel
        self.queues: Any = queues_pb2_grpc.QueueServiceStub(channel)
        self.cluster: Any = cluster_pb2_grpc.ClusterServiceStub(channel)


class Running:
    def __init__(self, cluster: FakeCluster, doors: dict[str, Door]) -> None:
        self.cluster = cluster
        self.doors = doors
        self.failures: list[tuple[str, BaseException]] = []

    @property
    def queues(self) -> Any:
        return self.doors["a-0"].queues

    async def polls(self, count: int) -> None:
        """Returns when exactly so many long polls wait."""
        await until(lambda: self.cluster.waiting == count)

    async def create(self, name: str = "orders", **attributes: Any) -> None:
        given = queues_pb2.QueueAttributes(**attributes)
        await self.queues.CreateQueue(queues_pb2.CreateQueueRequest(name=name, attributes=given), timeout=TIMEOUT)

    async def send(self, *bodies: bytes, queue: str = "orders") -> queues_pb2.SendResponse:
        messages = [queues_pb2.OutgoingMessage(body=body) for body in bodies]
        response: queues_pb2.SendResponse = await self.queues.Send(
            queues_pb2.SendRequest(queue=queue, messages=messages), timeout=TIMEOUT
        )
        return response

    async def receive(
        self, count: int = 10, queue: str = "orders", **options: Any
    ) -> list[queues_pb2.DeliveredMessage]:
        response = await self.queues.Receive(
            queues_pb2.ReceiveRequest(queue=queue, max_messages=count, **options), timeout=TIMEOUT
        )
        return list(response.messages)

    async def counts(self, queue: str = "orders") -> queues_pb2.QueueCounts:
        response = await self.queues.DescribeQueue(queues_pb2.DescribeQueueRequest(name=queue), timeout=TIMEOUT)
        counts: queues_pb2.QueueCounts = response.queue.counts
        return counts


@asynccontextmanager
async def serving(
    cluster: FakeCluster | None = None, settings: ServiceSettings | None = None, couriers: bool = False
) -> AsyncIterator[Running]:
    """``couriers``: messages between groups are carried."""
    cluster = cluster or FakeCluster()
    running = Running(cluster, {})

    def fail(what: str, error: BaseException) -> None:
        running.failures.append((what, error))

    async with TaskScope("test", fail) as scope:
        for node, services in (await started(cluster, settings)).items():
            registry = Registry()
            server = GrpcServer(
                GrpcSettings("127.0.0.1:0", watched=False),  # a busy machine must not refuse what is tested
                services.queues,
                services.cluster,
                services.membership,
                services.backup,
                services.access_keys,
                registry,
                scope,
                fail,
                real_pause,
                random_bytes,
            )
            await server.start()
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
            running.doors[node] = Door(services, server, registry, channel)
            if couriers:
                services.courier.start(scope)
        try:
            yield running
        finally:
            for door in running.doors.values():
                await door.channel.close()
                await door.server.close()
    assert running.failures == []


async def real_pause(_: Millis) -> None:
    """Short, because the clock of these tests is not the system's."""
    await asyncio.sleep(0.001)


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, queues_pb2.ErrorInfo]:
    """The status that ``call`` ends with, and what its trailers tell, both ways of telling agreeing."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    error = refused.value
    trailers = dict(error.trailing_metadata() or ())
    info = queues_pb2.ErrorInfo.FromString(trailers["broker-error-bin"])
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.details[0].type_url == "type.googleapis.com/broker.queues.v1.ErrorInfo"
    assert queues_pb2.ErrorInfo.FromString(status.details[0].value) == info
    assert info.message == error.details() == status.message
    return error.code(), info


async def until(holds: Callable[[], bool]) -> None:
    """Lets everything else run until it is so."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            if holds():
                return
            await asyncio.sleep(0.001)
