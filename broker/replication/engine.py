"""The one asyncio loop around the node core: reads the clock, moves bytes, arms one timer. Holds no decisions.

Everything that happens in one loop iteration is gathered and closed by one turn, so that a burst of proposals becomes
one batch on disk and one frame per peer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, Protocol

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, DeadlineExceeded, DiskFull, NotLeader, Overloaded, Unavailable
from broker.base.ids import GroupId, NodeId
from broker.base.instants import Clock, Instant, Millis, earliest
from broker.machine.contract import Effect
from broker.raft.ready import RoleChange
from broker.raft.types import Role
from broker.replication import frames, inputs
from broker.replication.calls import Calls
from broker.replication.node_core import NodeCore
from broker.replication.snapshots import Snapshots
from broker.replication.timeouts import Timeouts
from broker.replication.waiting_room import WaitingRoom
from broker.replication.writer import LoopWriter, ThreadWriter, Writer
from broker.storage.store import Batch, Store
from broker.telemetry import logs

_log = logs.get(__name__)

GATHERING_SECONDS = 0.001


class EngineSettings(msgspec.Struct, frozen=True):
    fsync: Literal["thread", "loop"] = "thread"
    max_pending: int = 20_000
    """Proposals and reads that may wait at once; beyond it Overloaded."""
    max_pending_bytes: int = 256 * 1024 * 1024
    transfer_bytes_per_second: int = 16 * 1024 * 1024
    """Of a snapshot to a follower."""
    compaction_step_bytes: int = 1024 * 1024
    compaction_pause: Millis = Millis(20)
    compaction_interval: Millis = Millis(2_000)


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
    ) -> None:
        self.core = core
        self.clock = clock
        self.counts = EngineCounts()
        self.room = WaitingRoom()
        self.calls = Calls(scope, self._soon)
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
        self._futures: dict[int, asyncio.Future[Any]] = {}
        self._sizes: dict[int, int] = {}
        self._pending_bytes = 0
        self._timeouts = Timeouts()
        self._token = 0
        self._scheduled = False
        self._gathering: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: Millis | None = None
        self._leader_waiters: dict[GroupId, list[asyncio.Future[None]]] = {}
        self._elected: set[GroupId] = set()
        """Groups that this node was elected to lead, until it is ready to."""
        self._sync_waiters: list[asyncio.Future[None]] = []
        self._preparing = False
        self._closed = False

    def start(self, transport: Transport) -> None:
        self._transport = transport
        self._scope.start(self._compact(), name="compaction")
        self._soon()

    async def close(self) -> None:
        """Nothing is sent or written after this; callers still waiting are told to retry."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await self._loop.run_in_executor(None, self._writer.close)
        for token in list(self._futures):
            self._refuse(token, NotLeader("this node is stopping; retry at another"))

    # --- callers

    def instant(self) -> Instant:
        return Instant(self.clock.monotonic(), self.clock.wall())

    async def submit(self, make: Callable[[int], inputs.Input], size: int, timeout: Millis) -> Any:
        """Hand an input that will be answered to the core and wait for the answer.

        Raises what the core answers, Overloaded, DeadlineExceeded.
        """
        if len(self._futures) >= self._settings.max_pending or (
            self._pending_bytes + size > self._settings.max_pending_bytes
        ):
            raise Overloaded(
                f"{len(self._futures)} requests with {self._pending_bytes} bytes wait on this node already; "
                "retry after a pause"
            )
        self._token = token = self._token + 1
        future: asyncio.Future[Any] = self._loop.create_future()
        self._futures[token] = future
        self._sizes[token] = size
        self._pending_bytes += size
        at = self.instant()
        self._timeouts.add(token, Millis(at.now + timeout))
        self.core.handle(make(token), at)
        if size and self.core.writing:
            self._gather()
        else:
            self._soon()
        try:
            return await future
        finally:
            self._forget(token)

    async def wait_for_key(self, group: GroupId, key: tuple[str, int], timeout: Millis) -> bool:
        self._token = token = self._token + 1
        future: asyncio.Future[bool] = self._loop.create_future()
        self._futures[token] = future
        self.room.wait((group, key), token, Millis(self.clock.monotonic() + timeout))
        self._soon()
        try:
            return await future
        finally:
            self.room.leave(token)
            self._futures.pop(token, None)

    async def leader_changed(self, group: GroupId) -> None:
        """Until this replica's idea of its leader, or its own readiness to lead, changes, or a peer is lost."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._leader_waiters.setdefault(group, []).append(future)
        await future

    async def close_group(self, group: GroupId) -> None:
        """End this node's replica of the group and forget all that is here of it, for good when this returns."""
        self.core.close_group(group, self.instant())
        self._store.drop_group(group)
        await self.synced()

    def handle(self, happened: inputs.Input) -> None:
        self.core.handle(happened, self.instant())
        self._soon()

    def connected(self) -> frozenset[NodeId]:
        return frozenset() if self._transport is None else self._transport.connected()

    async def send_bulk(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        """Raises Unavailable."""
        if self._transport is None:
            raise Unavailable("this node is not connected yet")
        await self._transport.send_bulk(peer, header, pieces)

    # --- MeshListener

    def frame_received(self, peer: NodeId, payload: memoryview | bytes) -> None:
        frame = frames.decode(payload)
        if frame.messages:
            self.core.handle(inputs.FrameArrived(peer, frame.messages), self.instant())
            self._soon()
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
        for group in list(self._leader_waiters):
            self._tell_leader_waiters(group)

    async def bulk_received(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        await self.snapshots.receive(peer, header, pieces)

    # --- the turn

    def _soon(self) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _gather(self) -> None:
        """A proposal that comes while a batch is on its way to the disk gains nothing from a turn of its own: the next
        batch takes it along. A slow disk does not hold it up for long."""
        if not self._scheduled and self._gathering is None:
            self._gathering = self._loop.call_later(GATHERING_SECONDS, self._soon)

    def _turn(self) -> None:
        self._scheduled = False
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._closed:
            return
        self.counts.turns += 1
        at = self.instant()
        turn = self.core.turn(at)
        self._send(turn.frames)
        if turn.batch is not None:
            self.counts.batches += 1
            self._writer.write(turn.batch)
        for answer in turn.answers:
            self._answer(answer)
        for group, change in turn.role_changes:
            self._role_changed(group, change)
        for group, effect in turn.effects:
            self._carry_out(group, effect)
        for job in turn.jobs:
            self.snapshots.start(job)
        if self._elected:
            self._tell_ready_leaders()
        if turn.again:
            self._soon()
        self._arm()

    def _send(self, messages: dict[NodeId, list[Any]]) -> None:
        talk = self.calls.take_talk()
        transport = self._transport
        if transport is None:
            return
        for peer in messages.keys() | talk.keys():
            for payload in frames.encode(messages.get(peer, []), talk.get(peer)):
                if transport.send(peer, payload):
                    self.counts.frames_sent += 1
                else:
                    self.counts.frames_dropped += 1

    def _committed(self, batch: Batch, error: BaseException | None) -> None:
        if self._closed:
            return
        if error is not None:
            self._fail("the write-ahead log cannot be written", error)
            return
        self.handle(inputs.Synced(batch.number))
        if self._store.wants_spare and not self._preparing:
            self._preparing = True
            self._scope.start(self._prepare_spare(), name="prepare a segment")
        waiters, self._sync_waiters = self._sync_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def synced(self) -> None:
        """Until what is staged now is on disk: after the batch under way, if any, comes the one that has it."""
        for _ in range(2 if self.core.writing else 1):
            future: asyncio.Future[None] = self._loop.create_future()
            self._sync_waiters.append(future)
            self._soon()
            await future

    def _arm(self) -> None:
        deadline = earliest(self.core.next_deadline(), self.room.next_deadline(), self._timeouts.next_deadline())
        if deadline is None:
            return
        if self._timer is not None and self._timer_at is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        delay = max(0, deadline - self.clock.monotonic()) / 1000
        self._timer = self._loop.call_later(delay, self._wake)

    def _wake(self) -> None:
        self._timer = self._timer_at = None
        if self._closed:
            return
        at = self.instant()
        self.core.wake(at)
        for token in self.room.wake(at.now):
            self._resolve(token, False)
        for token in self._timeouts.wake(at.now):
            if token in self._futures:
                self._refuse(token, DeadlineExceeded("the time for this call is up; whether it took effect is unknown"))
        self._soon()

    # --- outcomes

    def _answer(self, answer: inputs.Answer) -> None:
        future = self._futures.get(answer.token)
        if future is not None and not future.done():
            if answer.error is None:
                future.set_result(answer.reply)
            else:
                future.set_exception(answer.error)

    def _resolve(self, token: int, value: Any) -> None:
        future = self._futures.get(token)
        if future is not None and not future.done():
            future.set_result(value)

    def _refuse(self, token: int, error: BrokerError) -> None:
        future = self._futures.get(token)
        if future is not None and not future.done():
            future.set_exception(error)

    def _forget(self, token: int) -> None:
        self._futures.pop(token, None)
        self._pending_bytes -= self._sizes.pop(token, 0)

    def _carry_out(self, group: GroupId, effect: Effect) -> None:
        for token in self.room.woken((group, effect.key), effect.count):
            self._resolve(token, True)

    def _role_changed(self, group: GroupId, change: RoleChange) -> None:
        self.counts.leaders_changed += 1
        if change.role is Role.LEADER:
            self.counts.elections_won += 1
            self._elected.add(group)
        else:
            self._elected.discard(group)
            for token in self.room.close_group(group):
                self._refuse(token, self.core.not_leader(group))
        role = change.role.name.lower()
        _log.info("role changed", group=group, role=role, term=change.term, leader=change.leader)
        self._tell_leader_waiters(group)

    def _tell_ready_leaders(self) -> None:
        for group in [group for group in self._elected if self.core.replicas[group].leads]:
            self._elected.discard(group)
            self._tell_leader_waiters(group)

    def _tell_leader_waiters(self, group: GroupId) -> None:
        for waiter in self._leader_waiters.pop(group, []):
            if not waiter.done():
                waiter.set_result(None)

    # --- housekeeping

    async def _prepare_spare(self) -> None:
        """Zeros for the next segment, beside the commits: filling one takes as long as many commits."""
        try:
            await self._loop.run_in_executor(None, self._store.prepare_spare)
        except (DiskFull, OSError) as error:
            _log.warning("no segment could be prepared", reason=str(error))
        finally:
            self._preparing = False

    async def _compact(self) -> None:
        while True:
            await asyncio.sleep(self._settings.compaction_interval / 1000)
            while self._store.compaction_step(self._settings.compaction_step_bytes):
                self._soon()
                await asyncio.sleep(self._settings.compaction_pause / 1000)
            self._soon()
