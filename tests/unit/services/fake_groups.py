"""A cluster in memory: every proposal is applied at once, to real machines that all nodes share. Time is virtual.

A test chooses who leads what, cuts nodes off, makes proposals fail before or after they took effect, and advances time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from broker.base.errors import BackupExpired, BrokerError, DeadlineExceeded, DiskFull, NotLeader, Unavailable
from broker.base.ids import DIRECTORY_GROUP, GroupId, Index, NodeId, Term, Zone
from broker.base.instants import Millis, WallMillis
from broker.domain.directory.commands import Group, Node
from broker.domain.directory.machine import DirectoryMachine
from broker.domain.identity.machine import IdentityMachine
from broker.domain.queues.machine import QueueMachine
from broker.domain.queues.questions import AllQueues
from broker.machine import envelope
from broker.machine.contract import Applied, Machine, Wake
from broker.machine.envelope import TICK_ROOM, Envelope, RequestId
from broker.machine.replicated import ReplicatedMachine
from broker.replication.captures import Capture, CapturedPart
from broker.replication.groups import CallHandler, GroupStatus, ReplicaStatus
from tests.unit.services.fake_captures import capture

EPOCH = 1_700_000_000_000
_EVER = Millis(1 << 40)
_encode = msgspec.msgpack.Encoder().encode


class VirtualClock:
    def __init__(self) -> None:
        self.now = 1_000
        self._alarms: list[tuple[int, asyncio.Future[bool]]] = []
        self.watchers: list[Callable[[], None]] = []

    def monotonic(self) -> Millis:
        return Millis(self.now)

    def wall(self) -> WallMillis:
        return WallMillis(EPOCH + self.now)

    async def pause(self, duration: Millis) -> None:
        """For what is handed a pause: time passes by itself, and others get their turn."""
        self.advance(duration)
        await asyncio.sleep(0)

    def advance(self, duration: int) -> None:
        self.now += duration
        for watcher in self.watchers:
            watcher()
        for due, future in self._alarms:
            if due <= self.now and not future.done():
                future.set_result(False)
        self._alarms = [alarm for alarm in self._alarms if not alarm[1].done()]

    def alarm(self, timeout: Millis) -> asyncio.Future[bool]:
        """Becomes False when the time is up."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if timeout <= 0:
            future.set_result(False)
        else:
            self._alarms.append((self.now + timeout, future))
        return future


