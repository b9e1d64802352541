from __future__ import annotations

import pytest

from broker.base.errors import DataCorrupt, DiskFull, InvalidArgument, Unavailable
from broker.base.ids import Index, NodeId, Term
from broker.raft.types import Entry, EntryKind, HardState, SnapshotMark
from broker.storage.store import StorageLocked, StorageSettings
from tests.unit.storage.small_store import (
    GROUP,
    MEMBERS,
    OTHER,
    append,
    commit,
    compact,
    entries,
    entry,
    log_of,
    mark_at,
    new_disk,
    open_store,
    restart,
    take_snapshot,
)


def test_a_group_that_was_never_here_is_not_recovered() -> None:
    # given a new directory
    store = open_store(new_disk())

    # then no group is known
    assert store.recovered(GROUP) is None
    assert store.groups() == []
    assert store.bounds(GROUP) == (1, 0)
    assert store.read_one(GROUP, Index(1)) is None
    assert store.read(GROUP, Index(1), Index(9), 100) == []
    assert store.open_snapshot(GROUP) is None


def test_what_is_staged_is_readable_at_once() -> None:
    # given entries staged and neither sealed nor committed
    store = open_store(new_disk())
    store.stage_entries(GROUP, entries(1, 3))

    # then they are there
    assert log_of(store) == entries(1, 3)
    assert store.read_one(GROUP, Index(2)) == entry(2)
    assert store.term_at(GROUP, Index(3)) == 1
    assert store.bounds(GROUP) == (1, 3)


def test_what_was_staged_but_not_committed_is_gone_after_a_restart() -> None:
    # given one committed entry, one sealed and one staged
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 1)
    store.stage_entries(GROUP, entries(2, 2))
    store.seal()
    store.stage_entries(GROUP, entries(3, 3))

    # when the process is killed
    store = restart(disk)

    # then only the committed one is there
    assert log_of(store) == entries(1, 1)


def test_votes_terms_and_logs_of_all_groups_are_recovered() -> None:
    # given two groups in one batch
    disk = new_disk()
    store = open_store(disk)
    store.stage_hard_state(GROUP, HardState(Term(7), NodeId("b-0")))
    store.stage_entries(GROUP, [*entries(1, 2, term=3), *entries(3, 4, term=7)])
    store.stage_entries(OTHER, entries(1, 1, term=2))
    commit(store)

    # when the node restarts
    store = restart(disk)

    # then both are as they were
    found = store.recovered(GROUP)
    assert found is not None
    assert found.hard_state == HardState(Term(7), NodeId("b-0"))
    assert (found.mark, found.first_index, found.last_index) == (None, 1, 4)
    assert found.term_runs == ((1, 3), (3, 7))
    assert [store.term_at(GROUP, Index(index)) for index in range(6)] == [0, 3, 3, 7, 7, None]
    assert store.groups() == [GROUP, OTHER]
    assert log_of(store, OTHER) == entries(1, 1, term=2)


def test_later_entries_replace_the_tail() -> None:
    # given a log of five, of which the last three are replaced by two of a later term
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 5)
    store.stage_entries(GROUP, entries(3, 4, term=2))
    commit(store)

    # then it reads so now and after a restart
    expected = [*entries(1, 2), *entries(3, 4, term=2)]
    assert log_of(store) == expected
    assert store.read_one(GROUP, Index(5)) is None
    store = restart(disk)
    assert log_of(store) == expected
    assert store.read_one(GROUP, Index(5)) is None


def test_entries_that_leave_a_gap_are_refused() -> None:
    store = open_store(new_disk())
    append(store, 1, 2)
    with pytest.raises(ValueError, match="entries 4 to 4"):
        store.stage_entries(GROUP, entries(4, 4))


def test_a_read_stops_at_its_size_but_gives_at_least_one_entry() -> None:
    # given entries of 104 bytes, the newest of them in memory
    store = open_store(new_disk(), StorageSettings(segment_bytes=4_096, cache_bytes=700))
    append(store, 1, 20)

    # then sizes are kept, on disk, in memory and across
    assert [e.index for e in store.read(GROUP, Index(3), Index(20), 1)] == [3]
    assert [e.index for e in store.read(GROUP, Index(3), Index(20), 350)] == [3, 4, 5]
    assert [e.index for e in store.read(GROUP, Index(12), Index(19), 10_000)] == list(range(12, 20))
    assert [e.index for e in store.read(GROUP, Index(20), Index(20), 0)] == [20]


