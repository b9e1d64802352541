"""The queue machine against the naive model: every command, jumps in time, dumps and loads at any moment."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from broker.base.ids import Index, QueueId
from broker.base.instants import Millis, WallMillis
from broker.domain.queues import commands, questions, returned, runs, visibility
from broker.domain.queues.commands import Deliveries, Results
from broker.domain.queues.machine import QueueMachine
from broker.domain.queues.model import Handle, QueueAttributes
from broker.machine.contract import Applied, Place, Wake
from tests.properties.queues.naive_queues import NaiveQueues

IN_FLIGHT_LIMIT = 12
ERA = 1 << 32
MESSAGES = msgspec.Raw(msgspec.msgpack.encode([]))

queue_ids = st.sampled_from([1, 2]).map(QueueId)
leaps = st.sampled_from([10, 500, 1_000, 5_000, 29_999, 30_000, 60_000, 900_000, 43_200_000, 1_209_600_000])
steps = st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1, 1, 9, 10, 500, 1_000, 30_000])
delays = st.sampled_from([0, 0, 1, 10, 500, 5_000, 60_500, 900_000])
timeouts = st.sampled_from([0, 1, 1_000, 30_000, 30_000, 43_200_000])
attributes = st.builds(
    QueueAttributes,
    visibility_timeout=st.sampled_from([0, 1_000, 30_000]).map(Millis),
    delay=st.sampled_from([0, 0, 5_000, 900_000]).map(Millis),
    retention=st.sampled_from([60_000, 345_600_000, 1_209_600_000]).map(Millis),
    message_size_limit=st.sampled_from([1_024, 262_144]),
)


class QueuesAgainstNaive(RuleBasedStateMachine):
    """``replica`` applies the same log and is replaced by what its own dump loads to, now and then."""

    @initialize(start=st.sampled_from([1_700_000_000_000, 400 * ERA - 70_000]))
    def begin(self, start: int) -> None:
        self.machine = QueueMachine(IN_FLIGHT_LIMIT)
        self.replica = QueueMachine(IN_FLIGHT_LIMIT)
        self.naive = NaiveQueues(IN_FLIGHT_LIMIT)
        self.at = start
        self.index = 0
        self.handles: dict[QueueId, list[Handle]] = {QueueId(1): [], QueueId(2): []}
        self.captured: list[tuple[Iterator[bytes], list[bytes]]] = []
        for queue in (1, 2):
            self._apply(commands.CreateQueue(QueueId(queue), f"queue-{queue}", QueueAttributes()))

    # --- commands

    @rule(step=steps, queue=queue_ids, attributes=attributes)
    def create(self, step: int, queue: QueueId, attributes: QueueAttributes) -> None:
        self.at += step
        self._apply(commands.CreateQueue(queue, f"queue-{queue}", attributes))

    @rule(step=steps, queue=queue_ids, attributes=attributes)
    def update(self, step: int, queue: QueueId, attributes: QueueAttributes) -> None:
        self.at += step
        self._apply(commands.UpdateQueue(queue, attributes))

    @rule(step=steps, queue=queue_ids, really=st.integers(0, 9))
    def delete_queue(self, step: int, queue: QueueId, really: int) -> None:
        self.at += step
        self._apply(commands.DeleteQueue(queue if really == 0 else QueueId(99)))

    @rule(step=steps, queue=queue_ids)
    def purge(self, step: int, queue: QueueId) -> None:
        self.at += step
        self._apply(commands.PurgeQueue(queue))

    @rule(step=steps, queue=queue_ids, count=st.integers(1, 6), size=st.sampled_from([1, 1, 1, 2_000]))
    def send(self, step: int, queue: QueueId, count: int, size: int) -> None:
        self.at += step
        self._apply(commands.Send(queue, count, size, None, MESSAGES))

    @rule(step=steps, queue=queue_ids, each=st.lists(delays, min_size=1, max_size=6))
    def send_delayed(self, step: int, queue: QueueId, each: list[int]) -> None:
        self.at += step
        self._apply(commands.Send(queue, len(each), 1, tuple(each), MESSAGES))

    @rule(step=steps, queue=queue_ids, entries=st.integers(2, 8))
    def send_singles(self, step: int, queue: QueueId, entries: int) -> None:
        self.at += step
        for _ in range(entries):
            self._apply(commands.Send(queue, 1, 1, None, MESSAGES))

    @rule(step=steps, queue=queue_ids, maximum=st.integers(1, 12), timeout=st.none() | timeouts)
    def receive(self, step: int, queue: QueueId, maximum: int, timeout: Millis | None) -> None:
        self.at += step
        reply = self._apply(commands.Receive(queue, maximum, timeout))
        if isinstance(reply, Deliveries):
            self.handles[queue] += [Handle(each.index, each.slot, each.receipt) for each in reply.deliveries]

    @rule(step=steps, queue=queue_ids, data=st.data())
    def delete(self, step: int, queue: QueueId, data: st.DataObject) -> None:
        self.at += step
        handles = data.draw(self._some_handles(queue))
        if handles:
            self._apply(commands.Delete(queue, tuple(handles)))

    @rule(queue=queue_ids, keep=st.integers(0, 2))
    def delete_all_but_few(self, queue: QueueId, keep: int) -> None:
        handles = self.handles[queue][-12:][keep:]
        if handles:
            self._apply(commands.Delete(queue, tuple(handles)))

    @rule(step=steps, queue=queue_ids, data=st.data())
    def change_visibility(self, step: int, queue: QueueId, data: st.DataObject) -> None:
        self.at += step
        handles = data.draw(self._some_handles(queue))
        each = data.draw(st.lists(timeouts | st.just(43_200_001), min_size=len(handles), max_size=len(handles)))
        if handles:
            self._apply(commands.ChangeVisibility(queue, tuple(handles), tuple(map(Millis, each))))

    @rule(queue=queue_ids, handle=st.builds(Handle, st.integers(0, 60), st.integers(0, 6), st.integers(0, 99)))
    def delete_what_was_never_given(self, queue: QueueId, handle: Handle) -> None:
        self._apply(commands.Delete(queue, (handle,)))

    # --- time, dumps

    @rule(step=leaps)
    def tick(self, step: int) -> None:
        self.at += step
        effects = self.machine.advance(WallMillis(self.at))
        self.replica.advance(WallMillis(self.at))
        self.naive.let_pass(self.at)
        self._check_wakes(effects)

    @rule()
    def tick_when_asked_to(self) -> None:
        deadline = self.machine.next_deadline()
        if deadline is not None:
            self.tick(max(0, deadline - self.at))

    @rule()
    def restart_replica(self) -> None:
        dump = list(self.replica.dump())
        self.replica = QueueMachine(IN_FLIGHT_LIMIT)
        self.replica.load(dump)

    @rule()
    def capture(self) -> None:
        self.captured.append((self.machine.dump(), list(self.machine.dump())))

    @precondition(lambda self: self.captured)
    @rule()
    def encode_what_was_captured(self) -> None:
        pieces, expected = self.captured.pop(0)
        assert list(pieces) == expected

    # --- what always holds

    @invariant()
    def replicas_are_equal(self) -> None:
        assert list(self.machine.dump()) == list(self.replica.dump())

    @invariant()
    def counts_are_exact(self) -> None:
        for identity, queue in self.naive.queues.items():
            counts = self.machine.query(questions.CountsOf(QueueId(identity)), WallMillis(self.at))
            assert counts == self.naive.counts(queue)
            here = counts.visible + counts.in_flight + counts.delayed
            assert here + counts.deleted_total + counts.expired_total == counts.sent_total

    @invariant()
    def live_entries_are_those_of_the_messages(self) -> None:
        ranges = list(self.machine.live_entries())
        assert set(chain.from_iterable(range(first, last + 1) for first, last in ranges)) == self.naive.live_indexes()
        assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))

    @invariant()
    def the_next_deadline_is_the_next_change(self) -> None:
        assert self.machine.next_deadline() == self.naive.next_change()

    # --- inside

    def _apply(self, command: commands.Command) -> Any:
        self.index += 1
        encoded = msgspec.msgpack.encode(command)
        place = Place(Index(self.index), WallMillis(self.at))
        visible, expired = self._has_visible(command.queue), self._expired_total()
        applied = self.machine.apply(encoded, place)
        assert self.replica.apply(encoded, place).reply == applied.reply
        expected = self.naive.apply(command, self.index, self.at)
        assert _plain(applied) == expected, command
        if isinstance(command, commands.Receive):
            found = not isinstance(applied.reply, Deliveries) or bool(applied.reply.deliveries)
            assert visible or not found or isinstance(applied.reply, commands.Refused)
            assert found or not visible or self._expired_total() > expired
        if not isinstance(command, commands.DeleteQueue) or expected != commands.Done():
            self._check_wakes(applied.effects)
        return applied.reply

    def _has_visible(self, queue: QueueId) -> bool:
        """Asked before time passes, of a moment ahead."""
        return self.machine.query(questions.HasVisible(queue), WallMillis(self.at)) is not False

    def _expired_total(self) -> int:
        return sum(queue.expired for queue in self.naive.queues.values())

    def _check_wakes(self, effects: tuple[Any, ...]) -> None:
        assert all(isinstance(effect, Wake) for effect in effects)
        assert sorted((effect.key, effect.count) for effect in effects) == sorted(
            (("queue", queue), count) for queue, count in self.naive.woken.items()
        )

    def _some_handles(self, queue: QueueId) -> st.SearchStrategy[list[Handle]]:
        """Mostly of the queue, mostly recent; sometimes of the other one, sometimes the same twice."""
        recent = self.handles[queue][-12:]
        others = self.handles[QueueId(3 - queue)][-1:]
        return st.lists(st.sampled_from(recent + others), max_size=8) if recent or others else st.just([])


def _plain(applied: Applied) -> object:
    reply = applied.reply
    if isinstance(reply, commands.Refused):
        return reply.refusal.code
    if isinstance(reply, Results):
        return {position: refusal.code for position, refusal in reply.refused}
    return reply


@pytest.mark.parametrize("chunk", [4, 1024])
def test_queues_behave_as_the_naive_model_says(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "CHUNK_RUNS", chunk)
    monkeypatch.setattr(returned, "CHUNK_ROWS", chunk)
    monkeypatch.setattr(visibility, "LARGE_BATCH", chunk)
    run_state_machine_as_test(
        QueuesAgainstNaive,
        settings=settings(
            max_examples=60,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
