"""FIFO queues against the naive model: message groups, deduplication, receive attempts, the queue's delay, lifetimes,
dead letters, moves, jumps in time, dumps and loads at any moment."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis
from broker.domain.queues import commands, move_task, questions, returned, runs, visibility
from broker.domain.queues.model import PER_MESSAGE_GROUP, PER_QUEUE, Handle, QueueAttributes, RedrivePolicy, Target
from tests.properties.queues.compared_queues import (
    GONE,
    MESSAGES,
    RULES,
    ComparedQueues,
    places,
    starts,
    steps,
    timeouts,
)
from tests.properties.queues.naive_fifo import NaiveFifo

groups = st.sampled_from(["a", "a", "a", "b", "b", "c"])
five_minutes = st.sampled_from([0, 299_999, 300_000])
identities = st.integers(0, 5).map(str)
lifetimes = st.sampled_from([0, 0, 1_000, 5_005, 59_999])
dead, lost = RedrivePolicy("dead.fifo", 1), RedrivePolicy("lost.fifo", 1)
attributes = st.builds(
    QueueAttributes,
    visibility_timeout=st.sampled_from([0, 1_000, 30_000]).map(Millis),
    delay=st.sampled_from([0, 0, 0, 10, 5_000, 900_000]).map(Millis),
    retention=st.sampled_from([60_000, 345_600_000, 1_209_600_000]).map(Millis),
    message_size_limit=st.sampled_from([1_024, 262_144]),
    deduplication_scope=st.sampled_from([PER_QUEUE, PER_MESSAGE_GROUP]),
    redrive=st.sampled_from([None, dead, RedrivePolicy("dead.fifo", 2), lost]),
)


class FifoAgainstNaive(ComparedQueues):
    names = "queue-1.fifo", "queue-2.fifo"
    targets = (Target("dead.fifo", QueueId(77), (GroupId(2),)),)
    sends = 0

    @initialize(start=starts, each=st.tuples(attributes, attributes))
    def begin(self, start: int, each: tuple[QueueAttributes, QueueAttributes]) -> None:
        self.begin_with(start, each)

    @rule(step=steps, place=places, attributes=attributes)
    def create(self, step: int, place: int, attributes: QueueAttributes) -> None:
        self.at += step
        self.create_anew(place, attributes)

    @rule(step=steps, place=places, attributes=attributes)
    def update(self, step: int, place: int, attributes: QueueAttributes) -> None:
        self.at += step
        self.apply(commands.UpdateQueue(self.ids[place], attributes, (), self.target_of(attributes)))

    @rule(step=steps, place=places, delay=st.sampled_from([0, 10, 5_000, 900_000]).map(Millis))
    def change_delay(self, step: int, place: int, delay: Millis) -> None:
        self.at += step
        self.apply(commands.UpdateQueue(self.ids[place], QueueAttributes(delay=delay)))

    @rule(step=steps, place=places, each=st.lists(st.tuples(groups, identities), min_size=1, max_size=6))
    def send_what_may_be_known(self, step: int, place: int, each: list[tuple[str, str]]) -> None:
        self.at += step
        names, ids = zip(*each, strict=True)
        self.apply(commands.Send(self.ids[place], len(each), 1, None, MESSAGES, groups=names, deduplication=ids))

    @rule(place=places, later=five_minutes, group=groups, other=groups, identity=identities)
    def send_twice(self, place: int, later: int, group: str, other: str, identity: str) -> None:
        for name in (group, other):
            self.apply(commands.Send(self.ids[place], 1, 1, None, MESSAGES, groups=(name,), deduplication=(identity,)))
            self.tick(later)

    @rule(step=steps, place=places, each=st.lists(groups, min_size=1, max_size=6))
    def send(self, step: int, place: int, each: list[str]) -> None:
        self.at += step
        self.apply(self.new_messages(place, tuple(each)))

    @rule(step=steps, place=places, group=groups, count=st.integers(2, 8))
    def send_singles(self, step: int, place: int, group: str, count: int) -> None:
        self.at += step
        for _ in range(count):
            self.apply(self.new_messages(place, (group,)))

    @rule(step=steps, place=places, each=st.lists(st.tuples(groups, lifetimes), min_size=1, max_size=4))
    def send_mortals(self, step: int, place: int, each: list[tuple[str, int]]) -> None:
        self.at += step
        self.apply(self.new_messages(place, *zip(*each, strict=True)))

    @rule(
        place=places,
        groups=st.none() | st.just(("a",)) | st.just(("",)),
        identity=st.none() | st.just(("1",)) | st.just(("",)),
        delays=st.none() | st.just((10,)),
        size=st.sampled_from([1, 2_000]),
    )
    def do_what_is_not_right(
        self,
        place: int,
        groups: tuple[str, ...] | None,
        identity: tuple[str, ...] | None,
        delays: tuple[int, ...] | None,
        size: int,
    ) -> None:
        self.apply(commands.Send(self.ids[place], 1, size, delays, MESSAGES, groups, identity))
        self.apply(commands.Cancel(self.ids[place], ((1, 0),)))

    @rule(place=places, group=groups, times=st.integers(1, 3), back=st.booleans(), purge=st.booleans())
    def bury(self, place: int, group: str, times: int, back: bool, purge: bool) -> None:
        """Send two and receive one so often that it may become a dead letter, which may come back."""
        self.apply(self.new_messages(place, (group, group)))
        for _ in range(times):
            self.take(place, commands.Receive(self.ids[place], 1, Millis(0)))
        if purge:
            self.apply(commands.PurgeQueue(self.ids[place]))
        elif back and self.naive.outbox:
            self.apply(commands.Shipped((), ((self.naive.outbox[-1].number, GONE),)))
            self.take(place, commands.Receive(self.ids[place], 12, Millis(1_000)))

    @rule(place=places, late=st.booleans(), done=st.booleans())
    def follow_up(self, place: int, late: bool, done: bool) -> None:
        """In a group of its own, a message follows while the one before it is in flight, or visible again, and may be
        deleted."""
        queue = self.naive.queues.get(self.ids[place])
        delay = 0 if queue is None else queue.attributes.delay
        group = f"group-{self.sends}"
        self.apply(self.new_messages(place, (group,)))
        self.tick(delay)
        before = len(self.handles[place])
        self.take(place, commands.Receive(self.ids[place], 12, Millis(1_000)))
        if late:
            self.tick(1_000)
        self.apply(self.new_messages(place, (group,)))
        if done and self.handles[place][before:]:
            self.apply(commands.Delete(self.ids[place], tuple(self.handles[place][before:])))
        self.tick(delay)

    @rule(
        place=places,
        maximum=st.integers(1, 6),
        each=st.lists(st.tuples(st.sampled_from([0, 500, 29_000, 299_999, 300_000, 300_000]), timeouts), max_size=3),
        attempt=st.sampled_from(["one", "one", "two"]),
        touch=st.none() | st.integers(0, 2),
    )
    def receive_under_an_attempt(
        self, place: int, maximum: int, each: list[tuple[int, Millis]], attempt: str, touch: int | None
    ) -> None:
        """Again and again; what was received may be touched before the last time."""
        self.apply(self.new_messages(place, ("a", "b", "a")))
        self.take(place, commands.Receive(self.ids[place], maximum, Millis(43_200_000), attempt))
        for last, (later, timeout) in enumerate(each, 1 - len(each)):
            if not last and touch is not None and self.handles[place]:
                handles = (self.handles[place][-1],)
                changed = commands.ChangeVisibility(self.ids[place], handles, (Millis(30_000),))
                self.apply(commands.Delete(self.ids[place], handles) if touch == 2 else changed)
            self.tick(later)
            self.take(place, commands.Receive(self.ids[place], maximum, timeout, attempt))

    @rule(step=steps, place=places, other=places, data=st.data())
    def exchange(self, step: int, place: int, other: int, data: st.DataObject) -> None:
        self.at += step
        handles: list[Handle] = data.draw(self.some_handles(place))
        if handles:
            send = self.new_messages(other, ("a", "b"))
            self.apply(commands.Exchange(send.queue, send, commands.Delete(self.ids[place], tuple(handles[:2]))))

    @invariant()
    def attempts_are_known(self) -> None:
        for identity, queue in self.naive.queues.items():
            assert isinstance(queue, NaiveFifo)
            for attempt in ("one", "two"):
                known = self.ask(questions.KnowsAttempt(QueueId(identity), attempt))
                assert known == queue.would_repeat(attempt, self.at)

    def new_messages(
        self, place: int, groups: tuple[str, ...], lifetimes: tuple[int, ...] | None = None
    ) -> commands.Send:
        self.sends += 1
        ids = tuple(f"new-{self.sends}-{slot}" for slot in range(len(groups)))
        return commands.Send(
            self.ids[place], len(groups), 1, None, MESSAGES, groups=groups, deduplication=ids, lifetimes=lifetimes
        )


@pytest.mark.parametrize(("chunk", "examples"), [(4, 150), (1024, 20)])
def test_fifo_queues_behave_as_the_naive_model_says(chunk: int, examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "CHUNK_RUNS", chunk)
    monkeypatch.setattr(returned, "CHUNK_ROWS", chunk)
    monkeypatch.setattr(visibility, "LARGE_BATCH", chunk)
    monkeypatch.setattr(move_task, "MAX_MOVING", RULES.max_moving)
    run_state_machine_as_test(
        FifoAgainstNaive,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
