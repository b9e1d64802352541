"""Even a batch that has lost a whole sector is told from a torn one where a batch that says nothing follows it."""

from __future__ import annotations

from broker.storage import layout
from broker.storage.sectors import SECTOR
from tests.unit.storage.small_store import GROUP, append, commit, entries, log_of, new_disk, open_store, restart

FIRST = layout.segment_path(1)


def test_after_a_rest_damage_to_the_last_batch_is_found() -> None:
    # given a node that came to rest after its last batch
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 2)
    append(store, 3, 3, size=1_500)
    place = disk.content(FIRST).index(b"3/1:") + SECTOR
    store.prove()
    commit(store)

    # when a sector of that batch is zeros again
    disk.put(FIRST, place - place % SECTOR, bytes(SECTOR))

    # then nobody takes it for a torn one
    store = restart(disk)
    assert [finding.index for finding in store.damaged[GROUP]] == [3]


def test_after_a_clean_stop_as_well() -> None:
    # given a node that was stopped
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 2)
    append(store, 3, 3, size=1_500)
    store.close()
    place = disk.content(FIRST).index(b"3/1:") + SECTOR
    disk.put(FIRST, place - place % SECTOR, bytes(SECTOR))

    # then
    assert GROUP in restart(disk).damaged


def test_what_was_not_committed_is_lost_at_a_stop_all_the_same() -> None:
    # given entries that are staged, and entries in a batch that was never written
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 3)
    store.stage_entries(GROUP, entries(4, 4))
    store.close()
    assert log_of(restart(disk)) == entries(1, 3)
    store = restart(disk)
    store.stage_entries(GROUP, entries(4, 4))
    store.seal()
    store.close()
    assert log_of(restart(disk)) == entries(1, 3)


def test_a_node_at_rest_proves_once() -> None:
    # given a node that came to rest
    disk = new_disk()
    store = open_store(disk)
    store.prove()
    assert store.seal() is None
    append(store, 1, 3)
    store.prove()
    commit(store)

    # then it writes nothing more, until there was something
    store.prove()
    assert store.seal() is None
    append(store, 4, 4)
    store.prove()
    commit(store)
    assert log_of(restart(disk)) == entries(1, 4)


def test_a_proof_that_goes_along_with_entries_proves_nothing_of_them() -> None:
    # given entries staged behind the proof, in the same batch
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 3)
    store.prove()
    store.stage_entries(GROUP, entries(4, 4))
    commit(store)

    # then another one is due
    store.prove()
    assert store.seal() is not None


def test_after_a_restart_the_last_batch_found_is_proved() -> None:
    # given a process that was killed
    disk = new_disk()
    store = open_store(disk)
    append(store, 1, 2)
    append(store, 3, 3, size=1_500)
    store = restart(disk)

    # when it rests
    store.prove()
    commit(store)
    place = disk.content(FIRST).index(b"3/1:") + SECTOR
    disk.put(FIRST, place - place % SECTOR, bytes(SECTOR))

    # then damage to what it found there is found, too
    assert GROUP in restart(disk).damaged
