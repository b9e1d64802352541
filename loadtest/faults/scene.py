"""What a fault's script works with: the cluster, an operator's client, and a record of what happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from broker.base.errors import BrokerError
from broker.client.client import Client
from broker.client.status import ClusterStatus
from loadtest.cluster import BrokerProcess, ClusterError
from loadtest.faults.traffic import Workload
from loadtest.faults.zones import ZonedCluster, lacks

_LOOK_EVERY_SECONDS = 0.1
_PATIENCE_SECONDS = 30.0


class Scene:
    """``notes``: what an operator would have seen. ``doubts``: what did not go as promised, beside messages."""

    def __init__(self, cluster: ZonedCluster, client: Client, workload: Workload, say: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.client = client
        self.workload = workload
        self.notes: list[str] = []
        self.doubts: list[str] = []
        self._say = say

    def note(self, what: str) -> None:
        self.notes.append(what)
        self._say(what)

    def doubt(self, what: str) -> None:
        self.doubts.append(what)
        self._say(f"[red]{what}[/]")

    async def leader(self) -> BrokerProcess:
        """Of the workload's first queue. Raises ClusterError when there is none for long."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    name = await self._leader_name()
                    if name:
                        return self.cluster.nodes[name]
                    await asyncio.sleep(_LOOK_EVERY_SECONDS)
        except TimeoutError:
            raise ClusterError(f"nobody leads {self.workload.queues[0]} for {_PATIENCE_SECONDS:g} s") from None

    async def follower(self) -> BrokerProcess:
        """Another node that holds a replica of the workload's first queue."""
        leader = (await self.leader()).id
        group = (await self.client.describe_queue(self.workload.queues[0])).group
        found = next(each for each in (await self.client.status()).groups if each.id == group)
        return next(self.cluster.nodes[each.node] for each in found.replicas if each.node != leader)

    async def leaders_zone(self) -> str:
        return self.cluster.places[(await self.leader()).id]

    async def back(self, node: BrokerProcess, *, seconds: float = 2.0) -> None:
        """After a fault that a node may or may not have ended by: starts it again if it did."""
        await asyncio.sleep(seconds)
        if node.pid is None:
            self.note(f"node {node.id} had stopped ({last_line(node)}); started again")
            await self.cluster.start_again(node)

    async def start_or_empty(self, node: BrokerProcess) -> None:
        """Starts a node on a directory that is not as it was. What it refuses to start on, an operator replaces by an
        empty one. Raises ClusterError when it does not start then either."""
        try:
            await self.cluster.start_again(node)
        except ClusterError:
            await self.cluster.kill(node)
            self.note(f"node {node.id} refused its directory ({last_line(node)}); started on an empty one")
            self.cluster.lose_data(node)
            await self.cluster.start_again(node)

    async def whole(self, seconds: float) -> str:
        """Waits until the cluster is whole, as ``broker status`` tells it; what it lacks when the time is up."""
        missing = "an answer to status"
        try:
            async with asyncio.timeout(seconds):
                while missing:
                    try:
                        missing = lacks(await self.client.status(), len(self.cluster.nodes))
                    except BrokerError as error:
                        missing = f"an answer to status: {error.code}"
                    if missing:
                        await asyncio.sleep(_LOOK_EVERY_SECONDS)
        except TimeoutError:
            pass
        return missing

    async def until(self, holds: Callable[[ClusterStatus], bool], seconds: float = 60.0) -> None:
        """Raises ClusterError when it does not in time."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    with contextlib.suppress(BrokerError):
                        if holds(await self.client.status()):
                            return
                    await asyncio.sleep(_LOOK_EVERY_SECONDS)
        except TimeoutError:
            raise ClusterError(f"the cluster was not as it should be within {seconds:g} s") from None

    async def _leader_name(self) -> str:
        try:
            return (await self.client.describe_queue(self.workload.queues[0])).leader
        except BrokerError:
            return ""


Script = Callable[[Scene], Coroutine[Any, Any, None]]


class Fault(msgspec.Struct, frozen=True):
    """``script`` breaks something and mends it. ``nodes``: of the cluster it needs, in three zones. ``volatile``,
    ``spares``, ``replace_dead_after``: as ZonedCluster takes them. ``changes``: afterwards the cluster has other nodes
    than before. ``control``: no broker can stand it, and a run that does not find it broken proves nothing; only run
    when it is named."""

    name: str
    what: str
    script: Script
    nodes: int = 3
    volatile: bool = False
    spares: tuple[str, ...] = ()
    replace_dead_after: float = 300.0
    changes: bool = False
    control: bool = False


def last_line(node: BrokerProcess) -> str:
    return node.last_words(1).strip()
