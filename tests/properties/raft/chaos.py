"""A small cluster under random faults, and what must hold throughout (Raft paper, figure 3).

Messages are lost, doubled and reordered, disks are slow, processes crash and lose what was not synced, groups are
reconfigured, snapshots overtake logs. One seed, one run.
"""

from __future__ import annotations

from random import Random

import msgspec

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft.events import (
    Campaign,
    ChangeMembership,
    PeerClosed,
    PeerUnreachable,
    Propose,
    Read,
    Received,
    SnapshotSent,
    TransferLeadership,
)
from broker.raft.messages import Message
from broker.raft.ready import Ready
from broker.raft.types import Entry, Membership, RaftConfig, Role, SnapshotMark
from tests.unit.raft.replica import Content, Replica, fresh_mark

CONFIG = RaftConfig(
    max_append_bytes=40, max_inflight_appends=4, max_inflight_bytes=200, max_tail_bytes=60, max_apply_bytes=50
)

NERVOUS = msgspec.structs.replace(
    CONFIG,
    heartbeat_interval=Millis(20),
    election_timeout_min=Millis(30),
    election_timeout_max=Millis(60),
    lost_leader_delay_max=Millis(2),
    transfer_timeout=Millis(60),
)
"""Time-outs so short that elections collide with one another and with everything else."""


