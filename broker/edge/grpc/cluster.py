"""ClusterService: who is in the cluster, who leads what, where to send a resource's calls, and handing over."""

from __future__ import annotations

from collections.abc import Mapping

from broker.base.addresses import split_address
from broker.base.errors import InvalidArgument, QueueNotFound
from broker.base.ids import GroupId, NodeId, Zone
from broker.base.instants import Millis
from broker.base.names import check_name
from broker.domain.directory.commands import ACTIVE_DUTY, DRAINING, LEAVING, Node
from broker.edge.grpc.calls import Unary
from broker.pb.cluster.v1 import cluster_pb2
from broker.replication.groups import GroupStatus
from broker.services.cluster import ClusterService, ClusterStatus, NodeStatus
from broker.services.membership import MembershipService

DEFAULT_HAND_OVER_TIMEOUT = Millis(5_000)


class ClusterCalls:
    def __init__(self, service: ClusterService, membership: MembershipService) -> None:
        self._service = service
        self._membership = membership

    def by_name(self) -> Mapping[str, Unary]:
        return {
            "GetStatus": self.status,
            "Locate": self.locate,
            "HandOver": self.hand_over,
            "AddNode": self.add_node,
            "SetDuty": self.set_duty,
            "MoveReplica": self.move_replica,
            "Balance": self.balance,
            "TransferLeader": self.transfer_leader,
            "AddGroups": self.add_groups,
        }

    async def status(self, _: cluster_pb2.GetStatusRequest, __: Millis) -> cluster_pb2.GetStatusResponse:
        found = await self._service.status()
        return cluster_pb2.GetStatusResponse(
            cluster=found.cluster,
            answered_by=found.answered_by,
            nodes=[_node(node, found.replicas.get(node.node.id, 0)) for node in found.nodes],
            groups=[_group(group, found) for group in found.groups],
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

    async def add_node(self, request: cluster_pb2.AddNodeRequest, deadline: Millis) -> cluster_pb2.AddNodeResponse:
        for what, name in (("node id", request.id), ("zone", request.zone)):
            check_name(what, name)
        for address in (request.peer_address, request.client_address):
            split_address(address)
        node = Node(
            NodeId(request.id),
            Zone(request.zone),
            request.peer_address,
            request.client_address,
            request.admin_address,
        )
        answer = await self._membership.add_node(node, deadline)
        return cluster_pb2.AddNodeResponse(
            cluster=self._membership.cluster,
            nodes=[
                cluster_pb2.Member(
                    id=each.id,
                    zone=each.zone,
                    peer_address=each.peer_address,
                    client_address=each.client_address,
                    admin_address=each.admin_address,
                )
                for each in answer.nodes
            ],
        )

    async def set_duty(self, request: cluster_pb2.SetDutyRequest, deadline: Millis) -> cluster_pb2.SetDutyResponse:
        node = NodeId(request.node)
        if request.successor and request.duty != LEAVING:
            raise InvalidArgument(f"a successor goes with duty {LEAVING!r}, not with {request.duty!r}")
        if request.duty == DRAINING:
            await self._membership.drain(node, deadline)
        elif request.duty == LEAVING:
            successor = NodeId(request.successor) if request.successor else None
            await self._membership.remove(node, successor, deadline)
        elif request.duty == ACTIVE_DUTY:
            await self._membership.resume(node, deadline)
        else:
            raise InvalidArgument(f"duty {request.duty!r} is none: use {ACTIVE_DUTY}, {DRAINING} or {LEAVING}")
        return cluster_pb2.SetDutyResponse()

    async def move_replica(
        self, request: cluster_pb2.MoveReplicaRequest, deadline: Millis
    ) -> cluster_pb2.MoveReplicaResponse:
        out, into = NodeId(getattr(request, "from")), NodeId(request.to)
        await self._membership.move(GroupId(request.group), out, into, deadline)
        return cluster_pb2.MoveReplicaResponse()

    async def balance(self, _: cluster_pb2.BalanceRequest, deadline: Millis) -> cluster_pb2.BalanceResponse:
        return cluster_pb2.BalanceResponse(begun=await self._membership.balance(deadline) or "")

    async def transfer_leader(
        self, request: cluster_pb2.TransferLeaderRequest, deadline: Millis
    ) -> cluster_pb2.TransferLeaderResponse:
        await self._membership.transfer_leader(GroupId(request.group), NodeId(request.to), deadline)
        return cluster_pb2.TransferLeaderResponse()

    async def add_groups(
        self, request: cluster_pb2.AddGroupsRequest, deadline: Millis
    ) -> cluster_pb2.AddGroupsResponse:
        await self._membership.add_groups(request.count, deadline)
        return cluster_pb2.AddGroupsResponse()


def _node(status: NodeStatus, replicas: int) -> cluster_pb2.Node:
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
        duty=node.duty,
        replicas=replicas,
        trouble=() if report is None else report.trouble,
    )


def _group(group: GroupStatus, found: ClusterStatus) -> cluster_pb2.Group:
    number = group.group
    missing = {node for other, node in found.missing if other == number}
    matched: dict[NodeId, int] = {
        replica.node: replica.matched for replica in group.replicas if replica.node not in missing
    }
    return cluster_pb2.Group(
        id=group.group,
        leader=group.leader or "",
        term=group.term,
        commit=group.commit,
        last=group.last,
        snapshot=group.snapshot,
        replicas=[
            cluster_pb2.Replica(
                node=node,
                matched=matched.get(node, 0),
                lag=max(0, group.last - matched.get(node, 0)),
                missing=node in missing,
            )
            for node in (*group.voters, *group.learners)
        ],
        resources=found.resources.get(number, 0),
        change=found.changes.get(number, ""),
    )