class FakeCluster:
    """Nodes ``a-0``, ``b-0``, ... in zones of their own; the first leads all groups; group 0 is the directory."""

    def __init__(self, nodes: int = 1, groups: int = 2, in_flight_limit: int = 120_000) -> None:
        self.clock = VirtualClock()
        names = [NodeId(f"{chr(ord('a') + place)}-0") for place in range(nodes)]
        self.nodes = tuple(Node(name, Zone(name[0]), f"{name}:4101", f"{name}:4001", f"{name}:4201") for name in names)
        self.groups = tuple(Group(GroupId(number), tuple(names), names[0]) for number in range(groups + 1))
        self.machines = {group.id: _machine(group.id, in_flight_limit) for group in self.groups}
        self.entries: dict[tuple[GroupId, int], bytes] = {}
        self.voters = {group.id: group.replicas for group in self.groups}
        self.learners: dict[GroupId, tuple[NodeId, ...]] = {group.id: () for group in self.groups}
        self.replicas = {(group.id, node) for group in self.groups for node in group.replicas}
        """Replicas that there are, as group and node."""
        self.leaders: dict[GroupId, NodeId | None] = {group.id: names[0] for group in self.groups}
        self.down: set[NodeId] = set()
        self.silent: set[NodeId] = set()
        """Those whose connections are still there."""
        self.on = {name: FakeGroups(self, name) for name in names}
        self.proposals: list[tuple[GroupId, msgspec.Struct]] = []
        self.calls: list[tuple[NodeId, NodeId, str]] = []
        self.transfers: list[tuple[GroupId, NodeId]] = []
        self.before: list[BrokerError] = []
        """Raised by the next proposals, which do nothing."""
        self.after: list[BrokerError] = []
        """Raised by the next proposals although they take effect."""
        self.turns: Callable[[], int] = lambda: 1
        """Of the event loop, until the next proposal is applied."""
        self.held: asyncio.Event | None = None
        """While it is there and not set, proposals wait for it, and then go on in the order in which they came."""
        self.holding = 0
        self.captures: dict[tuple[NodeId, GroupId, bytes], Capture] = {}
        self.lag: dict[tuple[GroupId, NodeId], int] = {}
        """Entries that a replica is behind."""
        self._waiters: list[tuple[GroupId, tuple[str, int], asyncio.Future[bool]]] = []
        self._elections: list[asyncio.Future[bool]] = []
        self.clock.watchers.append(self._tick)

    def start(self, node: Node) -> None:
        """A further node, which holds nothing."""
        self.on[node.id] = FakeGroups(self, node.id)
        self.nodes = (*self.nodes, node)

    @property
    def waiting(self) -> int:
        """Long polls that wait now."""
        return sum(not future.done() for _, _, future in self._waiters)

    async def polls(self, count: int) -> None:
        """Returns when so many long polls wait."""
        await _until(lambda: self.waiting >= count)

    async def proposals_held(self, count: int) -> None:
        """Returns when so many proposals wait for ``held``."""
        await _until(lambda: self.holding >= count)

    def elect(self, group: int, leader: str | None) -> None:
        before = self.leaders[GroupId(group)]
        after = self.leaders[GroupId(group)] = None if leader is None else NodeId(leader)
        if before != after:
            self._close(GroupId(group), NotLeader(f"{before} leads group {group} no more", after))
        for future in self._elections:
            if not future.done():
                future.set_result(True)
        self._elections.clear()

    def apply(self, group: GroupId, data: bytes) -> Applied:
        index = Index(self.machines[group].applied_index + 1)
        self.entries[group, index] = data
        applied = self.machines[group].apply(data, index)
        if applied.capture:
            for node in self.on:
                captured = capture(group, self.machines[group], self.entries, self.on, self.clock.monotonic())
                self.captures[node, group, applied.capture] = captured
        for effect in applied.effects:
            self._wake(group, effect)
        return applied

    def apply_command(self, group: GroupId, room: str, command: msgspec.Struct) -> Applied:
        """As if some node had proposed it."""
        return self.apply(
            group, envelope.encode(Envelope(self.clock.wall(), room, None, msgspec.Raw(_encode(command))))
        )

    def taken(self, name: str) -> int:
        """Deliveries of the queue so far."""
        return sum(
            counts.received_total
            for group, machine in self.machines.items()
            if group != DIRECTORY_GROUP
            for described, counts in machine.query("queues", AllQueues(), self.clock.wall())
            if described.name == name
        )

    def drop_entries(self, group: int) -> None:
        """As if compaction had found nothing alive."""
        self.entries = {key: data for key, data in self.entries.items() if key[0] != group}

    async def wait(self, group: GroupId, key: tuple[str, int], timeout: Millis) -> bool:
        future = self.clock.alarm(timeout)
        self._waiters.append((group, key, future))
        return await future  # a future whose waiter is cancelled is done, and so waits no more

    async def election(self, timeout: Millis) -> bool:
        future = self.clock.alarm(timeout)
        self._elections.append(future)
        return await future

    def _close(self, group: GroupId, error: NotLeader) -> None:
        for of_group, _, future in self._waiters:
            if of_group == group and not future.done():
                future.set_exception(error)

    def _wake(self, group: GroupId, effect: Wake) -> None:
        left = effect.count
        for of_group, key, future in self._waiters:
            if left and of_group == group and key == effect.key and not future.done():
                future.set_result(True)
                left -= 1
        self._waiters = [waiter for waiter in self._waiters if not waiter[2].done()]

    def _tick(self) -> None:
        for group, machine in self.machines.items():
            deadline = machine.next_deadline()
            if deadline is not None and deadline <= self.clock.wall():
                self.apply(group, envelope.encode(Envelope(self.clock.wall(), TICK_ROOM, None)))


