"""Messages in flight against a plain dict: batches that shrink, split and end, with the oldest always known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from broker.domain.queues import visibility
from broker.domain.queues.message_groups import MessageGroup
from broker.domain.queues.visibility import Batch, InFlight, live_batches

ends = st.integers(1, 8)


@dataclass(frozen=True)
class Held:
    sent: int
    first: int
    receipt: int
    count: int
    until: int


class InFlightAgainstDict(RuleBasedStateMachine):
    """Keys ascend with the time of sending, which is ten times the key."""

    def __init__(self) -> None:
        super().__init__()
        self.in_flight = InFlight()
        self.group = MessageGroup("a")
        self.plain: dict[int, Held] = {}
        self.at = self.receipt = 0

    @rule(keys=st.sets(st.integers(1, 40), min_size=1, max_size=12), wait=ends, repeated=st.booleans())
    def receive(self, keys: set[int], wait: int, repeated: bool) -> None:
        chosen = sorted(keys - self.plain.keys())
        if chosen:
            self.receipt += 1
            until = self.at + wait
            repeats = {key: (-key, 2) for key in chosen[::2]} if repeated else {}
            sents = [key * 10 for key in chosen]
            self.in_flight.add(Batch(self.group, self.receipt, self.at, until, chosen, sents, repeats or None))
            for key in chosen:
                first, count = repeats.get(key, (self.at, 1))
                self.plain[key] = Held(key * 10, first, self.receipt, count, until)

    @rule(data=st.data(), keep=st.integers(0, 3))
    def release(self, data: st.DataObject, keep: int) -> None:
        """All but a few messages of one delivery, or some messages of any."""
        receipt = data.draw(st.sampled_from(sorted({held.receipt for held in self.plain.values()}) or [0]))
        keys = [key for key, held in self.plain.items() if held.receipt == receipt]
        for key in data.draw(st.permutations(keys))[keep:]:
            self.in_flight.release(key, self.in_flight.holders[key])
            del self.plain[key]

    @rule(data=st.data(), waits=st.lists(ends, min_size=1, max_size=6))
    def extend(self, data: st.DataObject, waits: list[int]) -> None:
        for wait in waits if self.plain else []:
            key = data.draw(st.sampled_from(sorted(self.plain)))
            self.in_flight.extend(key, self.in_flight.holders[key], self.at + wait)
            self.plain[key] = replace(self.plain[key], until=self.at + wait)
        self.in_flight.settle()

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        if self.plain:
            key = data.draw(st.sampled_from(sorted(self.plain)))
            held = self.plain.pop(key)
            row = self.in_flight.withdraw(key, self.in_flight.holders[key])
            assert row == (key, held.sent, held.first, held.receipt, held.count)

    @rule(step=st.integers(0, 4))
    def end(self, step: int) -> None:
        self.at += step
        rows = [row for columns, _ in self.in_flight.end(self.at) for row in zip(*columns, strict=True)]
        ended = {key: held for key, held in self.plain.items() if held.until <= self.at}
        assert sorted(rows) == sorted(
            (key, each.sent, each.first, each.receipt, each.count) for key, each in ended.items()
        )
        self.plain = {key: held for key, held in self.plain.items() if key not in ended}

    @rule(key=st.integers(1, 40))
    def drop(self, key: int) -> None:
        kept = {each: held for each, held in self.plain.items() if held.sent > key * 10}
        touched = self.in_flight.drop_sent_until(key * 10)
        assert bool(touched) == (len(kept) < len(self.plain))
        self.plain = kept

    @invariant()
    def what_is_known_without_looking_is_right(self) -> None:
        assert len(self.in_flight) == self.group.held == len(self.plain)
        assert self.in_flight.next_end() == min((held.until for held in self.plain.values()), default=None)
        assert self.in_flight.oldest_sent() == min((held.sent for held in self.plain.values()), default=None)

    @invariant()
    def the_live_batches_hold_all_that_is_held(self) -> None:
        holders = self.in_flight.holders
        found = {
            row[0]: Held(row[1], row[2], row[3], row[4], batch.until)
            for batch in live_batches(holders)
            for row in batch.live(holders)
        }
        assert found == self.plain


@pytest.mark.parametrize("large", [2, 64])
def test_what_is_in_flight_is_that_of_a_dict(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "LARGE_BATCH", large)
    run_state_machine_as_test(
        InFlightAgainstDict, settings=settings(max_examples=100, stateful_step_count=40, deadline=None)
    )
