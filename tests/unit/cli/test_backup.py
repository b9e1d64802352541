"""`broker backup` and `broker restore` as typed: what they refuse before they ask anybody, and what they say."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from broker.cli.backup import table_of
from broker.node.settings import dump
from broker.storage.backup_files import MANIFEST, GroupFile, Manifest
from tests.unit.cli.commands import broker
from tests.unit.node.test_restoring import backed_up, founders


def test_a_directory_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    done = broker("backup", str(tmp_path))
    assert done.exit_code == 1
    assert f"error: {tmp_path} is not empty (notes): a backup needs a directory of its own" in " ".join(
        done.stderr.split()
    )
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    done = broker("backup", str(tmp_path / "notes"))
    assert done.exit_code == 1
    assert "is no directory: name one that is new or empty" in " ".join(done.stderr.split())


@pytest.mark.parametrize("arguments", [("backup", "--check"), ("restore", "--check")])
def test_a_whole_backup_is_said_to_be_whole(tmp_path: Path, arguments: tuple[str, str]) -> None:
    asyncio.run(backed_up(tmp_path / "backup"))
    command, option = arguments
    done = broker(command, str(tmp_path / "backup"), option)
    assert done.exit_code == 0
    assert "group-0003.backup" in done.stdout
    assert "every file is whole, every state can be loaded, and they fit together" in done.stderr


@pytest.mark.parametrize("arguments", [("backup", "--check"), ("restore", "--check")])
def test_a_damaged_one_is_refused_with_its_file(tmp_path: Path, arguments: tuple[str, str]) -> None:
    asyncio.run(backed_up(tmp_path / "backup"))
    path = tmp_path / "backup" / "group-0002.backup"
    path.write_bytes(path.read_bytes() + b"?")
    command, option = arguments
    done = broker(command, str(tmp_path / "backup"), option)
    assert done.exit_code == 1
    assert "error: group-0002.backup of the backup in" in done.stderr


def test_a_node_is_restored_with_the_settings_that_it_will_have(tmp_path: Path) -> None:
    asyncio.run(backed_up(tmp_path / "backup"))
    settings = founders(tmp_path)[0]
    config = tmp_path / "node.toml"
    config.write_text(dump(settings))
    done = broker(
        "restore", str(tmp_path / "backup"), "--config", str(config), "--set", "zone=y", "--node", "y-0",
        "--data-dir", str(tmp_path / "elsewhere"),
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert f"{tmp_path}/elsewhere is ready for y-0 of cluster new: 4 groups with 3 live log entries, as of" in said
    assert "Restore every founding node before you start one" in said
    assert (tmp_path / "elsewhere" / "manifest").exists()


def test_a_setting_that_is_none_is_refused(tmp_path: Path) -> None:
    done = broker("restore", str(tmp_path), "--set", "zone")
    assert done.exit_code == 1
    assert "error: --set 'zone' must look like key=value" in done.stderr


def test_where_there_is_no_backup_nothing_is_made(tmp_path: Path) -> None:
    done = broker(
        "restore", str(tmp_path / "none"), "--set", "zone=a", "--node", "a-0", "--data-dir", str(tmp_path / "d")
    )
    assert done.exit_code == 1
    assert f"there is no backup in {tmp_path / 'none'}: {MANIFEST} is missing" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_the_table_has_a_line_for_each_group_and_their_sum() -> None:
    files = tuple(GroupFile(group, 10_000 + group, 2, f"group-{group}", 3 << 20, "00", "b-0") for group in range(2))
    table = table_of(Manifest(1, "1.2.3", "test", "00", "2026-11-28T10:02:21.381Z", files), Path("/backups/one"))
    assert table.title == "cluster test as of 2026-11-28T10:02:21.381Z in /backups/one"
    assert [list(column.cells) for column in table.columns][1] == ["10,000", "10,001", ""]
    assert [list(column.cells) for column in table.columns][3] == ["3.0", "3.0", "6.0"]
