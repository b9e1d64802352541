from __future__ import annotations

import pytest

from broker.base.errors import DataCorrupt
from broker.base.ids import Index
from broker.storage import layout
from broker.storage.store import StorageSettings
from tests.unit.storage.small_store import (
    GROUP,
    OTHER,
    append,
    commit,
    compact,
    entries,
    entry,
    log_of,
    mark_at,
    new_disk,
    open_store,
    restart,
    take_snapshot,
)


def test_segments_with_little_alive_are_given_back() -> None:
    # given five segments of which a snapshot refers to four entries
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 100)
    assert store.stats().segments == 5
    live = [3, 30, 31, 60]
    take_snapshot(store, 99, [(3, 3), (30, 31), (60, 60)], keep_from=100)

    # when they are compacted
    compact(store)

    # then one segment holds all that is left, and the others are deleted
    assert store.stats().segments == 1
    assert len(disk.names(layout.WAL)) == 1
    for reopened in (store, restart(disk)):
        assert [reopened.read_one(GROUP, Index(i)) for i in live] == [entry(i) for i in live]
        assert log_of(reopened) == [entry(100)]
        assert not reopened.compaction_step(1_000)


def test_votes_marks_and_quiet_groups_survive_the_segments_they_were_written_in() -> None:
    # given a quiet group written once, long ago
    disk = new_disk()
    store = open_store(disk)
    store.stage_entries(OTHER, entries(1, 3, term=4))
    commit(store)
    append(store, 1, 100)
    take_snapshot(store, 100, [], keep_from=101)

    # when everything else of its segment is dead
    compact(store)

    # then its log stands elsewhere
    assert store.stats().segments == 1
    store = restart(disk)
    found = store.recovered(OTHER)
    assert found is not None
    assert (found.first_index, found.last_index, found.term_runs) == (1, 3, ((1, 4),))
    assert log_of(store, OTHER) == entries(1, 3, term=4)
    assert store.recovered(GROUP) is not None
    assert store.bounds(GROUP) == (101, 100)


def test_live_entries_are_readable_at_every_step() -> None:
    # given every third entry live
    store = open_store(new_disk())
    append(store, 1, 80)
    live = list(range(1, 80, 3))
    take_snapshot(store, 80, [(i, i) for i in live], keep_from=81)

    # when compaction goes on in the smallest steps
    steps = 0
    while store.compaction_step(1):
        steps += 1
        for expected in ("staged", "sealed", "committed"):
            assert [store.read_one(GROUP, Index(i)) for i in live] == [entry(i) for i in live], expected
            if expected == "staged":
                batch = store.seal()
            elif expected == "sealed" and batch is not None:
                store.commit(batch)
    assert steps > len(live) // 2


def test_nothing_is_freed_before_its_copies_are_durable() -> None:
    # given copies staged and sealed
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 60)
    take_snapshot(store, 60, [(2, 2), (25, 25)], keep_from=61)
    before = [name for name in disk.names(layout.WAL) if name.endswith(".seg")]
    for _ in range(10):
        store.compaction_step(10_000)
    sealed = store.seal()
    assert sealed is not None

    # then all files are there, and if the copies are lost the entries are not
    assert [name for name in disk.names(layout.WAL) if name.endswith(".seg")] == before
    store = restart(disk)
    assert [store.read_one(GROUP, Index(i)) for i in (2, 25)] == [entry(2), entry(25)]


def test_entries_that_die_while_they_are_copied_stay_dead() -> None:
    # given copies under way
    store = open_store(new_disk())
    append(store, 1, 60)
    take_snapshot(store, 50, [(2, 3), (25, 25)], keep_from=51)
    assert store.compaction_step(10_000)
    batch = store.seal()
    assert batch is not None

    # when a newer snapshot refers to none of them
    writer = store.begin_snapshot(GROUP, mark_at(55))
    store.stage_snapshot_mark(GROUP, mark_at(55), writer.finish())
    store.retain(GROUP, Index(55), [], Index(56))
    store.commit(batch)
    commit(store)
    compact(store)

    # then they are gone
    assert [store.read_one(GROUP, Index(i)) for i in (2, 3, 25)] == [None, None, None]
    assert store.stats().index_entries == 5


def test_a_replaced_tail_does_not_come_back_when_its_replacement_moves() -> None:
    # given entries 15 to 40 replaced by a later term, in a later segment than theirs, and then moved on
    disk = new_disk()
    store = open_store(disk, StorageSettings(segment_bytes=4_096, cache_bytes=0, compact_below=0.95, spare_segments=0))
    append(store, 1, 40)
    append(store, 1, 20, group=OTHER)
    append(store, 15, 16, term=2)
    append(store, 21, 120, group=OTHER)
    store.retain(OTHER, Index(120), [], Index(121))
    commit(store)
    compact(store)

    # then the log is what it was
    expected = [*entries(1, 14), *entries(15, 16, term=2)]
    assert log_of(store) == expected
    assert log_of(restart(disk)) == expected


