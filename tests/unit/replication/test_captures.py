"""What a replica captures for a backup: all of the state at one entry, for as long as somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random

import msgspec
import pytest

from broker.base.errors import BackupExpired
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.base.instants import Millis, WallMillis
from broker.machine import envelope, holding
from broker.machine.envelope import Envelope
from broker.machine.holding import CaptureFor, Held, HoldFor
from broker.machine.replicated import ReplicatedMachine
from broker.raft.types import Membership, RaftConfig, SnapshotMark
from broker.replication import inputs
from broker.replication.captures import LIFETIME, MOST, PART_BYTES, Capture, CapturedPart, Captures
from broker.replication.node_core import NodeCore
from broker.replication.replica import ReplicaSettings
from broker.replication.transfer import DUMP, decode_entries
from broker.storage.store import StorageSettings, Store
from tests.unit.replication.single_node import GROUP, ME, ROOM, AlarmMachine, Node

MARK = SnapshotMark(Index(7), Term(2), Membership((NodeId("a"),)))
NOW = Millis(1_000)
BACKUP = b"one"
LIVE = [(Index(1), Index(5))]
FORGET_ALL = 0


def capture_of(*pieces: bytes) -> Capture:
    capture = Capture(MARK, iter(LIVE), lambda live: iter(pieces if live == LIVE else ()), NOW)
    capture.begin(list(capture.take_live() or ()))
    return capture


def test_parts_hold_all_pieces_in_order_and_are_about_as_large_as_they_should_be() -> None:
    pieces = [bytes([number]) * (PART_BYTES // 3) for number in range(10)]
    capture = capture_of(*pieces)
    parts = [capture.part(number) for number in range(3)]
    assert [len(part.pieces) for part in parts] == [4, 4, 2]
    assert [piece for part in parts for piece in part.pieces] == pieces
    assert [part.last for part in parts] == [False, False, True]
    assert parts[0].mark == MARK


def test_pieces_that_fill_the_last_part_are_followed_by_an_empty_one() -> None:
    capture = capture_of(bytes(PART_BYTES))
    assert not capture.part(0).last
    assert (capture.part(1).pieces, capture.part(1).last) == ((), True)


def test_the_latest_part_may_be_asked_for_again_and_no_other_one() -> None:
    capture = capture_of(bytes(PART_BYTES), bytes(PART_BYTES), b"end")
    first = capture.part(0)
    assert capture.part(0) == first
    second = capture.part(1)
    for number in (0, 3):
        with pytest.raises(BackupExpired):
            capture.part(number)
    assert capture.part(1) == second
    assert capture.part(2).last
    with pytest.raises(BackupExpired):
        capture.part(3)


def test_what_is_live_is_looked_through_once_and_nothing_is_had_before() -> None:
    capture = Capture(MARK, iter(LIVE), lambda _: iter([b"one"]), NOW)
    live = capture.take_live()
    assert live is not None
    assert capture.take_live() is None
    with pytest.raises(BackupExpired, match="just being looked through"):
        capture.part(0)
    capture.begin(list(live))
    assert capture.part(0).pieces == (b"one",)


def test_what_nobody_asks_for_is_forgotten() -> None:
    captures = Captures()
    captures.add(BACKUP, capture_of())
    assert captures.next_deadline() == NOW + LIFETIME
    captures.get(BACKUP, Millis(NOW + LIFETIME - 1))
    captures.wake(Millis(NOW + LIFETIME))
    assert captures.get(BACKUP, Millis(NOW + LIFETIME)) is not None
    captures.wake(Millis(NOW + 2 * LIFETIME))
    assert captures.get(BACKUP, NOW) is None
    assert captures.next_deadline() is None


def test_there_are_only_so_many() -> None:
    captures = Captures()
    for number in range(MOST + 1):
        captures.add(bytes([number]), capture_of())
    assert [number for number in range(MOST + 1) if captures.get(bytes([number]), NOW)] == [1, 2]


# --- a replica


class KeepingMachine(AlarmMachine):
    """Refers to every entry that told it something, until it is told to forget all."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[int] = []

    def apply(self, command, place):
        self.live = [] if msgspec.msgpack.decode(command) == FORGET_ALL else [*self.live, place.index]
        return super().apply(command, place)

    def live_entries(self) -> Iterator[tuple[Index, Index]]:
        return iter([(Index(index), Index(index)) for index in self.live])


