"""What bit rot costs: one group where it is known whose bytes they were, the whole directory where it is not."""

from __future__ import annotations

from contextlib import suppress

import pytest

from broker.base.errors import DataCorrupt
from broker.base.ids import Index, NodeId, Term
from broker.raft.types import HardState
from broker.storage import layout, small_files
from broker.storage.damage import FILE, FRAMING, LOG, SNAPSHOT
from broker.storage.store import Store
from tests.simulation.fake_disk import FakeDisk, PowerLoss
from tests.unit.storage.small_store import (
    GROUP,
    OTHER,
    UNCACHED,
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

FIRST = layout.segment_path(1)
VOTE = HardState(Term(3), NodeId("b-0"))


def two_groups(disk: FakeDisk) -> Store:
    """The first segment holds a vote and some entries of both."""
    store = open_store(disk)
    append(store, 1, 8)
    append(store, 1, 8, group=OTHER)
    store.stage_hard_state(GROUP, VOTE)
    commit(store)
    append(store, 9, 60)
    append(store, 9, 60, group=OTHER)
    return store


def damage(disk: FakeDisk, index: int, term: int = 1) -> None:
    """The body of the first entry with this index and term, in the first segment."""
    disk.flip(FIRST, disk.content(FIRST).index(b"%d/%d:" % (index, term)) + 5)


def open_keeping(disk: FakeDisk) -> Store:
    disk.end_process()
    return Store(disk, UNCACHED, node=NodeId("a-0"), cluster="test", keep_damaged=True)


# --- known whose


def test_a_damaged_entry_costs_its_group_and_no_other() -> None:
    # given a damaged entry that others follow
    disk = new_disk()
    two_groups(disk)
    damage(disk, 3)

    # when the store is opened again
    store = restart(disk)

    # then its group is not there, and it is said why; the other one is whole
    (finding,) = store.damaged[GROUP]
    assert (finding.kind, finding.path, finding.group, finding.index) == (LOG, FIRST, 1, 3)
    assert store.groups() == [OTHER]
    assert not store.holds(GROUP)
    assert store.recovered(GROUP) is None
    assert store.bounds(GROUP) == (1, 0)
    assert log_of(store, OTHER) == entries(1, 60)
    assert dict(store.damage_counts) == {LOG: 1}


def test_a_damaged_vote_costs_its_group() -> None:
    # given a damaged record of a hard state
    disk = new_disk()
    two_groups(disk)
    disk.flip(FIRST, disk.content(FIRST).index(b"\xa3b-0") + 1)

    # then the group is not there, though a later segment tells its state again
    store = restart(disk)
    assert list(store.damaged) == [GROUP]
    assert store.groups() == [OTHER]


def test_what_is_left_of_a_damaged_group_stays_until_it_is_dropped() -> None:
    # given a damaged group of which little is left in a segment, and a log that goes on and is compacted
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 3)
    append(store, 1, 30, group=OTHER)
    append(store, 4, 6)
    append(store, 31, 60, group=OTHER)
    damage(disk, 3)
    store = restart(disk)
    before = disk.content(FIRST)
    for first in range(61, 200, 20):
        store.retain(OTHER, Index(first - 1), [], Index(first))
        append(store, first, first + 19, group=OTHER)
        compact(store)
        store = restart(disk)
        # then it is still there, byte for byte, and still damaged
        assert disk.content(FIRST) == before
        assert list(store.damaged) == [GROUP]

    # when it is dropped
    store.drop_group(GROUP)
    store.retain(OTHER, Index(181), [], Index(182))
    append(store, 201, 201, group=OTHER)
    compact(store)

    # then its room is free, and it does not come back
    assert FIRST.rpartition("/")[2] not in disk.names(layout.WAL)
    store = restart(disk)
    assert not store.damaged
    assert store.groups() == [OTHER]


def test_a_damaged_group_may_begin_anew_when_it_was_dropped() -> None:
    # given a damaged group
    disk = new_disk()
    two_groups(disk)
    damage(disk, 3)
    store = restart(disk)

    # when it is dropped and gets entries again
    store.drop_group(GROUP)
    append(store, 1, 5, term=9)

    # then it is whole, although the damaged record is still on the disk
    store = restart(disk)
    assert not store.damaged
    assert log_of(store) == entries(1, 5, term=9)


def test_damage_to_an_entry_that_was_replaced_costs_nothing() -> None:
    # given an entry that was cut off by another
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 5)
    append(store, 4, 6, term=2)
    damage(disk, 5)

    # then nobody misses it
    store = restart(disk)
    assert not store.damaged
    assert log_of(store) == [*entries(1, 3), *entries(4, 6, term=2)]


def test_the_snapshot_of_a_damaged_group_stays_as_well() -> None:
    # given a damaged group with a snapshot
    disk = new_disk()
    store = two_groups(disk)
    name = take_snapshot(store, 40, [(3, 3)], keep_from=35)
    append(store, 61, 61)
    damage(disk, 3)

    # then the file is there until the group is dropped
    store = restart(disk)
    assert disk.names(layout.SNAPSHOTS) == [name]
    store.drop_group(GROUP)
    commit(store)
    assert disk.names(layout.SNAPSHOTS) == []