class FakeGroups:
    """Implements broker.replication.groups.Groups for one node of the cluster."""

    def __init__(self, cluster: FakeCluster, me: NodeId) -> None:
        self._cluster = cluster
        self._me = me
        self.handlers: dict[str, CallHandler] = {}
        self.fit_to_lead = True
        self.full = False

    @property
    def me(self) -> NodeId:
        return self._me

    @property
    def clock(self) -> VirtualClock:
        return self._cluster.clock

    async def propose(
        self, group: GroupId, room: str, command: msgspec.Struct, timeout: Millis, request: RequestId | None = None
    ) -> Any:
        cluster = self._cluster
        self._must_lead(group)
        if timeout <= 0:
            raise DeadlineExceeded("no time left")
        if cluster.before:
            raise cluster.before.pop(0)
        for _ in range(cluster.turns()):
            await asyncio.sleep(0)
        if cluster.held is not None:
            cluster.holding += 1
            await cluster.held.wait()
            cluster.holding -= 1
        self._must_lead(group)
        cluster.proposals.append((group, command))
        data = envelope.encode(Envelope(self.clock.wall(), room, request, msgspec.Raw(_encode(command))))
        applied = cluster.apply(group, data)
        if cluster.after:
            raise cluster.after.pop(0)
        return applied.reply

    async def query(self, group: GroupId, room: str, question: Any, timeout: Millis) -> Any:
        self._must_lead(group)
        await asyncio.sleep(0)
        return self._cluster.machines[group].query(room, question, self.clock.wall())

    def peek(self, group: GroupId, room: str, question: Any) -> Any:
        self._must_lead(group)
        return self._cluster.machines[group].query(room, question, self.clock.wall())

    def replay(self, group: GroupId, session: bytes, after: int) -> list[tuple[int, Any]]:
        self._must_lead(group)
        return self._cluster.machines[group].replay(session, after)

    def read_entry(self, group: GroupId, index: Index) -> bytes | None:
        return self._cluster.entries.get((group, index))

    async def woken(self, group: GroupId, key: tuple[str, int], timeout: Millis) -> bool:
        self._must_lead(group)
        return await self._cluster.wait(group, key, timeout)

    def holds(self, group: GroupId) -> bool:
        return (group, self._me) in self._cluster.replicas

    async def open(self, group: GroupId, voters: tuple[NodeId, ...]) -> None:
        cluster = self._cluster
        cluster.replicas.add((group, self._me))
        if group not in cluster.machines:
            cluster.machines[group] = _machine(group, 120_000)
            cluster.voters[group], cluster.learners[group] = voters, ()
            cluster.leaders[group] = voters[0]

    async def drop(self, group: GroupId) -> None:
        self._cluster.replicas.discard((group, self._me))

    def reconfigure(self, group: GroupId, voters: tuple[NodeId, ...], learners: tuple[NodeId, ...]) -> None:
        self._must_lead(group)
        assert self._me in voters, "the fake does not elect another leader"
        self._cluster.voters[group], self._cluster.learners[group] = voters, learners

    def expect_room(self, group: GroupId) -> None:
        if self.full:
            raise DiskFull(f"the disk of {self.me}, which leads group {group}, is full")

    def leads(self, group: GroupId) -> bool:
        return self._cluster.leaders[group] == self._me

    async def led(self, group: GroupId) -> None:
        while not self.leads(group):
            await self._cluster.election(_EVER)

    def leader_of(self, group: GroupId) -> NodeId | None:
        return self._cluster.leaders.get(group) if self._has_replica(group) else None

    async def leader_known(self, group: GroupId, timeout: Millis) -> NodeId | None:
        if not self._has_replica(group):
            return None
        if self._cluster.leaders[group] is None:
            await self._cluster.election(timeout)
        return self._cluster.leaders[group]

    async def transfer(self, group: GroupId, to: NodeId, timeout: Millis) -> bool:
        self._must_lead(group)
        if to in self._cluster.down:
            return False
        self._cluster.transfers.append((group, to))
        self._cluster.elect(group, to)
        return True

    async def read_captured(self, group: GroupId, backup: bytes, part: int) -> CapturedPart:
        capture = self._cluster.captures.get((self._me, group, backup))
        if capture is None:
            raise BackupExpired(f"{self._me} has captured nothing of group {group}")
        await asyncio.sleep(0)
        return capture.part(part)

    def keep_captured(self, backup: bytes, groups: Collection[GroupId]) -> None:
        for key in list(self._cluster.captures):
            if key[0] == self._me and key[2] == backup and key[1] not in groups:
                del self._cluster.captures[key]

    def status(self) -> list[GroupStatus]:
        return [self._status(group) for group, node in sorted(self._cluster.replicas) if node == self._me]

    def connected(self) -> frozenset[NodeId]:
        return frozenset(self._cluster.on) - self._cluster.down - {self._me}

    def heard(self) -> frozenset[NodeId]:
        return self.connected() - self._cluster.silent

    def serve(self, method: str, handler: CallHandler) -> None:
        if method in self.handlers:
            raise RuntimeError(f"{method} has a handler already")
        self.handlers[method] = handler

    async def call(self, node: NodeId, method: str, payload: bytes, timeout: Millis) -> bytes:
        self._cluster.calls.append((self._me, node, method))
        if node not in self.connected():
            raise Unavailable(f"{node} is not connected to {self._me}")
        await asyncio.sleep(0)
        return await self._cluster.on[node].handlers[method](payload)

    def _status(self, group: GroupId) -> GroupStatus:
        index = self._cluster.machines[group].applied_index
        leader = self._cluster.leaders[group]
        voters, learners = self._cluster.voters[group], self._cluster.learners[group]
        leads = leader == self._me
        replicas = tuple(
            ReplicaStatus(
                node,
                Index(index - self._cluster.lag.get((group, node), 0)),
                node == self._me or node in self.connected(),
            )
            for node in (*voters, *learners)
        )
        return GroupStatus(
            group=group,
            role="leader" if leads else "follower",
            leader=leader,
            term=Term(1),
            commit=index,
            applied=index,
            last=index,
            snapshot=Index(0),
            voters=voters,
            replicas=replicas if leads else (),
            learners=learners,
        )

    def _has_replica(self, group: GroupId) -> bool:
        return self.holds(group)

    def _must_lead(self, group: GroupId) -> None:
        leader = self._cluster.leaders.get(group)
        if leader != self._me:
            raise NotLeader(f"{self._me} does not lead group {group}", leader)


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be")


def _machine(group: GroupId, in_flight_limit: int) -> ReplicatedMachine:
    rooms: dict[str, Machine] = (
        {"directory": DirectoryMachine(), "identity": IdentityMachine()}
        if group == DIRECTORY_GROUP
        else {"queues": QueueMachine(in_flight_limit)}
    )
    return ReplicatedMachine(rooms)
