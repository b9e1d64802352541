from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from broker.base.errors import DiskFull, InvalidArgument
from broker.storage.disk import StorageLocked, SystemDisk
from tests.unit.storage.small_store import GROUP, append, compact, entries, log_of, open_store, take_snapshot

HOLDER = """
import sys
from broker.storage.disk import SystemDisk
held = SystemDisk(sys.argv[1]).lock("lock")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_file_is_written_read_and_listed(tmp_path: Path) -> None:
    # given a file with something beyond its beginning
    disk = SystemDisk(tmp_path, lambda: 7)
    disk.make_directory("a")
    file = disk.create("a/part")
    file.preallocate(10_000)
    file.write_at(b"hello", 9_998)
    assert file.sync() == 0

    # when it is renamed and opened again
    disk.rename("a/part", "a/whole")
    disk.sync_directory("a")
    file.close()
    file.close()
    again = disk.open("a/whole")

    # then its bytes are there
    assert disk.names("a") == ["whole"]
    assert again.size() == 10_003
    assert again.read_at(6, 9_996) == b"\0\0hell"
    assert again.read_at(100, 10_000) == b"llo"
    assert again.read_at(5, 20_000) == b""
    again.close()
    disk.delete("a/whole")
    assert disk.names("a") == []
    assert disk.names("nowhere") == []
    assert disk.free_bytes() > 0
    with pytest.raises(FileNotFoundError):
        disk.open("a/whole")


def test_a_missing_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    SystemDisk(tmp_path / "a" / "b").create("file").close()
    assert (tmp_path / "a" / "b" / "file").exists()


def test_syncs_are_timed(tmp_path: Path) -> None:
    times = iter((100, 350))
    file = SystemDisk(tmp_path, lambda: next(times)).create("file")
    assert file.sync() == 250
    file.close()


def test_a_full_disk_says_so() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    file = SystemDisk("/dev").open("full")
    with pytest.raises(DiskFull, match="no space left for /dev/full"):
        file.write_at(b"x", 0)
    file.close()


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    disk = SystemDisk(tmp_path)
    disk.make_directory("a")
    with pytest.raises(OSError, match="directory") as caught:
        disk.create("a")
    assert caught.value.errno == errno.EISDIR


def test_two_handles_of_one_process_do_not_share_the_lock(tmp_path: Path) -> None:
    held = SystemDisk(tmp_path).lock("lock")
    with pytest.raises(StorageLocked, match="another process uses the data directory"):
        SystemDisk(tmp_path).lock("lock")
    held.release()
    held.release()
    SystemDisk(tmp_path).lock("lock").release()


def test_another_process_holds_the_lock_until_it_dies(tmp_path: Path) -> None:
    # given another process with the directory open
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"

        # then it is refused here, until that process is killed
        with pytest.raises(StorageLocked):
            SystemDisk(tmp_path).lock("lock")
        holder.kill()
    SystemDisk(tmp_path).lock("lock").release()


def test_a_store_lives_on_a_real_disk(tmp_path: Path) -> None:
    # given a store that has written, forgotten and compacted
    store = open_store(SystemDisk(tmp_path))
    store.prepare_spare()
    append(store, 1, 60)
    take_snapshot(store, 50, [(3, 3)], keep_from=51)
    compact(store)
    store.close()

    # then it is all there when it is opened again
    again = open_store(SystemDisk(tmp_path))
    assert log_of(again) == entries(51, 60)
    assert again.read_one(GROUP, entries(3, 3)[0].index) == entries(3, 3)[0]
    opened = again.open_snapshot(GROUP)
    assert opened is not None
    assert list(opened[1]) == [b"state"]
    again.close()


def test_a_directory_that_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    # given a file where the directory should be
    place = tmp_path / "data"
    place.write_text("not a directory")

    # then
    with pytest.raises(InvalidArgument, match=rf"the data directory {place} cannot be used: .*; see that it is"):
        SystemDisk(place)


def test_a_directory_that_vanished_cannot_be_locked(tmp_path: Path) -> None:
    # given a directory that is gone before it is locked
    disk = SystemDisk(tmp_path / "data")
    (tmp_path / "data").rmdir()

    # then
    with pytest.raises(InvalidArgument, match=r"cannot be used: No such file or directory"):
        disk.lock("lock")
