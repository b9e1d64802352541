"""What is told of a node's disk, and what is refused because of it."""

from __future__ import annotations

from random import Random

import pytest

from broker.base.errors import DiskFull, Unavailable
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.base.instants import Millis
from broker.base.trouble import Trouble
from broker.raft.types import Entry, EntryKind
from broker.replication.disk_duty import FULL, SLOW, STUCK, DiskDuty, DiskSettings
from broker.storage import layout
from broker.storage.store import Batch, StorageSettings, Store
from tests.simulation.fake_disk import FakeDisk

ME, B, C = NodeId("a"), NodeId("b"), NodeId("c")
GROUP = GroupId(1)
VOTERS = (ME, B, C)
SETTINGS = StorageSettings(segment_bytes=4_096, spare_segments=0)


def open_store(disk: FakeDisk) -> Store:
    return Store(disk, SETTINGS, node=ME, cluster="test", keep_damaged=True)


def write(store: Store, first: int, last: int) -> Batch:
    entries = [
        Entry(Index(index), Term(1), EntryKind.NORMAL, b"%d:" % index + bytes(100)) for index in range(first, last)
    ]
    store.stage_entries(GROUP, entries)
    batch = store.seal()
    assert batch is not None
    store.commit(batch)
    return batch


@pytest.fixture
def disk() -> FakeDisk:
    return FakeDisk(Random(1), capacity=1_000_000)


def duty_on(disk: FakeDisk) -> tuple[DiskDuty, Trouble]:
    trouble = Trouble()
    return DiskDuty(open_store(disk), ME, DiskSettings(), trouble), trouble


def fill(disk: FakeDisk, free: int) -> None:
    taken = disk.free_bytes() - free
    disk.create("filler").write_at(bytes(taken), 0)


def test_a_disk_at_its_reserve_refuses_messages_until_there_is_room(disk: FakeDisk) -> None:
    # given a disk with less than a twentieth free
    duty, trouble = duty_on(disk)
    duty.expect_room(GROUP, VOTERS)
    fill(disk, free=49_000)
    duty.measured(duty.measure())

    # then it is told, messages are refused, and others lead
    assert trouble.names == (FULL,)
    assert not duty.fit_to_lead
    with pytest.raises(DiskFull, match=r"disk of a, which leads group 1, .* nothing was sent"):
        duty.expect_room(GROUP, VOTERS)

    # when there is room again
    disk.delete("filler")
    duty.measured(duty.measure())

    # then all that is over
    duty.expect_room(GROUP, VOTERS)
    assert trouble.names == ()
    assert duty.fit_to_lead


def test_what_is_written_counts_before_the_disk_is_looked_at_again(disk: FakeDisk) -> None:
    duty, trouble = duty_on(disk)
    fill(disk, free=50_001)
    duty.measured(duty.measure())
    duty.expect_room(GROUP, VOTERS)

    duty.written(write(open_elsewhere(), 1, 2), Millis(0))

    assert trouble.names == (FULL,)
    with pytest.raises(DiskFull):
        duty.expect_room(GROUP, VOTERS)


def test_messages_are_refused_where_the_others_could_not_write_them(disk: FakeDisk) -> None:
    duty, _ = duty_on(disk)
    duty.full_peers = frozenset({B, NodeId("elsewhere")})
    duty.expect_room(GROUP, VOTERS)
    duty.full_peers = frozenset({B, C})
    with pytest.raises(DiskFull, match=r"disks of b, c, which hold group 1"):
        duty.expect_room(GROUP, VOTERS)


def test_a_slow_disk_is_told_and_does_not_lead(disk: FakeDisk) -> None:
    # given syncs of 200 ms
    duty, trouble = duty_on(disk)
    batch = write(open_elsewhere(), 1, 2)
    batch.sync_microseconds = 200_000
    for second in range(5):
        duty.written(batch, Millis(second * 1_000))
        duty.look(Millis(second * 1_000))

    # then
    assert trouble.names == (SLOW,)
    assert "200 ms" in trouble.sentences[0]
    assert not duty.fit_to_lead
    assert duty.states == {"slow": True, "full": False, "stuck": False}


def test_a_log_that_cannot_be_written_is_told_until_it_can(disk: FakeDisk) -> None:
    # given a batch that found no room
    duty, trouble = duty_on(disk)
    duty.refused(DiskFull("no space left for wal/2.seg"))
    assert trouble.names == (STUCK,)
    assert not duty.fit_to_lead

    # when it is on the disk after all
    duty.written(write(open_elsewhere(), 1, 2), Millis(5_000))

    # then
    assert trouble.names == ()
    assert duty.fit_to_lead


def test_a_damaged_group_is_told_by_file_and_entry_until_it_was_dropped(disk: FakeDisk) -> None:
    # given a damaged entry
    store = open_store(disk)
    write(store, 1, 4)
    write(store, 4, 8)
    path = layout.segment_path(1)
    disk.flip(path, disk.content(path).index(b"2:"))
    disk.end_process()
    store = open_store(disk)
    trouble = Trouble()
    duty = DiskDuty(store, ME, DiskSettings(), trouble)

    # when the disk is looked at
    duty.look(Millis(0))

    # then
    assert trouble.names == ("damaged-group-1",)
    assert f"{path} at offset" in trouble.sentences[0]
    assert "group 1, entry 2: checksum mismatch" in trouble.sentences[0]

    # when it is dropped
    store.drop_group(GROUP)
    duty.look(Millis(1_000))

    # then
    assert trouble.names == ()


def test_a_directory_that_was_set_aside_is_told_as_long_as_it_is_there(disk: FakeDisk) -> None:
    # given a damaged manifest
    write(open_store(disk), 1, 4)
    disk.flip(layout.MANIFEST, 5)
    disk.end_process()

    # when the node starts, and starts again
    for _ in range(2):
        _, trouble = duty_on(disk)
        disk.end_process()

        # then
        (sentence,) = trouble.sentences
        assert "manifest at offset 0: checksum mismatch" in sentence
        assert "is kept as damaged/1; delete that and damaged-1" in sentence


def open_elsewhere() -> Store:
    return open_store(FakeDisk(Random(2)))


def test_a_directory_that_vanished_under_the_node_is_found(disk: FakeDisk) -> None:
    # given a directory that somebody removes
    duty, _ = duty_on(disk)
    disk.delete(layout.MANIFEST)

    # then
    with pytest.raises(Unavailable, match="removed, emptied or unmounted under the running node"):
        duty.measure()
