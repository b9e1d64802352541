"""Several replicas and the wires between them, in virtual time. Messages travel in no time and in order; what passes is
decided by who is cut off from whom. Deterministic: the same calls, the same story.
"""

from __future__ import annotations

from collections import deque

import msgspec

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft import messages
from broker.raft.events import PeerClosed, PeerUnreachable, Received, SnapshotSent
from broker.raft.messages import Message
from broker.raft.ready import RoleChange
from broker.raft.types import HardState, Membership, RaftConfig, Role, SnapshotMark
from tests.unit.raft.replica import Replica, entry, fresh_mark

_wire = msgspec.msgpack.Encoder()
_unwire = msgspec.msgpack.Decoder(messages.Message)


class Cluster:
    """``holding``: messages queue up instead of travelling."""

    def __init__(self, voters: list[str], config: RaftConfig) -> None:
        self.now = Millis(0)
        self.config = config
        self.replicas: dict[str, Replica] = {}
        self.down: set[str] = set()
        self.cut: set[tuple[str, str]] = set()
        self.lost_kinds: set[str] = set()
        self.holding = False
        self.wires: deque[tuple[str, str, Message]] = deque()
        self.sent: list[tuple[str, str, Message]] = []
        self.leaders: dict[Term, NodeId] = {}
        for name in voters:
            self.add(name, fresh_mark(*voters))

    def add(self, name: str, mark: SnapshotMark | None = None) -> None:
        """Without a mark: an empty replica that knows nobody, as one that joins."""
        nobody = SnapshotMark(Index(0), Term(0), Membership(()))
        self.replicas[name] = Replica(name, mark or nobody, config=self.config)

    def __getitem__(self, name: str) -> Replica:
        return self.replicas[name]

    def give_log(self, name: str, terms: list[int], current: int) -> None:
        """Restart the replica with entries of these terms already durable, in term ``current``."""
        replica = self[name]
        replica.disk.durable = {index: entry(index, term, b"%d" % index) for index, term in enumerate(terms, 1)}
        replica.disk.hard_state = HardState(Term(current))
        replica.start(self.now)

    def feed(self, name: str, event: object) -> None:
        ready = self[name].feed(event, self.now)  # type: ignore[arg-type]
        self._note(name, ready.role_change)
        self.flow()

    def flow(self) -> None:
        """Let everything travel that can, until all is quiet."""
        self._collect()
        while self.wires and not self.holding:
            sender, receiver, message = self.wires.popleft()
            if not self._passes(sender, receiver, message):
                continue
            ready = self[receiver].feed(Received(NodeId(sender), _unwire.decode(_wire.encode(message))), self.now)
            self._note(receiver, ready.role_change)
            self._collect()

    def _collect(self) -> None:
        for name, replica in self.replicas.items():
            if name in self.down:
                continue
            for addressed in replica.outbox:
                self.sent.append((name, addressed.to, addressed.message))
                self.wires.append((name, addressed.to, addressed.message))
            replica.outbox.clear()

    def _passes(self, sender: str, receiver: str, message: Message) -> bool:
        return (
            receiver in self.replicas
            and sender not in self.down
            and receiver not in self.down
            and (sender, receiver) not in self.cut
            and type(message).__name__ not in self.lost_kinds
        )

    def _note(self, name: str, change: RoleChange | None) -> None:
        if change is not None and change.role is Role.LEADER:
            earlier = self.leaders.setdefault(change.term, NodeId(name))
            assert earlier == name, f"{earlier} and {name} both lead in term {change.term}"

    def run(self, duration: int) -> None:
        """Time passes; whoever has a deadline acts at it."""
        end = self.now + duration
        self.flow()
        while True:
            due = [(at, name) for name in self.replicas if (at := self._deadline(name)) is not None and at <= end]
            if not due:
                break
            at, name = min(due)
            self.now = Millis(max(self.now, at))
            ready = self[name].wake(self.now)
            self._note(name, ready.role_change)
            self.flow()
        self.now = Millis(end)

    def _deadline(self, name: str) -> Millis | None:
        return None if name in self.down else self[name].group.next_deadline()

    def crash(self, name: str, *, noticed: bool) -> None:
        """The process ends. ``noticed``: its connections close, as those of a killed process do."""
        self.down.add(name)
        for other in [other for other in self.replicas if noticed and other not in self.down]:
            self.feed(other, PeerClosed(NodeId(name)))
            self.feed(other, PeerUnreachable(NodeId(name)))

    def restart(self, name: str) -> None:
        self.down.discard(name)
        self[name].start(self.now)

    def carry_snapshot(self, name: str, *, ok: bool) -> None:
        """The bulk transfer from the leader to ``name`` ends."""
        leader = self[name].group.leader
        assert leader is not None, f"{name} knows no leader that could send a snapshot"
        source = self[leader]
        if ok:
            self[name].install(source.disk.mark, source.disk.content, self.now)
        self.feed(leader, SnapshotSent(NodeId(name), ok))
