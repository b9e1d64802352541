"""`broker check`."""

from __future__ import annotations

import json
from pathlib import Path

from broker.storage.disk import SystemDisk
from broker.storage.store import Store
from tests.unit.cli.commands import broker
from tests.unit.storage.small_store import GROUP, OTHER, append, open_store, take_snapshot


def data_directory(place: Path) -> Store:
    store = open_store(SystemDisk(place))
    append(store, 1, 30)
    take_snapshot(store, 20, [(3, 3)], keep_from=18)
    append(store, 1, 12, group=OTHER)
    return store


def spoil(path: Path, what: bytes, by: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(what) + by] ^= 0xFF
    path.write_bytes(data)


def test_a_directory_in_order_is_shown_group_by_group(tmp_path: Path) -> None:
    data_directory(tmp_path).close()
    result = broker("check", str(tmp_path))
    assert result.exit_code == 0
    assert "node a-0 of cluster test" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines() if line[:5].strip().isdigit()]
    assert [(row[0], row[1], row[-1]) for row in rows] == [("1", "18-30", "whole"), ("2", "1-12", "whole")]
    assert "No damage." in result.stdout


def test_damage_of_one_group_is_named_with_what_to_do(tmp_path: Path) -> None:
    # given a damaged entry
    data_directory(tmp_path).close()
    spoil(tmp_path / "wal" / "0000000000000001.seg", b"19/1:")

    # then
    result = broker("check", str(tmp_path))
    assert result.exit_code == 1
    assert "damaged" in result.stdout
    assert "wal/0000000000000001.seg" in result.stdout
    assert "checksum mismatch in the record" in result.stdout
    assert "the other nodes give it these replicas anew" in " ".join(result.stdout.split())


def test_damage_of_everything_is_told_from_that(tmp_path: Path) -> None:
    # given a damaged manifest
    data_directory(tmp_path).close()
    spoil(tmp_path / "manifest", b"a-0")

    # then
    result = broker("check", str(tmp_path))
    assert result.exit_code == 1
    assert "it moves the whole directory to" in " ".join(result.stdout.split())


def test_as_json_everything_is_there(tmp_path: Path) -> None:
    # given a damaged entry
    data_directory(tmp_path).close()
    spoil(tmp_path / "wal" / "0000000000000001.seg", b"19/1:")

    # then
    result = broker("check", str(tmp_path), "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [group["group"] for group in found["groups"]] == [GROUP, OTHER]
    (damage,) = found["damage"]
    assert (damage["kind"], damage["path"], damage["group"], damage["index"]) == (
        "log",
        "wal/0000000000000001.seg",
        1,
        19,
    )


def test_while_the_node_runs_it_is_refused(tmp_path: Path) -> None:
    store = data_directory(tmp_path)
    result = broker("check", str(tmp_path))
    assert result.exit_code == 1
    assert "a node runs on" in result.stderr
    assert "stop it first" in result.stderr
    store.close()


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    result = broker("check", str(tmp_path))
    assert result.exit_code != 0
    assert "is not the data directory of a node" in result.stderr
