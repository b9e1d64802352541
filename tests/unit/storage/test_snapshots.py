from __future__ import annotations

import pytest

from broker.base.errors import DataCorrupt, DiskFull
from broker.base.ids import Index
from broker.storage import layout
from broker.storage.store import Store
from tests.unit.storage.small_store import GROUP, append, commit, mark_at, new_disk, open_store, restart, take_snapshot

PIECES = (b"first", b"", b"x" * 3_000)


def pieces_of(store: Store) -> list[bytes]:
    opened = store.open_snapshot(GROUP)
    assert opened is not None
    return list(opened[1])


def test_a_snapshot_reads_back_piece_by_piece() -> None:
    # given a snapshot that counts
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 5)
    name = take_snapshot(store, 4, [], 4, PIECES)

    # then it opens with its mark, now and after a restart
    assert name == "1-4-1.snap"
    for reopened in (store, restart(disk)):
        opened = reopened.open_snapshot(GROUP)
        assert opened is not None
        assert opened[0] == mark_at(4)
        assert tuple(opened[1]) == PIECES


def test_the_old_snapshot_goes_when_the_new_one_counts_for_good() -> None:
    # given a snapshot that counts and one that is written
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 9)
    take_snapshot(store, 4, [], 4)
    writer = store.begin_snapshot(GROUP, mark_at(8))
    writer.write(b"new")
    name = writer.finish()

    # when its mark is staged, then sealed, then durable
    store.stage_snapshot_mark(GROUP, mark_at(8), name)
    assert disk.names(layout.SNAPSHOTS) == ["1-4-1.snap", "1-8-1.snap"]
    batch = store.seal()
    assert batch is not None
    assert disk.names(layout.SNAPSHOTS) == ["1-4-1.snap", "1-8-1.snap"]
    store.commit(batch)

    # then only it is left
    assert disk.names(layout.SNAPSHOTS) == ["1-8-1.snap"]
    assert pieces_of(store) == [b"new"]


def test_a_snapshot_whose_mark_was_lost_does_not_count() -> None:
    # given a newer snapshot whose mark was staged and not committed, and one never finished
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 9)
    take_snapshot(store, 4, [], 4, (b"old",))
    writer = store.begin_snapshot(GROUP, mark_at(8))
    store.stage_snapshot_mark(GROUP, mark_at(8), writer.finish())
    store.begin_snapshot(GROUP, mark_at(9)).write(b"x" * 2_000_000)

    # when the process dies
    store = restart(disk)

    # then the old one counts, and strays are gone
    assert pieces_of(store) == [b"old"]
    assert disk.names(layout.SNAPSHOTS) == ["1-4-1.snap"]


def test_every_flipped_byte_of_a_snapshot_is_found() -> None:
    # given a snapshot
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 5)
    path = layout.snapshot_path(take_snapshot(store, 4, [], 4, (b"first", b"", b"x" * 200)))
    for offset in range(len(disk.content(path))):
        # when any byte of it is damaged, then reading it names file and offset
        disk.flip(path, offset)
        with pytest.raises(DataCorrupt, match=r"snapshots/1-4-1.snap at offset \d+"):
            pieces_of(store)
        disk.flip(path, offset)
    assert len(pieces_of(store)) == 3


def test_a_snapshot_cut_short_or_missing_is_found() -> None:
    # given a snapshot
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 5)
    path = layout.snapshot_path(take_snapshot(store, 4, [], 4))
    whole = disk.content(path)

    # when bytes are missing at its end
    for size in range(len(whole)):
        disk.create(path).write_at(whole[:size], 0)
        with pytest.raises(DataCorrupt, match=r"the file ends at|checksum"):
            pieces_of(store)

    # or the file is
    disk.delete(path)
    with pytest.raises(DataCorrupt, match="the file is missing"):
        pieces_of(store)
    store = restart(disk)
    assert store.groups() == []
    assert [finding.what for finding in store.damaged[GROUP]] == ["the snapshot that counts is missing"]


def test_a_full_disk_leaves_the_old_snapshot() -> None:
    # given no room
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 5)
    take_snapshot(store, 4, [], 4)
    disk.capacity = 0
    writer = store.begin_snapshot(GROUP, mark_at(5))

    # when a snapshot is written
    writer.write(b"x")
    with pytest.raises(DiskFull):
        writer.finish()
    writer.abort()
    writer.abort()

    # then nothing of it is left
    assert disk.names(layout.SNAPSHOTS) == ["1-4-1.snap"]
    assert pieces_of(store) == [b"state"]


def test_a_finished_snapshot_is_not_removed_by_abort() -> None:
    store = open_store(new_disk())
    writer = store.begin_snapshot(GROUP, mark_at(5))
    name = writer.finish()
    writer.abort()
    store.stage_reset(GROUP, mark_at(5), name)
    commit(store)
    assert pieces_of(store) == []
    assert store.bounds(GROUP) == (Index(6), Index(5))
    with pytest.raises(ValueError, match="is finished or aborted"):
        writer.finish()


def test_a_snapshot_that_counts_survives_a_loss_of_power() -> None:
    for seed in range(8):
        # given a snapshot whose mark is durable
        disk = new_disk(seed)
        store = open_store(disk)
        append(store, 1, 5)
        take_snapshot(store, 4, [], 4, PIECES)

        # when power fails
        disk.lose_power()

        # then it is whole
        assert tuple(pieces_of(open_store(disk))) == PIECES


def test_a_snapshot_of_one_mark_that_was_written_twice_goes_once() -> None:
    # given a snapshot about to be removed, whose like then arrives from a leader under the same name
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 9)
    take_snapshot(store, 4, [], 4)
    writer = store.begin_snapshot(GROUP, mark_at(6))
    store.stage_snapshot_mark(GROUP, mark_at(6), writer.finish())
    batch = store.seal()
    assert batch is not None
    store.begin_snapshot(GROUP, mark_at(4)).finish()
    store.commit(batch)

    # when a newer one counts for good
    take_snapshot(store, 8, [], 8)

    # then only that is left, and nothing failed
    assert disk.names(layout.SNAPSHOTS) == ["1-8-1.snap"]