class Chaos:
    """``step`` does one random thing and then checks everything that can be checked."""

    def __init__(self, seed: int, config: RaftConfig = CONFIG, *, clean_closes: bool = True) -> None:
        self.random = Random(seed)
        self.now = Millis(0)
        voters = ["a", "b", "c"]
        self.replicas = {name: Replica(name, fresh_mark(*voters), seed=seed, config=config) for name in voters}
        for name in "de":
            nobody = SnapshotMark(Index(0), Term(0), Membership(()))
            self.replicas[name] = Replica(name, nobody, seed=seed, config=config)
        for replica in self.replicas.values():
            replica.syncs_at_once = False
        self.heartbeat = config.heartbeat_interval
        self.down: set[str] = set()
        self.wires: list[tuple[str, str, Message]] = []
        self.proposed = 0
        self.reads: dict[int, int] = {}
        self.leaders: dict[Term, str] = {}
        self.committed: dict[int, Entry] = {}
        self.checked: dict[str, int] = {}
        self.clean_closes = clean_closes
        self.transfers: dict[str, tuple[str, SnapshotMark, Content]] = {}

    def step(self) -> None:
        act = self.random.choices(list(_ACTS), weights=list(_ACTS.values()))[0]
        act(self)
        self.collect()
        self.check()

    def collect(self) -> None:
        for name, replica in self.replicas.items():
            if name not in self.down:
                self.wires += [(name, addressed.to, addressed.message) for addressed in replica.outbox]
            replica.outbox.clear()
            for peer in replica.wanted:
                self.transfers[peer] = (name, replica.disk.mark, replica.disk.content)
            replica.wanted.clear()

    def up(self) -> list[str]:
        return [name for name in self.replicas if name not in self.down]

    def feed(self, name: str, event: object) -> Ready:
        ready = self.replicas[name].feed(event, self.now)  # type: ignore[arg-type]
        self.note(name, ready)
        return ready

    def note(self, name: str, ready: Ready) -> None:
        """Election safety, and leader completeness at the moment of election."""
        change = ready.role_change
        if change is None or change.role is not Role.LEADER:
            return
        earlier = self.leaders.setdefault(change.term, name)
        assert earlier == name, f"{earlier} and {name} lead in term {change.term}"
        replica = self.replicas[name]
        for index, entry in self.committed.items():
            if index > replica.disk.mark.index:
                found = replica.disk.written.get(index)
                assert found == entry, f"leader {name} of term {change.term} lacks committed entry {index}"

    def check(self) -> None:
        """State machine safety: what one replica has applied, no other contradicts. Reads are not stale."""
        for name, replica in self.replicas.items():
            history = replica.history
            for entry in history[self.checked.get(name, 0) :]:
                known = self.committed.setdefault(entry.index, entry)
                assert known == entry, f"{name} applied {entry}, another {known}"
            self.checked[name] = len(history)
            for token, index in replica.grants.items():
                assert index >= self.reads[token], f"read {token} at {name} saw {index}, not {self.reads[token]}"
            replica.grants.clear()

    def check_logs(self) -> None:
        """Log matching: the same term at the same index means the same log up to there."""
        names = list(self.replicas)
        for position, one in enumerate(names):
            for other in names[position + 1 :]:
                left, right = self.replicas[one].disk.written, self.replicas[other].disk.written
                agree = False
                for index in sorted(left.keys() & right.keys(), reverse=True):
                    agree = agree or left[index].term == right[index].term
                    assert not agree or left[index] == right[index], f"{one} and {other} differ at {index}"

    # What may happen

    def deliver(self) -> None:
        for _ in range(self.random.randint(1, 6)):
            if not self.wires:
                return
            position = 0 if self.random.random() < 0.8 else self.random.randrange(len(self.wires))
            sender, receiver, message = self.wires.pop(position)
            chance = self.random.random()
            if chance < 0.04:
                continue
            if chance < 0.08:
                self.wires.append((sender, receiver, message))
            self.carry(sender, receiver, message)
            self.collect()

    def carry(self, sender: str, receiver: str, message: Message) -> None:
        if receiver in self.down:
            return
        self.feed(receiver, Received(NodeId(sender), message))

    def sync(self) -> None:
        for name in self.up():
            if self.random.random() < 0.5:
                replica = self.replicas[name]
                waiting = len(replica.disk.waiting)
                replica.sync(self.now, self.random.randint(0, waiting))

    def pass_time(self) -> None:
        beat = self.heartbeat
        self.elapse(self.random.choice([1, beat // 20, beat // 5, beat, 3 * beat]))

    def elapse(self, duration: int) -> None:
        self.now = Millis(self.now + duration)
        for name in self.up():
            due = self.replicas[name].group.next_deadline()
            if due is not None and due <= self.now:
                self.note(name, self.replicas[name].wake(self.now))

    def propose(self) -> None:
        name = self.random.choice(self.up() or list(self.replicas))
        if name in self.down:
            return
        count = self.random.randint(1, 3)
        payloads = [b"%d" % (self.proposed + number) * self.random.randint(1, 12) for number in range(count)]
        self.proposed += count
        self.feed(name, Propose(payloads))

    def read(self) -> None:
        for name in self.up():
            token = len(self.reads)
            self.reads[token] = max(self.committed, default=0)
            self.feed(name, Read(token))

    def crash(self) -> None:
        if len(self.down) >= 2 or self.random.random() < 0.5:
            return
        name = self.random.choice(self.up())
        self.down.add(name)
        self.replicas[name].outbox.clear()
        self.transfers = {to: what for to, what in self.transfers.items() if what[0] != name and to != name}
        if self.clean_closes:
            self.wires = [wire for wire in self.wires if wire[0] != name]
        for other in self.up():
            if self.random.random() < 0.7:
                self.feed(other, PeerClosed(NodeId(name)))
            self.feed(other, SnapshotSent(NodeId(name), False))

    def restart(self) -> None:
        for name in sorted(self.down):
            if self.random.random() < 0.7:
                self.down.discard(name)
                self.checked.pop(name, None)
                self.replicas[name].start(self.now)

    def lose_connection(self) -> None:
        name, peer = self.random.sample(list(self.replicas), 2)
        if name not in self.down:
            self.wires = [wire for wire in self.wires if wire[:2] not in {(name, peer), (peer, name)}]
            self.feed(name, PeerUnreachable(NodeId(peer)))

    def compact(self) -> None:
        for name in self.up():
            group, replica = self.replicas[name].group, self.replicas[name]
            if replica.applied > group.snapshot_index and self.random.random() < 0.5:
                index = self.random.randint(group.snapshot_index, replica.applied)
                keep_from = self.random.randint(group.first_index, index + 1)
                replica.compact(index, keep_from, self.now)
                self.checked[name] = len(replica.history)

    def end_snapshot(self) -> None:
        for name in list(self.transfers):
            sender, mark, content = self.transfers.pop(name)
            ok = self.random.random() < 0.7 and name not in self.down
            if ok and self.replicas[name].install(mark, content, self.now):
                self.checked[name] = 0
            self.collect()
            if sender not in self.down:
                self.feed(sender, SnapshotSent(NodeId(name), ok))

    def transfer(self) -> None:
        for name in self.up():
            self.feed(name, TransferLeadership(NodeId(self.random.choice("abcde"))))

    def campaign(self) -> None:
        """Several at once, and one that crashes meanwhile."""
        for name in self.random.sample(self.up(), min(2, len(self.up()))):
            self.feed(name, Campaign())
            self.collect()
        self.deliver()
        for name in self.up():
            self.replicas[name].sync(self.now)
        self.collect()
        self.deliver()
        self.crash()
        self.restart()

    def reconfigure(self) -> None:
        names = self.random.sample("abcde", self.random.randint(1, 5))
        voters = self.random.randint(1, len(names))
        target = Membership(
            tuple(sorted(NodeId(name) for name in names[:voters])), (), tuple(NodeId(name) for name in names[voters:])
        )
        for name in self.up():
            self.feed(name, ChangeMembership(target))

    def settle(self) -> None:
        """No more faults: within a few election time-outs everyone up to date."""
        for _ in range(800):
            self.restart()
            self.elapse(self.heartbeat // 5)
            self.end_snapshot()
            for _ in range(3):
                for name in self.up():
                    self.replicas[name].sync(self.now)
                self.collect()
                wires, self.wires = self.wires, []
                for sender, receiver, message in wires:
                    self.carry(sender, receiver, message)
                    self.collect()
            self.check()


_ACTS = {
    Chaos.deliver: 40,
    Chaos.sync: 15,
    Chaos.pass_time: 12,
    Chaos.propose: 8,
    Chaos.read: 4,
    Chaos.crash: 1.5,
    Chaos.restart: 1.5,
    Chaos.lose_connection: 1,
    Chaos.compact: 2,
    Chaos.end_snapshot: 3,
    Chaos.campaign: 1,
    Chaos.transfer: 0.5,
    Chaos.reconfigure: 0.4,
}
