"""The client's calls about the cluster's members: nodes that come and go, replicas that move, groups that are added.

Each is a wish that the cluster carries out by itself; ``status`` shows how far it is.
"""

from __future__ import annotations

from broker.client.calls import Calling
from broker.client.status import JoinedCluster, Member
from broker.pb.cluster.v1 import cluster_pb2


class Membership(Calling):
    async def add_node(self, node: Member) -> JoinedCluster:
        """The cluster expects the node from now on; what it must know of the cluster. The same again is fine.

        Raises InvalidArgument for another zone than it had, or an address that another node has.
        """
        response = await self._caller.call(
            lambda endpoint: endpoint.cluster.AddNode,
            cluster_pb2.AddNodeRequest(
                id=node.id,
                zone=node.zone,
                peer_address=node.peer_address,
                client_address=node.client_address,
                admin_address=node.admin_address,
            ),
        )
        members = (
            Member(each.id, each.zone, each.peer_address, each.client_address, each.admin_address)
            for each in response.nodes
        )
        return JoinedCluster(response.cluster, tuple(members))

    async def drain_node(self, node: str) -> None:
        """Its replicas go to other nodes, it gets none. Raises NodeNotFound; InvalidArgument without room for them."""
        await self._set_duty(node, "draining")

    async def resume_node(self, node: str) -> None:
        """It takes replicas again. Raises NodeNotFound."""
        await self._set_duty(node, "active")

    async def remove_node(self, node: str, successor: str | None = None) -> None:
        """Its replicas go to ``successor``, or where there is room; then the node is forgotten. It may be dead.

        Raises NodeNotFound; InvalidArgument without room, or for a successor that cannot be one.
        """
        await self._set_duty(node, "leaving", successor or "")

    async def move_replica(self, group: int, source: str, target: str) -> None:
        """Raises NodeNotFound, InvalidArgument, and Conflict while another replica is on its way."""
        request = cluster_pb2.MoveReplicaRequest(group=group, to=target, **{"from": source})
        await self._caller.call(lambda endpoint: endpoint.cluster.MoveReplica, request)

    async def balance(self) -> str:
        """Begin the next move that makes the nodes more even; what it is, or "" when they are. Raises Conflict."""
        response = await self._caller.call(lambda endpoint: endpoint.cluster.Balance, cluster_pb2.BalanceRequest())
        return response.begun

    async def transfer_leader(self, group: int, node: str) -> None:
        """The node should lead the group from now on. Raises InvalidArgument if it has no replica of it."""
        request = cluster_pb2.TransferLeaderRequest(group=group, to=node)
        await self._caller.call(lambda endpoint: endpoint.cluster.TransferLeader, request)

    async def add_groups(self, count: int) -> None:
        """Further data groups. Raises InvalidArgument for more than there can be."""
        await self._caller.call(lambda endpoint: endpoint.cluster.AddGroups, cluster_pb2.AddGroupsRequest(count=count))

    async def _set_duty(self, node: str, duty: str, successor: str = "") -> None:
        request = cluster_pb2.SetDutyRequest(node=node, duty=duty, successor=successor)
        await self._caller.call(lambda endpoint: endpoint.cluster.SetDuty, request)
