"""A node's replication with its engine on a disk in memory, and a peer's connection to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from broker.aio.tasks import TaskScope
from broker.base.ids import GroupId, NodeId, Term
from broker.base.instants import Millis, WallMillis
from broker.machine.replicated import ReplicatedMachine
from broker.raft.messages import VoteReply, VoteRequest
from broker.raft.types import RaftConfig
from broker.replication import frames
from broker.replication.engine import Engine, EngineSettings
from broker.replication.frames import Call, PeerFrame
from broker.replication.node_core import NodeCore
from broker.replication.replica import ReplicaSettings
from broker.storage.store import StorageSettings, Store
from broker.transport.control import ControlLink
from broker.transport.frames import PAYLOAD
from tests.fuzz.wires import End, framed
from tests.simulation.fake_disk import FakeDisk
from tests.unit.replication.single_node import GROUP, ME, ROOM, AlarmMachine

PEER, THIRD = NodeId("b"), NodeId("c")


class Clock:
    """In the hands of the test."""

    def __init__(self) -> None:
        self.passed = 0

    def monotonic(self) -> Millis:
        return Millis(10_000 + self.passed)

    def wall(self) -> WallMillis:
        return WallMillis(1_700_000_000_000 + self.passed)


class Outgoing:
    """Implements the engine's Transport; everybody is connected, and hears all that is said."""

    def __init__(self) -> None:
        self.heard: list[PeerFrame] = []

    def send(self, peer: NodeId, payload: bytes) -> bool:
        if peer == PEER:
            self.heard.append(frames.decode(payload))
        return True

    def connected(self) -> frozenset[NodeId]:
        return frozenset((PEER, THIRD))

    async def send_bulk(self, peer: NodeId, header: bytes, pieces: AsyncIterator[bytes]) -> None:
        async for _ in pieces:
            pass


class FuzzedNode:
    def __init__(self, scope: TaskScope, failures: list[tuple[str, BaseException]]) -> None:
        self.failures = failures
        self.scope = scope
        self.store = Store(FakeDisk(Random(1)), StorageSettings(segment_bytes=65_536), node=ME, cluster="test")
        settings = ReplicaSettings()
        core = NodeCore(ME, self.store, _machine, RaftConfig(), settings, Random(2))
        self.clock = Clock()
        self.engine = Engine(
            core,
            self.store,
            self.clock,
            scope,
            EngineSettings(fsync="loop"),
            lambda what, error: failures.append((what, error)),
        )
        core.open_group(GROUP, (ME, PEER, THIRD), self.engine.instant())
        self.engine.calls.serve("echo", _echo)
        self.outgoing = Outgoing()
        self.engine.start(self.outgoing)

    def connect(self) -> End:
        """The peer's control connection, admitted."""
        end = End(
            ControlLink(PEER, self.engine.frame_received, lambda peer, _: self.engine.peer_down(peer, True)), self.scope
        )
        end.connection.admit(end.connection._handler)
        return end

    async def pass_time(self, duration: int) -> None:
        """Long enough, and it stands for election."""
        self.clock.passed += duration
        self.engine._guarded(self.engine._wake)
        await settled()

    async def answers_honest_peers(self) -> None:
        """A vote is asked for and a call made, over a new connection."""
        self.outgoing.heard.clear()
        end = self.connect()
        asked = VoteRequest(Term(2**40), self.engine.core.replicas[GROUP].raft.last_index, Term(2**40), pre=False)
        payload = frames._encoder.encode(PeerFrame([(GROUP, asked)], [Call(99, "echo", b"hello", Millis(1_000))]))
        end.feed(framed(PAYLOAD, payload))
        await settled()
        assert end.connection.open, end.connection.ending
        replies = [reply for frame in self.outgoing.heard for reply in frame.replies]
        assert (99, b"hello") in [(reply.id, reply.payload) for reply in replies]
        said = [message for frame in self.outgoing.heard for _, message in frame.messages]
        assert any(isinstance(message, VoteReply) for message in said)
        end.lose()


async def _echo(payload: bytes) -> bytes:
    return payload


def _machine(_: GroupId) -> ReplicatedMachine:
    return ReplicatedMachine({ROOM: AlarmMachine()})


async def settled() -> None:
    """Turns and commits take a few rounds of the loop."""
    for _ in range(12):
        await asyncio.sleep(0)


@asynccontextmanager
async def fuzzed_node() -> AsyncIterator[FuzzedNode]:
    failures: list[tuple[str, BaseException]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append((context["message"], context.get("exception") or RuntimeError()))
    )
    async with TaskScope("node", lambda what, error: failures.append((what, error))) as scope:
        node = FuzzedNode(scope, failures)
        await settled()
        yield node
        await node.engine.close()
    assert failures == []
