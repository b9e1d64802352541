"""The engine on a disk that refuses, forgets and rots: the node goes on, and callers are told what is so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import Any

import msgspec
import pytest

from broker.aio.tasks import TaskScope
from broker.base.errors import DiskFull, NotLeader
from broker.base.ids import Index, NodeId
from broker.base.instants import Millis, WallMillis
from broker.machine.replicated import ReplicatedMachine
from broker.raft.types import RaftConfig
from broker.replication import engine as engine_module
from broker.replication.disk_duty import FULL, STUCK
from broker.replication.engine import Engine, EngineSettings
from broker.replication.local_groups import LocalGroups
from broker.replication.node_core import NodeCore
from broker.replication.replica import ReplicaSettings
from broker.storage import layout
from broker.storage.store import StorageSettings, Store
from broker.telemetry.metrics import Registry
from tests.simulation.fake_disk import FakeDisk
from tests.unit.replication.single_node import GROUP, ME, ROOM, AlarmMachine

STORAGE = StorageSettings(segment_bytes=4_096, cache_bytes=0, spare_segments=0)
SOON = Millis(60_000)


class StoppedClock:
    def monotonic(self) -> Millis:
        return Millis(10_000)

    def wall(self) -> WallMillis:
        return WallMillis(1_700_000_000_000)


class Alone:
    """Implements the engine's Transport: there is nobody."""

    def send(self, peer: NodeId, payload: bytes) -> bool:
        return False

    def connected(self) -> frozenset[NodeId]:
        return frozenset()

    async def send_bulk(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        raise AssertionError("nobody is there")


class LoneNode:
    def __init__(self, scope: TaskScope) -> None:
        self.failures: list[str] = []
        self.disk = FakeDisk(Random(1))
        self.store = Store(self.disk, STORAGE, node=ME, cluster="test")
        core = NodeCore(ME, self.store, _machine, RaftConfig(max_tail_bytes=0), ReplicaSettings(), Random(2))
        self.engine = Engine(
            core,
            self.store,
            StoppedClock(),
            scope,
            EngineSettings(fsync="loop"),
            lambda what, error: self.failures.append(f"{what}: {error}"),
        )
        core.open_group(GROUP, (ME,), self.engine.instant())
        self.groups = LocalGroups(self.engine, self.store, Registry())
        self.engine.start(Alone())

    async def send(self, text: str) -> Any:
        return await self.groups.propose(GROUP, ROOM, Text(text), SOON)


class Text(msgspec.Struct, array_like=True):
    value: str


class Texts(AlarmMachine):
    def apply(self, command: bytes | memoryview, place: Any) -> Any:
        self.told.append(len(bytes(command)))
        return super().apply(msgspec.msgpack.encode(1), place)


def _machine(_: object) -> ReplicatedMachine:
    return ReplicatedMachine({ROOM: Texts()})


async def until(holds: Any) -> None:
    """Rounds of the loop, for turns, commits and retries, and for a thread to answer."""
    async with asyncio.timeout(20):
        for _ in count():
            if holds():
                return
            await asyncio.sleep(0)


@asynccontextmanager
async def lone_node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoneNode]:
    monkeypatch.setattr(engine_module, "ROOM_PATIENCE_SECONDS", 0)
    failures: list[str] = []
    async with TaskScope("test", lambda what, error: failures.append(f"{what}: {error}")) as scope:
        node = LoneNode(scope)
        await until(lambda: node.groups.leads(GROUP))
        yield node
        await node.engine.close()
    assert failures == []


async def test_a_batch_without_room_is_written_when_there_is_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with lone_node(monkeypatch) as node:
        # given a disk without room for another segment
        await node.send("first")
        node.disk.fill(left=0)
        sending = asyncio.ensure_future(node.send("x" * 5_000))
        await until(lambda: STUCK in node.engine.trouble.names)

        # then nobody was told that it was sent, the node goes on, and others should lead
        assert not sending.done()
        assert node.failures == []
        assert not node.groups.fit_to_lead

        # when there is room
        node.disk.capacity = None
        await sending

        # then it is over
        assert STUCK not in node.engine.trouble.names
        assert node.groups.fit_to_lead


async def test_a_disk_below_its_reserve_takes_no_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    async with lone_node(monkeypatch) as node:
        # given a disk below its reserve
        node.groups.expect_room(GROUP)
        node.disk.capacity = 1_000_000
        node.disk.create("filler").write_at(bytes(node.disk.free_bytes() - 20_000), 0)
        node.engine.disk.measured(node.engine.disk.measure())

        # then messages are refused, and what else is to be written is written
        assert node.engine.trouble.names == (FULL,)
        with pytest.raises(DiskFull):
            node.groups.expect_room(GROUP)
        await node.send("a delete, say")


async def test_a_reader_that_comes_upon_damage_is_sent_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async with lone_node(monkeypatch) as node:
        # given an entry that rots while the node runs
        await node.send("precious")
        index = node.engine.core.replicas[GROUP].applied
        path = layout.segment_path(1)
        node.disk.flip(path, node.disk.content(path).index(b"precious"))

        # when it is read
        with pytest.raises(NotLeader):
            node.groups.read_entry(GROUP, Index(index))

        # then the replica has ended, callers look elsewhere, and the node says why
        assert not node.groups.holds(GROUP)
        with pytest.raises(NotLeader):
            await node.send("more")
        assert "damaged-group-1" in node.engine.trouble.names
        assert node.failures == []


async def test_a_group_that_was_damaged_can_be_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with lone_node(monkeypatch) as node:
        # given a damaged replica
        await node.send("precious")
        path = layout.segment_path(1)
        node.disk.flip(path, node.disk.content(path).index(b"precious"))
        with pytest.raises(NotLeader):
            node.groups.read_entry(GROUP, node.engine.core.replicas[GROUP].applied)

        # when it is opened anew
        await node.groups.open(GROUP, (ME,))
        await until(lambda: node.groups.leads(GROUP))

        # then it works, and the trouble is over
        await node.send("again")
        node.engine.disk.look(Millis(0))
        assert node.engine.trouble.names == ()


async def test_a_directory_that_vanishes_ends_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.replication.housekeeping.LOOK_EVERY", 0)
    async with lone_node(monkeypatch) as node:
        # given a data directory that somebody removes
        node.disk.delete(layout.MANIFEST)

        # then the node cannot go on
        await until(lambda: node.failures)
        assert "the data directory is gone" in node.failures[0]
