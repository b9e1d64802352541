from __future__ import annotations

import pytest

from broker.base.errors import DiskFull
from broker.storage import layout
from broker.storage.pool import SegmentPool
from broker.storage.settings import StorageSettings
from tests.unit.storage.small_store import new_disk

FOUND = (("1.spare", 1_000), ("2.spare", 500), ("3.spare", 1_000), ("4.spare", 1_000), ("5.spare.part", 7))
SETTINGS = StorageSettings(segment_bytes=1_000, spare_segments=2)


def test_spares_are_made_up_to_the_number_wanted() -> None:
    disk = new_disk()
    pool = SegmentPool(disk, SETTINGS)
    assert [pool.prepare(), pool.prepare(), pool.prepare()] == [True, True, False]
    assert disk.names(layout.WAL) == ["1.spare", "2.spare"]
    assert disk.content("wal/1.spare") == bytes(1_000)


def test_a_segment_is_made_from_a_spare_and_never_becomes_one() -> None:
    # given a spare
    disk = new_disk()
    pool = SegmentPool(disk, SETTINGS)
    pool.prepare()

    # when a segment begins, is written to, and later is freed
    file = pool.activate(9, 1_000)
    assert disk.names(layout.WAL) == ["0000000000000009.seg"]
    assert pool.spares == 0
    file.write_at(b"written", 0)
    pool.release(9)

    # then what was in it is gone, and the next one is zeros
    assert disk.names(layout.WAL) == []
    pool.activate(10, 1_000).close()
    assert disk.content("wal/000000000000000a.seg") == bytes(1_000)


def test_the_name_of_a_new_segment_survives_a_loss_of_power() -> None:
    disk = new_disk()
    pool = SegmentPool(disk, SETTINGS)
    pool.prepare()
    pool.activate(9, 1_000)
    disk.lose_power()
    assert "0000000000000009.seg" in disk.names(layout.WAL)


def test_an_oversized_segment_is_made_to_measure_and_deleted_afterwards() -> None:
    disk = new_disk()
    pool = SegmentPool(disk, SETTINGS)
    pool.prepare()
    file = pool.activate(1, 5_000)
    assert file.size() == 5_000
    assert pool.spares == 1
    pool.release(1)
    assert disk.names(layout.WAL) == ["1.spare"]


def test_a_full_disk_leaves_no_half_made_segment() -> None:
    disk = new_disk()
    pool = SegmentPool(disk, SETTINGS)
    disk.capacity = 999
    with pytest.raises(DiskFull, match=r"no space left for wal/1\.spare\.part"):
        pool.prepare()
    with pytest.raises(DiskFull):
        pool.activate(1, 1_000)
    assert disk.names(layout.WAL) == []


def test_at_start_good_spares_are_kept_and_the_rest_removed() -> None:
    # given spares of two sizes, too many of them, and one half made
    disk = new_disk()
    for name, size in (
        ("1.spare", 1_000),
        ("2.spare", 500),
        ("3.spare", 1_000),
        ("4.spare", 1_000),
        ("5.spare.part", 7),
    ):
        disk.create(f"wal/{name}").preallocate(size)

    # when the pool takes stock
    pool = SegmentPool(disk, SETTINGS)

    # then two good ones are left, and their numbers are not given again
    assert disk.names(layout.WAL) == ["1.spare", "3.spare"]
    pool.activate(1, 1_000)
    pool.prepare()
    assert disk.names(layout.WAL) == ["0000000000000001.seg", "1.spare", "5.spare"]
