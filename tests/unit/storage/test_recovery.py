from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from random import Random

import msgspec
import pytest

from broker.base.errors import DataCorrupt
from broker.base.ids import Index
from broker.storage import layout
from broker.storage.store import Store
from tests.simulation.fake_disk import FakeDisk, PowerLoss
from tests.unit.storage.small_store import (
    GROUP,
    OTHER,
    append,
    blocks,
    commit,
    compact,
    entries,
    entry,
    log_of,
    lose_a_sector,
    new_disk,
    open_store,
    restart,
    take_snapshot,
)


def segments(disk: FakeDisk) -> list[int]:
    return sorted(n for n in map(layout.segment_number, disk.names(layout.WAL)) if n is not None)


def busy_disk() -> FakeDisk:
    """Several segments, among them copies by compaction; the process has ended."""
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 30)
    take_snapshot(store, 25, live=[(2, 2), (9, 11), (20, 21)], keep_from=24)
    append(store, 31, 60)
    compact(store)
    append(store, 61, 70)
    disk.end_process()
    return disk


def what_counts(store: Store) -> list[object]:
    return [store.recovered(GROUP), log_of(store), [store.read_one(GROUP, Index(i)) for i in (2, 9, 10, 11, 20, 21)]]


def outcome(disk: FakeDisk, intact: list[object]) -> str:
    """What a damaged disk costs; the process has ended."""
    try:
        store = open_store(disk)
    except DataCorrupt as error:
        return "directory" if re.match(r"wal/[0-9a-f]+\.seg at offset \d+", str(error)) else str(error)
    try:
        if store.damaged:
            assert list(store.damaged) == [GROUP]
            assert store.groups() == []
            return "group"
        assert what_counts(store) == intact
        return "nothing"
    finally:
        disk.end_process()


def test_a_flipped_byte_anywhere_is_found() -> None:
    # given a log of several segments
    disk = busy_disk()
    store = open_store(disk)
    intact = what_counts(store)
    assert None not in intact[2]  # type: ignore[operator]
    disk.end_process()
    numbers = segments(disk)
    assert len(numbers) >= 3
    chance = Random(5)
    outcomes: Counter[str] = Counter()
    for number in numbers:
        written = blocks(disk, number)
        end = written[-1][1]
        heads = {start + chance.randrange(72) for start, _ in written if start < end - 72}
        for offset in sorted({*range(chance.randrange(11), end, 11), *heads, 0, end - 1}):
            # when one byte of it is damaged
            mask = 1 << chance.randrange(8)
            disk.flip(layout.segment_path(number), offset, mask)

            # then opening names the file, or the group, or nothing that counts is lost
            outcomes[outcome(disk, intact)] += 1
            disk.flip(layout.segment_path(number), offset, mask)
    assert set(outcomes) <= {"directory", "group", "nothing"}
    assert what_counts(open_store(disk)) == intact
    assert all(outcomes[each] > 50 for each in ("directory", "group"))


def test_a_batch_that_was_torn_is_cut_and_the_log_goes_on() -> None:
    # given a last batch of which some sectors never reached the disk
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 3)
    store.stage_entries(GROUP, entries(4, 9, size=300))
    commit(store)
    lose_a_sector(disk, 1)

    # when the node restarts, and writes on
    store = restart(disk)

    # then the batch is as if it had never been, and no other is written over what is left of it
    assert log_of(store) == entries(1, 3)
    append(store, 4, 5, term=2)
    assert segments(disk) == [1, 2]
    assert len(blocks(disk, 2)) == 2
    assert log_of(restart(disk)) == [*entries(1, 3), *entries(4, 5, term=2)]


def test_a_torn_first_batch_of_a_segment_leaves_the_segment_unused() -> None:
    # given a batch torn at the very beginning of a second segment
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 3)
    store.stage_entries(GROUP, entries(4, 9, size=600))
    commit(store)
    assert segments(disk) == [1, 2]
    lose_a_sector(disk, 2)

    # when the node restarts and writes on
    store = restart(disk)
    assert log_of(store) == entries(1, 3)
    append(store, 4, 50)

    # then the first segment is filled, and the number used again for a new file
    assert segments(disk)[:2] == [1, 2]
    assert len(blocks(disk, 1)) > 10
    assert log_of(restart(disk)) == entries(1, 50)


def test_damage_to_the_last_batch_is_not_taken_for_a_torn_one() -> None:
    # given a last batch of which every sector was written, and one byte rotted
    disk = new_disk()
    append(open_store(disk), 1, 5)
    start, end = blocks(disk, 1)[-1]
    disk.flip(layout.segment_path(1), start + 80)

    # then it is said whose record it is, and what comes next goes behind it
    store = restart(disk)
    assert [finding.index for finding in store.damaged[GROUP]] == [5]
    append(store, 1, 1, group=OTHER)
    assert blocks(disk, 1)[-1][0] == end
    assert list(restart(disk).damaged) == [GROUP]


