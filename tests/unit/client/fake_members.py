"""The membership calls of the fake broker: each wish is noted, shows as under way once, and is then fulfilled."""
# ruff: noqa: N802  (the methods have the names of the API)

from __future__ import annotations

from typing import Any

from broker.base.errors import BrokerError, NodeNotFound
from broker.pb.cluster.v1 import cluster_pb2
from tests.unit.client.fake_refusal import refuse


class Members:
    """What the fake cluster knows of its nodes beside their addresses."""

    def __init__(self) -> None:
        self.wishes: list[str] = []
        self.refusals: list[BrokerError] = []
        """Answers to the next wishes, which come to nothing."""
        self.gone: set[str] = set()
        self.duties: dict[str, str] = {}
        self.balancing: list[str] = []
        """Moves that are still to be made until the nodes are even."""
        self.groups = 1
        self.leader = "a-0"
        self.trouble: dict[str, list[str]] = {}
        self.finishes = True
        """What is under way is told once, and done then; otherwise it is told for ever."""
        self._under_way = ""

    def wish(self, words: str, change: str = "") -> None:
        self.wishes.append(words)
        self._under_way = change

    def change(self) -> str:
        words = self._under_way
        if self.finishes:
            self._under_way = ""
        return words

    def replicas(self, node: str) -> int:
        return 0 if self.duties.get(node) in ("draining", "leaving") else 1


class FakeMemberCalls:
    cluster: Any

    async def _wish(self, context: Any, words: str, change: str = "") -> Members:
        members: Members = self.cluster.members
        if members.refusals:
            await refuse(context, members.refusals.pop(0))
        members.wish(words, change)
        return members

    async def AddNode(self, request: cluster_pb2.AddNodeRequest, context: Any) -> cluster_pb2.AddNodeResponse:
        await self._wish(context, f"add {request.id} in {request.zone} at {request.peer_address}")
        nodes = [cluster_pb2.Member(id="a-0", zone="a", peer_address="h:1", client_address="h:2", admin_address="h:3")]
        return cluster_pb2.AddNodeResponse(cluster="fake", nodes=nodes)

    async def SetDuty(self, request: cluster_pb2.SetDutyRequest, context: Any) -> cluster_pb2.SetDutyResponse:
        if request.node not in [node.name for node in self.cluster.nodes]:
            await refuse(context, NodeNotFound(f"no node {request.node!r} in this cluster"))
        words = f"{request.node} {request.duty} {request.successor}".strip()
        members = await self._wish(context, words, f"{request.node} -> a-1: {request.node} is {request.duty}")
        members.duties[request.node] = request.duty
        if request.duty == "leaving":
            members.gone.add(request.node)
        return cluster_pb2.SetDutyResponse()

    async def MoveReplica(
        self, request: cluster_pb2.MoveReplicaRequest, context: Any
    ) -> cluster_pb2.MoveReplicaResponse:
        source = getattr(request, "from")
        await self._wish(context, f"move {request.group} {source} {request.to}", f"{source} -> {request.to}: asked for")
        return cluster_pb2.MoveReplicaResponse()

    async def Balance(self, request: cluster_pb2.BalanceRequest, context: Any) -> cluster_pb2.BalanceResponse:
        members = await self._wish(context, "balance")
        begun = members.balancing.pop(0) if members.balancing else ""
        return cluster_pb2.BalanceResponse(begun=begun)

    async def TransferLeader(
        self, request: cluster_pb2.TransferLeaderRequest, context: Any
    ) -> cluster_pb2.TransferLeaderResponse:
        members = await self._wish(context, f"lead {request.group} {request.to}")
        members.leader = request.to
        return cluster_pb2.TransferLeaderResponse()

    async def AddGroups(self, request: cluster_pb2.AddGroupsRequest, context: Any) -> cluster_pb2.AddGroupsResponse:
        members = await self._wish(context, f"groups {request.count}", "forming")
        members.groups += request.count
        return cluster_pb2.AddGroupsResponse()
