"""One node of the simulated cluster: drives a NodeCore in virtual time exactly as the engine drives it in real time.

Inputs are handled as they come; a turn follows soon after and is carried out in the engine's order: frames, then the
batch, which is on disk after the disk's own delay. A process that dies loses everything but its disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random
from typing import Any

import msgspec

from broker.base.errors import DataCorrupt, DiskFull
from broker.base.ids import GroupId, Index, NodeId
from broker.machine import envelope
from broker.machine.envelope import RequestId
from broker.raft.messages import Append
from broker.raft.types import Role
from broker.replication import frames, inputs
from broker.replication.cluster_clock import ClusterClock
from broker.replication.node_core import NodeCore
from broker.storage.store import Batch, Store
from tests.simulation.clock import NodeClock
from tests.simulation.cluster import Cluster
from tests.simulation.courier import Couriers
from tests.simulation.drive import Drive
from tests.simulation.fake_disk import PowerLoss
from tests.simulation.healing import Healer
from tests.simulation.housekeeping import Housekeeping
from tests.simulation.observed import ObservedMachine
from tests.simulation.snapshotting import Snapshotting
from tests.simulation.traffic import Traffic
from tests.simulation.world import MILLISECOND

Answered = Callable[[inputs.Answer], None]

_ROOM_PATIENCE = 300 * MILLISECOND


class SimulatedNode:
    """Implements the network's Endpoint and the schedule's Victim."""

    def __init__(self, name: str, cluster: Cluster, drive: Drive) -> None:
        self.name = name
        self.incarnation = 0
        self.core: NodeCore | None = None
        self._cluster = cluster
        self._world = cluster.world
        self.drive = drive
        self._traffic = Traffic(cluster.world)
        self._chance = cluster.world.chance(f"node {name}")
        drift = cluster.rates.drift
        skew = 0 if cluster.rates.honest_clocks else cluster.rates.clock_jump_max
        self.clock = NodeClock(
            name,
            cluster.world,
            drift=self._chance.randint(-drift, drift),
            skew=self._chance.randint(-skew, skew),
            origin=self._chance.randrange(1_000_000),
        )
        self.time = ClusterClock(self.clock)
        self._founds = cluster.layout.founded_by(name)
        """Until the process has started for the first time."""
        self.died: Callable[[SimulatedNode, bool], None] = lambda node, led: None
        """Told when the process has ended, and whether it led a group."""
        self._paused_until = 0
        self._waiting: dict[int, Answered] = {}
        self._token = 0
        self._turn_due = False
        self._wake_at: int | None = None
        self._writing: Batch | None = None
        self._backlog: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    # --- life and death

    @property
    def running(self) -> NodeCore:
        """Raises RuntimeError when the process is down."""
        if self.core is None:
            raise RuntimeError(f"{self.name} is down")
        return self.core

    @property
    def up(self) -> bool:
        return self.core is not None

    def start(self) -> None:
        self.incarnation += 1
        self._world.note(self.name, "starts", self.incarnation)
        try:
            self._open()
        except PowerLoss:
            self._world.counts["crash inside recovery"] += 1
            self.crash(self.drive.power_lost)
        except DiskFull:
            self._world.counts["no room to start"] += 1
            self.crash(power_lost=False)

    def _open(self) -> None:
        store = self.drive.open()
        cluster = self._cluster
        self.time = ClusterClock(self.clock)
        self.core = NodeCore(NodeId(self.name), store, self._machine, cluster.raft, cluster.replica, self._chance)
        for group in store.groups():
            self.core.open_group(group, (), self.time.instant())
        self._found(store)
        for group, replica in self.core.replicas.items():
            if replica.applied:
                self._world.counts["restart from snapshot"] += 1
            self._world.note(self.name, "has", group, replica.raft.first_index, replica.raft.last_index)
        self._couriers = Couriers(self, cluster.roads)
        self._snapshotting = Snapshotting(self, cluster)
        self.soon()
        Housekeeping(self, self._world.counts).start()
        self._later(cluster.healing.interval, Healer(self, cluster.roads, cluster.healing).look)
        cluster.network.process_started(self.name)

    def _found(self, store: Store) -> None:
        """Before anything else happens: a founder whose disk is empty later has lost it."""
        for group, replicas in self._founds.items():
            self.running.open_group(group, replicas, self.time.instant())
        batch = store.seal() if self._founds else None
        if batch is not None:
            store.commit(batch)
        self._founds = {}

    def lose_disk(self) -> None:
        """With all that is on it; the process starts again with an empty one."""
        if self.up:
            self.crash(power_lost=True)
        self.drive.replace()

    def crash(self, power_lost: bool) -> None:
        """``power_lost``: unsynced writes may be lost or torn, and no peer is told."""
        led = self.leads_something()
        self._world.note(self.name, "loses power" if power_lost else "is killed")
        batch, self._writing = self._writing, None
        self.drive.crash(batch, power_lost)
        self.core = None
        self._waiting.clear()
        self._backlog.clear()
        self._turn_due = False
        self._wake_at = None
        self._paused_until = 0
        self._cluster.network.process_ended(self.name, quietly=power_lost)
        self._cluster.bulk.process_ended(self.name)
        self.died(self, led)

    def pause(self, duration: int) -> None:
        if self.up and self._world.now >= self._paused_until:
            self._world.note(self.name, "pauses")
            self._paused_until = self._world.now + duration
            self._world.at(self._paused_until, self._resume, self.incarnation)

    def behave(self) -> None:
        """No faults from now on. One clock that is wrong may stay so."""
        self.drive.disarm()
        if not self._cluster.rates.honest_clocks:
            self.clock.skew = 0
        if self._paused_until > self._world.now:
            self._paused_until = self._world.now
            self._resume(self.incarnation)

    def leads_something(self) -> bool:
        return self.core is not None and any(replica.leads for replica in self.core.replicas.values())

    def hand_over(self, chance: Random) -> None:
        if self.core is not None:
            for group, replica in self.core.replicas.items():
                others = [node for node in replica.raft.membership.voters if node != self.name]
                if replica.leads and others:
                    self._enter(self._handle, inputs.Transfer(group, chance.choice(others)))

    # --- what arrives

    def frame_arrived(self, peer: str, payload: bytes) -> None:
        self._enter(self._frame, peer, payload)

    def peer_lost(self, peer: str, closed: bool) -> None:
        self._enter(self._handle, inputs.PeerLost(NodeId(peer), closed))

    def propose(self, group: GroupId, room: str, command: bytes, request: RequestId | None, answered: Answered) -> None:
        self._enter(self._propose, group, room, command, request, answered)

    def query(self, group: GroupId, room: str, question: Any, answered: Answered) -> None:
        self._enter(self._submit, lambda token: inputs.Query(group, room, question, token), answered)

    def handle(self, happened: inputs.Input) -> None:
        self._enter(self._handle, happened)

    def entry(self, group: GroupId, index: int) -> bytes | None:
        """Raises DataCorrupt, and NotLeader when the replica has ended meanwhile."""
        if group not in self.running.replicas:
            raise self.running.not_leader(group)
        try:
            entry = self.store.read_one(group, index)
        except DataCorrupt as error:
            self.damage_found(group, error)
            raise
        return None if entry is None else entry.data

    def damage_found(self, group: GroupId, error: DataCorrupt) -> None:
        self.running.damage_found(group, error, self.time.instant())
        self.soon()

    # --- what couriers, healers and transfers of snapshots need

    @property
    def groups(self) -> Iterable[GroupId]:
        """Those of which it holds a replica."""
        return () if self.core is None else tuple(self.core.replicas)

    def leads(self, group: GroupId) -> bool:
        replica = None if self.core is None else self.core.replicas.get(group)
        return replica is not None and replica.leads

    def leader_of(self, group: GroupId) -> str | None:
        """As far as a replica here knows."""
        replica = self.running.replicas.get(group)
        return None if replica is None else replica.leader

    def machine(self, group: GroupId) -> Any:
        return self.running.replicas[group].machine

    def open_replica(self, group: GroupId, voters: tuple[NodeId, ...]) -> None:
        if group not in self.running.replicas:
            self._world.note(self.name, "opens", group, "beside", voters)
            self.store.drop_group(group)
            self.running.open_group(group, voters, self.time.instant())
            self.soon()

    def drop_replica(self, group: GroupId) -> None:
        self._world.note(self.name, "drops", group)
        self.running.close_group(group, self.time.instant())
        self.store.drop_group(group)
        self.soon()

    @property
    def store(self) -> Store:
        return self.drive.store

    def work(self, delay: int, act: Callable[..., None], *arguments: Any) -> None:
        self._later(delay, act, *arguments)

    def sync_delay(self) -> int:
        return self.drive.sync_delay()

    # --- inside

    def _enter(self, act: Callable[..., None], *arguments: Any) -> None:
        """A paused process finds everything that came meanwhile when it goes on."""
        if self.core is None:
            return
        if self._world.now < self._paused_until:
            self._backlog.append((act, arguments))
        else:
            self._do(act, arguments)

    def _do(self, act: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            act(*arguments)
        except PowerLoss:
            self.crash(self.drive.power_lost)

    def _later(self, delay: int, act: Callable[..., None], *arguments: Any) -> None:
        self._world.after(delay, self._if_alive, self.incarnation, act, arguments)

    def _if_alive(self, incarnation: int, act: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if incarnation == self.incarnation:
            self._enter(act, *arguments)

    def _resume(self, incarnation: int) -> None:
        if incarnation == self.incarnation and self.core is not None and self._world.now >= self._paused_until:
            backlog, self._backlog = self._backlog, []
            for act, arguments in backlog:
                if incarnation == self.incarnation and self.core is not None:
                    self._do(act, arguments)

    def _handle(self, happened: inputs.Input) -> None:
        self.running.handle(happened, self.time.instant())
        self.soon()

    def _frame(self, peer: str, payload: bytes) -> None:
        frame = frames.decode(payload)
        messages = frame.messages
        if frame.clock is not None:
            self.time.heard(NodeId(peer), frame.clock)
        for group, message in messages:
            replica = self.running.replicas.get(group)
            if replica is not None and type(message) is Append and message.entries:
                self._traffic.append_arrived(group, message, replica.raft, self.store)
        self._handle(inputs.FrameArrived(NodeId(peer), messages))

    def _propose(
        self, group: GroupId, room: str, command: bytes, request: RequestId | None, answered: Answered
    ) -> None:
        data = envelope.encode(envelope.Envelope(self.time.wall(), room, request, msgspec.Raw(command)))
        self._submit(lambda token: inputs.Proposal(group, data, token), answered)

    def _submit(self, make: Callable[[int], inputs.Input], answered: Answered) -> None:
        self._token += 1
        self._waiting[self._token] = answered
        self._handle(make(self._token))

    def soon(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self._later(self._chance.randrange(20, 200), self._turn)

    def _turn(self) -> None:
        core = self.running
        self._turn_due = False
        at = self.time.instant()
        if self.time.moved():
            self._world.counts["time moved"] += 1
            core.time_moved()
        turn = core.turn(at)
        if self.time.report_is_due():
            for peer in self._cluster.network.peers(self.name):
                turn.frames.setdefault(NodeId(peer), [])
        clock = self.time.report()
        for peer, messages in turn.frames.items():
            for payload in frames.encode(messages, clock=clock):
                self._traffic.sent(self.name, peer, payload, messages)
                self._cluster.network.send(self.name, peer, payload)
        if turn.batch is not None:
            self._writing = turn.batch
            self.drive.sealed(turn.batch)
            self._later(self.drive.sync_delay(), self._commit, turn.batch)
        for answer in turn.answers:
            self._answer(answer)
        for group, error in turn.damage:
            self._world.counts["damage found"] += 1
            self._world.note(self.name, "finds damage in group", group, error)
        for group, change in turn.role_changes:
            self._role_changed(group, change.role, change.term, change.leader)
        self._world.counts["wake"] += len(turn.effects)
        self._couriers.turned(turn.effects)
        for job in turn.jobs:
            self._snapshotting.start(job)
        if turn.again:
            self._world.counts["turns with more to apply"] += 1
            self.soon()
        self._arm()

    def _commit(self, batch: Batch) -> None:
        try:
            self.store.commit(batch)
        except DiskFull:
            self._world.counts["commit without room"] += 1
            self._later(_ROOM_PATIENCE, self._commit, batch)
            return
        self._writing = None
        with suppress(DiskFull):
            self.store.prepare_spare()
        self._handle(inputs.Synced(batch.number))

    def _arm(self) -> None:
        deadline = min(self.running.next_deadline() or self.time.next_deadline(), self.time.next_deadline())
        at = max(self.clock.world_time_of(deadline), self._world.now)
        if self._wake_at is None or at < self._wake_at or self._wake_at <= self._world.now:
            self._wake_at = at
            self._world.at(at, self._if_alive, self.incarnation, self._wake, (at,))

    def _wake(self, at: int) -> None:
        if self._wake_at == at:
            self._wake_at = None
        self.running.wake(self.time.instant())
        self.soon()

    def _answer(self, answer: inputs.Answer) -> None:
        answered = self._waiting.pop(answer.token)
        answered(answer)

    def _role_changed(self, group: GroupId, role: Role, term: int, leader: str | None) -> None:
        self._world.note(self.name, "is", role.name, "of", group, "in term", term, "led by", leader)
        if role is Role.CANDIDATE:
            self._world.counts["candidacy"] += 1
        replica = self.running.replicas.get(group)
        if role is Role.LEADER and replica is not None:
            self._world.counts["election"] += 1
            court, raft = self._cluster.court, replica.raft
            court.leaders.elected(self.name, group, term)
            court.completeness.elected(
                self.name, group, term, raft.snapshot_index, lambda index: self.store.term_at(group, index)
            )

    # --- machines

    def _machine(self, group: GroupId) -> ObservedMachine:
        court = self._cluster.court
        drive = self.drive

        def terms(index: int) -> tuple[int, int]:
            return drive.store.term_at(group, Index(index)) or 0, self.running.replicas[group].raft.term

        return ObservedMachine(court, self.name, group, self._cluster.machine_of(group), terms)
