"""Compares the directory with reality and closes the gap, one step at a time.

Runs on every node. Everywhere it keeps this node's entry and picture of the cluster current; on the directory's leader
it also gives a new cluster its first content, finishes creations and deletions that were interrupted, and tends what is
on its way to other groups; and each leader gives back what another node should lead. All steps may be repeated, and may
run on two nodes at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from broker.base.errors import BrokerError
from broker.base.ids import DIRECTORY_GROUP, NodeId
from broker.base.instants import SECOND, Millis, WallMillis
from broker.domain.directory.balance import next_transfer
from broker.domain.directory.commands import Bootstrap, Node, RegisterNode, Resource, TopologyAnswer, Unfinished
from broker.replication.groups import Groups, GroupStatus
from broker.services.cluster import ACCEPTS_METHOD, YES
from broker.services.directory import Directory
from broker.services.locating import Pause
from broker.services.topology import Topology

_logger = logging.getLogger(__name__)

Finish = Callable[[Resource, Millis], Awaitable[None]]
Tend = Callable[[WallMillis, Callable[[], Millis]], Awaitable[None]]


class ControllerSettings(msgspec.Struct, frozen=True):
    """Milliseconds. ``interval`` between two rounds, ``first_interval`` until the directory has content;
    ``unfinished_after``: how old a creation or deletion must be
    to count as interrupted; ``step_time``: what one step may take. ``lag``: entries that a replica may be behind to be
    given a leadership."""

    interval: Millis = Millis(2 * SECOND)
    first_interval: Millis = Millis(50)
    unfinished_after: Millis = Millis(10 * SECOND)
    step_time: Millis = Millis(5 * SECOND)
    lag: int = 1_000


class Controller:
    """``finish`` by kind of resource. ``tend``: one step with what is on its way to other groups. ``me``: this node as
    it should stand in the directory; ``nodes`` and ``groups``: the first content of a new cluster."""

    def __init__(
        self,
        groups: Groups,
        directory: Directory,
        topology: Topology,
        me: Node,
        finish: Mapping[str, Finish],
        tend: Tend,
        pause: Pause,
        settings: ControllerSettings,
    ) -> None:
        self._groups = groups
        self._directory = directory
        self._topology = topology
        self._me = me
        self._finish = finish
        self._tend = tend
        self._pause = pause
        self._settings = settings
        self._first_nodes = topology.nodes
        self._first_groups = topology.groups
        self._bootstrapped = False
        self.settled = False
        """This node has seen the directory with content: names can be looked up and placed."""

    async def run(self) -> None:
        """Until cancelled. A round that fails is logged and the next one tries again: the cluster may be in trouble."""
        while True:
            try:
                await self.round()
            except BrokerError as error:
                _logger.info("controller: %s", error)
            await self._pause(self._settings.interval if self.settled else self._settings.first_interval)

    async def round(self) -> None:
        """One look at everything. Raises BrokerError when the directory cannot be asked."""
        if self._groups.leads(DIRECTORY_GROUP):
            await self._lead_directory()
        topology = await self._directory.topology(self._deadline())
        self._topology.learn(topology)
        self.settled = self.settled or bool(topology.nodes)
        await self._register(topology)
        await self._give_back_one()
        await self._directory.follow(self._deadline())

    async def _register(self, topology: TopologyAnswer) -> None:
        """This node's addresses, if the directory has others."""
        known = next((node for node in topology.nodes if node.id == self._me.id), None)
        if known is None:
            if topology.nodes:
                _logger.warning("controller: %s is no member of the cluster (any more): it can be stopped", self._me.id)
        elif msgspec.structs.replace(self._me, duty=known.duty, successor=known.successor) != known:
            await self._directory.tell(RegisterNode(self._me), self._deadline())

    async def _lead_directory(self) -> None:
        if not self._bootstrapped:
            await self._directory.tell(Bootstrap(self._first_nodes, self._first_groups), self._deadline())
            self._bootstrapped = True
        before = WallMillis(self._groups.clock.wall() - self._settings.unfinished_after)
        for resource in await self._directory.unfinished(Unfinished(before), self._deadline()):
            finish = self._finish.get(resource.kind)
            if finish is None:
                _logger.error("controller: nobody here can finish a %s (%s)", resource.kind, resource.name)
                continue
            try:
                await finish(resource, self._deadline())
            except BrokerError as error:
                _logger.warning(
                    "controller: %s %s is still %s: %s", resource.kind, resource.name, resource.state, error
                )
        await self._tend(before, self._deadline)

    async def _give_back_one(self) -> None:
        """Hand one leadership to the replica that should have it, if that one is well and willing."""
        led = [status for status in self._groups.status() if self._groups.leads(status.group)]
        ready = {status.group: self._caught_up(status) for status in led}
        step = next_transfer(self._topology.groups, dict.fromkeys(ready, self._groups.me), ready)
        if step is None or not await self._accepts(step.taker):
            return
        if await self._groups.transfer(step.group, step.taker, self._settings.step_time):
            _logger.info("controller: gave the leadership of group %s back to %s", step.group, step.taker)

    def _caught_up(self, status: GroupStatus) -> list[NodeId]:
        nearly = status.last - self._settings.lag
        return [replica.node for replica in status.replicas if replica.connected and replica.matched >= nearly]

    async def _accepts(self, node: NodeId) -> bool:
        return await self._groups.call(node, ACCEPTS_METHOD, b"", self._settings.step_time) == YES

    def _deadline(self) -> Millis:
        return Millis(self._groups.clock.monotonic() + self._settings.step_time)