def test_damage_found_while_compacting_is_named() -> None:
    # given a live entry damaged since the log was opened
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 60)
    take_snapshot(store, 60, [(2, 2)], keep_from=61)
    path = layout.segment_path(1)
    disk.flip(path, disk.content(path).index(b"2/1:"))

    # then neither reading nor compaction takes it for good
    with pytest.raises(DataCorrupt, match=rf"{path} at offset \d+, group 1, entry 2: checksum mismatch"):
        store.read_one(GROUP, Index(2))
    with pytest.raises(DataCorrupt, match=rf"{path} at offset \d+, group 1, entry 2"):
        compact(store)


def test_live_entries_are_saved_from_a_segment_whose_blocks_cannot_be_told_apart_any_more() -> None:
    # given live entries of two groups, some in the log and some older, and a block header and a record's head damaged
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 15)
    append(store, 1, 4, group=OTHER)
    append(store, 16, 60)
    take_snapshot(store, 60, [(2, 2), (9, 10)], keep_from=61)
    path = layout.segment_path(1)
    disk.flip(path, disk.content(path).index(b"7/1:") - 60)
    disk.flip(path, disk.content(path).index(b"11/1:") - 20)

    # when the log is compacted
    compact(store)

    # then all are there, in other segments, and the damage is gone with its segment
    assert path.rpartition("/")[2] not in disk.names(layout.WAL)
    for _ in range(2):
        assert [store.read_one(GROUP, Index(index)) for index in (2, 9, 10)] == [entry(2), entry(9), entry(10)]
        assert log_of(store, OTHER) == entries(1, 4)
        store = restart(disk)


def test_entries_cut_off_long_ago_do_not_come_back() -> None:
    # given entries 15 and 16 replaced in a later segment than theirs, and then both dead
    settings = StorageSettings(segment_bytes=4_096, cache_bytes=0, compact_below=0.001, spare_segments=0)
    disk = new_disk()
    store = open_store(disk, settings)
    append(store, 1, 20)
    append(store, 1, 40, group=OTHER)
    append(store, 15, 16, term=2)
    append(store, 41, 80, group=OTHER)
    writer = store.begin_snapshot(GROUP, mark_at(16, 2))
    store.stage_snapshot_mark(GROUP, mark_at(16, 2), writer.finish())
    store.retain(GROUP, Index(16), [(Index(3), Index(3))], Index(17))
    store.retain(OTHER, Index(80), [], Index(81))
    commit(store)

    # when whatever is dead has been freed, while 3 keeps the first segment
    compact(store)
    assert layout.segment_path(1).removeprefix("wal/") in disk.names(layout.WAL)
    store = restart(disk, settings)

    # then the replaced entries are not taken for what replaced them
    assert store.read_one(GROUP, Index(3)) == entry(3)
    assert [store.read_one(GROUP, Index(i)) for i in (15, 16)] in ([None, None], entries(15, 16, term=2))


def test_entries_received_with_a_snapshot_survive_compaction_during_the_transfer() -> None:
    # given a log with an uncommitted entry 9, and the committed entry 9 received durably in its stead
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 10)
    store.stage_carried(GROUP, [entry(9, term=7)])
    commit(store)
    append(store, 1, 60, group=OTHER)
    store.retain(OTHER, Index(60), [], Index(61))
    commit(store)

    # when compaction moves both before the transfer ends, and copies once more while the reset is staged
    compact(store)
    writer = store.begin_snapshot(GROUP, mark_at(11, 7))
    store.stage_reset(GROUP, mark_at(11, 7), writer.finish())
    store.compaction_step(10_000)
    commit(store)
    compact(store)

    # then the committed one is what stays
    assert store.read_one(GROUP, Index(9)) == entry(9, term=7)
    assert restart(disk).read_one(GROUP, Index(9)) == entry(9, term=7)


def test_a_segment_that_is_not_durable_yet_is_let_be() -> None:
    # given carried entries that fill a segment, sealed and not committed, and a second segment begun
    store = open_store(new_disk())
    store.stage_carried(GROUP, entries(1, 20))
    first = store.seal()
    store.stage_entries(OTHER, entries(1, 20))
    second = store.seal()
    assert first is not None
    assert second is not None

    # when compaction looks for segments that nothing refers to
    assert not store.compaction_step(10_000)
    assert store.seal() is None

    # then the entries are there when they are durable
    store.commit(first)
    store.commit(second)
    compact(store)
    assert [store.read_one(GROUP, Index(i)) for i in (1, 20)] == [entry(1), entry(20)]
