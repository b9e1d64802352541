"""A replica in memory: a RaftGroup and the duties of its shell, with a disk that syncs when told and can lose the rest.

The disk keeps Ready's contract to the letter: what waits for a sync is released in order, never earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft import membership as memberships
from broker.raft.events import Applied, Compacted, Event, Persisted, SnapshotInstalled
from broker.raft.group import RaftGroup, Restored
from broker.raft.messages import Addressed
from broker.raft.ready import Ready
from broker.raft.types import Entry, EntryKind, HardState, Membership, RaftConfig, SnapshotMark

Content = tuple[bytes, ...]
"""A machine's state: the payloads applied so far, in order."""


def entry(index: int, term: int, data: bytes = b"") -> Entry:
    return Entry(Index(index), Term(term), EntryKind.NORMAL, data)


def fresh_mark(*voters: str) -> SnapshotMark:
    return SnapshotMark(Index(0), Term(0), Membership(tuple(NodeId(voter) for voter in sorted(voters))))


class Disk:
    """Durable: hard state, snapshot, log. ``written`` is the log as it reads now, synced or not."""

    def __init__(self, mark: SnapshotMark) -> None:
        self.hard_state = HardState()
        self.mark = mark
        self.content: Content = ()
        self.first = Index(mark.index + 1)
        self.durable: dict[int, Entry] = {}
        self.written: dict[int, Entry] = {}
        self.waiting: list[tuple[HardState | None, list[Entry], list[Addressed]]] = []

    def term_at(self, index: Index) -> Term | None:
        found = self.written.get(index)
        return found.term if found else None

    def read(self, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        found: list[Entry] = []
        size = 0
        while first in self.written and first <= last and (not found or size < max_bytes):
            found.append(self.written[first])
            size += len(self.written[first].data)
            first = Index(first + 1)
        return found

    def write(self, ready: Ready) -> list[Addressed]:
        """Returns what may be sent at once although it had to wait for the disk: nothing else waits."""
        _replace(self.written, ready.entries)
        if ready.hard_state or ready.entries or self.waiting:
            self.waiting.append((ready.hard_state, ready.entries, ready.messages_after_sync))
            return []
        return ready.messages_after_sync

    def sync(self, count: int | None = None) -> tuple[list[Addressed], Entry | None]:
        """Make the oldest ``count`` writes durable: the messages that waited for them, the last entry among them."""
        done, self.waiting = self.waiting[:count], self.waiting[len(self.waiting[:count]) :]
        released: list[Addressed] = []
        newest: Entry | None = None
        for hard_state, entries, messages in done:
            self.hard_state = hard_state or self.hard_state
            _replace(self.durable, entries)
            newest = entries[-1] if entries else newest
            released += messages
        return released, newest

    def snapshot(self, mark: SnapshotMark, content: Content, keep_from: int) -> None:
        self.mark, self.content, self.first = mark, content, max(self.first, Index(keep_from))
        for log in (self.durable, self.written):
            for index in [index for index in log if index < keep_from]:
                del log[index]

    def install(self, mark: SnapshotMark, content: Content) -> list[Addressed]:
        """A snapshot takes the place of everything; it is synced, and so is all that was written before it."""
        released, _ = self.sync()
        self.mark, self.content, self.first = mark, content, Index(mark.index + 1)
        self.durable.clear()
        self.written.clear()
        return released

    def recover(self) -> Restored:
        """What is left after a crash: only what was synced. A log that does not reach the snapshot, or disagrees with
        it, is older than the snapshot and of no use."""
        self.waiting.clear()
        at_mark = self.durable.get(self.mark.index)
        if self.first <= self.mark.index and (at_mark is None or at_mark.term != self.mark.term):
            self.durable.clear()
            self.first = Index(self.mark.index + 1)
        self.written = dict(self.durable)
        last = max(self.written, default=self.mark.index)
        entries = [self.written[index] for index in range(self.first, last + 1) if index in self.written]
        runs: list[tuple[Index, Term]] = []
        for found in entries:
            if not runs or runs[-1][1] != found.term:
                runs.append((found.index, found.term))
        changes = tuple((e.index, memberships.decode(e.data)) for e in entries if e.kind is EntryKind.MEMBERSHIP)
        first = entries[0].index if entries else Index(self.mark.index + 1)
        return Restored(self.hard_state, self.mark, first, Index(last), tuple(runs), self, changes)


def _replace(log: dict[int, Entry], entries: Sequence[Entry]) -> None:
    if entries:
        index: int = entries[0].index
        while index in log:
            del log[index]
            index += 1
        log.update({found.index: found for found in entries})


class Replica:
    """``outbox``: what may be sent by now. ``wanted``: who needs a snapshot.

    ``grants`` and ``refusals`` collect the answers to reads.
    """

    def __init__(self, name: str, mark: SnapshotMark, *, seed: int = 0, config: RaftConfig | None = None) -> None:
        self.name = NodeId(name)
        self.config = config or RaftConfig()
        self.random = Random(f"{name}-{seed}")
        self.disk = Disk(mark)
        self.syncs_at_once = True
        self.outbox: list[Addressed] = []
        self.wanted: list[NodeId] = []
        self.grants: dict[int, Index] = {}
        self.refusals: set[int] = set()
        self.start(Millis(0))

    def start(self, now: Millis) -> None:
        """(Re)start from the disk alone."""
        self.outbox.clear()
        self.wanted.clear()
        self.content: Content = self.disk.content
        self.applied: int = self.disk.mark.index
        self.history: list[Entry] = []
        self.offered: SnapshotMark | None = None
        restored = self.disk.recover()
        self.group = RaftGroup(me=self.name, config=self.config, random=self.random, restored=restored, now=now)

    def feed(self, event: Event, now: Millis) -> Ready:
        ready = self.group.handle(event, now)
        self._meet(ready, now)
        return ready

    def wake(self, now: Millis) -> Ready:
        ready = self.group.wake(now)
        self._meet(ready, now)
        return ready

    def sync(self, now: Millis, count: int | None = None) -> None:
        released, newest = self.disk.sync(count)
        self.outbox += released
        if newest is not None:
            self.feed(Persisted(newest.index, newest.term), now)

    def compact(self, index: int, keep_from: int, now: Millis) -> None:
        mark = self.group.mark_at(Index(index))
        assert mark is not None, f"{self.name} cannot make a snapshot at {index}"
        before = [found for found in self.history if found.index > index]
        dropped = sum(found.kind is EntryKind.NORMAL for found in before)
        content = self.content[: len(self.content) - dropped]
        self.disk.snapshot(mark, content, keep_from)
        self.feed(Compacted(mark, Index(keep_from)), now)

    def install(self, mark: SnapshotMark, content: Content, now: Millis) -> bool:
        """As the shell must: only if the replica still wants it."""
        self.offered = None
        if not self.group.wants_snapshot(mark):
            return False
        self.outbox += self.disk.install(mark, content)
        self.content, self.applied, self.history = content, mark.index, []
        self.feed(SnapshotInstalled(mark), now)
        return True

    def terms(self) -> list[int]:
        """The log as it reads now."""
        return [self.disk.written[index].term for index in sorted(self.disk.written)]

    def _meet(self, ready: Ready, now: Millis) -> None:
        self.outbox += ready.messages
        self.outbox += self.disk.write(ready)
        self.offered = ready.snapshot_offered or self.offered
        for found in ready.committed:
            assert found.index == self.applied + 1, f"{self.name} was given {found.index} after {self.applied}"
            self.applied = found.index
            self.history.append(found)
            if found.kind is EntryKind.NORMAL:
                self.content += (found.data,)
        for grant in ready.reads:
            self.grants[grant.token] = grant.index
        self.wanted += [wanted.peer for wanted in ready.snapshots_wanted]
        self.refusals.update(ready.refused_reads)
        if ready.committed:
            self._meet(self.group.handle(Applied(Index(self.applied)), now), now)
        if self.syncs_at_once and self.disk.waiting:
            self.sync(now)
