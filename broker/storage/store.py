"""The storage floor's front door: everything a node's replicas must not forget, under one lock, in one log.

The loop stages and seals; ``commit`` blocks and may run on a writing thread, one at a time, in order, while the loop
stages the next batch. What is staged is readable at once. Only ``commit``, ``prepare_spare``, ``begin_snapshot`` with
its writer, and the pieces of ``open_snapshot`` may be used outside the loop's thread. Nothing here knows what an entry
means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

import msgspec

from broker.base.errors import BrokerError, DataCorrupt
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.raft.types import Entry, HardState, Membership, SnapshotMark
from broker.storage import layout, manifest, segment, setting_aside, small_files, statistics
from broker.storage.books import SegmentBook
from broker.storage.compaction import Compaction
from broker.storage.condemned import Condemned
from broker.storage.damage import Damaged, Finding, finding_of
from broker.storage.disk import Disk, StorageLocked
from broker.storage.draft import Draft, void_all
from broker.storage.entries import Entries
from broker.storage.locations import OFFSET_BITS
from broker.storage.operations import Append, Carry, Move, Prove, Reset, SetFloor, SetHardState, SetMark
from broker.storage.pool import SegmentPool
from broker.storage.reader import Reader
from broker.storage.recovered import Recovered, recovered_of
from broker.storage.recovery import Recovery
from broker.storage.retention import Retention
from broker.storage.segment import BLOCK_HEADER_BYTES, node_magic
from broker.storage.settings import StorageSettings
from broker.storage.snapshots import SnapshotFiles, SnapshotWriter
from broker.storage.statistics import StoreStats
from broker.storage.tail import Cache, Tail, next_index
from broker.storage.term_runs import TermRuns, runs_in
from broker.storage.under_way import UnderWay
from broker.storage.wal import Batch, Wal

__all__ = ["Batch", "Recovered", "SnapshotWriter", "StorageLocked", "StorageSettings", "Store", "StoreStats"]


class Store:
    """Opening reads the whole log. Groups of which something is damaged are not there (see ``damaged``).

    Raises StorageLocked, InvalidArgument (another's directory), OSError, and DataCorrupt for damage of which nobody can
    say what it took; with ``keep_damaged`` all is set aside then, and the store is empty.
    """

    def __init__(
        self, disk: Disk, settings: StorageSettings, *, node: NodeId, cluster: str, keep_damaged: bool = False
    ) -> None:
        self.disk = disk
        self._settings = settings
        self._lock = disk.lock(layout.LOCK)
        try:
            self._condemned = Condemned()
            self.damaged: Mapping[int, list[Finding]] = self._condemned.groups
            """What is wrong, by group, with those that are here and damaged."""
            self.damage_counts: Mapping[str, int] = self._condemned.counts
            """Pieces of damage found since the start, by kind."""
            try:
                self._open(cluster, node)
            except Damaged as error:
                if not keep_damaged:
                    raise
                self._condemned.counts[error.finding.kind] += 1
                setting_aside.set_aside(disk, str(error))
                self._open(cluster, node)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, cluster: str, node: NodeId) -> None:
        magic = node_magic(cluster, node)
        disk = self.disk
        disk.make_directory(layout.WAL)
        disk.make_directory(layout.SNAPSHOTS)
        small_files.check(disk)
        manifest.claim(disk, cluster, node)
        recovery = Recovery(self.disk, magic)
        recovery.run()
        self._books = recovery.books
        self._snapshots = SnapshotFiles(self.disk)
        marked = {group: book.mark_name for group, book in self._books.groups.items() if book.mark_name}
        damaged = recovery.extent.findings(self._books)
        for group, finding in self._snapshots.take_stock(marked, damaged.keys()).items():
            damaged[group] = [finding]
        self._pool = SegmentPool(self.disk, self._settings)
        for number, _ in recovery.unused:
            self._pool.release(number)
        disk.sync_directory(layout.WAL)
        self._wal = Wal(self.disk, self._pool, self._snapshots, magic, self._settings.segment_bytes)
        if recovery.last is not None:
            self._wal.continue_after(recovery.last, recovery.resume_at, recovery.sequence)
        self._reader = Reader(self.disk, self._settings.open_segments)
        self._entries = Entries(self._books, self._reader)
        self._retention = Retention(self._books)
        self._compaction = Compaction(self._books, self._reader, magic, self._settings.compact_below)
        self._cache = Cache(self._settings.cache_bytes)
        self._draft = Draft()
        self._copies = Draft()
        """Copies by compaction. They say where entries stand in the log as it was sealed last, so they go ahead of
        what was staged since."""
        self._under_way = UnderWay(self._books, self._entries, self._cache)
        self._recovered: dict[int, Recovered] = {}
        self._lives: dict[int, int] = {}
        self._proved = 0 if recovery.last is None else -1
        """The last batch, if it is only there to prove the one before."""
        for group in self._books.groups:
            if group not in damaged:
                self._recover_group(group, recovery)
        for group, findings in damaged.items():
            self._condemned.add(group, findings, recovery.seen.get(group, 0))
        self._compaction.held_upto = self._condemned.held_upto
        self.set_aside = setting_aside.kept(disk)
        """By number, why: directories that were damaged beyond use and are kept."""

    def _recover_group(self, group: int, recovery: Recovery) -> None:
        book = self._books.groups[group]
        first, last = book.index.base, book.index.last
        tail = self._entries.tails[group] = Tail(first, last, TermRuns(book.terms.all()))
        tail.mark, tail.mark_name = book.mark, book.mark_name
        self._recovered[group] = recovered_of(book, recovery.memberships(group))

    def recovered(self, group: GroupId) -> Recovered | None:
        """As it was when the store was opened. None: the group has never been here."""
        return self._recovered.get(group)

    def groups(self) -> list[GroupId]:
        """Those that are here, whole."""
        return [GroupId(group) for group in sorted(self._entries.tails)]

    def holds(self, group: GroupId) -> bool:
        """Whether anything of the group is here."""
        return group in self._entries.tails

    # --- staging

    def stage_entries(self, group: GroupId, entries: list[Entry]) -> None:
        """Append; replaces what the log held from the first one's index on. Raises ValueError if they leave a gap."""
        if not entries:
            return
        tail = self._entries.tail(group)
        first = next_index(entries, tail.last)
        if first < tail.first:
            raise ValueError(f"group {group}: entry {first} lies before the log's beginning {tail.first}")
        if first <= tail.last:
            self._cache.cut(tail, first, self._under_way.appends_of(group, self._draft))
        draft = self._draft
        offsets = draft.encode(segment.ENTRY, group, entries)
        last = entries[-1]
        runs = runs_in(entries)
        draft.operations.append(Append(group, first, last.index, offsets, runs))
        tail.terms.replace(runs)
        tail.last = last.index
        self._cache.add(tail, entries)

    def stage_hard_state(self, group: GroupId, state: HardState) -> None:
        self._entries.tail(group)
        self._draft.note(SetHardState(group, state))

    def stage_founding(self, group: GroupId, membership: Membership) -> None:
        """A group that has never been here: remember, before it has anything, with whom it began."""
        tail = self._entries.tail(group)
        tail.mark = SnapshotMark(Index(0), Term(0), membership)
        self._draft.note(SetMark(group, tail.mark, ""))

    def stage_snapshot_mark(self, group: GroupId, mark: SnapshotMark, name: str) -> None:
        """The snapshot ``name``, durable already, counts from now on; the one before goes when this is durable."""
        tail = self._entries.tail(group)
        tail.mark, tail.mark_name = mark, name
        self._draft.marked[group] = name
        self._draft.note(SetMark(group, mark, name))

    def stage_reset(self, group: GroupId, mark: SnapshotMark, name: str) -> None:
        """A received snapshot counts; the log is dropped and continues after ``mark``. Carried entries stay."""
        tail = self._entries.tail(group)
        appends = self._under_way.appends_of(group, self._draft)
        self._entries.keep_old(group, appends)
        self._cache.cut(tail, tail.recent_first, appends)
        tail.mark, tail.mark_name = mark, name
        tail.first, tail.last = mark.index + 1, mark.index
        tail.recent_first = tail.first
        tail.terms.reset(mark.index, mark.term)
        tail.resets += 1
        self._draft.marked[group] = name
        self._draft.reset.append(group)
        self._draft.note(Reset(group, mark, name))

    def stage_carried(self, group: GroupId, entries: list[Entry]) -> None:
        """Committed entries that came with a snapshot: kept as long as they are live, never part of the log."""
        if not entries:
            return
        self._entries.tail(group)
        draft = self._draft
        offsets = draft.encode(segment.CARRIED, group, entries)
        carry = Carry(group, [entry.index for entry in entries], offsets)
        draft.operations.append(carry)
        for entry in entries:
            self._entries.carried[group, entry.index] = entry, carry

    def retain(self, group: GroupId, mark_index: Index, live: Iterable[tuple[Index, Index]], keep_from: Index) -> None:
        """Entries up to ``mark_index`` outside ``live`` (inclusive ascending ranges) may be forgotten, but the log
        keeps what it holds from ``keep_from`` on. Takes effect with the next batch; many ranges, little by little."""
        tail = self._entries.tail(group)
        first = min(keep_from, mark_index + 1, tail.last + 1)
        if first > tail.first:
            tail.first = first
            tail.terms.trim(first)
            self._draft.note(SetFloor(group, first))
        self._draft.retained.append((group, live if isinstance(live, list) else list(live), mark_index))

    def drop_group(self, group: GroupId) -> None:
        """Forget all there is of a group, for good with the next batch; nothing of it can be read from now on. The same
        group may come back at once, as one that has never been here. What was begun before (see ``lives``) must not be
        staged after."""
        tail = self._entries.drop(group)
        if tail is not None:
            self._cache.drop(tail)
        self._recovered.pop(group, None)
        self._retention.forget(group)
        self._condemned.drop(group)
        self._compaction.held_upto = self._condemned.held_upto
        void_all(self._copies.operations, group)
        self._under_way.drop(group)
        self._draft.drop(group)
        self._draft.stale_snapshots += self._snapshots.disown(group)
        self._lives[group] = self.lives(group) + 1

    def condemn(self, group: GroupId, error: DataCorrupt) -> None:
        """Damage was found: nothing of the group is used any more, and nothing of it goes, until it is dropped."""
        self._condemned.add(group, [finding_of(error, group)], self._wal.segment)
        self._compaction.held_upto = self._condemned.held_upto
        self._retention.forget(group)
        tail = self._entries.drop(group)
        if tail is not None:
            self._cache.drop(tail)
        self._recovered.pop(group, None)

    def lives(self, group: GroupId) -> int:
        """How often the group was dropped since the store was opened: what outlasts a drop finds out by it."""
        return self._lives.get(group, 0)

    def discard_snapshot(self, group: GroupId, name: str) -> None:
        """A finished snapshot that is not going to count: its file goes with the next batch."""
        tail = self._entries.tails.get(group)
        if tail is None or tail.mark_name != name:
            self._draft.stale_snapshots += self._snapshots.disown(group, name)

    # --- batches

    def seal(self) -> Batch | None:
        """All that was staged since the last seal, as one batch to commit; None if nothing was."""
        self._under_way.settle(self._wal.durable)
        copies, draft = self._copies, self._draft
        if not draft.operations and not copies.operations:
            self._retention.begin(draft.retained)
            return None
        self._draft = Draft()
        if copies.operations:
            self._copies = Draft()
        size = copies.size + draft.size
        head: list[bytes] = []
        if not self._wal.fits(size):
            preamble = msgspec.msgpack.encode(self._books.preamble())
            head = list(segment.encode_record(segment.PREAMBLE, 0, preamble))
        ahead = sum(map(len, head))
        place = self._wal.place(ahead + size)
        base = (place.segment << OFFSET_BITS) + place.offset + BLOCK_HEADER_BYTES + ahead
        if place.begins_segment:
            self._books.segments[place.segment] = SegmentBook(place.segment, place.segment_size)
        written = self._books.segments[place.segment]
        for operation in copies.operations:
            operation.sealed(self._books, base, written)
        for operation in draft.operations:
            operation.sealed(self._books, base + copies.size, written)
        written.record_bytes += copies.entry_bytes + draft.entry_bytes
        operations = [*copies.operations, *draft.operations]
        batch = self._wal.seal(place, [*head, *copies.pieces, *draft.pieces], ahead + size, operations)
        written.last_sequence = batch.sequence
        written.end = batch.offset + BLOCK_HEADER_BYTES + batch.size
        batch.freed = draft.freed
        for group in draft.reset:
            if group in self._entries.tails:
                self._entries.tails[group].resets -= 1
        batch.stale_snapshots = draft.stale_snapshots
        for group, name in draft.marked.items():
            batch.stale_snapshots += self._snapshots.superseded(group, name)
        if all(type(each) is Prove for each in operations):
            self._proved = batch.number
        self._under_way.add(batch)
        self._retention.begin(draft.retained)
        return batch

    def commit(self, batch: Batch) -> None:
        """Write and sync. Blocking; any thread, one at a time, in order.

        Raises DiskFull: the batch does not count, and may be committed again when there is room. OSError: the disk
        failed; from then on every commit raises, and only a restart (which reads what the disk holds) helps.
        """
        self._wal.commit(batch)

    def prepare_spare(self) -> bool:
        """Make one segment ready ahead of need; whether one was made. Blocking: call it off the loop when
        ``wants_spare``. Raises DiskFull, OSError."""
        return self._pool.prepare()

    @property
    def wants_spare(self) -> bool:
        return self._pool.wants_spare

    # --- reading

    def read(self, group: GroupId, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        """Consecutive entries of the log from ``first``, not beyond ``last``: about ``max_bytes`` of data, at least one
        if the first is there, none otherwise. Raises DataCorrupt."""
        return self._entries.range(group, first, last, max_bytes)

    def read_one(self, group: GroupId, index: Index) -> Entry | None:
        """An entry of the log, or an older one that is still live; None when there is none. Raises DataCorrupt."""
        return self._entries.one(group, index)

    def read_kept(self, group: GroupId, first: Index, last: Index, max_bytes: int) -> tuple[list[Entry], Index]:
        """As ``read_one`` of all from ``first`` to ``last``, leaving out those that are gone: about ``max_bytes`` of
        data; and the index to go on from. Raises DataCorrupt."""
        return self._entries.kept(group, first, last, max_bytes)

    def term_at(self, group: GroupId, index: Index) -> Term | None:
        """Of an entry of the log, of the one just before it, or of the snapshot's last."""
        tail = self._entries.tails.get(group)
        if tail is None:
            return Term(0) if index == 0 else None
        return tail.term_at(index)

    def bounds(self, group: GroupId) -> tuple[Index, Index]:
        """First and last index of the log; last is first - 1 when it is empty."""
        tail = self._entries.tails.get(group)
        return (Index(1), Index(0)) if tail is None else (Index(tail.first), Index(tail.last))

    # --- snapshots

    def begin_snapshot(self, group: GroupId, mark: SnapshotMark) -> SnapshotWriter:
        """A new snapshot file; it counts when its name is staged. Any thread. Raises DiskFull, OSError."""
        return self._snapshots.begin(group, mark)

    def open_snapshot(self, group: GroupId) -> tuple[SnapshotMark, Iterator[bytes]] | None:
        """The snapshot that counts: its mark and its pieces, each verified as it is read (DataCorrupt)."""
        tail = self._entries.tails.get(group)
        if tail is None or tail.mark is None or not tail.mark_name:
            return None
        return tail.mark, self._snapshots.read(group, tail.mark_name)

    # --- room

    def compaction_step(self, max_bytes: int) -> bool:
        """Work a bounded time at giving room back: forget what is dead, stage copies of about ``max_bytes`` of live
        entries, free empty segments. The caller seals and commits; True if there is more to do. Raises DataCorrupt."""
        self._under_way.settle(self._wal.durable)
        if self._retention.pending:
            self._retention.slice()
            return True
        durable = self._wal.durable_sequence
        draft = self._draft
        for book in self._compaction.dead(durable):
            if book.number not in draft.freed:
                draft.free(book.number)
                self._reader.forget(book.number)
        copies = self._compaction.copies(durable, max_bytes)
        if copies is None:
            return False
        for (record_type, group), moving in copies.items():
            entries = moving.entries
            offsets = self._copies.encode(record_type, group, entries)
            self._copies.operations.append(Move(group, [entry.index for entry in entries], moving.locations, offsets))
        return True

    def stats(self) -> StoreStats:
        return statistics.look(self._books, self.disk, self._pool, self._wal, self._cache)

    def prove(self) -> None:
        """When nothing else is to be written: stage a batch that proves, by being there, that the last was whole."""
        if not self._draft.operations and self._wal.sealed != self._proved:
            self._draft.note(Prove())

    def close(self) -> None:
        """Let go of files and lock. What was not committed is lost."""
        self._draft = Draft()
        self.prove()
        batch = self.seal() if self._wal.sealed == self._wal.durable else None
        if batch is not None:
            with suppress(OSError, BrokerError):
                self._wal.commit(batch)
        self._reader.close()
        self._wal.close()
        self._lock.release()
