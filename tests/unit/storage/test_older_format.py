"""Directories of format 1: their blocks did not count zeros, and their segments may hold what was there before."""

from __future__ import annotations

import msgspec
import pytest

from broker.base.errors import InvalidArgument
from broker.storage import layout, manifest, small_files
from broker.storage.checking import check
from broker.storage.segment import (
    BLOCK_HEADER_BYTES,
    RECORD_HEAD_BYTES,
    decode_block,
    decode_block_header,
    encode_block_header,
)
from tests.simulation.fake_disk import FakeDisk
from tests.unit.storage.small_store import (
    GROUP,
    MAGIC,
    UNCACHED,
    append,
    blocks,
    entries,
    log_of,
    lose_a_sector,
    new_disk,
    open_store,
    restart,
)

FIRST = layout.segment_path(1)
STALE = b"what a file held before it was used again " * 20


def directory_of_format_1() -> FakeDisk:
    """One segment with four entries, the last of them long, and behind them what the file held before; the process has
    ended."""
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 3)
    append(store, 4, 4, size=1_500)
    disk.end_process()
    for offset, _ in blocks(disk, 1):
        raw = disk.content(FIRST)
        header = decode_block_header(raw, offset, MAGIC, 1)
        assert header is not None
        records = decode_block(raw, offset + BLOCK_HEADER_BYTES, header)
        pieces = [piece for each in records for piece in (raw[each.offset :][:RECORD_HEAD_BYTES], b"")]
        disk.put(FIRST, offset, encode_block_header(MAGIC, 1, header.sequence, header.length, pieces, -1))
    disk.put(FIRST, blocks(disk, 1)[-1][1], STALE)
    disk.create("wal/1.spare").write_at(STALE.ljust(UNCACHED.segment_bytes, b"!"), 0)
    write_manifest(disk, 1)
    return disk


def write_manifest(disk: FakeDisk, number: int) -> None:
    small_files.write(disk, layout.MANIFEST, msgspec.msgpack.encode(manifest.Manifest(number, "test", "a-0")))


def test_it_is_read_and_made_one_of_this_format() -> None:
    # given
    disk = directory_of_format_1()
    assert check(disk).is_well

    # when it is opened
    store = open_store(disk)

    # then all is there, and what was there before stands for nothing
    assert log_of(store) == entries(1, 3) + entries(4, 4, size=1_500)
    found = manifest.read(disk)
    assert found is not None
    assert found.format == manifest.FORMAT

    # and what follows is written where zeros are, and damage to it found
    append(store, 5, 6)
    assert disk.content(layout.segment_path(2))[-1_000:] == bytes(1_000)
    assert len(blocks(disk, 2)) == 2
    assert log_of(restart(disk))[-1:] == entries(6, 6)
    disk.flip(layout.segment_path(2), blocks(disk, 2)[-1][1] - 1)
    assert list(restart(disk).damaged) == [GROUP]


def test_opened_again_before_anything_was_written_it_is_still_whole() -> None:
    disk = directory_of_format_1()
    open_store(disk)
    assert len(log_of(restart(disk))) == 4


def test_its_last_batch_is_taken_for_torn_whatever_is_wrong_with_it() -> None:
    # given a byte that rotted, or a sector that was never written
    rotten, torn = directory_of_format_1(), directory_of_format_1()
    rotten.flip(FIRST, blocks(rotten, 1)[-1][1] - 1)
    lose_a_sector(torn, 1)

    # then nobody can tell which of them had been confirmed
    for disk in (rotten, torn):
        store = open_store(disk)
        assert log_of(store) == entries(1, 3)
        append(store, 4, 5, term=2)
        assert log_of(restart(disk)) == [*entries(1, 3), *entries(4, 5, term=2)]


def test_a_newer_format_is_refused() -> None:
    disk = new_disk()
    write_manifest(disk, manifest.FORMAT + 1)
    with pytest.raises(
        InvalidArgument, match="has format 3, this version reads up to 2; run the version that wrote it"
    ):
        open_store(disk)