def test_old_entries_are_found_while_they_are_live() -> None:
    # given a snapshot at 8 that refers to 2 and 3, with the log kept from 7 on
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 10)
    take_snapshot(store, 8, live=[(2, 3)], keep_from=7)

    # then those are there and the others are not
    assert store.bounds(GROUP) == (7, 10)
    assert store.read_one(GROUP, Index(2)) == entry(2)
    assert store.read_one(GROUP, Index(4)) is None
    assert store.read(GROUP, Index(2), Index(9), 1_000) == []
    assert store.term_at(GROUP, Index(6)) == 1
    assert log_of(store) == entries(7, 10)

    # and so after a restart
    store = restart(disk)
    found = store.recovered(GROUP)
    assert found is not None
    assert (found.mark, found.first_index, found.last_index) == (mark_at(8), 7, 10)
    assert store.read_one(GROUP, Index(3)) == entry(3)


def test_memberships_behind_the_mark_are_recovered() -> None:
    # given membership entries at 2, 4 and 5, of which 5 was replaced, and a snapshot at 3
    data = b"\x94\x91\xa3a-0\x90\x90\x90"
    disk = new_disk()
    store = open_store(disk)
    log = entries(1, 5)
    for index in (2, 4, 5):
        log[index - 1] = Entry(Index(index), Term(1), EntryKind.MEMBERSHIP, data)
    store.stage_entries(GROUP, log)
    store.stage_entries(GROUP, entries(5, 5, term=2))
    commit(store)
    take_snapshot(store, 3, live=[], keep_from=1)

    # when the node restarts
    found = restart(disk).recovered(GROUP)

    # then the one behind the mark that stands is found
    assert found is not None
    assert [(index, membership.voters) for index, membership in found.memberships] == [(4, ("a-0",))]


def test_a_reset_drops_the_log_and_keeps_what_was_carried() -> None:
    # given a log of five, and a snapshot at 20 received with the live entries 4 and 12
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 5)
    store.stage_carried(GROUP, [entry(4, term=9), entry(12, term=9)])
    assert store.read_one(GROUP, Index(4)) == entry(4)
    writer = store.begin_snapshot(GROUP, mark_at(20, 9))
    store.stage_reset(GROUP, mark_at(20, 9), writer.finish())

    # then at once, when durable, and after a restart
    for step in ("staged", "committed", "restarted"):
        assert store.bounds(GROUP) == (21, 20), step
        assert store.read_one(GROUP, Index(4)) == entry(4, term=9), step
        assert store.read_one(GROUP, Index(12)) == entry(12, term=9), step
        assert store.read_one(GROUP, Index(5)) is None, step
        assert store.term_at(GROUP, Index(20)) == 9, step
        store = store if step == "restarted" else restart(disk) if step == "committed" else store
        if step == "staged":
            commit(store)
    store.stage_entries(GROUP, entries(21, 22, term=9))
    commit(store)
    assert log_of(restart(disk)) == entries(21, 22, term=9)


def test_a_batch_larger_than_a_segment_gets_a_larger_one() -> None:
    # given an entry three times the size of a segment
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 2)
    append(store, 3, 3, size=12_000)
    append(store, 4, 4)

    # then it is there after a restart
    assert log_of(restart(disk)) == [*entries(1, 2), entry(3, size=12_000), entry(4)]


def test_nothing_of_a_batch_counts_on_a_full_disk_and_it_can_be_committed_later() -> None:
    # given a disk with no room for another segment
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 2)
    disk.capacity = 0
    store.stage_entries(GROUP, entries(3, 60))
    batch = store.seal()
    assert batch is not None

    # when it is committed
    with pytest.raises(DiskFull, match="no space left"):
        store.commit(batch)

    # then nothing of it is on the disk
    bystander = new_disk()
    bystander._files, bystander._durable = dict(disk._files), dict(disk._durable)
    assert log_of(open_store(bystander)) == entries(1, 2)

    # and when there is room again it is committed
    disk.capacity = None
    store.commit(batch)
    assert log_of(restart(disk)) == entries(1, 60)


