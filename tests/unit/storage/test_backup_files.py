"""The files of a backup as they are written: each whole before it has its name, and the list of them last."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from broker.base.errors import DiskFull, InvalidArgument
from broker.storage.backup_files import (
    FORMAT,
    MANIFEST,
    GroupFile,
    GroupWriter,
    Head,
    Manifest,
    checksum_of,
    instant,
    must_be_empty,
    write_manifest,
)
from broker.storage.segment import checksum
from tests.simulation.fake_disk import FakeDisk

HEAD = Head(b"backup", 3, 70, 2)


def new_disk() -> FakeDisk:
    return FakeDisk(Random(1))


def content(disk: FakeDisk, name: str) -> bytes:
    file = disk.open(name)
    return file.read_at(file.size(), 0)


def manifest(*groups: GroupFile) -> Manifest:
    return Manifest(FORMAT, "1.2.3", "test", "00ff", instant(0), groups)


def test_a_file_is_listed_as_it_is() -> None:
    disk = new_disk()
    writer = GroupWriter(disk, HEAD, "a-0")
    for size in (3, 2_000_000, 0, 5):
        writer.write(b"x" * size)
    file = writer.finish()
    raw = content(disk, "group-0003.backup")
    assert file == GroupFile(3, 70, 2, "group-0003.backup", len(raw), f"{checksum(raw):08x}", "a-0")
    assert raw.startswith(b"3FBACK01")
    assert len(raw) > 2_000_008


def test_an_unfinished_file_has_no_name_of_its_own_and_can_be_given_up() -> None:
    disk = new_disk()
    writer = GroupWriter(disk, HEAD, "a-0")
    writer.write(b"something")
    assert disk.names("") == ["group-0003.backup.part"]
    writer.abort()
    writer.abort()
    assert disk.names("") == []


def test_a_finished_backup_survives_a_loss_of_power() -> None:
    disk = new_disk()
    writer = GroupWriter(disk, HEAD, "a-0")
    writer.write(b"something")
    file = writer.finish()
    written = write_manifest(disk, manifest(file))
    disk.lose_power()
    assert disk.names("") == [MANIFEST, "group-0003.backup"]
    assert msgspec.json.decode(content(disk, MANIFEST), type=Manifest) == written
    assert checksum(content(disk, file.file)) == int(file.checksum, 16)


def test_the_list_bears_its_own_checksum() -> None:
    written = write_manifest(new_disk(), manifest())
    assert written.checksum == checksum_of(manifest())
    assert checksum_of(msgspec.structs.replace(written, cluster="other")) != written.checksum


def test_a_full_disk_is_said_so() -> None:
    disk = new_disk()
    disk.capacity = 1_000
    writer = GroupWriter(disk, HEAD, "a-0")
    writer.write(b"x" * 2_000)
    with pytest.raises(DiskFull):
        writer.finish()


def test_only_an_empty_directory_will_do() -> None:
    disk = new_disk()
    must_be_empty(disk, "there")
    for number in range(4):
        disk.create(f"file-{number}")
    with pytest.raises(
        InvalidArgument, match=r"^there is not empty \(file-0, file-1, file-2, \.\.\.\): a backup needs a"
    ):
        must_be_empty(disk, "there")
    write_manifest(disk, manifest())
    with pytest.raises(
        InvalidArgument, match=r"^there holds a backup already: give each backup a directory of its own$"
    ):
        must_be_empty(disk, "there")


def test_instants_are_written_for_people() -> None:
    assert instant(1_795_860_141.381) == "2026-11-28T10:02:21.381Z"