class KeepingNode(Node):
    def __init__(self) -> None:
        self.tokens = count(1)
        super().__init__(settings=ReplicaSettings(snapshot_after_entries=8, keep_behind_snapshot=0))
        self.lead()

    def open(self) -> None:
        """Nothing is in memory only because it is young."""
        settings = StorageSettings(segment_bytes=65_536, cache_bytes=0)
        self.store = Store(self.disk, settings, node=ME, cluster="test")
        self.core = NodeCore(ME, self.store, self._machine, RaftConfig(), self.settings, Random(2))
        self.core.open_group(GROUP, self.members, self.at())

    def _machine(self, group: GroupId) -> ReplicatedMachine:
        return ReplicatedMachine({ROOM: KeepingMachine()})

    @property
    def replica(self):
        return self.core.replicas[GROUP]

    def tell(self, number: int) -> None:
        self.handle(self.proposal(number, next(self.tokens)))
        self.settle()

    def hold(self, command: holding.Command) -> object:
        data = msgspec.Raw(msgspec.msgpack.encode(command))
        proposed = envelope.encode(Envelope(WallMillis(self.wall), holding.ROOM, None, data))
        self.handle(inputs.Proposal(GROUP, proposed, next(self.tokens)))
        return self.settle()[-1].reply

    def capture(self) -> None:
        held = self.hold(HoldFor(BACKUP))
        assert isinstance(held, Held)
        self.hold(CaptureFor(BACKUP, held.since))

    def first_part(self) -> CapturedPart:
        capture = self.replica.captures.get(BACKUP, Millis(self.now))
        capture.begin(list(capture.take_live()))
        return capture.part(0)

    def snapshot_and_compact(self) -> None:
        """A snapshot is written, and everything forgotten that may be."""
        for _ in range(self.settings.snapshot_after_entries):
            self.handle(self.proposal(FORGET_ALL, next(self.tokens)))
        job = self._run()
        writer = self.store.begin_snapshot(job.group, job.mark)
        for piece in job.pieces:
            writer.write(piece)
        self.handle(inputs.SnapshotWritten(job, writer.finish(), list(job.live)))
        self.settle()
        while self.store.compaction_step(1 << 20):
            self.settle()

    def _run(self) -> inputs.SnapshotJob:
        turn, jobs = self.turn(), []
        while not jobs:
            jobs += turn.jobs
            turn = self.sync(turn.batch) if turn.batch is not None else self.turn()
            jobs += turn.jobs
        return jobs[0]


def test_a_replica_captures_its_state_as_it_is_after_the_entry_that_says_so() -> None:
    node = KeepingNode()
    node.tell(4)
    node.tell(5)
    node.capture()
    node.tell(6)
    part = node.first_part()
    *dump, entries = part.pieces
    copy = KeepingMachine()
    ReplicatedMachine({ROOM: copy}).load(piece[1:] for piece in dump if piece[0] == DUMP)
    assert copy.told == [4, 5]
    assert [entry.index for entry in decode_entries(entries)] == [2, 3]
    assert part.last


def test_what_was_captured_can_be_read_whole_although_it_is_dead_since() -> None:
    node = KeepingNode()
    node.tell(4)
    node.capture()
    node.snapshot_and_compact()
    part = node.first_part()
    assert [entry.index for entry in decode_entries(part.pieces[-1])] == [2]


def test_what_nobody_has_captured_any_more_is_forgotten() -> None:
    node = KeepingNode()
    node.tell(4)
    node.capture()
    node.pass_time(LIFETIME)
    node.core.wake(node.at())
    node.snapshot_and_compact()
    assert node.store.read_one(GROUP, Index(2)) is None


def test_nothing_is_captured_again_when_the_log_is_read_after_a_restart_long_after() -> None:
    node = KeepingNode()
    node.capture()
    node.pass_time(LIFETIME)
    node.crash()
    node.lead()
    assert not node.replica.captures
