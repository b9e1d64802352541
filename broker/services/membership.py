"""Who belongs to the cluster and where replicas should be, as operators change it. The healer carries it out.

Everything here is told to the directory, and refused by it, before anything moves.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import Conflict, InvalidArgument, NodeNotFound
from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId
from broker.base.instants import SECOND, Millis, WallMillis
from broker.domain.directory import healing
from broker.domain.directory.commands import (
    ACTIVE_DUTY,
    DRAINING,
    LEAVING,
    AddGroups,
    AddNode,
    Change,
    Command,
    Node,
    PreferLeader,
    SetDuty,
    TopologyAnswer,
)
from broker.services.directory import Directory
from broker.services.healing import Healer
from broker.services.locating import Locator
from broker.services.orders import HandOverOrder, Orders
from broker.services.topology import Topology
from broker.services.use_cases import UseCase

ORDER_TIME = Millis(3 * SECOND)


class _Balance(msgspec.Struct, frozen=True, array_like=True):
    """Begin the next move that evens the nodes out. Answer: what it is in words, or None."""


class _Move(msgspec.Struct, frozen=True, array_like=True):
    """Begin this move. Answer: None."""

    group: GroupId
    out: NodeId
    into: NodeId


class MembershipService:
    def __init__(
        self, directory: Directory, locator: Locator, topology: Topology, healer: Healer, orders: Orders
    ) -> None:
        self._directory = directory
        self._locator = locator
        self._topology = topology
        self._healer = healer
        self._orders = orders
        self._balancing = UseCase("membership.balance", _Balance, str | None, self._balance_here)
        self._moving = UseCase("membership.move", _Move, str | None, self._move_here)
        locator.serve(self._balancing)
        locator.serve(self._moving)

    @property
    def cluster(self) -> str:
        return self._topology.cluster

    async def add_node(self, node: Node, deadline: Millis) -> TopologyAnswer:
        """The node is expected from now on; it gets replicas by moves, or when others are lost. Known already: its
        addresses are updated. Returns the cluster that it is to meet. Raises InvalidArgument for another zone than it
        had before, or an address that another node has."""
        for other in (await self._directory.topology(deadline)).nodes:
            if other.id != node.id and other.peer_address == node.peer_address:
                raise InvalidArgument(f"{node.peer_address} is the peer address of {other.id}: give {node.id} its own")
        await self._directory.tell(AddNode(node), deadline)
        answer = await self._directory.topology(deadline)
        self._topology.learn(answer)
        return answer

    async def drain(self, node: NodeId, deadline: Millis) -> None:
        """Its replicas go to other nodes, and it gets no new ones. Raises NodeNotFound; InvalidArgument if there is
        no other place for them."""
        await self._check_room(node, None, deadline)
        await self._tell(SetDuty(node, DRAINING), deadline)

    async def resume(self, node: NodeId, deadline: Millis) -> None:
        """It takes replicas again; those that have gone do not come back by themselves. Raises NodeNotFound."""
        await self._tell(SetDuty(node, ACTIVE_DUTY), deadline)

    async def remove(self, node: NodeId, successor: NodeId | None, deadline: Millis) -> None:
        """Its replicas go to ``successor``, or where there is room; then the cluster forgets the node, be it alive or
        not. Raises NodeNotFound; InvalidArgument if there is no place for them, or the successor cannot be one."""
        await self._check_room(node, successor, deadline)
        await self._tell(SetDuty(node, LEAVING, successor), deadline)

    async def move(self, group: GroupId, out: NodeId, into: NodeId, deadline: Millis) -> None:
        """Begin to move one replica. Raises NodeNotFound, InvalidArgument, Conflict while another one moves."""
        await self._locator.on_leader(DIRECTORY_GROUP, self._moving, _Move(group, out, into), deadline)

    async def balance(self, deadline: Millis) -> str | None:
        """Begin the next move that makes the nodes' numbers of replicas more even; what it is, or None: they are even.
        Raises Conflict while something else moves."""
        return await self._locator.on_leader(DIRECTORY_GROUP, self._balancing, _Balance(), deadline)

    async def transfer_leader(self, group: GroupId, to: NodeId, deadline: Millis) -> None:
        """``to`` should lead from now on, and is given the leadership at once if it can take it. Raises
        InvalidArgument for a node without a replica of the group."""
        await self._tell(PreferLeader(group, to), deadline)
        _, reality = await self._healer.gather()
        standing = reality.groups.get(group)
        if standing is not None and standing.leader != to:
            await self._orders.order(standing.leader, HandOverOrder(group, to), ORDER_TIME)

    async def add_groups(self, count: int, deadline: Millis) -> None:
        """Further data groups; they take queues as soon as they are formed. Raises InvalidArgument."""
        await self._tell(AddGroups(count), deadline)

    # --- inside

    async def _tell(self, command: Command, deadline: Millis) -> None:
        await self._directory.tell(command, deadline)
        self._topology.learn(await self._directory.topology(deadline))

    async def _check_room(self, node: NodeId, successor: NodeId | None, deadline: Millis) -> None:
        topology = await self._directory.topology(deadline)
        if all(each.id != node for each in topology.nodes):
            raise NodeNotFound(
                f"no node {node!r} in this cluster: it has {', '.join(each.id for each in topology.nodes)}"
            )
        if successor is not None:
            return  # the directory judges it
        stranded = healing.without_room(topology, node)
        if stranded:
            zone = next(each.zone for each in topology.nodes if each.id == node)
            raise InvalidArgument(
                f"{node} cannot go: groups {', '.join(map(str, stranded))} would have fewer replicas, as zone {zone} "
                "has no other active node, and the other zones have theirs already; add one with `broker node --join`"
            )

    async def _balance_here(self, _: GroupId, __: _Balance, ___: Millis) -> str | None:
        topology, reality = await self._healer.gather()
        self._check_still(topology)
        away = {node.id for node in topology.nodes} - set(reality.holds) - reality.silent
        leaderless = [str(group.id) for group in topology.groups if group.id not in reality.groups]
        if away or leaderless or healing.next_change(topology, reality) is not None:
            raise Conflict(
                f"the cluster is not at rest (nodes that do not answer: {', '.join(sorted(away)) or 'none'}; groups "
                f"without a leader: {', '.join(leaderless) or 'none'}): retry when it is whole"
            )
        found = healing.next_balancing(topology, reality)
        if found is None:
            return None
        group, change = found
        await self._healer.begin(group, change)
        return f"group {group}: {change.out} -> {change.into} ({change.reason})"

    async def _move_here(self, _: GroupId, move: _Move, __: Millis) -> str | None:
        topology, reality = await self._healer.gather()
        self._check_still(topology)
        if move.into not in reality.holds and any(node.id == move.into for node in topology.nodes):
            raise InvalidArgument(f"{move.into} does not answer, and cannot take a replica now: start it first")
        await self._healer.begin(move.group, Change(move.out, move.into, "asked for", WallMillis(0)))
        return None

    def _check_still(self, topology: TopologyAnswer) -> None:
        for group in topology.groups:
            if group.change is not None:
                raise Conflict(
                    f"a replica of group {group.id} is on its way ({group.change.reason}): one at a time, retry when "
                    "it has arrived"
                )
