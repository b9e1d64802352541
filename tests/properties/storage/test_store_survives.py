"""Any order of writing, compacting, snapshots, full disks and crashes: what was committed is there, byte-equal."""

from __future__ import annotations

from random import Random

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.base.errors import DataCorrupt, DiskFull
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.raft.types import Entry, EntryKind, HardState, Membership, SnapshotMark
from broker.storage import layout
from broker.storage.store import Batch, StorageSettings, Store
from tests.properties.storage.naive_store import NaiveGroup, NaiveStore
from tests.simulation.fake_disk import FakeDisk, PowerLoss

GROUPS = st.integers(0, 2)
SETTINGS = StorageSettings(segment_bytes=4_096, cache_bytes=2_000, compact_below=0.7, spare_segments=1, open_segments=2)
MEMBERS = Membership((NodeId("a-0"), NodeId("b-0")))


class StoreMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.chance = Random(seed)
        self.disk = FakeDisk(Random(seed + 1))
        self.naive = NaiveStore()
        self.durable = NaiveStore()
        self.waiting: list[tuple[Batch, NaiveStore]] = []
        self.term = 1
        self.serial = 0
        self.open()

    # --- staging

    @rule(group=GROUPS, count=st.integers(1, 12), size=st.integers(0, 300), cut=st.integers(0, 6))
    def append(self, group: int, count: int, size: int, cut: int) -> None:
        naive = self.naive.group(group)
        committed = max(naive.first - 1, naive.mark.index if naive.mark else 0)
        first = max(naive.last + 1 - cut, committed + 1)
        if first <= naive.last:
            self.term += 1
        entries = [self.entry(index, size) for index in range(first, first + count)]
        naive.append(entries)
        self.store.stage_entries(GroupId(group), entries)

    @rule(group=GROUPS)
    def vote(self, group: int) -> None:
        self.term += 1
        state = HardState(Term(self.term), self.chance.choice((None, *MEMBERS.voters)))
        self.naive.group(group).hard_state = state
        self.store.stage_hard_state(GroupId(group), state)

    @rule(group=GROUPS, keep=st.integers(0, 5))
    def snapshot(self, group: int, keep: int) -> None:
        if group not in self.naive.groups:
            return
        naive = self.naive.group(group)
        after = max(naive.first - 1, naive.mark.index if naive.mark else 0)
        if after >= naive.last:
            return
        index = self.chance.randint(after + 1, naive.last)
        mark = SnapshotMark(Index(index), naive.log[index].term, MEMBERS)
        name = self.write_snapshot(group, mark)
        live = self.live_ranges(index, sorted({*naive.old, *naive.log}))
        keep_from = max(naive.first, index + 1 - keep)
        naive.mark, naive.snapshot = mark, name.encode()
        self.store.stage_snapshot_mark(GroupId(group), mark, name)
        naive.retain(index, live, keep_from)
        self.store.retain(GroupId(group), mark.index, [(Index(a), Index(b)) for a, b in live], Index(keep_from))

    @rule(
        group=GROUPS,
        jump=st.integers(1, 20),
        size=st.integers(0, 200),
        pace=st.sampled_from(("at once", "sealed", "slow")),
    )
    def receive_snapshot(self, group: int, jump: int, size: int, pace: str) -> None:
        naive = self.naive.groups.get(group, NaiveGroup())
        committed = max(naive.first - 1, naive.mark.index if naive.mark else 0)
        self.term += 1
        mark = SnapshotMark(Index(naive.last + jump), Term(self.term), MEMBERS)
        unknown = range(committed + 1, mark.index + 1)
        fresh = sorted(self.chance.sample(unknown, min(self.chance.randint(0, 3), len(unknown))))
        known = [entry for entry in naive.old.values() if entry.index <= committed]
        carried = sorted(
            [*known, *(naive.old.get(index) or self.entry(index, size) for index in fresh)], key=lambda e: e.index
        )
        if carried:
            self.naive.groups[group] = naive
        naive.carry(carried)
        self.store.stage_carried(GroupId(group), carried)
        if pace != "at once":
            self.seal()
        if pace == "slow":
            self.commit()
            self.work((group + 1) % 3, 3)
            self.compact(steps=5, size=3_000)
        name = self.write_snapshot(group, mark)
        self.naive.groups[group] = naive
        naive.reset(mark, name.encode())
        self.store.stage_reset(GroupId(group), mark, name)

    @rule(group=GROUPS)
    def drop(self, group: int) -> None:
        self.naive.groups.pop(group, None)
        self.store.drop_group(GroupId(group))
        assert self.store.read_kept(GroupId(group), Index(1), Index(20), 1 << 20)[0] == []

    @rule(group=GROUPS)
    def drop_and_begin_anew(self, group: int) -> None:
        self.drop(group)
        self.append(group, self.chance.randint(1, 20), 100, 0)

    # --- batches

    @rule()
    def rest(self) -> None:
        self.store.prove()
        self.commit()

    @rule()
    def seal(self) -> None:
        batch = self.store.seal()
        if batch is not None:
            self.waiting.append((batch, self.naive.copy()))

    @rule()
    def commit(self) -> None:
        if not self.waiting:
            self.seal()
        if self.waiting:
            batch, naive = self.waiting[0]
            self.store.commit(batch)
            self.waiting.pop(0)
            self.durable = naive

    @rule(group=GROUPS, batches=st.integers(2, 8))
    def work(self, group: int, batches: int) -> None:
        for _ in range(batches):
            self.append(group, self.chance.randint(1, 6), 200, 0)
            self.append((group + 1) % 3, 1, 20, self.chance.choice((0, 0, 2)))
            self.seal()
            self.commit()

    @rule()
    def commit_on_full_disk(self) -> None:
        self.seal()
        if not self.waiting:
            return
        self.disk.capacity = 0
        try:
            self.store.commit(self.waiting[0][0])
        except DiskFull:
            pass
        else:
            self.durable = self.waiting.pop(0)[1]
        self.disk.capacity = None

    @rule(group=GROUPS, keep=st.integers(0, 5))
    def forget_and_compact(self, group: int, keep: int) -> None:
        self.snapshot(group, keep)
        self.commit()
        self.compact(steps=40, size=1_000)

    @rule(steps=st.integers(1, 6), size=st.integers(1, 2_000))
    def compact(self, steps: int, size: int) -> None:
        for _ in range(steps):
            if not self.store.compaction_step(size):
                return
            self.commit()

    @rule()
    def prepare(self) -> None:
        self.store.prepare_spare()

    # --- ends

    @rule(how=st.sampled_from(("closed", "killed", "power lost")))
    def ends(self, how: str) -> None:
        if how == "closed":
            self.store.close()
        if how == "power lost":
            self.disk.lose_power()
        self.disk.end_process()
        self.after_crash([self.durable])

    @rule(after=st.integers(1, 6), work=st.sampled_from(("commit", "compact", "prepare", "open", "snapshot")))
    def power_fails_within(self, after: int, work: str) -> None:
        possible = [self.durable]
        if work == "commit" and not self.waiting:
            self.seal()
        if work == "open":
            self.store.close()
            self.disk.end_process()
        self.disk.power_fails_at = self.disk.operations + after
        try:
            if work == "commit" and self.waiting:
                possible.append(self.waiting[0][1])
                self.store.commit(self.waiting[0][0])
                possible = [self.waiting[0][1]]
            elif work == "open":
                self.store = Store(self.disk, SETTINGS, node=NodeId("a-0"), cluster="test")
            elif work == "prepare":
                self.store.prepare_spare()
            elif work == "snapshot":
                self.write_snapshot(1, SnapshotMark(Index(10_000), Term(1), MEMBERS))
        except PowerLoss:
            pass
        self.disk.lose_power()
        self.after_crash(possible)

    @rule(write=st.booleans(), die=st.booleans())
    @precondition(lambda self: self.waiting)
    def disk_fails(self, write: bool, die: bool) -> None:
        possible = [self.durable, self.waiting[0][1]]
        self.disk.fail_next_write, self.disk.fail_next_sync = write, not write
        try:
            self.store.commit(self.waiting[0][0])
        except OSError:
            pass
        else:
            raise AssertionError("a failed disk was not noticed")
        if die:
            self.disk.lose_power()
        else:
            self.disk.end_process()
        self.after_crash(possible)

    @precondition(lambda self: not self.waiting)
    @rule(files=st.sampled_from((layout.WAL, layout.SNAPSHOTS)), bits=st.integers(1, 255), goes_on=st.booleans())
    def a_byte_rots(self, files: str, bits: int, goes_on: bool) -> None:
        """It costs the groups whose it was, or is found to have cost who knows what; never anything unsaid."""
        self.store.close()
        self.disk.end_process()
        whole = [path for path in self.disk.paths() if path.startswith(files) and self.disk.content(path).strip(b"\0")]
        if whole:
            path = self.chance.choice(whole)
            place = self.chance.randrange(len(self.disk.content(path).rstrip(b"\0")))
            self.disk.flip(path, place, bits)
            try:
                self.open()
                self.expect_all_but_the_damaged(goes_on)
                self.store.close()
            except DataCorrupt:
                pass
            self.disk.end_process()
            if path in self.disk.paths():  # else it was a file that nothing needs
                self.disk.flip(path, place, bits)
        self.after_crash([self.durable])

    def expect_all_but_the_damaged(self, goes_on: bool) -> None:
        damaged = set(self.store.damaged)
        if goes_on:
            self.compact_while(damaged)
        spared = NaiveStore()
        spared.groups = {group: naive for group, naive in self.durable.groups.items() if group not in damaged}
        assert self.store.groups() == sorted(spared.groups)
        assert recovered_is(self.store, spared) is None
        assert holds(self.store, spared) is None

    def compact_while(self, damaged: set[int]) -> None:
        """Nothing of a damaged group may go."""
        for _ in range(20 if damaged else 0):
            try:
                more = self.store.compaction_step(2_000)
            except DataCorrupt as error:
                raise AssertionError("compaction has touched what is damaged") from error
            if not more:
                break
            batch = self.store.seal()
            if batch is not None:
                self.store.commit(batch)

    # --- what must hold

    @invariant()
    def everything_staged_is_readable(self) -> None:
        if hasattr(self, "store"):
            assert holds(self.store, self.naive) is None, holds(self.store, self.naive)

    @invariant()
    def live_records_are_counted(self) -> None:
        if hasattr(self, "store"):
            books = self.store._books
            counted = {number: book.live for number, book in books.segments.items() if book.live}
            assert counted == books.live_counts()

    # --- steps

    def open(self) -> None:
        self.store = Store(self.disk, SETTINGS, node=NodeId("a-0"), cluster="test")

    def after_crash(self, possible: list[NaiveStore]) -> None:
        self.disk.fail_next_write = self.disk.fail_next_sync = False
        self.waiting.clear()
        self.open()
        objections = [recovered_is(self.store, naive) or holds(self.store, naive) for naive in possible]
        assert None in objections, objections
        self.naive = possible[objections.index(None)].copy()
        self.durable = self.naive.copy()

    def entry(self, index: int, size: int) -> Entry:
        self.serial += 1
        kind = EntryKind.MEMBERSHIP if self.chance.random() < 0.05 else EntryKind.NORMAL
        data = b"%d:" % self.serial + self.chance.randbytes(size)
        if kind is EntryKind.MEMBERSHIP:
            data = MEMBERSHIP_DATA
        return Entry(Index(index), Term(self.term), kind, data)

    def live_ranges(self, upto: int, indexes: list[int]) -> list[tuple[int, int]]:
        ranges: list[tuple[int, int]] = []
        for index in indexes:
            if index <= upto and self.chance.random() < 0.4:
                if ranges and ranges[-1][1] == index - 1:
                    ranges[-1] = (ranges[-1][0], index)
                else:
                    ranges.append((index, index))
        return ranges

    def write_snapshot(self, group: int, mark: SnapshotMark) -> str:
        writer = self.store.begin_snapshot(GroupId(group), mark)
        name = f"{group}-{mark.index}-{mark.term}.snap"
        for piece in (name.encode(), bytes(100)):
            writer.write(piece)
        assert writer.finish() == name
        return name


