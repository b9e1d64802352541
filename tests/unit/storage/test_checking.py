"""What is found in a data directory of a node that does not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.base.errors import InvalidArgument
from broker.base.ids import NodeId, Term
from broker.raft.types import HardState
from broker.storage import layout
from broker.storage.checking import check
from broker.storage.damage import FILE, FRAMING, LOG, SNAPSHOT
from broker.storage.disk import ReadOnlyDisk, StorageLocked, SystemDisk
from tests.simulation.fake_disk import FakeDisk
from tests.unit.storage.small_store import (
    GROUP,
    OTHER,
    UNCACHED,
    append,
    entries,
    lose_a_sector,
    new_disk,
    open_store,
    take_snapshot,
)

FIRST = layout.segment_path(1)


def filled(disk: FakeDisk | SystemDisk) -> str:
    """Two groups, one with a vote and a snapshot, whose name is returned; the process has ended."""
    store = open_store(disk)
    store.stage_hard_state(GROUP, HardState(Term(3), NodeId("b-0")))
    append(store, 1, 30)
    name = take_snapshot(store, 20, [(3, 3)], keep_from=18)
    append(store, 31, 33, term=2)
    append(store, 1, 12, group=OTHER)
    store.close()
    return name


def body(disk: FakeDisk, index: int) -> int:
    return disk.content(FIRST).index(b"%d/1:" % index) + 5


def test_a_directory_in_order() -> None:
    # given a directory without damage
    disk = new_disk()
    name = filled(disk)
    before = {path: disk.content(path) for path in disk.paths()}

    # when it is checked
    found = check(disk)

    # then it is told what is there, and nothing has changed
    assert found.is_well
    assert found.complete
    assert not found.torn
    assert (found.cluster, found.node) == ("test", "a-0")
    one, other = found.groups
    assert (one.group, one.first, one.last, one.first_term, one.last_term) == (1, 18, 33, 1, 2)
    assert (one.term, one.vote, one.snapshot, one.snapshot_index, one.damaged) == (3, "b-0", name, 20, False)
    assert (other.group, other.first, other.last, other.older, other.snapshot) == (2, 1, 12, 0, "")
    assert other.live_bytes == pytest.approx(12 * (32 + len(entries(1, 1)[0].data)), rel=0.1)
    assert {path: disk.content(path) for path in disk.paths()} == before


def test_an_empty_directory_is_in_order() -> None:
    assert check(new_disk()).is_well


def test_damaged_entries_are_named_one_by_one() -> None:
    # given two damaged entries
    disk = new_disk()
    filled(disk)
    disk.flip(FIRST, body(disk, 19))
    disk.flip(FIRST, body(disk, 21))

    # then
    found = check(disk)
    assert [(each.kind, each.path, each.group, each.index) for each in found.damage] == [
        (LOG, FIRST, 1, 19),
        (LOG, FIRST, 1, 21),
    ]
    assert [group.damaged for group in found.groups] == [True, False]
    assert found.complete
    assert not found.costs_everything


def test_where_the_framing_is_damaged_the_rest_is_looked_at_all_the_same() -> None:
    # given a damaged record head, and a damaged entry in a later segment
    disk = new_disk()
    filled(disk)
    disk.flip(FIRST, body(disk, 4) - 30)
    path = next(path for path in map(layout.segment_path, range(2, 9)) if disk.content(path).find(b"27/1:") >= 0)
    disk.flip(path, disk.content(path).index(b"27/1:") + 5)

    # then both are found
    found = check(disk)
    assert not found.complete
    assert found.costs_everything
    assert {(each.kind, each.path) for each in found.damage} == {(FRAMING, FIRST), (LOG, path)}
    assert [each.index for each in found.damage if each.kind == LOG] == [27]


def test_a_damaged_snapshot_is_named() -> None:
    # given a damaged snapshot
    disk = new_disk()
    path = layout.snapshot_path(filled(disk))
    disk.flip(path, len(disk.content(path)) - 1)

    # then
    (finding,) = check(disk).damage
    assert (finding.kind, finding.path, finding.group) == (SNAPSHOT, path, 1)


def test_a_damaged_manifest_does_not_keep_the_log_from_being_looked_at() -> None:
    # given a damaged manifest
    disk = new_disk()
    filled(disk)
    disk.flip(layout.MANIFEST, 6)

    # then the groups are told, and the manifest named
    found = check(disk)
    assert [(each.kind, each.path) for each in found.damage] == [(FILE, layout.MANIFEST)]
    assert [group.last for group in found.groups] == [33, 12]
    assert found.node == ""


def test_a_torn_tail_is_no_damage() -> None:
    # given a last batch of which a part never reached the disk
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 3)
    append(store, 4, 4, size=1_500)
    disk.end_process()
    lose_a_sector(disk, 1)

    # then
    found = check(disk)
    assert found.is_well
    assert found.torn


def test_a_directory_can_be_checked_where_nothing_may_be_written(tmp_path: Path) -> None:
    # given a directory on a real disk, write-protected
    filled(SystemDisk(tmp_path))
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))

    # when it is checked
    disk = ReadOnlyDisk(tmp_path)
    lock = disk.lock(layout.LOCK)
    found = check(disk)
    lock.release()

    # then nothing was touched
    assert found.is_well
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    with pytest.raises(OSError, match="only looked at"):
        disk.create("new")


def test_a_directory_in_use_is_not_checked(tmp_path: Path) -> None:
    # given a running node
    store = open_store(SystemDisk(tmp_path), UNCACHED)

    # then its directory is left alone
    with pytest.raises(StorageLocked, match=r"a node runs on .*; stop it first"):
        ReadOnlyDisk(tmp_path).lock(layout.LOCK)
    store.close()
    ReadOnlyDisk(tmp_path).lock(layout.LOCK).release()


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="is no directory"):
        ReadOnlyDisk(tmp_path / "nowhere")
