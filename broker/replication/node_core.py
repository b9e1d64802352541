"""All replicas of a node as one sans-IO object.

Inputs of one loop turn are handled one by one; ``turn`` then closes the turn and says what is owed (see inputs.Turn).
The rule that makes acknowledgements mean something lives here: what a replica may say only after the disk has spoken
waits at a gate, and a gate opens when the batch that was sealed with it, and all batches before, are synced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from broker.base.errors import DataCorrupt, NotLeader
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.base.instants import Instant, Millis
from broker.machine.replicated import ReplicatedMachine
from broker.raft import events
from broker.raft.group import Chance, RaftGroup, Restored
from broker.raft.types import HardState, Membership, RaftConfig, SnapshotMark
from broker.replication import inputs
from broker.replication.outbox import Gate, Outbox
from broker.replication.replica import Replica, ReplicaSettings
from broker.replication.store_log import GroupLog
from broker.storage.store import Batch, Store


class NodeCore:
    """``machine_of`` makes an empty machine for a group."""

    def __init__(
        self,
        me: NodeId,
        store: Store,
        machine_of: Callable[[GroupId], ReplicatedMachine],
        raft_config: RaftConfig,
        settings: ReplicaSettings,
        random: Chance,
    ) -> None:
        self.me = me
        self.replicas: dict[GroupId, Replica] = {}
        self._store = store
        self._machine_of = machine_of
        self._raft_config = raft_config
        self._settings = settings
        self._random = random
        self._out = Outbox()
        self._under_way: Batch | None = None
        self._gate_under_way = Gate()
        self._deadlines: dict[GroupId, Millis] = {}
        self._touched: set[GroupId] = set()
        self._snapshots_due: dict[GroupId, None] = {}
        """In the order in which they fell due."""
        self._snapshotting: Replica | None = None
        """Whose snapshot is being written."""
        self._handlers = {
            inputs.FrameArrived: self._frame_arrived,
            inputs.Proposal: self._proposal,
            inputs.Query: self._query,
            inputs.PeerLost: self._peer_lost,
            inputs.Synced: self._synced,
            inputs.SnapshotWritten: self._snapshot_written,
            inputs.SnapshotAbandoned: self._snapshot_abandoned,
            inputs.SnapshotArrived: self._snapshot_arrived,
            inputs.TransferEnded: self._transfer_ended,
            inputs.Transfer: self._transfer,
            inputs.Reconfigure: self._reconfigure,
            inputs.Stand: self._stand,
            inputs.MakeRoom: self._make_room,
        }

    def open_group(self, group: GroupId, founders: Iterable[NodeId], at: Instant) -> None:
        """Start this node's replica from disk; ``founders`` are the voters of a group that has never been here.

        What turns out to be damaged is not opened. Raises DataCorrupt when that is known already: such a replica has
        forgotten what it promised, and must be dropped before it begins anew.
        """
        damaged = self._store.damaged.get(group)
        if damaged:
            raise DataCorrupt(f"the replica of group {group} on {self.me} is damaged: {damaged[0]}")
        try:
            self._open(group, founders, at)
        except DataCorrupt as error:
            self.damage_found(group, error, at)

    def _open(self, group: GroupId, founders: Iterable[NodeId], at: Instant) -> None:
        recovered = self._store.recovered(group)
        fresh = SnapshotMark(Index(0), Term(0), Membership(tuple(sorted(founders))))
        mark = fresh if recovered is None or recovered.mark is None else recovered.mark
        restored = Restored(
            hard_state=HardState() if recovered is None else recovered.hard_state,
            mark=mark,
            reader=GroupLog(self._store, group),
            first_index=Index(mark.index + 1) if recovered is None else recovered.first_index,
            last_index=mark.index if recovered is None else recovered.last_index,
            term_runs=() if recovered is None else recovered.term_runs,
            memberships=() if recovered is None else recovered.memberships,
        )
        raft = RaftGroup(me=self.me, config=self._raft_config, random=self._random, restored=restored, now=at.now)
        if recovered is None:
            self._store.stage_founding(group, fresh.membership)
        self.replicas[group] = Replica(group, raft, self._store, lambda: self._machine_of(group), self._settings, mark)
        self._touched.add(group)

    def close_group(self, group: GroupId, at: Instant) -> None:  # noqa: ARG002
        """This node's replica ends at once: callers are refused, and what it had yet to say or to wait for does not
        happen. Nothing if there is none. What the store has of the group is the store's (see ``drop_group`` there)."""
        replica = self.replicas.pop(group, None)
        if replica is None:
            return
        if any(type(job) is inputs.SnapshotJob and job.group == group for job in self._out.jobs):
            self._snapshotting = None
        self._out.forget(group)
        self._gate_under_way.forget(group)
        replica.close(self._out)
        self._touched.discard(group)
        self._deadlines.pop(group, None)
        self._snapshots_due.pop(group, None)

    def damage_found(self, group: GroupId, error: DataCorrupt, at: Instant) -> None:
        """What the disk has of the group is not what was written. The replica ends before it says another word."""
        if group not in self._store.damaged:
            self.close_group(group, at)
            self._store.condemn(group, error)
            self._out.damage.append((group, error))

    def not_leader(self, group: GroupId) -> NotLeader:
        """What a caller is told who asks this node for a group that it does not lead."""
        replica = self.replicas.get(group)
        return NotLeader(f"{self.me} holds no replica of group {group}") if replica is None else replica.not_leader()

    # --- the three verbs

    def time_moved(self) -> None:
        """Wall time went on or back at once: what waits for an instant of it reckons anew in this turn."""
        self._touched.update(self.replicas)

    def handle(self, happened: inputs.Input, at: Instant) -> None:
        self._handlers[type(happened)](happened, at)  # type: ignore[operator]

    def wake(self, at: Instant) -> None:
        for group, deadline in list(self._deadlines.items()):
            if deadline <= at.now:
                with self._watching(group, at):
                    self.replicas[group].wake(at, self._touch(group))

    @property
    def writing(self) -> bool:
        """A batch is on its way to the disk."""
        return self._under_way is not None

    def next_deadline(self) -> Millis | None:
        """Valid after ``turn``."""
        return min(self._deadlines.values(), default=None)

    def turn(self, at: Instant) -> inputs.Turn:
        """Close the turn: propose and apply what has gathered, and hand out what is owed."""
        out = self._out
        waiting: set[GroupId] = set()
        while out.dirty:
            group = out.dirty.pop()
            self._touched.add(group)
            try:
                more = self.replicas[group].flush(at, out)
            except DataCorrupt as error:
                self.damage_found(group, error, at)
                continue
            if more:
                out.dirty.discard(group)
                waiting.add(group)
        self._begin_snapshot(out)
        batch = self._seal(out)
        turn = inputs.Turn(
            frames=out.frames,
            batch=batch,
            answers=out.answers,
            effects=out.effects,
            role_changes=out.role_changes,
            jobs=out.jobs,
            again=bool(waiting),
            damage=out.damage,
        )
        fresh = Outbox()
        fresh.gate = out.gate
        fresh.dirty = waiting
        self._out = fresh
        self._reckon_deadlines(at)
        return turn

    # --- inside

    def _seal(self, out: Outbox) -> Batch | None:
        """One batch at a time. A gate with nothing of its own to write opens as soon as no write is under way."""
        if self._under_way is not None:
            return None
        batch = self._store.seal()
        if batch is None:
            gate, out.gate = out.gate, Gate()
            for group, addressed in gate.messages:
                out.send(group, [addressed])
            return None
        self._under_way = batch
        self._gate_under_way, out.gate = out.gate, Gate()
        return batch

    def _begin_snapshot(self, out: Outbox) -> None:
        """One at a time on a node. Groups with equal load fall due together: capturing all their states in one turn
        would be a long turn, and so many encoders would keep the loop from the interpreter."""
        for group in out.snapshots_due:
            self._snapshots_due[group] = None
        while self._snapshots_due and self._snapshotting is None:
            group = next(iter(self._snapshots_due))
            del self._snapshots_due[group]
            replica = self.replicas[group]
            if replica.write_snapshot(out):
                self._snapshotting = replica

    def _reckon_deadlines(self, at: Instant) -> None:
        for group in self._touched:
            deadline = self.replicas[group].next_deadline(at)
            if deadline is None:
                self._deadlines.pop(group, None)
            else:
                self._deadlines[group] = deadline
        self._touched.clear()

    def _touch(self, group: GroupId) -> Outbox:
        self._touched.add(group)
        self._out.dirty.add(group)
        return self._out

    @contextmanager
    def _watching(self, group: GroupId, at: Instant) -> Iterator[None]:
        """A replica at work, which may come upon damage."""
        try:
            yield
        except DataCorrupt as error:
            self.damage_found(group, error, at)

    def _frame_arrived(self, frame: inputs.FrameArrived, at: Instant) -> None:
        for group, message in frame.messages:
            self._tell(group, events.Received(frame.peer, message), at)

    def _proposal(self, proposal: inputs.Proposal, at: Instant) -> None:  # noqa: ARG002
        replica = self.replicas.get(proposal.group)
        if replica is None:
            self._out.fail(proposal.token, self.not_leader(proposal.group))
        else:
            self._touch(proposal.group)
            replica.propose(proposal.data, proposal.token)

    def _query(self, query: inputs.Query, at: Instant) -> None:
        replica = self.replicas.get(query.group)
        if replica is None:
            self._out.fail(query.token, self.not_leader(query.group))
        else:
            with self._watching(query.group, at):
                replica.query(query, at, self._touch(query.group))

    def _peer_lost(self, lost: inputs.PeerLost, at: Instant) -> None:
        event = events.PeerClosed(lost.peer) if lost.closed else events.PeerUnreachable(lost.peer)
        for group in list(self.replicas):
            self._tell(group, event, at)

    def _synced(self, synced: inputs.Synced, at: Instant) -> None:
        if self._under_way is None or self._under_way.number != synced.number:
            raise RuntimeError(f"batch {synced.number} was reported as synced but is not under way")
        self._under_way = None
        gate, self._gate_under_way = self._gate_under_way, Gate()
        for group, addressed in gate.messages:
            self._out.send(group, [addressed])
        for group, (index, term) in gate.persisted.items():
            self._tell(group, events.Persisted(index, term), at)
        for group, mark in gate.installs:
            if group in self.replicas:
                with self._watching(group, at):
                    self.replicas[group].snapshot_installed(mark, at, self._touch(group))

    def _snapshot_written(self, written: inputs.SnapshotWritten, at: Instant) -> None:
        group = written.job.group
        replica = self._snapshot_ended(group)
        if replica is None:
            self._store.discard_snapshot(group, written.name)
        else:
            with self._watching(group, at):
                replica.snapshot_written(written.job, written.name, written.live, at, self._touch(group))

    def _snapshot_abandoned(self, abandoned: inputs.SnapshotAbandoned, at: Instant) -> None:  # noqa: ARG002
        replica = self._snapshot_ended(abandoned.group)
        if replica is not None:
            replica.snapshot_abandoned()

    def _snapshot_ended(self, group: GroupId) -> Replica | None:
        """Whose it was; None if that one is closed."""
        replica, self._snapshotting = self._snapshotting, None
        return replica if replica is self.replicas.get(group) else None

    def _snapshot_arrived(self, arrived: inputs.SnapshotArrived, at: Instant) -> None:  # noqa: ARG002
        group = arrived.group
        replica = self.replicas.get(group)
        if replica is None or arrived.lives != self._store.lives(group):
            self._store.discard_snapshot(group, arrived.name)
        else:
            replica.snapshot_arrived(arrived.mark, arrived.name, self._touch(group))

    def _transfer_ended(self, ended: inputs.TransferEnded, at: Instant) -> None:
        self._tell(ended.group, events.SnapshotSent(ended.peer, ended.ok), at)

    def _transfer(self, transfer: inputs.Transfer, at: Instant) -> None:
        self._tell(transfer.group, events.TransferLeadership(transfer.to), at)

    def _reconfigure(self, change: inputs.Reconfigure, at: Instant) -> None:
        self._tell(change.group, events.ChangeMembership(change.target), at)

    def _stand(self, stand: inputs.Stand, at: Instant) -> None:
        self._tell(stand.group, events.Campaign(), at)

    def _make_room(self, _: inputs.MakeRoom, at: Instant) -> None:  # noqa: ARG002
        for group, replica in self.replicas.items():
            replica.make_room()
            self._snapshots_due[group] = None

    def _tell(self, group: GroupId, event: events.Event, at: Instant) -> None:
        """The replica may have been closed meanwhile."""
        replica = self.replicas.get(group)
        if replica is not None:
            try:
                replica.handle(event, at, self._touch(group))
            except DataCorrupt as error:
                self.damage_found(group, error, at)
