"""The compact picture of the log, against the plain list that it stands for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base.ids import Index, NodeId, Term
from broker.raft.log import RaftLog
from broker.raft.restored import Restored
from broker.raft.types import Entry, HardState, Membership, SnapshotMark
from tests.unit.raft.replica import Disk, entry, fresh_mark

_ONE = Membership((NodeId("a"),))


def log_of(terms: list[int], *, tail: int = 100) -> tuple[RaftLog, Disk]:
    """A log whose entries, ten bytes each, were all read back from disk."""
    disk = Disk(fresh_mark("a"))
    disk.durable = {index: entry(index, term, b"%010d" % index) for index, term in enumerate(terms, 1)}
    return RaftLog(disk.recover(), tail), disk


def extend(log: RaftLog, disk: Disk, terms: list[int]) -> None:
    new = [entry(index, term, b"%010d" % index) for index, term in enumerate(terms, log.last_index + 1)]
    log.append(new)
    disk.written.update({one.index: one for one in new})


def cut(log: RaftLog, disk: Disk, index: int) -> None:
    log.cut_from(Index(index))
    disk.written = {at: one for at, one in disk.written.items() if at < index}


def test_terms_of_a_restored_log() -> None:
    log, _ = log_of([1, 1, 3, 3, 3, 7])
    assert [log.term_at(Index(index)) for index in range(8)] == [0, 1, 1, 3, 3, 3, 7, None]
    assert (log.last_index, log.last_term, log.persisted) == (6, 7, 6)


@pytest.mark.parametrize(
    ("index", "term", "expected"),
    [(6, 7, (6, 7)), (9, 9, (6, 7)), (6, 6, (5, 3)), (4, 3, (4, 3)), (5, 2, (2, 1)), (2, 5, (2, 1)), (6, 0, (0, 0))],
)
def test_where_another_log_may_agree(index: int, term: int, expected: tuple[int, int]) -> None:
    log, _ = log_of([1, 1, 3, 3, 3, 7])
    assert log.last_agreeing(Index(index), Term(term)) == expected


def test_entries_come_by_size_but_at_least_one() -> None:
    log, disk = log_of([])
    extend(log, disk, [1] * 5)
    assert [one.index for one in log.entries(Index(2), Index(5), 25)] == [2, 3]
    assert [one.index for one in log.entries(Index(2), Index(5), 1)] == [2]
    assert log.entries(Index(6), Index(5), 25) == ()
    assert log.entries(Index(0), Index(5), 25) == ()


def test_the_tail_stays_small_and_the_rest_is_read_back() -> None:
    log, disk = log_of([], tail=30)
    for _ in range(50):
        extend(log, disk, [1])
    disk.written[1] = entry(1, 1, b"from disk")
    assert len(log._tail) <= 4
    assert log.entries(Index(1), Index(1), 100)[0].data == b"from disk"
    assert [one.index for one in log.entries(Index(49), Index(50), 100)] == [49, 50]


def test_what_was_appended_last_needs_no_disk_however_large() -> None:
    log, _ = log_of([], tail=10)
    log.append([entry(1, 1, b"x" * 50), entry(2, 1, b"y" * 50)])
    assert len(log.entries(Index(1), Index(2), 1000)) == 2


def test_what_replaces_durable_entries_is_not_durable() -> None:
    log, disk = log_of([1, 1, 1])
    cut(log, disk, 2)
    extend(log, disk, [2, 2])
    assert log.persisted == 1


def test_committed_entries_are_handed_out_once_in_order_in_pieces() -> None:
    log, _ = log_of([1] * 5)
    log.commit = Index(4)
    assert [[one.index for one in log.hand_out(20)] for _ in range(3)] == [[1, 2], [3, 4], []]


def test_a_compacted_log_still_knows_the_term_before_its_first_entry() -> None:
    log, _ = log_of([1, 1, 2, 3])
    log.commit = log.handed_out = Index(4)
    log.compact(SnapshotMark(Index(3), Term(2), _ONE), Index(3))
    assert (log.first_index, log.mark.index) == (3, 3)
    assert [log.term_at(Index(index)) for index in (2, 3, 4)] == [1, 2, 3]
    assert log.entries(Index(2), Index(4), 100) == ()
    assert [one.index for one in log.entries(Index(3), Index(4), 100)] == [3, 4]


def test_a_log_that_disagrees_with_its_snapshot_is_not_continued() -> None:
    """The snapshot contains what replaced entries 2 and 3; that had been applied and was not synced."""
    _, disk = log_of([1, 1, 1])
    mark = SnapshotMark(Index(2), Term(2), _ONE)
    log = RaftLog(Restored(HardState(), mark, Index(1), Index(3), ((Index(1), Term(1)),), disk), 100)
    assert (log.first_index, log.last_index, log.last_term) == (3, 2, 2)


@pytest.mark.parametrize("first", [1, 3])
def test_one_that_agrees_is(first: int) -> None:
    _, disk = log_of([1, 2, 2])
    mark = SnapshotMark(Index(2), Term(2), _ONE)
    runs = ((Index(1), Term(1)), (Index(2), Term(2))) if first == 1 else ((Index(3), Term(2)),)
    log = RaftLog(Restored(HardState(), mark, Index(first), Index(3), runs, disk), 100)
    assert (log.first_index, log.last_index, log.commit) == (first, 3, 2)


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 2), min_size=1, max_size=4)),
        st.tuples(st.just("cut"), st.integers(1, 30)),
        st.tuples(st.just("compact"), st.integers(0, 30), st.integers(0, 5)),
    ),
    max_size=25,
)


@given(steps=_steps)
def test_it_says_what_the_plain_list_says(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    log, disk = log_of([], tail=35)
    for step in steps:
        if step[0] == "append":
            terms = []
            term = int(log.last_term)
            for rise in step[1]:
                term += rise
                terms.append(term)
            extend(log, disk, terms)
        elif step[0] == "cut" and log.commit < step[1] <= log.last_index:
            cut(log, disk, step[1])
        elif step[0] == "compact" and log.mark.index <= step[1] <= log.last_index:
            log.commit = log.handed_out = Index(max(log.commit, step[1]))
            mark = SnapshotMark(Index(step[1]), log.term_at(Index(step[1])) or Term(0), _ONE)
            keep_from = max(log.first_index, step[1] + 1 - step[2])
            log.compact(mark, Index(keep_from))
            disk.snapshot(mark, (), keep_from)
        _says_the_same(log, disk.written)


def _says_the_same(log: RaftLog, plain: dict[int, Entry]) -> None:
    assert set(plain) == set(range(log.first_index, log.last_index + 1))
    for index in range(log.first_index, log.last_index + 1):
        assert log.term_at(Index(index)) == plain[index].term
        found = log.entries(Index(index), log.last_index, 25)
        assert list(found) == [plain[one] for one in range(index, index + len(found))]
        assert found
    assert log.term_at(Index(log.last_index + 1)) is None
