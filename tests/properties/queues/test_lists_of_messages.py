"""Run lists, returned lists and scheduled messages against sorted lists: any order of changes, captures that no change
reaches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from broker.domain.queues import calendar, returned, runs, scheduled
from broker.domain.queues.keys import AFTER_ALL
from broker.domain.queues.returned import ReturnedList, Row
from broker.domain.queues.runs import RunList
from broker.domain.queues.scheduled import Scheduled

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

    @rule(place=st.integers(0, 40), slot=st.integers(0, 5))
    def remove(self, place: int, slot: int) -> None:
        key = self.plain[place][0] if place < len(self.plain) else place * SLOTS + slot
        sent = dict(self.plain).get(key)
        assert self.runs.find(key) == sent
        assert self.runs.remove(key) == sent
        self.plain = [each for each in self.plain if each[0] != key]

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

    @rule(after=indexes, slot=st.integers(-1, 5), since=indexes)
    def look(self, after: int, slot: int, since: int) -> None:
        bound = after * SLOTS + slot
        expected = [each for each in self.plain if each[0] > bound and each[1] >= sent_at(since)]
        assert list(self.runs.rows(bound, sent_at(since))) == expected

    @rule(index=indexes, later=st.integers(-1, 1))
    def count(self, index: int, later: int) -> None:
        instant = sent_at(index) + later
        assert self.runs.sent_before(instant) == sum(sent < instant for _, sent in self.plain)

    @invariant()
    def the_content_is_that_of_the_list(self) -> None:
        assert self.runs.messages == len(self.plain)
        assert list(self.runs.rows(-1)) == self.plain
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

    @rule(place=st.integers(0, 40))
    def remove(self, place: int) -> None:
        index = self.plain[place][0] if place < len(self.plain) else place
        row = next((row for row in self.plain if row[0] == index), None)
        assert self.returned.receipt_of(index) == (row[3] if row else None)
        assert self.returned.remove(index) == (row[1] if row else None)
        self.plain = [each for each in self.plain if each is not row]

    @rule(after=indexes, since=indexes)
    def look(self, after: int, since: int) -> None:
        expected = [row for row in self.plain if row[0] > after and row[1] >= sent_at(since)]
        assert list(self.returned.rows(after, sent_at(since))) == expected

    @rule(index=indexes, later=st.integers(-1, 1))
    def count(self, index: int, later: int) -> None:
        instant = sent_at(index) + later
        assert self.returned.sent_before(instant) == sum(row[1] < instant for row in self.plain)

    @rule()
    def capture(self) -> None:
        self.captured.append((self.returned.capture(), list(self.plain)))

    @invariant()
    def the_content_is_that_of_the_list(self) -> None:
        assert self.returned.messages == len(self.plain)
        assert list(self.returned.rows(-1)) == self.plain
        assert self.returned.first_key() == (self.plain[0][0] if self.plain else AFTER_ALL)
        assert self.returned.oldest_sent() == (self.plain[0][1] if self.plain else None)
        assert self.returned.newest_sent() == (self.plain[-1][1] if self.plain else None)

    @invariant()
    def what_was_captured_does_not_change(self) -> None:
        for chunks, expected in self.captured:
            rows = [row for *columns, head in chunks for row in list(zip(*columns, strict=True))[head:]]
            assert rows == expected


class ScheduledAgainstSortedList(RuleBasedStateMachine):
    """The yardstick: a sorted list of (key, sent at, due at, group). ``copy`` is loaded from a capture now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduled = Scheduled()
        self.copy = Scheduled()
        self.plain: list[scheduled.Row] = []
        self.captured: list[tuple[Any, list[scheduled.Row]]] = []
        self.last = 0

    @rule(step=st.integers(1, 4), waits=st.lists(st.integers(0, 90), min_size=1, max_size=6), group=st.integers(0, 2))
    def add(self, step: int, waits: list[int], group: int) -> None:
        self.last += step
        for slot, wait in enumerate(waits):
            row = (self.last * SLOTS + slot, sent_at(self.last), sent_at(self.last) + wait, group)
            self.scheduled.add(*row)
            self.copy.add(*row)
            self.plain.append(row)

    @rule(count=st.integers(1, 12))
    def add_many_due_together(self, count: int) -> None:
        due = sent_at(self.last + 5 - self.last % 5)
        for _ in range(count):
            self.last += 1
            row = (self.last * SLOTS, sent_at(self.last), max(due, sent_at(self.last)), 0)
            self.scheduled.add(*row)
            self.copy.add(*row)
            self.plain.append(row)

    @rule(place=st.integers(0, 40), slot=st.integers(0, 6))
    def remove(self, place: int, slot: int) -> None:
        key = self.plain[place][0] if place < len(self.plain) else place * SLOTS + slot
        row = next((row for row in self.plain if row[0] == key), None)
        assert self.scheduled.find(key) == (row[2] if row else None)
        assert self.scheduled.remove(key) == row
        assert self.copy.remove(key) == row
        self.plain = [each for each in self.plain if each is not row]

    @rule(later=st.integers(0, 60), limit=st.integers(1, 12))
    def ripen(self, later: int, limit: int) -> None:
        at = (self.scheduled.next_due() or 0) + later
        due = sorted((row for row in self.plain if row[2] <= at), key=lambda row: (row[2], row[0]))[:limit]
        expected = [(key, sent, group) for key, sent, _, group in sorted(due)]
        assert self.scheduled.ripen(at, limit) == expected
        assert self.copy.ripen(at, limit) == expected
        self.plain = [row for row in self.plain if row not in due]

    @rule(back=st.integers(0, 20), limit=st.integers(1, 12))
    def drop(self, back: int, limit: int) -> None:
        instant = sent_at(self.last - back)
        old = [row for row in self.plain if row[1] <= instant][:limit]
        expected = [(key, sent, group) for key, sent, _, group in old]
        assert self.scheduled.drop_sent_until(instant, limit) == expected
        assert self.copy.drop_sent_until(instant, limit) == expected
        self.plain = self.plain[len(old) :]

    @rule()
    def capture(self) -> None:
        self.captured.append((self.scheduled.capture(), list(self.plain)))

    @rule()
    def load(self) -> None:
        captured = self.copy.capture()
        self.copy = Scheduled()
        for *columns, head in captured:
            self.copy.extend(*(column[head:] for column in columns))

    @rule(back=st.integers(0, 20), slot=st.integers(-1, 6), since=st.integers(0, 20))
    def look(self, back: int, slot: int, since: int) -> None:
        after, instant = (self.last - back) * SLOTS + slot, sent_at(self.last - since)
        expected = [row for row in self.plain if row[0] > after and row[1] >= instant]
        assert list(self.scheduled.rows(after, instant)) == expected

    @rule(back=st.integers(0, 20), later=st.integers(-1, 1))
    def count(self, back: int, later: int) -> None:
        instant = sent_at(self.last - back) + later
        assert self.scheduled.sent_before(instant) == sum(row[1] < instant for row in self.plain)

    @invariant()
    def the_content_is_that_of_the_list(self) -> None:
        for each in (self.scheduled, self.copy):
            assert each.messages == len(self.plain)
            assert list(each.rows(-1)) == self.plain
            assert each.oldest_sent() == (self.plain[0][1] if self.plain else None)
            assert each.next_due() == min((row[2] for row in self.plain), default=None)

    @invariant()
    def what_was_captured_does_not_change(self) -> None:
        for chunks, expected in self.captured:
            rows = [row for *columns, head in chunks for row in list(zip(*columns, strict=True))[head:]]
            assert [(key, sent, sent + wait, group) for key, sent, wait, group in rows] == expected


@pytest.mark.parametrize("machine", [RunsAgainstSortedList, ReturnedAgainstSortedList, ScheduledAgainstSortedList])
def test_lists_behave_as_sorted_lists(machine: type[RuleBasedStateMachine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "CHUNK_RUNS", 4)
    monkeypatch.setattr(returned, "CHUNK_ROWS", 4)
    monkeypatch.setattr(scheduled, "CHUNK_ROWS", 4)
    monkeypatch.setattr(calendar, "CHUNK_ENTRIES", 4)
    run_state_machine_as_test(machine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None))
