"""Small files replaced as a whole."""

from __future__ import annotations

import pytest

from broker.base.errors import DataCorrupt
from broker.storage import small_files
from tests.unit.storage.small_store import new_disk


def test_what_was_written_last_is_read_and_survives_a_loss_of_power() -> None:
    # given a disk without the file
    disk = new_disk()
    assert small_files.read(disk, "identity") is None

    # when it is written twice and the power fails
    small_files.write(disk, "identity", b"first")
    small_files.write(disk, "identity", b"second")
    disk.lose_power()

    # then the last one is there
    assert small_files.read(disk, "identity") == b"second"


@pytest.mark.parametrize("place", [0, 3, 4, 9])
def test_a_damaged_byte_is_noticed_and_named(place: int) -> None:
    # given a file with one bit turned
    disk = new_disk()
    small_files.write(disk, "identity", b"second")
    disk.flip("identity", place, 1)

    # then it is not taken for what was written
    with pytest.raises(DataCorrupt, match="identity at offset 0: checksum mismatch"):
        small_files.read(disk, "identity")
