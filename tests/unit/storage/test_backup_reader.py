"""What is read of a backup is what was written; whatever else is there is named, and refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from broker.base.errors import DataCorrupt, InvalidArgument
from broker.storage.backup_files import (
    FORMAT,
    MANIFEST,
    GroupFile,
    GroupWriter,
    Head,
    Manifest,
    instant,
    write_manifest,
)
from broker.storage.backup_reader import BackupReader
from broker.storage.disk import SystemDisk

BACKUP = b"\x00\xff"
PIECES = [b"first", b"", b"z" * 5_000, b"last"]


def write(place: Path, groups: int = 2) -> list[GroupFile]:
    disk = SystemDisk(place)
    files = []
    for group in range(groups):
        writer = GroupWriter(disk, Head(BACKUP, group, 70, 2), "a-0")
        for piece in PIECES:
            writer.write(piece)
        files.append(writer.finish())
    write_manifest(disk, Manifest(FORMAT, "1.2.3", "test", BACKUP.hex(), instant(0), tuple(files)))
    return files


def read(place: Path, group: int = 0) -> list[bytes]:
    reader = BackupReader(place)
    file = reader.manifest.groups[group]
    reader.verify(file)
    return list(reader.pieces(file))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    files = write(tmp_path)
    assert read(tmp_path, 1) == PIECES
    assert BackupReader(tmp_path).manifest.groups == tuple(files)
    assert BackupReader(tmp_path).manifest.size == sum(file.bytes for file in files)


def test_a_read_only_backup_will_do(tmp_path: Path) -> None:
    write(tmp_path)
    for path in tmp_path.iterdir():
        path.chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        assert read(tmp_path) == PIECES
    finally:
        tmp_path.chmod(0o700)


def test_any_flipped_bit_is_found_before_anything_is_made_of_the_backup(tmp_path: Path) -> None:
    (file,) = write(tmp_path, 1)
    path = tmp_path / file.file
    raw = path.read_bytes()
    for place in range(0, len(raw), 97):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        with pytest.raises(DataCorrupt, match=r"^group-0000\.backup of the backup in .* is damaged: checksum mismatch"):
            BackupReader(tmp_path).verify(file)


@pytest.mark.parametrize("place", [9, 20, 45, 50])
def test_a_flipped_bit_is_found_by_whoever_only_reads_on(tmp_path: Path, place: int) -> None:
    (file,) = write(tmp_path, 1)
    path = tmp_path / file.file
    raw = path.read_bytes()
    path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
    with pytest.raises(DataCorrupt, match=r"group-0000\.backup"):
        list(BackupReader(tmp_path).pieces(file))


def test_a_file_that_is_missing_cut_or_another_one_is_named(tmp_path: Path) -> None:
    first, second = write(tmp_path)
    path = tmp_path / first.file
    raw = path.read_bytes()
    path.write_bytes(raw[:-1])
    with pytest.raises(DataCorrupt, match=f"it has {len(raw) - 1} bytes and should have {len(raw)}"):
        BackupReader(tmp_path).verify(first)
    path.write_bytes((tmp_path / second.file).read_bytes())
    with pytest.raises(DataCorrupt, match="it holds group 1"):
        list(BackupReader(tmp_path).pieces(first))
    path.unlink()
    with pytest.raises(DataCorrupt, match=r"group-0000\.backup of the backup in .*: the file is missing"):
        BackupReader(tmp_path).verify(first)


def test_an_unfinished_backup_is_told_from_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"there is no backup in .*: backup\.json is missing"):
        BackupReader(tmp_path / "nowhere")
    with pytest.raises(InvalidArgument, match="there is no backup in"):
        BackupReader(tmp_path)
    write(tmp_path)
    (tmp_path / MANIFEST).rename(tmp_path / f"{MANIFEST}.part")
    with pytest.raises(InvalidArgument, match=r"the backup in .* was not finished, backup\.json is missing"):
        BackupReader(tmp_path)


def test_a_newer_format_is_refused_whatever_it_looks_like(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(msgspec.json.encode({"format": FORMAT + 1, "groups": "elsewhere"}))
    with pytest.raises(InvalidArgument, match="has format 2, this version reads up to 1: use the version that made it"):
        BackupReader(tmp_path)


@pytest.mark.parametrize("what", ["nonsense", "another cluster"])
def test_a_list_that_was_changed_is_refused(tmp_path: Path, what: str) -> None:
    write(tmp_path)
    path = tmp_path / MANIFEST
    path.write_text("{" if what == "nonsense" else path.read_text().replace('"test"', '"best"'))
    with pytest.raises(DataCorrupt, match=r"^backup\.json of the backup in .* is damaged"):
        BackupReader(tmp_path)
