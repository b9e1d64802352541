"""What is found where while batches are staged, sealed and committed out of step."""

from __future__ import annotations

import gc

from broker.base.ids import Index
from broker.storage.store import StorageSettings
from tests.unit.storage.small_store import GROUP, OTHER, commit, entries, entry, log_of, mark_at, new_disk, open_store


def test_entries_leave_memory_only_when_they_are_durable() -> None:
    # given no room in the cache
    store = open_store(new_disk())
    store.stage_entries(GROUP, entries(1, 50))
    batch = store.seal()
    assert batch is not None
    assert store.seal() is None
    assert store.stats().cached_bytes > 5_000

    # when the batch is durable
    store.commit(batch)
    assert store.seal() is None

    # then they are read from the disk
    assert store.stats().cached_bytes == 0
    assert log_of(store) == entries(1, 50)


def test_replaced_entries_do_not_stay_in_memory() -> None:
    store = open_store(new_disk())
    for term in range(1, 30):
        store.stage_entries(GROUP, entries(1, 10, term))
    assert store.stats().cached_bytes == sum(len(e.data) + 120 for e in entries(1, 10, term=29))


def test_entries_replaced_while_their_batch_was_written_keep_their_replacement_in_memory() -> None:
    # given a batch under way, of which the tail is replaced in the next one
    store = open_store(new_disk())
    store.stage_entries(GROUP, entries(1, 10))
    first = store.seal()
    store.stage_entries(GROUP, entries(5, 6, term=2))
    second = store.seal()
    assert first is not None
    assert second is not None

    # when only the first is durable
    store.commit(first)
    assert store.seal() is None

    # then the replacement is still read from memory
    assert log_of(store) == [*entries(1, 4), *entries(5, 6, term=2)]


def test_old_entries_stay_readable_through_a_reset_before_they_are_durable() -> None:
    # given an entry that a snapshot refers to, sealed and not durable, and then a reset
    store = open_store(new_disk())
    store.stage_entries(GROUP, entries(1, 4))
    store.retain(GROUP, Index(2), [(Index(1), Index(1))], Index(3))
    first = store.seal()
    store.stage_reset(GROUP, mark_at(9), store.begin_snapshot(GROUP, mark_at(9)).finish())
    assert first is not None

    # then it is found before and after each becomes durable
    assert store.read_one(GROUP, Index(1)) == entry(1)
    store.commit(first)
    assert store.read_one(GROUP, Index(1)) == entry(1)
    commit(store)
    assert store.seal() is None
    assert [store.read_one(GROUP, Index(i)) for i in (1, 2, 3)] == [entry(1), None, None]


def test_a_carried_entry_outlasts_the_batch_of_the_one_it_supersedes() -> None:
    # given entry 2 of the log under way, and the committed entry 2 carried behind it
    store = open_store(new_disk())
    store.stage_entries(GROUP, entries(1, 3))
    first = store.seal()
    store.stage_carried(GROUP, [entry(2, term=9)])
    store.stage_reset(GROUP, mark_at(5, 9), store.begin_snapshot(GROUP, mark_at(5, 9)).finish())
    second = store.seal()
    assert first is not None
    assert second is not None

    # when the first becomes durable
    store.commit(first)
    assert store.seal() is None

    # then the carried one is still found
    assert store.read_one(GROUP, Index(2)) == entry(2, term=9)
    store.commit(second)
    assert store.read_one(GROUP, Index(2)) == entry(2, term=9)


def test_making_room_spares_the_replacement_of_entries_that_may_go() -> None:
    # given durable entries in memory, their tail replaced by entries that are not durable
    settings = StorageSettings(segment_bytes=4_096, cache_bytes=3_000, spare_segments=1)
    store = open_store(new_disk(), settings)
    store.stage_entries(GROUP, entries(1, 10))
    commit(store)
    assert store.seal() is None
    store.stage_entries(GROUP, entries(5, 6, term=2))

    # when others take the room
    store.stage_entries(OTHER, entries(1, 20))
    assert store.seal() is not None
    assert store.seal() is None

    # then what is durable has gone from memory, and the replacement has not
    assert store.stats().cached_bytes == sum(len(e.data) + 120 for e in [*entries(5, 6), *entries(1, 20)])
    assert log_of(store) == [*entries(1, 4), *entries(5, 6, term=2)]


def test_entries_in_memory_are_nothing_for_the_collector_to_look_at() -> None:
    # given room for all entries of two groups that take turns
    store = open_store(new_disk(), StorageSettings(segment_bytes=1_000_000, cache_bytes=10_000_000))
    gc.collect()
    before = len(gc.get_objects())

    # when each comes in a batch of its own
    for index in range(1, 1_001):
        for group in (GROUP, OTHER):
            store.stage_entries(group, entries(index, index))
            commit(store)
    assert store.seal() is None

    # then the collector has few objects more
    gc.collect()
    assert len(gc.get_objects()) < before + 100
    assert log_of(store) == entries(1, 1_000)


def test_entries_that_came_one_by_one_leave_memory_little_by_little() -> None:
    # given room for 300 entries
    size = len(entry(1).data) + 120
    store = open_store(new_disk(), StorageSettings(segment_bytes=1_000_000, cache_bytes=300 * size))

    # when 2,000 come one by one
    for index in range(1, 2_001):
        store.stage_entries(GROUP, entries(index, index))
        commit(store)
        assert store.seal() is None

    # then some hundred are in memory, and all are found
    assert 0 < store.stats().cached_bytes <= 300 * size
    assert log_of(store) == entries(1, 2_000)
