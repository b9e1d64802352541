"""A disk that goes wrong when told to: full, forgetful, and otherwise the disk it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.base.errors import DiskFull
from broker.storage.disk import SystemDisk
from loadtest.faults.disk import FaultyDisk
from loadtest.faults.orders import Orders, Standing, give, path_for, take


@pytest.fixture
def standing(tmp_path: Path) -> Standing:
    return Standing(tmp_path / "node.orders")


def disk_of(tmp_path: Path, standing: Standing) -> FaultyDisk:
    FaultyDisk.standing = standing
    return FaultyDisk(tmp_path / "data")


def test_on_a_full_disk_no_file_grows_and_what_there_is_can_be_written(tmp_path: Path, standing: Standing) -> None:
    # given a file of ten bytes
    disk = disk_of(tmp_path, standing)
    file = disk.create("log")
    file.preallocate(10)
    # when the disk is full
    standing.now = Orders(full=True)
    # then these can be written, and none beyond
    file.write_at(b"0123456789", 0)
    with pytest.raises(DiskFull):
        file.write_at(b"x", 10)
    with pytest.raises(DiskFull):
        disk.create("other").preallocate(1)
    assert disk.free_bytes() == 0
    # and when there is room again, all is well
    standing.now = Orders()
    file.write_at(b"x", 10)
    assert file.read_at(20, 0) == b"0123456789x"
    assert disk.free_bytes() > 0


def test_what_was_not_synced_is_read_and_is_gone_with_the_process(tmp_path: Path, standing: Standing) -> None:
    # given a forgetful disk, and a file that was synced once
    standing.now = Orders(volatile=True)
    disk = disk_of(tmp_path, standing)
    file = disk.create("log")
    file.write_at(b"synced", 0)
    file.sync()
    # when more is written
    file.write_at(b"SYN", 0)
    file.write_at(b" and not", 6)
    # then whoever reads through any handle sees it
    assert file.read_at(100, 0) == b"SYNced and not"
    assert disk.open("log").read_at(6, 8) == b"nd not"
    assert file.size() == 14
    # and the medium does not have it
    medium = SystemDisk(tmp_path / "data").open("log")
    assert medium.read_at(100, 0) == b"synced"
    # until it is synced, through any handle
    disk.open("log").sync()
    assert medium.read_at(100, 0) == b"SYNced and not"


def test_what_was_not_synced_moves_with_the_name(tmp_path: Path, standing: Standing) -> None:
    standing.now = Orders(volatile=True)
    disk = disk_of(tmp_path, standing)
    disk.create("part").write_at(b"whole", 0)
    disk.rename("part", "name")
    assert disk.open("name").read_at(10, 0) == b"whole"
    assert disk.create("name").read_at(10, 0) == b""


def test_orders_reach_the_node_as_they_were_given(tmp_path: Path) -> None:
    config = tmp_path / "a-0.toml"
    assert take(path_for(config)) == Orders()
    give(config, Orders(sync_delay=200.0, wall_shift=-600_000))
    assert Standing(path_for(config)).now == Orders(sync_delay=200.0, wall_shift=-600_000)
