"""The one asyncio loop around the node core: reads the clock, moves bytes, arms one timer. Holds no decisions.

Everything that happens in one loop iteration is gathered and closed by one turn, so that a burst of proposals becomes
one batch on disk and one frame per peer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Literal, Protocol

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.errors import DataCorrupt, DiskFull, NotLeader, Unavailable
from broker.base.ids import GroupId, NodeId
from broker.base.instants import Clock, Instant, Millis, earliest
from broker.base.trouble import Trouble
from broker.machine.contract import Effect
from broker.raft.ready import RoleChange
from broker.raft.types import Role
from broker.replication import frames, inputs
from broker.replication.callers import CallerLimits, Callers
from broker.replication.calls import Calls, Limits
from broker.replication.cluster_clock import ClusterClock
from broker.replication.disk_duty import DiskDuty, DiskSettings
from broker.replication.housekeeping import ROOM_PATIENCE_SECONDS, CompactionSettings, Housekeeping
from broker.replication.leader_watch import LeaderWatch
from broker.replication.node_core import NodeCore
from broker.replication.saying import Saying
from broker.replication.snapshots import Snapshots
from broker.replication.waiting_room import WaitingRoom
from broker.replication.writer import LoopWriter, ThreadWriter, Writer
from broker.storage.store import Batch, Store
from broker.telemetry import logs

_log = logs.get(__name__)

GATHERING_SECONDS = 0.001


class EngineSettings(msgspec.Struct, frozen=True):
    fsync: Literal["thread", "loop"] = "thread"
    callers: CallerLimits = CallerLimits()
    calls: Limits = Limits()
    """Of what is worked on for other nodes."""
    transfer_bytes_per_second: int = 16 * 1024 * 1024
    """Of a snapshot to a follower."""
    disk: DiskSettings = DiskSettings()
    compaction: CompactionSettings = CompactionSettings()


class Transport(Protocol):
    """What the engine needs of the mesh."""

    def send(self, peer: NodeId, payload: bytes) -> bool: ...

    def connected(self) -> frozenset[NodeId]: ...

    async def send_bulk(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None: ...


class EngineCounts(msgspec.Struct):
    """Plain numbers for metrics."""

    turns: int = 0
    batches: int = 0
    frames_sent: int = 0
    frames_dropped: int = 0
    elections_won: int = 0
    leaders_changed: int = 0


class Engine:
    """Implements the transport's MeshListener. ``fail`` ends the node: a disk that lies cannot be worked around."""

    def __init__(
        self,
        core: NodeCore,
        store: Store,
        clock: Clock,
        scope: TaskScope,
        settings: EngineSettings,
        fail: Callable[[str, BaseException], None],
        trouble: Trouble | None = None,
    ) -> None:
        self.core = core
        self.clock = ClusterClock(clock)
        self.trouble = trouble or Trouble()
        self.counts = EngineCounts()
        self.room = WaitingRoom()
        self.calls = Calls(scope, self.soon, settings.calls)
        self.disk = DiskDuty(store, core.me, settings.disk, self.trouble)
        self.snapshots = Snapshots(self, store, scope, settings.transfer_bytes_per_second)
        self._store = store
        self._scope = scope
        self._settings = settings
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._writer: Writer = (ThreadWriter if settings.fsync == "thread" else LoopWriter)(
            store, self._loop, self._committed
        )
        self._transport: Transport | None = None
        self._saying = Saying(self.counts)
        self._callers = Callers(settings.callers)
        self._scheduled = False
        self._gathering: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: Millis | None = None
        self._leaders = LeaderWatch()
        self._elected: set[GroupId] = set()
        """Groups that this node was elected to lead, until it is ready to."""
        self._sync_waiters: list[asyncio.Future[None]] = []
        self._housekeeping = Housekeeping(
            self, store, self.disk, self.calls, self.clock, scope, settings.compaction, fail
        )
        self._closed = False

    def start(self, transport: Transport) -> None:
        self._transport = transport
        self._housekeeping.start()
        self.soon()

    async def close(self) -> None:
        """Nothing is sent or written after this; callers still waiting are told to retry."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await self._loop.run_in_executor(None, self._writer.close)
        self._callers.refuse_all(NotLeader("this node is stopping; retry at another"))

    # --- callers

    def instant(self) -> Instant:
        return self.clock.instant()

    async def submit(self, make: Callable[[int], inputs.Input], size: int, timeout: Millis) -> Any:
        """Hand an input that will be answered to the core and wait for the answer.

        Raises what the core answers, Overloaded, DeadlineExceeded.
        """
        at = self.instant()
        token, future = self._callers.ask(size, Millis(at.now + timeout))
        self.core.handle(make(token), at)
        if size and self.core.writing:
            self._gather()
        else:
            self.soon()
        try:
            return await future
        finally:
            self._callers.leave(token)

    async def wait_for_key(self, group: GroupId, key: tuple[str, int], timeout: Millis) -> bool:
        """Raises NotLeader, Overloaded."""
        token, future = self._callers.poll()
        self.room.wait((group, key), token, Millis(self.clock.monotonic() + timeout))
        self.soon()
        try:
            return bool(await future)
        finally:
            self.room.leave(token)
            self._callers.leave(token)

    async def leader_changed(self, group: GroupId) -> None:
        """Until this replica's idea of its leader, or its own readiness to lead, changes, or a peer is lost."""
        await self._leaders.news(group)

    async def open_group(self, group: GroupId, founders: Iterable[NodeId]) -> None:
        """Start an empty replica; what the store still has of the group goes. Durable when this returns."""
        self._store.drop_group(group)
        self.core.open_group(group, founders, self.instant())
        await self.synced()

    async def close_group(self, group: GroupId) -> None:
        """End this node's replica of the group and forget all that is here of it, for good when this returns."""
        self.core.close_group(group, self.instant())
        self._store.drop_group(group)
        await self.synced()

    def damage_found(self, group: GroupId, error: DataCorrupt) -> None:
        """Whoever comes upon damaged data of a group says so here."""
        self.core.damage_found(group, error, self.instant())
        self.soon()

    def handle(self, happened: inputs.Input) -> None:
        self.core.handle(happened, self.instant())
        self.soon()

    def connected(self) -> frozenset[NodeId]:
        return frozenset() if self._transport is None else self._transport.connected()

    async def send_bulk(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        """Raises Unavailable."""
        if self._transport is None:
            raise Unavailable("this node is not connected yet")
        await self._transport.send_bulk(peer, header, pieces)

    # --- MeshListener

    def frame_received(self, peer: NodeId, payload: memoryview | bytes) -> None:
        """Raises Malformed."""
        frame = frames.decode(payload)
        if frame.clock is not None:
            self.clock.heard(peer, frame.clock)
        if frame.messages:
            self.core.handle(inputs.FrameArrived(peer, frame.messages), self.instant())
            self.soon()
        if frame.calls or frame.replies or frame.cancels:
            self.calls.arrived(peer, frame)

    def peer_up(self, peer: NodeId) -> None:
        _log.info("peer connected", peer=peer)

    def peer_down(self, peer: NodeId, closed_by_peer: bool) -> None:
        if self._closed:
            return
        _log.info("peer lost", peer=peer, closed_by_peer=closed_by_peer)
        self.calls.peer_gone(peer)
        self.handle(inputs.PeerLost(peer, closed_by_peer))
        self._leaders.tell_all()

    async def bulk_received(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        await self.snapshots.receive(peer, header, pieces)

    # --- the turn

    def soon(self) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._guarded, self._turn)

    def _gather(self) -> None:
        """A proposal that comes while a batch is on its way to the disk gains nothing from a turn of its own: the next
        batch takes it along. A slow disk does not hold it up for long."""
        if not self._scheduled and self._gathering is None:
            self._gathering = self._loop.call_later(GATHERING_SECONDS, self.soon)

    def _guarded(self, step: Callable[[], None]) -> None:
        """A defect in what all groups share: going on could acknowledge what is not so."""
        try:
            step()
        except Exception as error:
            self._fail("replication", error)

    def _turn(self) -> None:
        self._scheduled = False
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._closed:
            return
        self.counts.turns += 1
        at = self.instant()
        if self.clock.moved():
            self.core.time_moved()
        turn = self.core.turn(at)
        if self.clock.report_is_due():
            self.clock.tell(self.trouble)
            for peer in self.connected():
                turn.frames.setdefault(peer, [])  # a frame, if only to hear the time
        self._send(turn.frames)
        if turn.batch is not None:
            self.counts.batches += 1
            self._write(turn.batch)
        for answer in turn.answers:
            self._answer(answer)
        for group, change in turn.role_changes:
            self._role_changed(group, change)
        for group, effect in turn.effects:
            self._carry_out(group, effect)
        self.disk.report(turn.damage)
        for job in turn.jobs:
            self.snapshots.start(job)
        if self._elected:
            self._tell_ready_leaders()
        if turn.again:
            self.soon()
        self._arm()

    def _send(self, messages: dict[NodeId, list[Any]]) -> None:
        talk = self.calls.take_talk()
        if self._transport is None or not (messages or talk):
            return
        for peer, unsaid in self._saying.say(self._transport, messages, talk, self.clock.report()):
            self.calls.not_sent(peer, unsaid)

    def _committed(self, batch: Batch, error: BaseException | None) -> None:
        if self._closed:
            return
        if isinstance(error, DiskFull):
            self.disk.refused(error)
            self._loop.call_later(ROOM_PATIENCE_SECONDS, self._write, batch)
            return
        if error is not None:
            self._fail("the write-ahead log cannot be written", error)
            return
        self.disk.written(batch, self.clock.monotonic())
        self.handle(inputs.Synced(batch.number))
        self._housekeeping.prepare_spare()
        waiters, self._sync_waiters = self._sync_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _write(self, batch: Batch) -> None:
        if not self._closed:
            self.disk.writing(self.clock.monotonic())
            self._writer.write(batch)

    async def synced(self) -> None:
        """Until what is staged now is on disk: after the batch under way, if any, comes the one that has it."""
        for _ in range(2 if self.core.writing else 1):
            future: asyncio.Future[None] = self._loop.create_future()
            self._sync_waiters.append(future)
            self.soon()
            await future

    def _arm(self) -> None:
        others = earliest(self.core.next_deadline(), self.room.next_deadline(), self._callers.next_deadline())
        deadline = self.clock.next_deadline() if others is None else min(others, self.clock.next_deadline())
        if self._timer is not None and self._timer_at is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        delay = max(0, deadline - self.clock.monotonic()) / 1000
        self._timer = self._loop.call_later(delay, self._guarded, self._wake)

    def _wake(self) -> None:
        self._timer = self._timer_at = None
        if self._closed:
            return
        at = self.instant()
        self.core.wake(at)
        for token in self.room.wake(at.now):
            self._callers.answer(token, False)
        self._callers.wake(at.now)
        self.soon()

    # --- outcomes

    def _answer(self, answer: inputs.Answer) -> None:
        if answer.error is None:
            self._callers.answer(answer.token, answer.reply)
        else:
            self._callers.refuse(answer.token, answer.error)

    def _carry_out(self, group: GroupId, effect: Effect) -> None:
        for token in self.room.woken((group, effect.key), effect.count):
            self._callers.answer(token, True)

    def _role_changed(self, group: GroupId, change: RoleChange) -> None:
        self.counts.leaders_changed += 1
        if change.role is Role.LEADER:
            self.counts.elections_won += 1
            self._elected.add(group)
        else:
            self._elected.discard(group)
            for token in self.room.close_group(group):
                self._callers.refuse(token, self.core.not_leader(group))
        role = change.role.name.lower()
        _log.info("role changed", group=group, role=role, term=change.term, leader=change.leader)
        self._leaders.tell(group)

    def _tell_ready_leaders(self) -> None:
        for group in [group for group in self._elected if self.core.replicas[group].leads]:
            self._elected.discard(group)
            self._leaders.tell(group)
