"""What a node does beside its turns: room is given back, segments are made ready, the disk is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, DataCorrupt, DiskFull, Unavailable
from broker.base.ids import GroupId, NodeId
from broker.base.instants import SECOND, Clock, Millis
from broker.replication import inputs
from broker.replication.calls import Calls
from broker.replication.disk_duty import DiskDuty
from broker.storage.damage import Damaged
from broker.storage.store import Store
from broker.telemetry import logs

_log = logs.get(__name__)

ROOM_PATIENCE_SECONDS = 1.0
"""After a disk that had no room is tried again."""
LOOK_EVERY = Millis(SECOND)
MAKE_ROOM_EVERY = Millis(30 * SECOND)
"""While the disk is full: the snapshots that this takes are written to it, too."""
ROOM_METHOD = "disk.room"
FULL = b"full"


class CompactionSettings(msgspec.Struct, frozen=True):
    step_bytes: int = 1024 * 1024
    pause: Millis = Millis(20)
    interval: Millis = Millis(2_000)


class Host(Protocol):
    """What it needs of the engine."""

    def soon(self) -> None: ...

    def connected(self) -> frozenset[NodeId]: ...

    def handle(self, happened: inputs.Input) -> None: ...

    def damage_found(self, group: GroupId, error: DataCorrupt) -> None: ...


class Housekeeping:
    def __init__(
        self,
        host: Host,
        store: Store,
        disk: DiskDuty,
        calls: Calls,
        clock: Clock,
        scope: TaskScope,
        compaction: CompactionSettings,
        fail: Callable[[str, BaseException], None],
    ) -> None:
        self._host = host
        self._store = store
        self._disk = disk
        self._calls = calls
        self._clock = clock
        self._scope = scope
        self._compaction = compaction
        self._fail = fail
        self._preparing = False
        calls.serve(ROOM_METHOD, self._tell_room)

    def start(self) -> None:
        self._scope.start(self._compact(), name="compaction")
        self._scope.start(self._look_after_disk(), name="disk")
        self._scope.start(self._measure(), name="room on the disk")

    def prepare_spare(self) -> None:
        """If one is wanted."""
        if self._store.wants_spare and not self._preparing:
            self._preparing = True
            self._scope.start(self._prepare_spare(), name="prepare a segment")

    async def _prepare_spare(self) -> None:
        """Zeros for the next segment, beside the commits: filling one takes as long as many commits."""
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._store.prepare_spare)
        except (DiskFull, OSError) as error:
            _log.warning("no segment could be prepared", reason=str(error))
            await asyncio.sleep(ROOM_PATIENCE_SECONDS)
        finally:
            self._preparing = False

    async def _compact(self) -> None:
        while True:
            await asyncio.sleep(self._compaction.interval / 1000)
            while self._compact_a_step():
                self._host.soon()
                await asyncio.sleep(self._compaction.pause / 1000)
            self._host.soon()

    def _compact_a_step(self) -> bool:
        try:
            return self._store.compaction_step(self._compaction.step_bytes)
        except Damaged as error:
            if error.finding.group is None:
                raise
            self._host.damage_found(GroupId(error.finding.group), error)
            return False

    async def _look_after_disk(self) -> None:
        while True:
            self._disk.look(self._clock.monotonic())
            self._store.prove()
            self._host.soon()
            peers = sorted(self._host.connected())
            answers = await asyncio.gather(*(self._is_full(peer) for peer in peers))
            self._disk.full_peers = frozenset(peer for peer, full in zip(peers, answers, strict=True) if full)
            await asyncio.sleep(LOOK_EVERY / 1000)

    async def _measure(self) -> None:
        """Beside the loop: a disk that hangs answers this as little as anything else."""
        again_at = Millis(0)
        while True:
            try:
                self._disk.measured(await asyncio.get_running_loop().run_in_executor(None, self._disk.measure))
            except Unavailable as error:
                self._fail("the data directory is gone", error)
            now = self._clock.monotonic()
            if self._disk.full and now >= again_at:
                again_at = Millis(now + MAKE_ROOM_EVERY)
                self._host.handle(inputs.MakeRoom())
            await asyncio.sleep(LOOK_EVERY / 1000)

    async def _is_full(self, peer: NodeId) -> bool:
        try:
            return await self._calls.call(peer, ROOM_METHOD, b"", LOOK_EVERY) == FULL
        except (BrokerError, TimeoutError):  # it is busy, of an older version, or gone
            return False

    async def _tell_room(self, _: bytes) -> bytes:
        return FULL if self._disk.full else b""
