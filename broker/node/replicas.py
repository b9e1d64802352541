"""The lower half of a node: disk, memory, replicas, engine and mesh, built and joined. Knows no service and no edge."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from pathlib import Path

from broker.aio.system_clock import microseconds
from broker.aio.tasks import TaskScope
from broker.base.addresses import split_address
from broker.base.errors import BrokerError
from broker.base.ids import DIRECTORY_GROUP, GroupId, NodeId, Zone
from broker.base.instants import Clock, Instant, Millis
from broker.base.trouble import Trouble
from broker.domain.directory.commands import Node, TopologyAnswer
from broker.domain.directory.healing import strays
from broker.domain.directory.machine import DirectoryMachine
from broker.domain.directory.placement import place
from broker.domain.identity.machine import IdentityMachine
from broker.domain.queues.machine import QueueMachine
from broker.machine.replicated import ReplicatedMachine
from broker.node.founding import Founding
from broker.node.memory import Memory
from broker.node.settings import NodeSettings
from broker.raft.types import RaftConfig
from broker.replication import inputs
from broker.replication.disk_duty import DiskSettings
from broker.replication.disk_room import ReserveSettings
from broker.replication.disk_watch import DiskWatchSettings
from broker.replication.engine import Engine, EngineSettings
from broker.replication.local_groups import LocalGroups
from broker.replication.node_core import NodeCore
from broker.replication.replica import ReplicaSettings
from broker.storage.disk import SystemDisk
from broker.storage.settings import StorageSettings
from broker.storage.store import Store
from broker.telemetry import logs
from broker.telemetry.metrics import Registry
from broker.transport.mesh import Mesh, MeshSettings, TlsSettings

FOUNDING_POLL_SECONDS = 0.05
_log = logs.get(__name__)

SILENCE_TIMEOUT = Millis(1_000)
"""A peer that says nothing for ten heartbeats is not waited for: calls under way to it fail and go elsewhere."""


def founding_topology(settings: NodeSettings) -> TopologyAnswer:
    """Nodes and groups (the directory's, and as many data groups as set) as the configuration says: the same on every
    founding node, so that all agree without asking."""
    nodes = tuple(
        Node(NodeId(peer.id), Zone(peer.zone), peer.peer_address, peer.client_address, peer.admin_address)
        for peer in settings.founders()
    )
    return TopologyAnswer(nodes, place(nodes, settings.groups + 1))


def machine_of(group: GroupId) -> ReplicatedMachine:
    """An empty machine with the rooms that live in ``group``."""
    if group == DIRECTORY_GROUP:
        return directory_group(DirectoryMachine())
    return ReplicatedMachine({"queues": QueueMachine()})


def directory_group(directory: DirectoryMachine) -> ReplicatedMachine:
    return ReplicatedMachine({"directory": directory, "identity": IdentityMachine()})


class Replicas:
    """Open: the disk is recovered, replicas stand ready. Started: they talk to their peers, and a node that belongs to
    no cluster yet founds one with them, or finds that there is one."""

    def __init__(
        self,
        settings: NodeSettings,
        clock: Clock,
        scope: TaskScope,
        registry: Registry,
        fail: Callable[[str, BaseException], None],
        trouble: Trouble,
    ) -> None:
        """Raises DataCorrupt, StorageLocked, InvalidArgument (a directory of another node or cluster), OSError."""
        self._settings = settings
        self._scope = scope
        me = NodeId(settings.node)
        storage = StorageSettings(segment_bytes=settings.segment_bytes, cache_bytes=settings.cache_bytes)
        disk = SystemDisk(Path(settings.data_dir), microseconds)
        self.store = Store(disk, storage, node=me, cluster=settings.cluster, keep_damaged=True)
        self._memory = Memory(disk, me, lambda: uuid.uuid4().hex, fail)
        self.known = self._memory.topology or founding_topology(settings)
        """The cluster as it was last seen, or as it is to be founded."""
        self.core = NodeCore(me, self.store, machine_of, _raft_config(settings), _replica_settings(settings), random)
        self.engine = Engine(self.core, self.store, clock, scope, _engine_settings(settings), fail, trouble)
        self.groups = LocalGroups(self.engine, self.store, registry)
        self.mesh = Mesh(
            cluster=settings.cluster,
            me=me,
            settings=_mesh_settings(settings),
            listener=self.engine,
            scope=scope,
            random=random,
            registry=registry,
            acquaintances=self._memory,
            life=self._memory.life,
        )
        self._founding = Founding(self._memory, self.groups, [NodeId(peer.id) for peer in settings.founders()])
        if self.store.groups() or settings.joins:
            if not self._memory.belongs:
                self._memory.belong({})
            for group in self.store.groups():
                self.core.open_group(group, self._replicas_of(group), Instant(clock.monotonic(), clock.wall()))

    async def start(self) -> None:
        """Raises OSError if the peer address cannot be bound."""
        self.mesh.set_peers(self._addresses(self.known))
        await self.mesh.start()
        self.engine.start(self.mesh)
        if not self._memory.belongs:
            self._scope.start(self._found(), name="found the cluster")

    def follow(self, topology: TopologyAnswer) -> None:
        """The cluster has this shape now."""
        self.known = topology
        self.mesh.set_peers({node.id: node.peer_address for node in topology.nodes})
        for stray in strays(topology, {self.core.me: [GroupId(group) for group in self.store.damaged]}):
            # Others are the group now, or nobody: what is left of the damaged replica here is of no use any more.
            self._scope.start(self.groups.drop(stray.group), name=f"forget damaged group {stray.group}")
        try:
            self._memory.remember(topology)
        except (BrokerError, OSError) as error:
            _log.warning("the shape of the cluster could not be written down", reason=str(error))

    @property
    def belongs(self) -> bool:
        """Whether this node is of a cluster that has been founded."""
        return self._memory.belongs

    @property
    def left(self) -> bool:
        """This node was a member of the cluster, and most of the others do not know it any more."""
        return self._memory.left(bool(self.groups.connected()))

    def stand_for_preferred(self) -> bool:
        """Campaign where this node should lead and nobody does: at start there is no reason to wait for a time-out.
        Whether there is such a group."""
        stood = False
        for group in self.known.groups:
            replica = self.core.replicas.get(group.id)
            if group.preferred_leader == self.core.me and replica is not None and replica.leader is None:
                self.engine.handle(inputs.Stand(group.id))
                stood = True
        return stood

    async def _found(self) -> None:
        decision = None
        while decision is None:
            decision = await self._founding.ask()
            if decision is None:
                await asyncio.sleep(FOUNDING_POLL_SECONDS)
        if decision == "found":
            for group in self.known.groups:
                if self.core.me in group.replicas:
                    self.core.open_group(group.id, group.replicas, self.engine.instant())
            await self.engine.synced()
        self._founding.conclude(decision)
        self._memory.remember(self.known)

    def _replicas_of(self, group: GroupId) -> tuple[NodeId, ...]:
        return next((each.replicas for each in self.known.groups if each.id == group), ())

    def _addresses(self, topology: TopologyAnswer) -> dict[NodeId, str]:
        """What is configured is newer than what is remembered of the same node, until the directory is heard."""
        addresses = {node.id: node.peer_address for node in topology.nodes}
        configured = {NodeId(peer.id): peer.peer_address for peer in self._settings.peers}
        return addresses | {node: address for node, address in configured.items() if node in addresses}

    async def close(self) -> None:
        await self.mesh.close()
        await self.engine.close()
        self.store.close()


def _raft_config(settings: NodeSettings) -> RaftConfig:
    return RaftConfig(
        heartbeat_interval=Millis(settings.heartbeat_ms),
        election_timeout_min=Millis(settings.election_timeout_ms),
        election_timeout_max=Millis(settings.election_timeout_ms * 12 // 7),
        lease_reads=settings.lease_reads,
    )


def _replica_settings(settings: NodeSettings) -> ReplicaSettings:
    return ReplicaSettings(
        snapshot_after_bytes=settings.snapshot_after_bytes, snapshot_after_entries=settings.snapshot_after_entries
    )


def _engine_settings(settings: NodeSettings) -> EngineSettings:
    reserve = ReserveSettings(settings.disk_reserve_percent, settings.disk_reserve_bytes)
    watch = DiskWatchSettings(slow=Millis(settings.disk_slow_ms), well=Millis(settings.disk_slow_ms // 2))
    return EngineSettings(
        fsync=settings.fsync,
        transfer_bytes_per_second=settings.transfer_bytes_per_second,
        disk=DiskSettings(reserve, watch),
    )


def _mesh_settings(settings: NodeSettings) -> MeshSettings:
    host, port = split_address(settings.peer_listen, lowest_port=0)
    tls = None
    if settings.tls_key:
        tls = TlsSettings(settings.tls_certificate, settings.tls_key, settings.tls_ca)
    return MeshSettings(host=host, port=port, tls=tls, silence_timeout=SILENCE_TIMEOUT)
