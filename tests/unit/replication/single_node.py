"""A node core alone with a store in memory, and time in the hands of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

import msgspec

from broker.base.ids import GroupId, Index, NodeId
from broker.base.instants import Instant, Millis, WallMillis
from broker.machine import envelope
from broker.machine.contract import Applied, Effect, Place, Wake
from broker.machine.envelope import Envelope
from broker.machine.replicated import ReplicatedMachine
from broker.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply, Message, VoteReply, VoteRequest
from broker.raft.types import RaftConfig
from broker.replication import inputs
from broker.replication.node_core import NodeCore
from broker.replication.replica import ReplicaSettings
from broker.storage.store import StorageSettings, Store
from tests.simulation.fake_disk import FakeDisk

ME = NodeId("a")
GROUP = GroupId(1)
ROOM = "alarms"


class AlarmMachine:
    """A room that remembers the numbers it was told; a large one is a time at which it rings. Implements Machine."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.alarm: WallMillis | None = None
        self.rung = 0

    def apply(self, command: bytes | memoryview, place: Place) -> Applied:
        woken = self.advance(place.at)
        number = msgspec.msgpack.decode(command, type=int)
        self.told.append(number)
        if number > 1_000_000:
            self.alarm = WallMillis(number)
        return Applied(len(self.told), woken)

    def waits(self, command: bytes | memoryview) -> bool:
        return False

    def advance(self, at: WallMillis) -> tuple[Effect, ...]:
        if self.alarm is None or self.alarm > at:
            return ()
        self.alarm = None
        self.rung += 1
        return (Wake(("alarm", self.rung)),)

    def query(self, question: Any, at: WallMillis) -> Any:
        return list(self.told)

    def next_deadline(self) -> WallMillis | None:
        return self.alarm

    def dump(self) -> Iterator[bytes]:
        return iter([msgspec.msgpack.encode((self.told, self.alarm, self.rung))])

    def load(self, pieces: Iterable[bytes]) -> None:
        self.told, self.alarm, self.rung = msgspec.msgpack.decode(b"".join(pieces))

    def live_entries(self) -> Iterator[tuple[Index, Index]]:
        return iter(())

    def decode_reply(self, data: bytes | memoryview) -> Any:
        return msgspec.msgpack.decode(data)


class Node:
    """One node and what its engine would do for it, step by step."""

    def __init__(
        self,
        members: tuple[NodeId, ...] = (ME,),
        settings: ReplicaSettings | None = None,
        cache_bytes: int = StorageSettings().cache_bytes,
    ) -> None:
        self.disk = FakeDisk(Random(1))
        self.storage = StorageSettings(segment_bytes=65_536, cache_bytes=cache_bytes)
        self.members = members
        self.settings = settings or ReplicaSettings()
        self.now = 10_000
        self.wall = 1_700_000_000_000
        self.rooms: list[AlarmMachine] = []
        self.jobs: list[inputs.SnapshotJob | inputs.SendSnapshot] = []
        """Of the turns with peers."""
        self.open()

    def open(self) -> None:
        self.open_store()
        self.core.open_group(GROUP, self.members, self.at())

    def open_store(self) -> None:
        """No group yet."""
        self.store = Store(self.disk, self.storage, node=ME, cluster="test")
        self.core = NodeCore(ME, self.store, self._machine, RaftConfig(max_tail_bytes=0), self.settings, Random(2))

    def at(self) -> Instant:
        return Instant(Millis(self.now), WallMillis(self.wall))

    def handle(self, happened: inputs.Input) -> None:
        self.core.handle(happened, self.at())

    def turn(self) -> inputs.Turn:
        return self.core.turn(self.at())

    def sync(self, batch: Any) -> inputs.Turn:
        """The batch is on disk; the turn that follows."""
        self.store.commit(batch)
        self.handle(inputs.Synced(batch.number))
        return self.turn()

    def pass_time(self, duration: int) -> None:
        self.now += duration
        self.wall += duration

    def settle(self) -> list[inputs.Answer]:
        """Turns and syncs until nothing is owed; all answers given on the way."""
        answers: list[inputs.Answer] = []
        turn = self.turn()
        while True:
            answers += turn.answers
            if turn.batch is not None:
                turn = self.sync(turn.batch)
            elif turn.again:
                turn = self.turn()
            else:
                return answers

    def lead(self) -> None:
        """A group of one elects itself."""
        self.settle()
        self.core.wake(self.at())
        self.settle()

    def lead_with_peers(self) -> None:
        """Peers that agree to everything elect this node."""
        self.handle(inputs.Stand(GROUP))
        self.settle_with_peers()

    def settle_with_peers(self, lagging: NodeId | None = None) -> list[inputs.Answer]:
        """As ``settle``, with peers that agree to everything and have everything on disk at once; but the one that is
        ``lagging`` only says that it lives."""
        answers: list[inputs.Answer] = []
        turn = self.turn()
        while True:
            answers += turn.answers
            self.jobs += turn.jobs
            for peer, messages in turn.frames.items():
                answered = [Heartbeat] if peer == lagging else _AGREEMENTS
                agreed = [(group, _agreement(message)) for group, message in messages if type(message) in answered]
                self.handle(inputs.FrameArrived(peer, agreed))
            if turn.batch is not None:
                turn = self.sync(turn.batch)
            elif turn.again or turn.frames:
                turn = self.turn()
            else:
                return answers

    def crash(self) -> None:
        self.disk.lose_power()
        self.open()

    def proposal(self, number: int, token: int) -> inputs.Proposal:
        return proposal_at(WallMillis(self.wall), number, token)

    def _machine(self, group: GroupId) -> ReplicatedMachine:
        room = AlarmMachine()
        self.rooms.append(room)
        return ReplicatedMachine({ROOM: room})


_AGREEMENTS: dict[type, Callable[[Any], Message]] = {
    VoteRequest: lambda asked: VoteReply(asked.term, True, pre=asked.pre),
    Append: lambda sent: AppendReply(sent.term, True, Index(sent.prev_index + len(sent.entries)), sent.round),
    Heartbeat: lambda sent: HeartbeatReply(sent.term, sent.round),
}


def _agreement(message: Message) -> Message:
    return _AGREEMENTS[type(message)](message)


def proposal_at(wall: WallMillis, number: int, token: int) -> inputs.Proposal:
    data = envelope.encode(Envelope(wall, ROOM, None, msgspec.Raw(msgspec.msgpack.encode(number))))
    return inputs.Proposal(GROUP, data, token)
