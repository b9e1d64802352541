"""A snapshot on its way: everything that is live arrives, in steps of bounded work."""

from __future__ import annotations

from random import Random

import msgspec

from broker.base.ids import GroupId, Index, NodeId, Term
from broker.raft.types import Entry, EntryKind, Membership, SnapshotMark
from broker.replication import transfer
from broker.storage.store import StorageSettings, Store
from tests.simulation.fake_disk import FakeDisk

GROUP = GroupId(1)
MARK = SnapshotMark(Index(1_000_000), Term(1), Membership((NodeId("a"),)))


def new_store(cache_bytes: int = 0) -> Store:
    settings = StorageSettings(segment_bytes=4 * 1024 * 1024, cache_bytes=cache_bytes)
    return Store(FakeDisk(Random(1)), settings, node=NodeId("a"), cluster="test")


def store_with(count: int, size: int, cache_bytes: int = 0) -> Store:
    """Entries 1 to ``count``; those that the cache does not hold are found in the files."""
    store = new_store(cache_bytes)
    for first in range(1, count + 1, 500):
        last = min(count, first + 499)
        store.stage_entries(GROUP, [entry(index, size) for index in range(first, last + 1)])
        commit(store)
    return store


def entry(index: int, size: int) -> Entry:
    return Entry(Index(index), Term(1), EntryKind.NORMAL, index.to_bytes(4, "big") * (size // 4))


def commit(store: Store) -> None:
    while (batch := store.seal()) is not None:
        store.commit(batch)
    store.seal()


def sent(store: Store, live: list[tuple[int, int]]) -> list[bytes]:
    ranges = [(Index(first), Index(last)) for first, last in live]
    return list(transfer.outgoing(store, GROUP, [b"dump"], ranges))


def entries_in(piece: bytes) -> list[Entry]:
    assert piece[0] == transfer.ENTRIES
    return msgspec.msgpack.decode(piece[1:], type=list[Entry])


def test_live_entries_arrive_from_files_and_from_memory_in_order() -> None:
    # given entries of which the newest are in memory
    store = store_with(2_000, 400, cache_bytes=300_000)
    # when some of both are sent
    dump, *pieces = sent(store, [(3, 3), (10, 700), (1_500, 2_000)])
    # then all arrive
    assert dump == bytes([transfer.DUMP]) + b"dump"
    wanted = [3, *range(10, 701), *range(1_500, 2_001)]
    assert [each for piece in pieces for each in entries_in(piece)] == [entry(index, 400) for index in wanted]


def test_a_piece_is_about_as_large_as_it_should_be() -> None:
    pieces = sent(store_with(3_000, 1_000), [(1, 3_000)])[1:]
    assert len(pieces) == 12
    assert all(256 * 1024 <= len(piece) <= 300 * 1024 for piece in pieces[:-1])


def test_what_is_gone_meanwhile_is_left_out_in_steps_that_end() -> None:
    # given twenty thousand entries that were live when the snapshot was captured, and are gone but for one
    store = store_with(100, 40)
    store.retain(GROUP, Index(99), [], Index(100))
    commit(store)
    # when they are sent
    pieces = transfer.outgoing(store, GROUP, [], [(Index(1), Index(20_000))])
    # then no step looks for more than a few thousand of them
    steps = [entries_in(piece) for piece in pieces]
    assert len(steps) == 4
    assert [each for step in steps for each in step] == [entry(100, 40)]


def test_what_was_sent_is_found_at_the_receiver() -> None:
    # given a receiver that has none of it
    store, other = store_with(600, 400), new_store()
    incoming = transfer.Incoming(other, transfer.SnapshotHeader(GROUP, MARK))
    # when all pieces have arrived and are durable
    for piece in sent(store, [(1, 5), (500, 600)]):
        incoming.accept(piece)
    incoming.finish()
    commit(other)
    # then the entries are found there
    assert [other.read_one(GROUP, Index(index)) for index in (1, 5, 6, 600)] == [
        entry(1, 400), entry(5, 400), None, entry(600, 400),
    ]  # fmt: skip
