"""Standard queues against the naive model: every command, tenants, schedules, lifetimes, moves, jumps in time, dumps
and loads at any moment."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.domain.queues import calendar, commands, fairness, move_task, returned, runs, scheduled, visibility
from broker.domain.queues.model import DELAYED, VISIBLE, Handle, QueueAttributes, RedrivePolicy, Target
from tests.properties.queues.compared_queues import GONE, MESSAGES, RULES, ComparedQueues, places, starts, steps

delays = st.sampled_from([0, 0, 1, 10, 500, 5_000, 60_500, 900_000])
groups = st.sampled_from(["", "a", "a", "a", "b", "c"])
lifetimes = st.sampled_from([0, 0, 1_000, 5_005, 59_999])
attributes = st.builds(
    QueueAttributes,
    visibility_timeout=st.sampled_from([0, 1_000, 30_000]).map(Millis),
    delay=st.sampled_from([0, 0, 5_000, 900_000]).map(Millis),
    retention=st.sampled_from([60_000, 345_600_000, 1_209_600_000]).map(Millis),
    message_size_limit=st.sampled_from([1_024, 262_144]),
    redrive=st.sampled_from([None, RedrivePolicy("dead", 1), RedrivePolicy("dead", 2), RedrivePolicy("lost", 1)]),
)


class StandardAgainstNaive(ComparedQueues):
    names = "queue-1", "queue-2"
    targets = (Target("dead", QueueId(77), (GroupId(2),)),)

    @initialize(start=starts, each=st.tuples(attributes, attributes))
    def begin(self, start: int, each: tuple[QueueAttributes, QueueAttributes]) -> None:
        self.begin_with(start, each)

    @rule(step=steps, place=places, attributes=attributes)
    def create(self, step: int, place: int, attributes: QueueAttributes) -> None:
        self.at += step
        self.create_anew(place, attributes)

    @rule(step=steps, place=places, attributes=attributes, expected=st.sampled_from([None, None, QueueAttributes()]))
    def update(self, step: int, place: int, attributes: QueueAttributes, expected: QueueAttributes | None) -> None:
        self.at += step
        target = self.target_of(attributes)
        self.apply(commands.UpdateQueue(self.ids[place], attributes, (), target, expected))

    @rule(step=steps, place=places, count=st.integers(1, 6), size=st.sampled_from([1, 1, 1, 2_000]))
    def send(self, step: int, place: int, count: int, size: int) -> None:
        self.at += step
        self.apply(commands.Send(self.ids[place], count, size, None, MESSAGES))

    @rule(step=steps, place=places, each=st.lists(delays, min_size=1, max_size=6))
    def send_delayed(self, step: int, place: int, each: list[int]) -> None:
        self.at += step
        self.apply(commands.Send(self.ids[place], len(each), 1, tuple(each), MESSAGES))

    @rule(step=steps, place=places, entries=st.integers(2, 8))
    def send_singles(self, step: int, place: int, entries: int) -> None:
        self.at += step
        for _ in range(entries):
            self.apply(commands.Send(self.ids[place], 1, 1, None, MESSAGES))

    @rule(step=steps, place=places, each=st.lists(groups, min_size=1, max_size=9))
    def send_of_tenants(self, step: int, place: int, each: list[str]) -> None:
        self.at += step
        self.apply(commands.Send(self.ids[place], len(each), 1, None, MESSAGES, tuple(each)))

    @rule(place=places, each=st.lists(groups, min_size=6, max_size=12), maximum=st.integers(1, 3))
    def send_a_crowd_and_receive_it(self, place: int, each: list[str], maximum: int) -> None:
        self.apply(commands.Send(self.ids[place], len(each), 1, None, MESSAGES, tuple(each)))
        for _ in each:
            self.take(place, commands.Receive(self.ids[place], maximum, Millis(30_000)))

    @rule(
        place=places,
        group=groups,
        lifetime=st.sampled_from([0, 1_000, 5_005]),
        times=st.integers(0, 3),
        back=st.booleans(),
        later=st.sampled_from([0, 6_000]),
    )
    def bury(self, place: int, group: str, lifetime: int, times: int, back: bool, later: int) -> None:
        """Send one and receive it so often that it may become a dead letter, which may come back."""
        self.apply(commands.Send(self.ids[place], 1, 1, None, MESSAGES, (group,), lifetimes=(lifetime,)))
        for _ in range(times):
            self.take(place, commands.Receive(self.ids[place], 12, Millis(0)))
        self.tick(later)
        if back and self.naive.outbox:
            self.apply(commands.Shipped((), ((self.naive.outbox[-1].number, GONE),)))
            self.take(place, commands.Receive(self.ids[place], 12, Millis(1_000)))

    @rule(step=steps, place=places, each=st.lists(st.tuples(groups, delays, lifetimes), min_size=1, max_size=5))
    def send_all_kinds(self, step: int, place: int, each: list[tuple[str, int, int]]) -> None:
        self.at += step
        names, later, lives = zip(*each, strict=True)
        self.apply(commands.Send(self.ids[place], len(each), 1, later, MESSAGES, groups=names, lifetimes=lives))

    @rule(step=steps, place=places, each=st.lists(st.tuples(groups, st.integers(-9, 40_000)), min_size=1, max_size=6))
    def schedule(self, step: int, place: int, each: list[tuple[str, int]]) -> None:
        self.at += step
        due = tuple(self.at + later if later else 0 for _, later in each)
        self.apply(
            commands.Send(
                self.ids[place], len(each), 1, None, MESSAGES, groups=tuple(group for group, _ in each), due=due
            )
        )

    @rule(step=steps, place=places, which=st.lists(st.integers(0, 20), min_size=1, max_size=3))
    def cancel(self, step: int, place: int, which: list[int]) -> None:
        """What is not due, mostly; sometimes what is due, or gone."""
        self.at += step
        queue = self.naive.queues.get(self.ids[place])
        here = [] if queue is None else queue.at_place(DELAYED) + queue.at_place(VISIBLE)
        named = [(here[each].index, here[each].slot) if each < len(here) else (each, 0) for each in which]
        self.apply(commands.Cancel(self.ids[place], tuple(named)))

    @rule(
        step=steps,
        place=places,
        other=places,
        data=st.data(),
        size=st.sampled_from([1, 1, 1, 2_000]),
        twice=st.booleans(),
    )
    def exchange(self, step: int, place: int, other: int, data: st.DataObject, size: int, twice: bool) -> None:
        self.at += step
        handles: list[Handle] = data.draw(self.some_handles(place).filter(len))
        if twice:
            handles = handles[-1:] * 2
        send = commands.Send(self.ids[other], 2, size, None, MESSAGES, groups=("a", ""))
        self.apply(commands.Exchange(send.queue, send, commands.Delete(self.ids[place], tuple(handles[:2]))))

    def new_messages(self, place: int, groups: tuple[str, ...]) -> commands.Send:
        return commands.Send(self.ids[place], len(groups), 1, None, MESSAGES, groups)


@pytest.mark.parametrize(("chunk", "examples"), [(4, 150), (1024, 20)])
def test_standard_queues_behave_as_the_naive_model_says(
    chunk: int, examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "CHUNK_RUNS", chunk)
    monkeypatch.setattr(returned, "CHUNK_ROWS", chunk)
    monkeypatch.setattr(scheduled, "CHUNK_ROWS", chunk)
    monkeypatch.setattr(calendar, "CHUNK_ENTRIES", chunk)
    monkeypatch.setattr(visibility, "LARGE_BATCH", chunk)
    monkeypatch.setattr(fairness, "NOISY_IN_FLIGHT", RULES.noisy_in_flight)
    monkeypatch.setattr(fairness, "NOISY_PERCENT", RULES.noisy_percent)
    monkeypatch.setattr(move_task, "MAX_MOVING", RULES.max_moving)
    run_state_machine_as_test(
        StandardAgainstNaive,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
