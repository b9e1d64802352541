"""One group's replica: consensus, machine and log joined, with the callers who wait for them.

Sans-IO like everything below it. It translates what its RaftGroup owes (Ready) into what the node owes (Outbox),
applies committed entries in slices so that no turn grows long, keeps the promises made to proposers, answers reads when
the machine has caught up with them, lets machine time pass by ticks, and decides when a snapshot is due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from broker.base.errors import BrokerError, NotLeader, Unavailable
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.base.instants import Instant, Millis, earliest
from broker.machine import envelope
from broker.machine.replicated import ReplicatedMachine
from broker.raft import events
from broker.raft.group import RaftGroup
from broker.raft.ready import Ready, RoleChange
from broker.raft.types import Entry, EntryKind, Role, SnapshotMark
from broker.replication.captures import LIFETIME, Capture, Captures
from broker.replication.inputs import Query, SendSnapshot, SnapshotJob
from broker.replication.outbox import Outbox
from broker.replication.promises import Promises
from broker.replication.transfer import outgoing
from broker.storage.store import Store


class ReplicaSettings(msgspec.Struct, frozen=True):
    apply_slice: int = 256
    """Entries applied per turn and replica, so that others get their turn."""
    snapshot_after_entries: int = 50_000
    snapshot_after_bytes: int = 64 * 1024 * 1024
    keep_behind_snapshot: int = 5_000
    """Entries that stay readable as log behind a snapshot, for followers that are a little slow."""
    keep_for_followers: int = 100_000
    """So many at most while a follower that is there needs them, or the snapshot on its way to it ends before them."""
    tick_spacing: Millis = Millis(10)


class Replica:
    """``machine_of`` makes an empty machine: at start, and again when a snapshot replaces the state."""

    def __init__(
        self,
        group: GroupId,
        raft: RaftGroup,
        store: Store,
        machine_of: Callable[[], ReplicatedMachine],
        settings: ReplicaSettings,
        mark: SnapshotMark,
    ) -> None:
        self.group = group
        self.raft = raft
        self.leader: NodeId | None = raft.leader
        self._store = store
        self._machine_of = machine_of
        self._settings = settings
        self.machine = machine_of()
        self.applied: Index = mark.index
        self._mark = mark
        self._unapplied: deque[Entry] = deque()
        self._promises = Promises()
        self._proposals: list[tuple[bytes, int]] = []
        self._asked: dict[int, Query] = {}
        self._granted: deque[tuple[Index, int]] = deque()
        self._leading_from: Index | None = None
        self._tick_index: Index | None = None
        self._tick_not_before = Millis(0)
        self._short_of_room = False
        self._snapshot_under_way = False
        self._transfers: dict[NodeId, Index] = {}
        """Up to where the last snapshot reaches that was sent to a follower, under this leadership."""
        self._bytes_since_mark = 0
        self._installing: SnapshotMark | None = None
        self.captures = Captures()
        if mark.index:
            self._load_machine()
            store.retain(group, mark.index, self.machine.live_entries(), raft.first_index)

    # --- the three verbs

    def handle(self, event: events.Event, at: Instant, out: Outbox) -> None:
        if self._installing is None:
            self._absorb(self.raft.handle(event, at.now), at, out)

    def wake(self, at: Instant, out: Outbox) -> None:
        self.captures.wake(at.now)
        if self._installing is not None:
            return
        deadline = self.raft.next_deadline()
        if deadline is not None and deadline <= at.now:
            self._absorb(self.raft.wake(at.now), at, out)
        if self._tick_due(at):
            self._proposals.append((envelope.encode(envelope.Envelope(at.wall, envelope.TICK_ROOM, None)), 0))
            self._tick_index = Index(-1)

    def next_deadline(self, at: Instant) -> Millis | None:
        if self._installing is not None:
            return None
        tick = None
        if self._leading_from is not None and self._tick_index is None:
            due = self.machine.next_deadline()
            if due is not None:
                tick = max(Millis(at.now + due - at.wall), self._tick_not_before)
        return earliest(self.raft.next_deadline(), tick, self.captures.next_deadline())

    # --- callers

    @property
    def leads(self) -> bool:
        """Leads, and has applied all that was committed before its term."""
        return self._leading_from is not None and self.applied >= self._leading_from

    def propose(self, data: bytes, token: int) -> None:
        """Gathered until ``flush``: the proposals of one turn become one batch."""
        self._proposals.append((data, token))

    def query(self, query: Query, at: Instant, out: Outbox) -> None:
        if self._installing is not None:
            out.fail(query.token, self.not_leader())
            return
        self._asked[query.token] = query
        self.handle(events.Read(query.token), at, out)

    def flush(self, at: Instant, out: Outbox) -> bool:
        """Propose what has gathered, apply a slice of what is committed. True if more waits to be applied."""
        if self._proposals:
            self._propose_gathered(at, out)
        if self._unapplied:
            self._apply_slice(at, out)
        return bool(self._unapplied)

    def not_leader(self) -> NotLeader:
        known = f"{self.leader} leads it" if self.leader else "no leader is known"
        return NotLeader(f"this node does not lead group {self.group}; {known}", self.leader)

    def close(self, out: Outbox) -> None:
        """The replica ends here; nobody may use it after this."""
        self.leader = None
        self._abandon_callers(out)
        for _, token in self._proposals:
            out.fail(token, self.not_leader())
        out.role_changes.append((self.group, RoleChange(Role.FOLLOWER, self.raft.term, None)))

    # --- snapshots

    def write_snapshot(self, out: Outbox) -> bool:
        """Whether it is begun: it may have fallen due before another one was installed."""
        if not self._snapshot_is_due():
            return False
        self._snapshot_under_way = True
        self._bytes_since_mark = 0
        out.jobs.append(SnapshotJob(self.group, self._here(), self.machine.dump(), self.machine.live_entries()))
        return True

    def make_room(self) -> None:
        """The next snapshot is due as soon as it says anything new, and leaves nothing behind it that nobody needs:
        what was deleted since the last one, and the bodies of the last thousands of entries, may be most of it."""
        self._short_of_room = True

    def snapshot_written(
        self, job: SnapshotJob, name: str, live: list[tuple[Index, Index]], at: Instant, out: Outbox
    ) -> None:
        self._snapshot_under_way = False
        if job.mark.index <= self._mark.index or self._installing is not None:
            return
        keep_from = self._keep_from(job.mark.index)
        self._short_of_room = False
        self._mark = job.mark
        self._store.stage_snapshot_mark(self.group, job.mark, name)
        if not self.captures:  # what they refer to may be dead since, and nobody has read it yet
            self._store.retain(self.group, job.mark.index, live, keep_from)
        self.handle(events.Compacted(job.mark, keep_from), at, out)

    def snapshot_abandoned(self) -> None:
        self._snapshot_under_way = False

    def snapshot_arrived(self, mark: SnapshotMark, name: str, out: Outbox) -> None:
        """Takes effect when the log's new beginning is durable: ``snapshot_installed`` follows from the sync."""
        if self._installing is None and self.raft.wants_snapshot(mark):
            self._installing = mark
            self._store.stage_reset(self.group, mark, name)
            out.install_after_sync(self.group, mark)

    def snapshot_installed(self, mark: SnapshotMark, at: Instant, out: Outbox) -> None:
        self._installing = None
        self._mark = mark
        self._unapplied.clear()
        self.applied = mark.index
        self._bytes_since_mark = 0
        self._snapshot_under_way = False
        self._load_machine()
        self.handle(events.SnapshotInstalled(mark), at, out)

    # --- inside

    def _absorb(self, ready: Ready, at: Instant, out: Outbox) -> None:
        """Meet the obligations of ``ready``, in the order that its class documents."""
        if ready.messages:
            out.send(self.group, ready.messages)
        if ready.hard_state is not None:
            self._store.stage_hard_state(self.group, ready.hard_state)
            last = self.raft.last_index
            out.persisted_after_sync(self.group, last, self._store.term_at(self.group, last) or Term(0))
        if ready.entries:
            self._store.stage_entries(self.group, ready.entries)
            out.persisted_after_sync(self.group, ready.entries[-1].index, ready.entries[-1].term)
        if ready.messages_after_sync:
            out.send_after_sync(self.group, ready.messages_after_sync)
        if ready.role_change is not None:
            self._change_role(ready.role_change, out)
        if ready.committed:
            self._unapplied.extend(ready.committed)
            out.dirty.add(self.group)
        for grant in ready.reads:
            self._granted.append((grant.index, grant.token))
        for token in ready.refused_reads:
            if self._asked.pop(token, None) is not None:
                out.fail(token, self.not_leader())
        for wanted in ready.snapshots_wanted:
            out.jobs.append(self._send_snapshot(wanted.peer))
        if self._granted and not self._unapplied:
            self._answer_reads(at, out)

    def _change_role(self, change: RoleChange, out: Outbox) -> None:
        self.leader = change.leader
        leads = change.role is Role.LEADER
        if leads and self._leading_from is None:
            self._leading_from = self.raft.last_index
        elif not leads and self._leading_from is not None:
            self._leading_from = None
            self._tick_index = None
            self._transfers.clear()
            self._abandon_callers(out)
        out.role_changes.append((self.group, change))

    def _abandon_callers(self, out: Outbox) -> None:
        for token in self._promises.break_all():
            out.fail(
                token,
                Unavailable(
                    f"group {self.group} lost its leader before the change was confirmed; it may or may not have "
                    "happened: retry with the same request id"
                ),
            )
        for token in self._asked:
            out.fail(token, self.not_leader())
        self._asked.clear()
        self._granted.clear()

    def _propose_gathered(self, at: Instant, out: Outbox) -> None:
        proposals, self._proposals = self._proposals, []
        first: Index | None = None
        if self._installing is None:
            ready = self.raft.handle(events.Propose([data for data, _ in proposals]), at.now)
            first = ready.first_proposed
            if first is not None:
                self._promise(first, [token for _, token in proposals])
            self._absorb(ready, at, out)
        if first is None:
            self._tick_index = None
            self._tick_not_before = Millis(at.now + self._settings.tick_spacing)
            refusal = self._refusal()
            for _, token in proposals:
                out.fail(token, refusal)

    def _promise(self, first: Index, tokens: list[int]) -> None:
        for index, token in enumerate(tokens, first):
            if token:
                self._promises.make(Index(index), self.raft.term, token)
            else:
                self._tick_index = Index(index)

    def _refusal(self) -> BrokerError:
        if self.raft.role is Role.LEADER:
            return NotLeader(f"group {self.group} is handing its leadership over; retry")
        return self.not_leader()

    def _apply_slice(self, at: Instant, out: Outbox) -> None:
        take = min(len(self._unapplied), self._settings.apply_slice)
        batch = list(islice(self._unapplied, take))
        for entry in batch:
            self._unapplied.popleft()
            self._apply(entry, at, out)
        self._absorb(self.raft.handle(events.Applied(self.applied), at.now), at, out)
        if self._granted:
            self._answer_reads(at, out)
        if self._tick_index is not None and 0 <= self._tick_index <= self.applied:
            self._tick_index = None
            self._tick_not_before = Millis(at.now + self._settings.tick_spacing)
        if self._snapshot_is_due():
            out.snapshots_due.append(self.group)

    def _apply(self, entry: Entry, at: Instant, out: Outbox) -> None:
        self.applied = entry.index
        self._bytes_since_mark += len(entry.data)
        promise = self._promises.keep(entry.index, entry.term)
        if entry.kind is EntryKind.NORMAL:
            applied = self.machine.apply(entry.data, entry.index)
            if self._leading_from is not None:
                for effect in applied.effects:
                    out.effects.append((self.group, effect))
            reply: Any = applied.reply
            if applied.capture:
                self._capture(applied.capture, at)
        else:
            reply = None
        if promise is not None:
            token, kept = promise
            if kept:
                out.answer(token, reply)
            else:
                out.fail(token, self.not_leader())

    def _capture(self, backup: bytes, at: Instant) -> None:
        """Unless the entry is read again after a restart, long after: nobody will ask."""
        if self.machine.now + LIFETIME > at.wall:
            dump, live = self.machine.dump(), self.machine.live_entries()
            make_pieces = partial(outgoing, self._store, self.group, dump, whole=True)
            self.captures.add(backup, Capture(self._here(), live, make_pieces, at.now))

    def _answer_reads(self, at: Instant, out: Outbox) -> None:
        while self._granted and self._granted[0][0] <= self.applied:
            _, token = self._granted.popleft()
            query = self._asked.pop(token, None)
            if query is not None:
                out.answer(token, self.machine.query(query.room, query.question, at.wall))

    def _tick_due(self, at: Instant) -> bool:
        if self._leading_from is None or self._tick_index is not None or at.now < self._tick_not_before:
            return False
        due = self.machine.next_deadline()
        return due is not None and due <= at.wall

    def _snapshot_is_due(self) -> bool:
        return not (self._snapshot_under_way or self._unapplied or self._installing is not None) and (
            self.applied - self._mark.index >= self._settings.snapshot_after_entries
            or self._bytes_since_mark >= self._settings.snapshot_after_bytes
            or (self._short_of_room and self.applied > self._mark.index)
        )

    def _send_snapshot(self, peer: NodeId) -> SendSnapshot:
        mark = self._here()
        self._transfers[peer] = mark.index
        return SendSnapshot(self.group, peer, mark, self.machine.dump(), self.machine.live_entries())

    def _keep_from(self, covered: Index) -> Index:
        """Where the log may begin behind a new snapshot. A follower that is catching up finds the rest of its way, or
        it would need one snapshot after the other while clients write."""
        keep = covered + 1 - (0 if self._short_of_room else self._settings.keep_behind_snapshot)
        for peer, progress in self.raft.progress().items():
            if progress.recently_active:
                reached = max(progress.matched, self._transfers.get(peer, Index(0)))
                keep = min(keep, max(reached, covered - self._settings.keep_for_followers) + 1)
        return Index(max(self.raft.first_index, keep))

    def _here(self) -> SnapshotMark:
        mark = self.raft.mark_at(self.applied)
        if mark is None:
            raise RuntimeError(f"group {self.group} has applied index {self.applied}, which its log does not know")
        return mark

    def _load_machine(self) -> None:
        opened = self._store.open_snapshot(self.group)
        if opened is None:
            raise RuntimeError(f"group {self.group} has a snapshot mark at {self._mark.index} and no snapshot")
        machine = self._machine_of()
        machine.load(opened[1])
        self.machine = machine