def test_a_missing_snapshot_costs_its_group() -> None:
    # given a snapshot that somebody deleted
    disk = new_disk()
    store = two_groups(disk)
    name = take_snapshot(store, 40, [], keep_from=35)
    disk.delete(layout.snapshot_path(name))

    # then the group is damaged
    store = restart(disk)
    (finding,) = store.damaged[GROUP]
    assert (finding.kind, finding.path) == (SNAPSHOT, f"snapshots/{name}")
    assert store.groups() == [OTHER]


def test_a_group_found_damaged_at_work_is_not_read_and_its_bytes_stay() -> None:
    # given an entry damaged while the store is open
    disk = new_disk()
    store = two_groups(disk)
    damage(disk, 3)
    with pytest.raises(DataCorrupt) as caught:
        store.read_one(GROUP, Index(3))

    # when the group is condemned with entries and marks on their way
    store.stage_entries(GROUP, entries(61, 62))
    batch = store.seal()
    store.condemn(GROUP, caught.value)
    assert batch is not None
    store.commit(batch)
    append(store, 61, 62, group=OTHER)
    store.retain(OTHER, Index(60), [], Index(61))
    compact(store)

    # then nothing of it can be read, and nothing of it goes
    assert store.read_one(GROUP, Index(5)) is None
    assert store.groups() == [OTHER]
    assert [finding.index for finding in store.damaged[GROUP]] == [3]
    assert layout.segment_path(1).rpartition("/")[2] in disk.names(layout.WAL)
    assert list(restart(disk).damaged) == [GROUP]


# --- unknown whose


@pytest.mark.parametrize(("path", "kind"), [(layout.MANIFEST, FILE), ("identity", FILE), (FIRST, FRAMING)])
def test_damage_of_unknown_extent_sets_the_whole_directory_aside(path: str, kind: str) -> None:
    # given a directory with a damaged file that says nothing of one group alone
    disk = new_disk()
    store = two_groups(disk)
    take_snapshot(store, 40, [], keep_from=35)
    small_files.write(disk, "identity", b"who")
    disk.flip(path, 3)
    names = {each: disk.names(each) for each in (layout.WAL, layout.SNAPSHOTS)}

    # when it is opened so
    store = open_keeping(disk)

    # then the store is empty, all is kept under a number, and the reason beside it
    assert store.groups() == []
    assert dict(store.damage_counts) == {kind: 1}
    assert store.set_aside[1].startswith(f"{path} at offset")
    assert {each: disk.names(f"damaged/1/{each}") for each in names} == names
    assert disk.names("damaged/1") == ["identity", "manifest"]
    assert not small_files.read(disk, "identity")

    # and it works on, and remembers
    append(store, 1, 3)
    store = restart(disk)
    assert log_of(store) == entries(1, 3)
    assert list(store.set_aside) == [1]
    assert not store.damage_counts


def test_a_second_time_gets_a_number_of_its_own() -> None:
    # given a directory that was set aside before
    disk = new_disk()
    two_groups(disk)
    disk.flip(layout.MANIFEST, 3)
    append(open_keeping(disk), 1, 3)

    # when it is damaged again
    disk.flip(layout.MANIFEST, 3)
    store = open_keeping(disk)

    # then nothing kept before is touched
    assert list(store.set_aside) == [1, 2]
    assert disk.names("damaged/1/wal") != []
    assert disk.names("damaged/2/wal") != []


def test_power_that_fails_while_a_directory_is_set_aside_leaves_no_directory_that_looks_well() -> None:
    for after in range(1, 60):
        # given power that fails in the midst of it
        disk = new_disk()
        two_groups(disk)
        disk.flip(layout.MANIFEST, 3)
        disk.end_process()
        disk.power_fails_at = disk.operations + after
        with suppress(PowerLoss):
            open_keeping_until(disk)
        disk.lose_power()

        # when the node starts again
        store = open_keeping(disk)

        # then it is empty: nothing of the former directory passes for its own
        assert store.groups() == []
        assert not store.damaged


def open_keeping_until(disk: FakeDisk) -> None:
    Store(disk, UNCACHED, node=NodeId("a-0"), cluster="test", keep_damaged=True)


def test_entries_that_recovery_could_not_place_are_damage_only_of_groups_known_to_be_damaged() -> None:
    # given a group whose log was begun anew by a record that is damaged
    disk = new_disk()
    store = two_groups(disk)
    writer = store.begin_snapshot(GROUP, mark_at(100))
    store.stage_reset(GROUP, mark_at(100), writer.finish())
    commit(store)
    append(store, 101, 103)
    append(store, 61, 90, group=OTHER)
    for number in map(layout.segment_number, disk.names(layout.WAL)):
        assert number is not None
        path = layout.segment_path(number)
        place = disk.content(path).find(b"1-100-1.snap")
        if place >= 0:
            disk.flip(path, place)
            break

    # then that group is damaged, and the other one is whole
    store = restart(disk)
    assert list(store.damaged) == [GROUP]
    assert log_of(store, OTHER) == entries(1, 90)
    assert store.read_one(OTHER, Index(90)) == entry(90)
