"""A group that is dropped leaves nothing behind, whatever was under way, and may come back as a new one."""

from __future__ import annotations

from broker.base.ids import Index, NodeId, Term
from broker.raft.types import HardState
from broker.storage import layout
from broker.storage.store import StorageSettings, Store
from tests.simulation.fake_disk import FakeDisk
from tests.unit.storage.small_store import (
    GROUP,
    OTHER,
    UNCACHED,
    append,
    commit,
    compact,
    entries,
    log_of,
    mark_at,
    new_disk,
    open_store,
    restart,
    take_snapshot,
)

CACHED = StorageSettings(segment_bytes=4_096, cache_bytes=1 << 20, spare_segments=1)


def filled(disk: FakeDisk, settings: StorageSettings = UNCACHED) -> Store:
    """Two groups over several segments; one of them with a snapshot, old entries and a vote."""
    store = open_store(disk, settings)
    store.stage_hard_state(GROUP, HardState(Term(3), NodeId("b-0")))
    append(store, 1, 30)
    take_snapshot(store, 25, live=[(2, 2), (9, 11)], keep_from=24)
    append(store, 1, 12, group=OTHER)
    return store


def is_unknown(store: Store) -> bool:
    first, last = store.bounds(GROUP)
    read = [store.read_one(GROUP, Index(index)) for index in (2, 9, 24, 30)]
    return (
        (first, last) == (1, 0)
        and not any(read)
        and store.recovered(GROUP) is None
        and store.open_snapshot(GROUP) is None
        and GROUP not in store.groups()
    )


def snapshots(disk: FakeDisk) -> list[str]:
    return disk.names(layout.SNAPSHOTS)


def test_a_dropped_group_is_unknown_at_once_and_after_a_restart() -> None:
    # given two groups
    disk = new_disk()
    store = filled(disk)

    # when one is dropped
    store.drop_group(GROUP)
    assert is_unknown(store)
    commit(store)

    # then nothing of it comes back, and the other one is whole
    assert is_unknown(store)
    assert snapshots(disk) == []
    store = restart(disk)
    assert is_unknown(store)
    assert log_of(store, OTHER) == entries(1, 12)


def test_what_was_dropped_is_there_until_the_batch_is_on_disk() -> None:
    # given a group that was dropped, and a power loss before the batch was written
    disk = new_disk()
    store = filled(disk)
    store.drop_group(GROUP)
    store.seal()
    disk.lose_power()

    # then it is there with all it had
    store = open_store(disk)
    assert log_of(store)[-1] == entries(30, 30)[0]
    assert store.open_snapshot(GROUP) is not None


def test_a_dropped_group_does_not_come_back_when_segments_were_freed() -> None:
    # given a group dropped long ago, and a log that went on
    disk = new_disk()
    store = filled(disk)
    store.drop_group(GROUP)
    commit(store)
    for first in range(13, 200, 20):
        append(store, first, first + 19, group=OTHER)
        store.retain(OTHER, Index(first + 10), [(Index(1), Index(3))], Index(first + 11))
        compact(store)
        # then it stays away at every restart
        store = restart(disk)
        assert is_unknown(store)
        assert store.read_one(OTHER, Index(2)) == entries(2, 2)[0]


def test_the_same_group_begins_anew_at_its_first_index() -> None:
    # given a dropped group
    disk = new_disk()
    store = filled(disk)
    store.drop_group(GROUP)

    # when it is opened again in the same batch, with other entries
    store.stage_hard_state(GROUP, HardState(Term(7), None))
    store.stage_entries(GROUP, entries(1, 5, term=7))
    commit(store)
    append(store, 6, 60, term=7)
    store.retain(OTHER, Index(12), [], Index(13))
    compact(store)

    # then only these are there, before and after a restart
    for _ in range(2):
        assert log_of(store) == entries(1, 60, term=7)
        store = restart(disk)
    recovered = store.recovered(GROUP)
    assert recovered is not None
    assert recovered.hard_state == HardState(Term(7), None)
    assert recovered.mark is None


def test_the_same_group_comes_back_with_a_received_snapshot_of_the_very_mark_it_had() -> None:
    # given a group dropped while the file of its snapshot is there
    disk = new_disk()
    store = filled(disk)
    store.drop_group(GROUP)

    # when a snapshot of the same mark is received before the drop is on disk
    writer = store.begin_snapshot(GROUP, mark_at(25))
    writer.write(b"received")
    name = writer.finish()
    store.stage_carried(GROUP, entries(9, 9))
    store.stage_reset(GROUP, mark_at(25), name)
    store.stage_entries(GROUP, entries(26, 27))
    commit(store)

    # then it is not taken away with the old one
    for _ in range(2):
        opened = store.open_snapshot(GROUP)
        assert opened is not None
        assert list(opened[1]) == [b"received"]
        assert store.read_one(GROUP, Index(9)) == entries(9, 9)[0]
        assert store.read_one(GROUP, Index(2)) is None
        assert log_of(store) == entries(26, 27)
        store = restart(disk)