@pytest.mark.parametrize("place", [3, 50])
def test_damage_to_what_holds_the_last_batch_together_leaves_nothing_certain(place: int) -> None:
    # given a damaged header, or record head, of the last batch
    disk = new_disk()
    append(open_store(disk), 1, 5)
    start, _ = blocks(disk, 1)[-1]
    disk.flip(layout.segment_path(1), start + place)

    # then it is not cut
    where = f"wal/0000000000000001.seg at offset {start}: block 5 had been written to its end"
    with pytest.raises(DataCorrupt, match=where):
        restart(disk)


def test_damage_to_the_first_and_last_batch_of_a_segment_is_found() -> None:
    for place, outcome in ((3, "directory"), (50, "directory"), (-1, "group")):
        # given a segment with one batch, in which a byte rots
        disk = new_disk()
        store = open_store(disk)
        append(store, 1, 3)
        store.stage_entries(GROUP, entries(4, 9, size=600))
        commit(store)
        ((_, end),) = blocks(disk, 2)
        disk.flip(layout.segment_path(2), place % end)
        disk.end_process()

        # then it is not taken for one that nobody began
        if outcome == "group":
            assert list(open_store(disk).damaged) == [GROUP]
        else:
            with pytest.raises(DataCorrupt, match=r"wal/0000000000000002\.seg at offset 0"):
                open_store(disk)


def test_damage_to_a_batch_that_another_follows_is_not_taken_for_a_torn_one() -> None:
    # given damage in the last batch but one
    disk = new_disk()
    append(open_store(disk), 1, 5)
    start, _ = blocks(disk, 1)[-2]
    disk.flip(layout.segment_path(1), start + 80)

    # then it is said where, and whose record it is
    (finding,) = restart(disk).damaged[GROUP]
    assert str(finding) == (
        f"wal/0000000000000001.seg at offset {start + 40}, group 1, entry 4: checksum mismatch in the record"
    )


def test_damage_to_what_holds_records_together_leaves_nothing_certain() -> None:
    # given damage to the head of a record in the last batch but one
    disk = new_disk()
    append(open_store(disk), 1, 5)
    start, _ = blocks(disk, 1)[-2]
    disk.flip(layout.segment_path(1), start + 50)

    # then the message says which block, where, and what follows it
    with pytest.raises(DataCorrupt) as caught:
        restart(disk)
    message = str(caught.value)
    assert message.startswith(f"wal/0000000000000001.seg at offset {start}: expected block 4")
    assert "block 5 follows" in message


def test_even_the_header_of_a_later_batch_is_proof() -> None:
    # given damage in the last batch but one, and a last batch of which only the header is intact
    disk = new_disk()
    append(open_store(disk), 1, 5)
    (before, _), (last, _) = blocks(disk, 1)[-2:]
    disk.flip(layout.segment_path(1), before + 3)
    disk.flip(layout.segment_path(1), last + 100)

    # then the log is not cut
    with pytest.raises(DataCorrupt, match="block 5 follows"):
        restart(disk)


def test_a_missing_segment_is_named() -> None:
    # given a log of several segments, one of them removed
    for number in segments(busy_disk())[:-1]:
        disk = busy_disk()
        disk.delete(layout.segment_path(number))

        # then opening says which
        with pytest.raises(DataCorrupt, match=f"{layout.segment_path(number)} at offset 0"):
            open_store(disk)


def test_a_message_that_looks_like_a_block_of_another_node_proves_nothing() -> None:
    # given a torn batch that carries blocks of another node's log
    other = new_disk()
    append(open_store(other, node="b-0"), 1, 9)
    copied = other.content(layout.segment_path(1))[:1_500]
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 1)
    store.stage_entries(GROUP, [entry(2), msgspec.structs.replace(entry(3), data=copied)])
    commit(store)
    lose_a_sector(disk, 1)

    # then the batch is cut
    assert log_of(restart(disk)) == entries(1, 1)


def test_recovery_may_be_interrupted_at_any_point() -> None:
    for after in range(1, 12):
        # given power that fails again and again while the log is opened
        disk = busy_disk()
        expected = what_counts(open_store(disk))
        disk.end_process()
        disk.power_fails_at = disk.operations + after
        with suppress(PowerLoss):
            open_store(disk)
        disk.lose_power()

        # then nothing is lost
        assert what_counts(open_store(disk)) == expected
