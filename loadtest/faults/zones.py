"""A cluster under test: node processes in the zones of a network, which can be stopped, broken and started again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from broker.client.status import ClusterStatus
from broker.node.settings import NodeSettings, PeerSettings
from loadtest.cluster import BrokerProcess, ClusterError, wait_ready
from loadtest.faults import orders
from loadtest.faults.links import ALL_SOUND, CLIENTS, Links
from loadtest.faults.network import Network
from loadtest.faults.node import PROGRAM

ZONES = ("a", "b", "c")
CLIENT_PORT, PEER_PORT, ADMIN_PORT, AWS_PORT = 24_001, 24_101, 24_201, 24_301
SEEN_PORTS = (CLIENT_PORT, PEER_PORT, AWS_PORT)
"""On which nodes are reached from elsewhere."""
GROUPS = 6
MIB = 1024 * 1024
_END_SECONDS = 10.0
_START_SECONDS = 90.0
"""Six nodes on a machine that has more to do."""


class ZonedCluster:
    """``spares``: names of nodes that have a place and are not started. ``volatile``: disks forget what was not synced
    when a node is killed. To be used as ``start`` and, in any case, ``stop``."""

    def __init__(
        self,
        network: Network,
        folder: Path,
        nodes: int,
        volatile: bool = False,
        spares: Sequence[str] = (),
        replace_dead_after: float = 300.0,
    ) -> None:
        """``nodes``: in all, spread evenly over the zones. ``replace_dead_after``: seconds."""
        names = [f"{ZONES[each % len(ZONES)]}-{each // len(ZONES)}" for each in range(nodes)]
        self._network = network
        self._folder = folder
        self._volatile = volatile
        self._replace_dead_after = replace_dead_after
        self.founders = sorted(names)
        self.places = {name: name.partition("-")[0] for name in sorted([*names, *spares])}
        self.nodes: dict[str, BrokerProcess] = {}
        self._orders: dict[str, orders.Orders] = {}

    @property
    def addresses(self) -> str:
        return ",".join(f"{self._network.seen(name)}:{CLIENT_PORT}" for name in self.founders)

    @property
    def aws_addresses(self) -> list[str]:
        return [f"{self._network.seen(name)}:{AWS_PORT}" for name in self.founders]

    @property
    def zones(self) -> tuple[str, ...]:
        return ZONES

    def others(self, zone: str) -> list[str]:
        """Every other place: the other zones and the clients."""
        return [*(each for each in ZONES if each != zone), CLIENTS]

    def of_zone(self, zone: str) -> list[BrokerProcess]:
        return [node for name, node in self.nodes.items() if self.places[name] == zone]

    async def start(self) -> None:
        """Raises NetworkError, ClusterError."""
        self._network.open(self.places)
        self._folder.mkdir(parents=True)
        for name in self.founders:
            self.nodes[name] = self._process(name)
            self.order(self.nodes[name], volatile=self._volatile)
            self.nodes[name].start()
        await asyncio.gather(*(wait_ready(node, _START_SECONDS) for node in self.nodes.values()))

    async def stop(self) -> None:
        """Kills what runs and removes the network; the folder stays."""
        for node in self.nodes.values():
            node.kill()
        await asyncio.gather(*(node.ended(_END_SECONDS) for node in self.nodes.values()))
        self._network.close()

    def shape(self, links: Links = ALL_SOUND) -> None:
        self._network.shape(links)

    def order(self, node: BrokerProcess, **changes: Any) -> None:
        """Changes what ``node`` suffers from, as ``Orders`` tells."""
        now = msgspec.structs.replace(self._orders.get(node.id, orders.NOTHING), **changes)
        self._orders[node.id] = now
        orders.give(node.config, now)

    async def kill(self, *nodes: BrokerProcess) -> None:
        """SIGKILL, all at once; returns when they are gone."""
        for node in nodes:
            node.kill()
        await asyncio.gather(*(node.ended(_END_SECONDS) for node in nodes))

    async def start_again(self, *nodes: BrokerProcess) -> None:
        """Returns when they are ready. Raises ClusterError."""
        for node in nodes:
            node.start()
        await asyncio.gather(*(wait_ready(node, _START_SECONDS) for node in nodes))

    async def join(self, name: str) -> BrokerProcess:
        """Starts a spare node on an empty directory, which joins those that run; returns when it is ready."""
        node = self.nodes[name] = self._process(name, self.addresses)
        node.start()
        await wait_ready(node, _START_SECONDS)
        return node

    async def part_with(self, node: BrokerProcess) -> None:
        """Ends a node that the cluster has forgotten, and forgets it too; it is a spare then."""
        await self.kill(node)
        self.lose_data(node)
        del self.nodes[node.id]

    def pause(self, node: BrokerProcess) -> None:
        self._signal(node, signal.SIGSTOP)

    def go_on(self, node: BrokerProcess) -> None:
        self._signal(node, signal.SIGCONT)

    def data(self, node: BrokerProcess) -> Path:
        return Path(node.settings.data_dir)

    def lose_data(self, node: BrokerProcess) -> None:
        shutil.rmtree(self.data(node))

    def _signal(self, node: BrokerProcess, number: signal.Signals) -> None:
        if node.pid is None:
            raise ClusterError(f"node {node.id} does not run:\n{node.last_words()}")
        os.kill(node.pid, number)

    def _process(self, name: str, join: str = "") -> BrokerProcess:
        program = (*PROGRAM, *self._network.arguments(name))
        return BrokerProcess(self._settings(name, join), self._folder, program, self._network.prefix(name))

    def _settings(self, name: str, join: str) -> NodeSettings:
        """Small segments and early snapshots: what takes hours elsewhere is to happen within a minute."""
        own, seen = self._network.own(name), self._network.seen(name)
        return NodeSettings(
            node=name,
            zone=self.places[name],
            cluster="faults",
            data_dir=str(self._folder / name),
            client_listen=f"{own}:{CLIENT_PORT}",
            peer_listen=f"{own}:{PEER_PORT}",
            admin_listen=f"{own}:{ADMIN_PORT}",
            aws_listen=f"{own}:{AWS_PORT}",
            development=True,
            advertise_client=f"{seen}:{CLIENT_PORT}",
            advertise_peer=f"{seen}:{PEER_PORT}",
            groups=GROUPS,
            join=join,
            peers=() if join else tuple(self._peer(founder) for founder in self.founders),
            replace_dead_after_ms=round(self._replace_dead_after * 1_000),
            log_format="human",
            segment_bytes=MIB // 4,
            snapshot_after_bytes=4 * MIB,
            snapshot_after_entries=2_000,
        )

    def _peer(self, name: str) -> PeerSettings:
        seen, own = self._network.seen(name), self._network.own(name)
        addresses = f"{seen}:{PEER_PORT}", f"{seen}:{CLIENT_PORT}", f"{own}:{ADMIN_PORT}"
        return PeerSettings(name, self.places[name], *addresses)


def lacks(status: ClusterStatus, nodes: int, replicas: int = 3, lag: int = 200) -> str:
    """What a cluster of so many nodes still lacks to be whole; empty when it is. ``lag``: entries that a replica may be
    behind while clients are at work."""
    silent = [node.id for node in status.nodes if not node.reachable]
    if silent or len(status.nodes) < nodes:
        return f"nodes that answer: {', '.join(silent) or f'only {len(status.nodes)} are known'} do not"
    for group in status.groups:
        if not group.leader:
            return f"a leader of group {group.id}"
        if len(group.replicas) < min(replicas, nodes):
            return f"replicas of group {group.id}: it has {len(group.replicas)}"
        if group.change:
            return f"the end of a change of group {group.id}: {group.change}"
        for replica in group.replicas:
            if replica.missing:
                return f"the replica of group {group.id} on node {replica.node}"
            if replica.lag > lag:
                return f"entries of group {group.id} on node {replica.node}: it is {replica.lag} behind"
    return ""