def test_batches_on_their_way_when_the_group_is_dropped_do_not_bring_it_back() -> None:
    # given entries, carried entries and copies in batches that are sealed and not yet written
    disk = new_disk()
    store = filled(disk, CACHED)
    store.stage_entries(GROUP, entries(31, 33))
    store.stage_carried(GROUP, entries(5, 6))
    first = store.seal()
    store.compaction_step(10_000)
    store.stage_carried(GROUP, entries(7, 7))
    store.retain(GROUP, Index(28), [], Index(29))

    # when the group is dropped, comes back, and the batches are written
    store.drop_group(GROUP)
    store.stage_entries(GROUP, entries(1, 2, term=9))
    second = store.seal()
    assert first is not None
    assert second is not None
    store.commit(first)
    store.commit(second)
    append(store, 13, 14, group=OTHER)

    # then only its new life is there
    for _ in range(2):
        assert log_of(store) == entries(1, 2, term=9)
        assert [store.read_one(GROUP, Index(index)) for index in (5, 6, 7, 31)] == [None] * 4
        assert log_of(store, OTHER) == entries(1, 14)
        store = restart(disk, CACHED)


def test_entries_not_yet_on_disk_stay_in_memory_although_older_ones_of_the_dropped_life_settle() -> None:
    # given a cache without room, and a batch of a life that is dropped
    disk = new_disk()
    store = open_store(disk)
    store.stage_entries(GROUP, entries(1, 9))
    batch = store.seal()
    store.drop_group(GROUP)
    store.stage_entries(GROUP, entries(1, 3, term=2))

    # when that batch is on disk
    assert batch is not None
    store.commit(batch)
    store.compaction_step(1_000)

    # then what has not been written since can be read
    assert log_of(store) == entries(1, 3, term=2)


def test_dropping_gives_the_room_back() -> None:
    # given a store that is nearly all one group's
    disk = new_disk()
    store = filled(disk, CACHED)
    before = store.stats()

    # when it is dropped
    store.drop_group(GROUP)
    commit(store)
    append(store, 13, 13, group=OTHER)
    compact(store)

    # then memory and segments are free
    after = store.stats()
    assert after.segments < before.segments
    assert after.cached_bytes < before.cached_bytes / 2
    assert after.index_entries == 13


def test_an_unknown_group_may_be_dropped() -> None:
    # given a store without the group
    disk = new_disk()
    store = open_store(disk)

    # when it is dropped all the same
    store.drop_group(GROUP)
    commit(store)

    # then nothing happens
    assert restart(disk).groups() == []


def test_lives_are_counted_and_a_snapshot_of_an_earlier_life_can_be_discarded() -> None:
    # given a snapshot that was begun before its group was dropped
    disk = new_disk()
    store = filled(disk)
    assert store.lives(GROUP) == 0
    writer = store.begin_snapshot(GROUP, mark_at(28))
    store.drop_group(GROUP)
    name = writer.finish()

    # when it is discarded
    assert store.lives(GROUP) == 1
    store.discard_snapshot(GROUP, name)
    commit(store)

    # then its file is gone
    assert snapshots(disk) == []


def test_the_snapshot_that_counts_is_not_discarded() -> None:
    # given a group with a snapshot
    disk = new_disk()
    store = filled(disk)

    # when that one is discarded by mistake
    store.discard_snapshot(GROUP, layout.snapshot_name(GROUP, mark_at(25)))
    append(store, 31, 31)

    # then it stays
    assert store.open_snapshot(GROUP) is not None
    assert len(snapshots(disk)) == 1


def test_whoever_still_reads_a_dropped_group_does_not_bring_it_back() -> None:
    # given a group that was dropped while a transfer reads it
    disk = new_disk()
    store = filled(disk)
    store.drop_group(GROUP)
    commit(store)

    # when the transfer goes on, and the log into another segment
    assert store.read_kept(GROUP, Index(1), Index(9), 1_000) == ([], 10)
    assert store.read_one(GROUP, Index(9)) is None
    append(store, 13, 60, group=OTHER)

    # then the group stays unknown
    assert not store.holds(GROUP)
    assert restart(disk).groups() == [OTHER]


def test_reading_what_was_only_staged_leaves_no_trace() -> None:
    # given a new group with something staged, looked at before it is sealed at the beginning of a segment
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 24, group=OTHER)
    store.stage_entries(GROUP, entries(5, 4))
    store.stage_hard_state(GROUP, HardState(Term(1), None))
    assert store.read_one(GROUP, Index(9)) is None
    store.stage_entries(OTHER, entries(25, 40))
    commit(store)

    # then the log agrees with itself
    assert restart(disk).groups() == [GROUP, OTHER]
