"""The replicas of this node, as services see them: implements groups.Groups on the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import msgspec

from broker.aio.system_clock import microseconds
from broker.base.errors import BackupExpired, DataCorrupt, DeadlineExceeded, Unavailable
from broker.base.ids import GroupId, Index, NodeId
from broker.base.instants import Clock, Millis
from broker.machine import envelope
from broker.machine.envelope import Envelope, RequestId
from broker.raft.types import Membership, Role
from broker.replication import inputs
from broker.replication.captures import CapturedPart
from broker.replication.engine import Engine
from broker.replication.groups import CallHandler, GroupStatus, ReplicaStatus
from broker.replication.replica import Replica
from broker.storage.damage import Damaged
from broker.storage.store import Store
from broker.telemetry.metrics import Histogram, Registry

_encoder = msgspec.msgpack.Encoder()


class LocalGroups:
    def __init__(self, engine: Engine, store: Store, registry: Registry) -> None:
        self._engine = engine
        self._store = store
        self._registry = registry
        self._commit_times: dict[GroupId, Histogram] = {}

    @property
    def me(self) -> NodeId:
        return self._engine.core.me

    @property
    def clock(self) -> Clock:
        """The cluster's time."""
        return self._engine.clock

    async def propose(
        self, group: GroupId, room: str, command: msgspec.Struct, timeout: Millis, request: RequestId | None = None
    ) -> Any:
        at = self._engine.clock.wall()
        data = envelope.encode(Envelope(at, room, request, msgspec.Raw(_encoder.encode(command))))
        started = microseconds()
        reply = await self._engine.submit(lambda token: inputs.Proposal(group, data, token), len(data), timeout)
        self._commit_time(group).observe(microseconds() - started)
        return reply

    async def query(self, group: GroupId, room: str, question: Any, timeout: Millis) -> Any:
        return await self._engine.submit(lambda token: inputs.Query(group, room, question, token), 0, timeout)

    def peek(self, group: GroupId, room: str, question: Any) -> Any:
        return self._leading(group).machine.query(room, question, self._engine.clock.wall())

    def replay(self, group: GroupId, session: bytes, after: int) -> list[tuple[int, Any]]:
        return self._leading(group).machine.replay(session, after)

    def read_entry(self, group: GroupId, index: Index) -> bytes | None:
        if group not in self._engine.core.replicas:
            raise self._engine.core.not_leader(group)
        try:
            entry = self._store.read_one(group, index)
        except DataCorrupt as error:
            self._engine.damage_found(group, error)
            raise self._engine.core.not_leader(group) from error
        return None if entry is None else entry.data

    def expect_room(self, group: GroupId) -> None:
        self._engine.disk.expect_room(group, self._leading(group).raft.membership.voters)

    @property
    def fit_to_lead(self) -> bool:
        return self._engine.disk.fit_to_lead

    async def woken(self, group: GroupId, key: tuple[str, int], timeout: Millis) -> bool:
        self._leading(group)
        return await self._engine.wait_for_key(group, key, timeout)

    def holds(self, group: GroupId) -> bool:
        return group in self._engine.core.replicas

    def leads(self, group: GroupId) -> bool:
        replica = self._engine.core.replicas.get(group)
        return replica is not None and replica.leads

    async def led(self, group: GroupId) -> None:
        while not self.leads(group):
            await self._engine.leader_changed(group)

    def leader_of(self, group: GroupId) -> NodeId | None:
        replica = self._engine.core.replicas.get(group)
        if replica is None or (replica.leader == self.me and not replica.leads):
            return None
        return replica.leader

    async def leader_known(self, group: GroupId, timeout: Millis) -> NodeId | None:
        if group not in self._engine.core.replicas:
            return None
        try:
            async with asyncio.timeout(timeout / 1000):
                while (leader := self.leader_of(group)) is None:
                    await self._engine.leader_changed(group)
                return leader
        except TimeoutError:
            return None

    async def transfer(self, group: GroupId, to: NodeId, timeout: Millis) -> bool:
        self._leading(group)
        self._engine.handle(inputs.Transfer(group, to))
        try:
            async with asyncio.timeout(timeout / 1000):
                while self.leader_of(group) != to:
                    if to not in self.connected() or group not in self._engine.core.replicas:
                        return False
                    await self._engine.leader_changed(group)
                return True
        except TimeoutError:
            return False

    async def open(self, group: GroupId, voters: tuple[NodeId, ...]) -> None:
        if group not in self._engine.core.replicas:
            await self._engine.open_group(group, voters)

    async def drop(self, group: GroupId) -> None:
        await self._engine.close_group(group)

    def reconfigure(self, group: GroupId, voters: tuple[NodeId, ...], learners: tuple[NodeId, ...]) -> None:
        self._leading(group)
        self._engine.handle(inputs.Reconfigure(group, Membership(voters, (), learners)))

    async def read_captured(self, group: GroupId, backup: bytes, part: int) -> CapturedPart:
        replica = self._engine.core.replicas.get(group)
        capture = None if replica is None else replica.captures.get(backup, self._engine.clock.monotonic())
        if capture is None:
            raise BackupExpired(
                f"{self.me} has not captured group {group} for this backup, or does not keep it any more"
            )
        try:
            return await self._engine.snapshots.read(capture, part)
        except Damaged as error:
            self._engine.damage_found(group, error)
            raise

    def keep_captured(self, backup: bytes, groups: Collection[GroupId]) -> None:
        now = self._engine.clock.monotonic()
        for group, replica in self._engine.core.replicas.items():
            if group in groups:
                replica.captures.get(backup, now)
            else:
                replica.captures.drop(backup)

    def status(self) -> list[GroupStatus]:
        connected = self.connected()
        replicas = self._engine.core.replicas
        return [_status(group, replica, self.me, connected) for group, replica in sorted(replicas.items())]

    def connected(self) -> frozenset[NodeId]:
        return self._engine.connected()

    def heard(self) -> frozenset[NodeId]:
        return frozenset(filter(self._engine.clock.heard_lately, self.connected()))

    def serve(self, method: str, handler: CallHandler) -> None:
        self._engine.calls.serve(method, handler)

    async def call(self, node: NodeId, method: str, payload: bytes, timeout: Millis) -> bytes:
        if node not in self.connected():
            raise Unavailable(f"{node} is not connected to {self.me}; nothing happened, retry")
        try:
            return await self._engine.calls.call(node, method, payload, timeout)
        except TimeoutError:
            raise DeadlineExceeded(f"{node} did not answer {method} within {timeout} ms") from None

    def _leading(self, group: GroupId) -> Replica:
        replica = self._engine.core.replicas.get(group)
        if replica is None or not replica.leads:
            raise self._engine.core.not_leader(group)
        return replica

    def _commit_time(self, group: GroupId) -> Histogram:
        found = self._commit_times.get(group)
        if found is None:
            found = self._commit_times[group] = self._registry.histogram(
                "broker_group_commit_seconds",
                "Time from a proposal to its being on a quorum of disks and applied.",
                {"group": str(group)},
            )
        return found


def _status(group: GroupId, replica: Replica, me: NodeId, connected: frozenset[NodeId]) -> GroupStatus:
    raft = replica.raft
    followers: tuple[ReplicaStatus, ...] = ()
    if raft.role is Role.LEADER:
        own = ReplicaStatus(me, raft.last_index, True)
        others = (
            ReplicaStatus(peer, p.matched, peer in connected) for peer, p in raft.progress().items() if peer != me
        )
        followers = (own, *others)
    return GroupStatus(
        group=group,
        role=raft.role.name.lower(),
        leader=replica.leader,
        term=raft.term,
        commit=raft.commit_index,
        applied=replica.applied,
        last=raft.last_index,
        snapshot=raft.snapshot_index,
        voters=raft.membership.voters,
        replicas=followers,
        learners=raft.membership.learners,
        joint=bool(raft.membership.outgoing),
    )
