"""ClusterService, health, reflection, metrics, and how the server opens and closes."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from broker.base.errors import BrokerError
from broker.base.ids import NodeId
from broker.base.instants import Millis
from broker.edge.grpc.errors import STATUS_BY_CODE
from broker.edge.grpc.server import GrpcServer, GrpcSettings
from broker.pb.cluster.v1 import cluster_pb2
from broker.pb.queues.v1 import queues_pb2
from broker.telemetry.metrics import Registry
from tests.conformance.grpc.serving import refusal, serving, until
from tests.unit.services.fake_groups import FakeCluster

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = (
    "",
    "broker.queues.v1.QueueService",
    "broker.cluster.v1.ClusterService",
    "broker.backup.v1.BackupService",
    "broker.identity.v1.AccessKeyService",
)


async def test_the_status_shows_nodes_groups_leaders_and_lag() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        await running.create()
        running.cluster.elect(2, "b-0")
        running.cluster.down = {NodeId("c-0")}
        running.cluster.lag[running.cluster.groups[1].id, NodeId("b-0")] = 1

        status = await running.doors["a-0"].cluster.GetStatus(cluster_pb2.GetStatusRequest())

        assert (status.cluster, status.answered_by) == ("test", "a-0")
        nodes = [(node.id, node.zone, node.client_address, node.reachable, node.leads) for node in status.nodes]
        assert nodes == [
            ("a-0", "a", "a-0:4001", True, 2),
            ("b-0", "b", "b-0:4001", True, 1),
            ("c-0", "c", "c-0:4001", False, 0),
        ]
        assert [(group.id, group.leader, group.resources) for group in status.groups] == [
            (0, "a-0", 0),
            (1, "a-0", 1),
            (2, "b-0", 0),
        ]
        assert [(replica.node, replica.lag) for replica in status.groups[1].replicas] == [
            ("a-0", 0),
            ("b-0", 1),
            ("c-0", 0),
        ]


async def test_a_queue_is_located_at_its_leaders_client_address() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        await running.create()
        running.cluster.elect(1, "c-0")
        for door in running.doors.values():
            place = await door.cluster.Locate(cluster_pb2.LocateRequest(kind="queue", name="orders"))
            assert (place.group, place.node, place.client_address) == (1, "c-0", "c-0:4001")


async def test_locating_what_is_not_there_or_has_no_leader() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        await running.create()
        locate = running.doors["a-0"].cluster.Locate
        status, info = await refusal(locate(cluster_pb2.LocateRequest(kind="queue", name="none")))
        assert (status, info.code) == (grpc.StatusCode.NOT_FOUND, "QueueNotFound")
        status, info = await refusal(locate(cluster_pb2.LocateRequest(kind="topic", name="orders")))
        assert (status, info.code) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument")
        running.cluster.elect(1, None)
        call = asyncio.ensure_future(refusal(locate(cluster_pb2.LocateRequest(kind="queue", name="orders"), timeout=5)))
        await asyncio.sleep(0.05)
        running.cluster.clock.advance(5_000)
        status, info = await call
        assert (status, info.code, info.retryable) == (grpc.StatusCode.UNAVAILABLE, "Unavailable", True)


async def test_handing_over_moves_every_leadership() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        response = await running.doors["a-0"].cluster.HandOver(cluster_pb2.HandOverRequest())
        assert (response.handed_over, response.kept) == (3, 0)
        assert "a-0" not in running.cluster.leaders.values()


async def test_health_is_serving_until_the_node_drains() -> None:
    async with serving() as running:
        stub = health_pb2_grpc.HealthStub(running.doors["a-0"].channel)
        for service in SERVICES:
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.Check(health_pb2.HealthCheckRequest(service="other"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICES[1]))
        assert (await watch.read()).status == SERVING
        draining = asyncio.ensure_future(running.doors["a-0"].server.drain(Millis(200)))
        assert (await watch.read()).status == NOT_SERVING
        await draining


async def test_reflection_lists_the_services_and_describes_them() -> None:
    async with serving() as running:
        stub = reflection_pb2_grpc.ServerReflectionStub(running.doors["a-0"].channel)
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="broker.queues.v1.ErrorInfo"),
        ]
        listed, described = [response async for response in stub.ServerReflectionInfo(iter(requests))]
        assert {service.name for service in listed.list_services_response.service} == {
            *SERVICES[1:],
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        assert len(described.file_descriptor_response.file_descriptor_proto) == 1


async def test_calls_are_counted_by_their_outcome() -> None:
    async with serving() as running:
        await running.create()
        await refusal(running.queues.DescribeQueue(queues_pb2.DescribeQueueRequest(name="none")))
        expected = {("CreateQueue", "OK"): 1, ("DescribeQueue", "QueueNotFound"): 1}
        await until(lambda: _counted(running.doors["a-0"].registry) == expected)


def _counted(registry: Registry) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for family in registry.copy():
        if family.name == "broker_grpc_calls":
            for values, value in family.values:
                labels = dict(zip(family.label_names, values, strict=True))
                found[labels["method"].rpartition("/")[2], labels["code"]] = value
    return found


async def test_a_busy_port_is_an_error_that_names_it() -> None:
    async with serving() as running:
        door = running.doors["a-0"]
        rival = GrpcServer(
            GrpcSettings(f"127.0.0.1:{door.server.port}"),
            door.services.queues,
            door.services.cluster,
            door.services.membership,
            door.services.backup,
            door.services.access_keys,
            door.registry.__class__(),
            None,  # type: ignore[arg-type]  # it never starts
            lambda *_: None,
            running.cluster.clock.pause,
            bytes,
        )
        with pytest.raises(OSError, match=str(door.server.port)):
            await rival.start()
        await rival.close()


def test_every_error_has_a_status_of_its_own_choosing() -> None:
    def codes(root: type[BrokerError]) -> set[str]:
        return {root.code}.union(
            *(codes(child) for child in root.__subclasses__() if child.__module__ == root.__module__)
        )

    assert codes(BrokerError) == set(STATUS_BY_CODE)