MEMBERSHIP_DATA = b"\x94\x92\xa3a-0\xa3b-0\x90\x90\x90"


def holds(store: Store, naive: NaiveStore) -> str | None:
    """None, or what the store does not hold of what it ought to."""
    for number, expected in naive.groups.items():
        group = GroupId(number)
        if store.bounds(group) != (expected.first, expected.last):
            return f"group {group}: bounds {store.bounds(group)}, not {expected.first, expected.last}"
        log = store.read(group, Index(expected.first), Index(expected.last), 1 << 30)
        if log != [expected.log[index] for index in sorted(expected.log)]:
            return f"group {group}: log {log}"
        for index, entry in expected.log.items():
            if store.term_at(group, Index(index)) != entry.term:
                return f"group {group}: term at {index} is {store.term_at(group, Index(index))}, not {entry.term}"
        for index, entry in (*expected.log.items(), *expected.old.items()):
            if (index in expected.log or index < expected.first) and store.read_one(group, Index(index)) != entry:
                if index in expected.log and expected.log[index] != entry:
                    continue
                return f"group {group}: entry {index} is {store.read_one(group, Index(index))}, not {entry}"
        for index, entry in expected.dead.items():
            found = store.read_one(group, Index(index)) if index < expected.first else None
            if found not in (None, entry, expected.old.get(index), *expected.carried):
                return f"group {group}: dead entry {index} is {found}"
        opened = store.open_snapshot(group)
        if (None if opened is None else opened[0]) != expected.mark:
            return f"group {group}: snapshot {opened}"
        if opened is not None and next(opened[1]) != expected.snapshot:
            return f"group {group}: another snapshot's content"
    return None


def recovered_is(store: Store, naive: NaiveStore) -> str | None:
    """None, or what the store did not find again."""
    if store.groups() != sorted(naive.groups):
        return f"groups {store.groups()}, not {sorted(naive.groups)}"
    for number, expected in naive.groups.items():
        found = store.recovered(GroupId(number))
        if found is None or found.hard_state != expected.hard_state or found.mark != expected.mark:
            return f"group {number}: {found}, not {expected.hard_state}, {expected.mark}"
        after = expected.mark.index if expected.mark else 0
        members = [i for i, e in sorted(expected.log.items()) if e.kind is EntryKind.MEMBERSHIP and i > after]
        if [index for index, _ in found.memberships] != members:
            return f"group {number}: memberships {found.memberships}, not at {members}"
        terms = [
            next((term for start, term in reversed(found.term_runs) if start <= index), None)
            for index in sorted(expected.log)
        ]
        if terms != [expected.log[index].term for index in sorted(expected.log)]:
            return f"group {number}: term runs {found.term_runs}"
    return None


TestStoreSurvives = StoreMachine.TestCase
TestStoreSurvives.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
