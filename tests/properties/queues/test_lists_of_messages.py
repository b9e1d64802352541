"""Run lists and returned lists against sorted lists: any order of changes, captures that no change reaches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from broker.domain.queues import returned, runs
from broker.domain.queues.keys import AFTER_ALL
from broker.domain.queues.returned import ReturnedList, Row
from broker.domain.queues.runs import RunList

SLOTS = 1 << 16
ERA = 1 << 32
indexes = st.integers(1, 60)


def sent_at(index: int) -> int:
    """Ascends with the index, and crosses from one era of 32 bits into the next."""
    return ERA * 5 - 300 + index * 10


class RunsAgainstSortedList(RuleBasedStateMachine):
    """The yardstick: a sorted list of (key, sent at), one for each message."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = RunList()
        self.plain: list[tuple[int, int]] = []
        self.captured: list[tuple[Any, list[tuple[int, int]]]] = []
        self.used: set[int] = set()

    @rule(index=indexes, count=st.integers(1, 5))
    def insert(self, index: int, count: int) -> None:
        if index not in self.used:
            self.used.add(index)
            self.runs.insert(index * SLOTS, count, sent_at(index))
            self.plain += [(index * SLOTS + slot, sent_at(index)) for slot in range(count)]
            self.plain.sort()

    @rule(limit=st.integers(1, 12), below=st.none() | indexes)
    def take(self, limit: int, below: int | None) -> None:
        bound = AFTER_ALL if below is None else below * SLOTS
        taken = self.runs.take(limit, bound)
        expected = [each for each in self.plain if each[0] < bound][:limit]
        assert [(key + each, sent) for key, count, sent in taken for each in range(count)] == expected
        self.plain = self.plain[len(expected) :]

    @rule(index=indexes)
    def drop(self, index: int) -> None:
        kept = [each for each in self.plain if each[1] > sent_at(index)]
        assert self.runs.drop_sent_until(sent_at(index)) == len(self.plain) - len(kept)
        self.plain = kept

    @rule(index=indexes, others=st.sets(indexes, max_size=10))
    def move(self, index: int, others: set[int]) -> None:
        there = RunList()
        for other in sorted(others - self.used):
            there.append(other * SLOTS, 1, sent_at(other))
        moving = [each for each in self.plain if each[1] <= sent_at(index)]
        assert self.runs.move_sent_until(sent_at(index), there) == len(moving)
        self.plain = self.plain[len(moving) :]
        expected = sorted(moving + [(other * SLOTS, sent_at(other)) for other in others - self.used])
        assert there.messages == len(expected)
        assert content(there.capture()) == expected

    @rule()
    def capture(self) -> None:
        self.captured.append((self.runs.capture(), list(self.plain)))

    @invariant()
    def the_content_is_that_of_the_list(self) -> None:
        assert self.runs.messages == len(self.plain)
        assert self.runs.first_key() == (self.plain[0][0] if self.plain else AFTER_ALL)
        assert self.runs.oldest_sent() == (self.plain[0][1] if self.plain else None)
        assert self.runs.newest_sent() == (self.plain[-1][1] if self.plain else None)

    @invariant()
    def what_was_captured_does_not_change(self) -> None:
        for chunks, expected in self.captured:
            assert content(chunks) == expected


def content(chunks: list[runs.CapturedRuns]) -> list[tuple[int, int]]:
    return [
        (key + slot, era << 32 | sent)
        for era, keys, sents, counts, head in chunks
        for key, sent, count in list(zip(keys, sents, counts, strict=True))[head:]
        for slot in range(count)
    ]


class ReturnedAgainstSortedList(RuleBasedStateMachine):
    """The yardstick: a sorted list of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.returned = ReturnedList()
        self.plain: list[Row] = []
        self.captured: list[tuple[Any, list[Row]]] = []

    @rule(chosen=st.sets(indexes, min_size=1, max_size=8), receipt=st.integers(1, 9))
    def add(self, chosen: set[int], receipt: int) -> None:
        held = {row[0] for row in self.plain}
        rows = [(index, sent_at(index), 7, receipt, 2) for index in sorted(chosen - held)]
        self.returned.add(rows)
        self.plain = sorted(self.plain + rows)

    @rule(limit=st.integers(1, 12), below=st.none() | indexes)
    def take(self, limit: int, below: int | None) -> None:
        bound = AFTER_ALL if below is None else below
        expected = [row for row in self.plain if row[0] < bound][:limit]
        assert self.returned.take(limit, bound) == expected
        self.plain = self.plain[len(expected) :]

    @rule(index=indexes)
    def drop(self, index: int) -> None:
        kept = [row for row in self.plain if row[1] > sent_at(index)]
        assert self.returned.drop_sent_until(sent_at(index)) == len(self.plain) - len(kept)
        self.plain = kept

    @rule(index=indexes)
    def remove(self, index: int) -> None:
        row = next((row for row in self.plain if row[0] == index), None)
        assert self.returned.receipt_of(index) == (row[3] if row else None)
        if row is None:
            with pytest.raises(KeyError):
                self.returned.remove(index)
        else:
            self.returned.remove(index)
            self.plain.remove(row)

    @rule()
    def capture(self) -> None:
        self.captured.append((self.returned.capture(), list(self.plain)))

    @invariant()
    def the_content_is_that_of_the_list(self) -> None:
        assert self.returned.messages == len(self.plain)
        assert self.returned.first_key() == (self.plain[0][0] if self.plain else AFTER_ALL)
        assert self.returned.oldest_sent() == (self.plain[0][1] if self.plain else None)
        assert self.returned.newest_sent() == (self.plain[-1][1] if self.plain else None)

    @invariant()
    def what_was_captured_does_not_change(self) -> None:
        for chunks, expected in self.captured:
            rows = [row for *columns, head in chunks for row in list(zip(*columns, strict=True))[head:]]
            assert rows == expected


@pytest.mark.parametrize("machine", [RunsAgainstSortedList, ReturnedAgainstSortedList])
def test_lists_behave_as_sorted_lists(machine: type[RuleBasedStateMachine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "CHUNK_RUNS", 4)
    monkeypatch.setattr(returned, "CHUNK_ROWS", 4)
    run_state_machine_as_test(machine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None))