@pytest.mark.parametrize("fault", ["fail_next_write", "fail_next_sync"])
def test_after_a_failed_write_or_sync_every_commit_is_refused(fault: str) -> None:
    # given a disk that fails once
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 1)
    setattr(disk, fault, True)
    store.stage_entries(GROUP, entries(2, 2))
    with pytest.raises(OSError, match="input/output"):
        commit(store)

    # when more is committed
    store.stage_entries(GROUP, entries(3, 3))

    # then it is refused, although the disk would work
    with pytest.raises(Unavailable, match="restart the node"):
        commit(store)


def test_what_recovery_read_survives_a_loss_of_power() -> None:
    # given a batch whose sync failed, so that it is only in the machine's memory
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 1)
    disk.fail_next_sync = True
    store.stage_entries(GROUP, entries(2, 2))
    with pytest.raises(OSError, match="input/output"):
        commit(store)

    # when a restarted process found it, and power fails then
    assert log_of(restart(disk)) == entries(1, 2)
    disk.lose_power()

    # then it is still there
    assert log_of(open_store(disk)) == entries(1, 2)


def test_batches_are_committed_in_order() -> None:
    store = open_store(new_disk())
    store.stage_entries(GROUP, entries(1, 1))
    first = store.seal()
    store.stage_entries(GROUP, entries(2, 2))
    second = store.seal()
    assert first is not None
    assert second is not None
    assert (first.number, second.number, store.seal()) == (1, 2, None)
    with pytest.raises(ValueError, match="batch 2 was committed after batch 0"):
        store.commit(second)


def test_a_directory_serves_one_process() -> None:
    disk = new_disk()
    store = open_store(disk)
    with pytest.raises(StorageLocked):
        open_store(disk)
    store.close()
    open_store(disk)


def test_a_directory_belongs_to_one_node_of_one_cluster() -> None:
    disk = new_disk()
    open_store(disk).close()
    with pytest.raises(InvalidArgument, match="belongs to node 'a-0' of cluster 'test', this is node 'b-0'"):
        open_store(disk, node="b-0")
    with pytest.raises(InvalidArgument, match="cluster 'other'"):
        open_store(disk, cluster="other")
    open_store(disk)


def test_a_damaged_or_missing_manifest_is_named() -> None:
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 1)
    store.close()
    for offset in range(len(disk.content("manifest"))):
        disk.flip("manifest", offset)
        with pytest.raises(DataCorrupt, match="manifest at offset 0"):
            open_store(disk)
        disk.flip("manifest", offset)
    disk.delete("manifest")
    with pytest.raises(DataCorrupt, match="manifest at offset 0: it is missing"):
        open_store(disk)


def test_counters_add_up() -> None:
    # given ten batches of one entry, then a compaction that leaves two
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 60)
    before = store.stats()
    take_snapshot(store, 60, live=[(1, 2)], keep_from=61)
    compact(store)

    # then the numbers say so
    after = store.stats()
    assert before.batches == 60
    assert before.index_entries == 60
    assert len(before.sync_microseconds) == 60
    assert before.segments == 3
    assert after.index_entries == 2
    assert after.segments == 1
    assert after.live_bytes == pytest.approx(2 * (32 + len(entry(1).data)), rel=0.05)
    assert after.total_bytes == 4_096


def test_with_whom_a_group_began_is_remembered_before_it_has_anything() -> None:
    # given a group that has only been founded
    disk = new_disk()
    store = open_store(disk)
    store.stage_founding(GROUP, MEMBERS)
    commit(store)

    # when the process is started again
    store = restart(disk)

    # then the group is there, and has nothing
    recovered = store.recovered(GROUP)
    assert store.groups() == [GROUP]
    assert recovered is not None
    assert recovered.mark == SnapshotMark(Index(0), Term(0), MEMBERS)
    assert (recovered.first_index, recovered.last_index) == (1, 0)
