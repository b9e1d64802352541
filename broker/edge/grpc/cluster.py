"""ClusterService: who is in the cluster, who leads what, where to send a resource's calls, and handing over."""

from __future__ import annotations

from collections.abc import Mapping

from broker.base.errors import QueueNotFound
from broker.base.ids import NodeId
from broker.base.instants import Millis
from broker.edge.grpc.calls import Unary
from broker.pb.cluster.v1 import cluster_pb2
from broker.replication.groups import GroupStatus
from broker.services.cluster import ClusterService, NodeStatus

DEFAULT_HAND_OVER_TIMEOUT = Millis(5_000)


class ClusterCalls:
    def __init__(self, service: ClusterService) -> None:
        self._service = service

    def by_name(self) -> Mapping[str, Unary]:
        return {"GetStatus": self.status, "Locate": self.locate, "HandOver": self.hand_over}

    async def status(self, _: cluster_pb2.GetStatusRequest, __: Millis) -> cluster_pb2.GetStatusResponse:
        found = await self._service.status()
        return cluster_pb2.GetStatusResponse(
            cluster=found.cluster,
            answered_by=found.answered_by,
            nodes=[_node(node) for node in found.nodes],
            groups=[_group(group, found.resources.get(group.group, 0)) for group in found.groups],
        )

    async def locate(self, request: cluster_pb2.LocateRequest, deadline: Millis) -> cluster_pb2.LocateResponse:
        place = await self._service.locate(request.kind, request.name, deadline, request.session)
        if place is None:
            raise QueueNotFound(f"{request.kind} {request.name!r} does not exist: create it first")
        return cluster_pb2.LocateResponse(
            group=place.group,
            node=place.node.id,
            client_address=place.node.client_address,
            spread=place.spread,
        )

    async def hand_over(self, request: cluster_pb2.HandOverRequest, deadline: Millis) -> cluster_pb2.HandOverResponse:
        timeout = Millis(request.timeout_ms) or DEFAULT_HAND_OVER_TIMEOUT
        until = min(deadline, Millis(self._service.clock.monotonic() + timeout))
        done = await self._service.hand_over(until)
        return cluster_pb2.HandOverResponse(handed_over=done.moved, kept=done.kept)


def _node(status: NodeStatus) -> cluster_pb2.Node:
    node, report = status.node, status.report
    return cluster_pb2.Node(
        id=node.id,
        zone=node.zone,
        client_address=node.client_address,
        admin_address=node.admin_address,
        reachable=report is not None,
        version="" if report is None else report.version,
        uptime_ms=0 if report is None else report.uptime,
        leads=status.leads,
    )


def _group(group: GroupStatus, resources: int) -> cluster_pb2.Group:
    matched: dict[NodeId, int] = {replica.node: replica.matched for replica in group.replicas}
    return cluster_pb2.Group(
        id=group.group,
        leader=group.leader or "",
        term=group.term,
        commit=group.commit,
        last=group.last,
        snapshot=group.snapshot,
        replicas=[
            cluster_pb2.Replica(node=node, matched=matched.get(node, 0), lag=max(0, group.last - matched.get(node, 0)))
            for node in group.voters
        ],
        resources=resources,
    )
